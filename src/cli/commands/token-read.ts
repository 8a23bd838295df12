import type { Client, TokenKind, TokenQuery, TokenState } from '@mintmark/sdk'
import type { Command } from 'commander'
import { leaf } from '../command.ts'
import { connect } from '../connect.ts'
import { type ListOptions, paged, printList } from '../list.ts'
import { tokenId, userIdOf } from '../names.ts'
import { answer, day, type JsonOption, minute, orDash } from '../output.ts'
import type { Terminal } from '../terminal.ts'
import { aboutToken } from '../token-text.ts'
import { oneOf } from '../values.ts'

const kindOf = oneOf<TokenKind>([
  'api',
  'service',
  'session',
  'oauth_code',
  'oauth_access',
  'oauth_refresh',
])
const stateOf = oneOf<TokenState>(['active', 'expired', 'revoked', 'superseded'])

interface TokenListOptions extends ListOptions {
  owner?: string
  creator?: string
  kind?: TokenKind
  state?: TokenState
  group?: string
  text?: string
}

export function readTokenCommands(token: Command, terminal: Terminal): void {
  const list = leaf(token, 'list', {
    summary: 'List tokens, newest first; admins see all, others their own',
    examples: [
      'mintmark token list --owner alice --state active',
      'mintmark token list --kind service --all --json',
    ],
  })
    .option('--owner <user>', 'only those of this user, by name or id')
    .option('--creator <user>', 'only those made by this user, by name or id')
    .option('--kind <kind>', 'api, service or session', kindOf)
    .option('--state <state>', 'active, expired, revoked or superseded', stateOf)
    .option('--group <group>', 'only those limited to this group, by name or id')
    .option('--text <text>', 'only those whose names hold this')
  paged(list).action(async (options: TokenListOptions) => {
    const client = connect(terminal)
    const filter = await filterOf(client, options)
    await printList(terminal, options, {
      list: (page) => client.tokens.list({ ...page, ...filter }),
      empty: 'No tokens match. Make one: mintmark token create <name>',
      columns: [
        { title: 'ID', of: (row) => row.id, whole: true },
        { title: 'NAME', of: (row) => orDash(row.name) },
        { title: 'OWNER', of: (row) => row.owner.username ?? row.owner.id },
        { title: 'STATE', of: (row) => row.state, whole: true },
        { title: 'EXPIRES', of: (row) => day(row.expiresAt), whole: true },
        { title: 'KIND', of: (row) => row.kind, extra: true },
        { title: 'ACCESS', of: (row) => row.accessLevel, whole: true, extra: true },
        { title: 'LAST USED', of: (row) => minute(row.lastUsedAt), whole: true, extra: true },
      ],
    })
  })

  leaf(token, 'show', {
    summary: 'Show everything about a token but its secret',
    examples: ['mintmark token show self'],
  })
    .argument('<id>', 'id of the token, or self for the one in use')
    .action(async (id: string, options: JsonOption) => {
      const { tokens } = connect(terminal)
      const found = await (id === 'self' ? tokens.self() : tokens.get(tokenId(id)))
      answer(terminal, { ...options, document: found, text: () => aboutToken(found) })
    })
}

async function filterOf(client: Client, options: TokenListOptions): Promise<TokenQuery> {
  const { owner, creator, kind, state, group, text } = options
  return {
    ...(owner === undefined ? {} : { ownerId: await userIdOf(client, owner) }),
    ...(creator === undefined ? {} : { creatorId: await userIdOf(client, creator) }),
    ...(kind === undefined ? {} : { kind }),
    ...(state === undefined ? {} : { state }),
    ...(group === undefined ? {} : { group }),
    ...(text === undefined ? {} : { text }),
  }
}
