import { randomUUID } from 'node:crypto'
import type { AccessLevel, Mode, NewToken } from '@mintmark/sdk'
import { type Command, Option } from 'commander'
import { leaf, repeated } from '../command.ts'
import { connect } from '../connect.ts'
import { userIdOf } from '../names.ts'
import type { JsonOption } from '../output.ts'
import type { Terminal } from '../terminal.ts'
import { answerToken } from '../token-text.ts'
import { expiresAt, expiry, groupGrants, jsonObject, oneOf } from '../values.ts'

const accessLevelOf = oneOf<AccessLevel>(['READ_ONLY', 'FULL_ACCESS'])
const kindOf = oneOf<'api' | 'service'>(['api', 'service'])

interface CreateOptions extends JsonOption {
  owner?: string
  kind?: 'api' | 'service'
  description?: string
  accessLevel?: AccessLevel
  role?: string[]
  allRoles?: boolean
  group?: { group: string; mode: Mode }[]
  allGroups?: boolean
  scope?: string[]
  allScopes?: boolean
  allowedIp?: string[]
  expires?: string
  metadata?: Record<string, unknown>
}

export function createTokenCommand(token: Command, terminal: Terminal): void {
  leaf(token, 'create', {
    summary: 'Create a token; its secret is shown once',
    details:
      'What is left out is narrow: READ_ONLY, no roles, no groups, no scopes, and the lifetime that the policy gives. Rights cannot be changed afterwards. Only the secret goes to stdout.',
    examples: [
      'mintmark token create ci',
      'mintmark token create deploy --owner alice --access-level FULL_ACCESS --scope deploy --expires 30d',
      'mintmark token create nightly --group builders:WRITE --allowed-ip 10.0.0.0/8 --expires never',
      'TOKEN="$(mintmark token create ci)"',
    ],
  })
    .argument('<name>', 'what it is for')
    .option('--owner <user>', 'username or id; default: the user of MINTMARK_TOKEN')
    .option('--kind <kind>', 'api or service (default: api)', kindOf)
    .option('--description <text>', 'more about it')
    .option(
      '--access-level <level>',
      'READ_ONLY or FULL_ACCESS (default: READ_ONLY)',
      accessLevelOf,
    )
    .option('--role <name>', 'a role it carries; may be repeated', repeated)
    .addOption(
      new Option('--all-roles', 'all roles that the owner has, now and later').conflicts('role'),
    )
    .option(
      '--group <group:mode>',
      'a group by name or id with READ, WRITE or ADMIN (READ when left out); may be repeated',
      groupGrants,
    )
    .addOption(
      new Option('--all-groups', 'all groups of the owner, now and later').conflicts('group'),
    )
    .option('--scope <scope>', 'a scope it carries; may be repeated', repeated)
    .addOption(
      new Option('--all-scopes', 'all scopes of the owner, now and later').conflicts('scope'),
    )
    .option('--allowed-ip <address>', 'address or CIDR range; may be repeated', repeated)
    .option('--expires <when>', '30d, 12h, 15m, an RFC 3339 instant, or never', (text) =>
      expiry(text, terminal.now()),
    )
    .option('--metadata <json>', 'a JSON object of your own', jsonObject)
    .action(async (name: string, options: CreateOptions) => {
      const client = connect(terminal)
      const { owner } = options
      const wish: NewToken = {
        name,
        ...limitsOf(options),
        ...(owner === undefined ? {} : { ownerId: await userIdOf(client, owner) }),
      }
      // With a key a lost answer is asked for again, rather than a second token made.
      const made = await client.tokens.create(wish, { idempotencyKey: randomUUID() })
      answerToken(terminal, { options, token: made, verb: 'Made' })
    })
}

function limitsOf(options: CreateOptions): Omit<NewToken, 'name' | 'ownerId'> {
  const { kind, description, accessLevel, allowedIp, expires, metadata } = options
  const roles = options.allRoles ? null : options.role
  const groups = options.allGroups ? null : options.group
  const scopes = options.allScopes ? null : options.scope
  return {
    ...(kind === undefined ? {} : { kind }),
    ...(description === undefined ? {} : { description }),
    ...(accessLevel === undefined ? {} : { accessLevel }),
    ...(roles === undefined ? {} : { roles }),
    ...(groups === undefined ? {} : { groups }),
    ...(scopes === undefined ? {} : { scopes }),
    ...(allowedIp === undefined ? {} : { allowedIps: allowedIp }),
    ...(expires === undefined ? {} : { expiresAt: expiresAt(expires) }),
    ...(metadata === undefined ? {} : { metadata }),
  }
}
