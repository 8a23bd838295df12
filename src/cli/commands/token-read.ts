import type { Client, TokenFilter, TokenKind, TokenState } from '@mintmark/sdk'
import { type Command, InvalidArgumentError } from 'commander'
import { leaf } from '../command.ts'
import { connect } from '../connect.ts'
import { type ListOptions, paged, printList } from '../list.ts'
import { tokenId, userIdOf } from '../names.ts'
import { answer, day, type JsonOption, minute, orDash } from '../output.ts'
import { pointing } from '../pointing.ts'
import type { Terminal } from '../terminal.ts'
import { aboutToken } from '../token-text.ts'
import { oneOf } from '../values.ts'

const KINDS: readonly TokenKind[] = [
  'api',
  'service',
  'session',
  'oauth_code',
  'oauth_access',
  'oauth_refresh',
]
const kindOf = oneOf(KINDS)
const stateOf = oneOf<TokenState>(['active', 'quarantined', 'expired', 'revoked', 'superseded'])

const SORTS = [
  'created',
  '-created',
  'used',
  '-used',
  'expires',
  '-expires',
  'name',
  '-name',
] as const
export type Sort = (typeof SORTS)[number]
export const SORT_HELP = 'created, used, expires or name; with - before it the other way round'

export const QUERY_HELP =
  'The query is made of field:value, and narrows with each; put it in single quotes where the shell would read it. docs/guide/inventory.md has the whole language.'

/** As it stands: here - is a direction and no part of a word. */
export function sortOf(text: string): Sort {
  const found = SORTS.find((sort) => sort === text)
  if (found !== undefined) return found
  throw new InvalidArgumentError(`Say one of ${SORTS.join(', ')}.`)
}

/** Options that narrow, besides the query. */
export interface TokenFilterOptions {
  owner?: string
  creator?: string
  kind?: TokenKind
  state?: TokenState
  group?: string
  text?: string
}

interface TokenListOptions extends ListOptions, TokenFilterOptions {
  sort?: Sort
}

export function readTokenCommands(token: Command, terminal: Terminal): void {
  const list = leaf(token, 'list', {
    summary: 'List tokens, newest first; admins see all, others their own',
    details: QUERY_HELP,
    examples: [
      'mintmark token list owner:alice state:active',
      "mintmark token list 'state:active (used:>90d or used:never) created:>90d' --sort used",
      'mintmark token list kind:service --all --json',
    ],
  })
  withFilter(list).option('--sort <field>', SORT_HELP, sortOf)
  paged(list).action(async (query: string[], options: TokenListOptions) => {
    const client = connect(terminal)
    const filter = await filterOf(client, { query, options, sort: options.sort })
    await printList(terminal, options, {
      list: (page) => pointing(filter.q, () => client.tokens.list({ ...page, ...filter })),
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

/** The query and the options that narrow, for every command that is about many tokens. */
export function withFilter(command: Command): Command {
  return command
    .argument('[query...]', 'such as owner:alice state:active; all tokens without one')
    .option('--owner <user>', 'only those of this user, by name or id')
    .option('--creator <user>', 'only those made by this user, by name or id')
    .option('--kind <kind>', KINDS.join(', '), kindOf)
    .option('--state <state>', 'active, quarantined, expired, revoked or superseded', stateOf)
    .option('--group <group>', 'only those limited to this group, by name or id')
    .option('--text <text>', 'only those whose names or descriptions hold this')
}

/** What `withFilter` was given, as the API takes it. */
export async function filterOf(
  client: Client,
  wish: { query: readonly string[]; options: TokenFilterOptions; sort?: Sort | undefined },
): Promise<TokenFilter> {
  const { owner, creator, kind, state, group, text } = wish.options
  const sort = wish.sort === undefined ? [] : [`sort:${wish.sort}`]
  const q = [...wish.query, ...sort].join(' ')
  return {
    ...(q === '' ? {} : { q }),
    ...(owner === undefined ? {} : { ownerId: await userIdOf(client, owner) }),
    ...(creator === undefined ? {} : { creatorId: await userIdOf(client, creator) }),
    ...(kind === undefined ? {} : { kind }),
    ...(state === undefined ? {} : { state }),
    ...(group === undefined ? {} : { group }),
    ...(text === undefined ? {} : { text }),
  }
}
