import { randomUUID } from 'node:crypto'
import { styleText } from 'node:util'
import type { AccessLevel, Mode, NewChild, NewSignedToken, Token, TokenTree } from '@mintmark/sdk'
import { type Command, InvalidArgumentError } from 'commander'
import { leaf, repeated } from '../command.ts'
import { connect } from '../connect.ts'
import { tokenIdOf } from '../names.ts'
import { answer, answerSecret, type JsonOption, minute } from '../output.ts'
import type { Terminal } from '../terminal.ts'
import { visible } from '../text.ts'
import { answerToken } from '../token-text.ts'
import { expiry, groupGrants, jsonObject, oneOf, seconds } from '../values.ts'

const accessLevelOf = oneOf<AccessLevel>(['READ_ONLY', 'FULL_ACCESS'])

const LONGEST_TTL_SECONDS = 900

interface NarrowingOptions extends JsonOption {
  accessLevel?: AccessLevel
  role?: string[]
  group?: { group: string; mode: Mode }[]
  scope?: string[]
  allowedIp?: string[]
  // Commander's answer to --no-roles, --no-groups and --no-scopes.
  roles: boolean
  groups: boolean
  scopes: boolean
}

interface ChildOptions extends NarrowingOptions {
  description?: string
  expires?: string
  metadata?: Record<string, unknown>
}

interface SignOptions extends NarrowingOptions {
  audience: string
  ttl?: number
}

export function childTokenCommands(token: Command, terminal: Terminal): void {
  narrowing(
    leaf(token, 'child', {
      summary: 'Mint a narrower token with the one in MINTMARK_TOKEN; its secret is shown once',
      details:
        'What is left out is what the parent has; nothing can be more. The child belongs to the same owner, ends with its parent at the latest, and dies when the parent is revoked. It takes no right to create tokens. Only the secret goes to stdout.',
      examples: [
        'mintmark token child --expires 10m',
        'mintmark token child nightly --scope deploy --no-groups --no-roles --expires 10m',
        'CI_TOKEN="$(mintmark token child --access-level READ_ONLY --expires 10m)"',
      ],
    }).argument('[name]', "what it is for; default: made from the parent's"),
  )
    .option('--description <text>', 'more about it')
    .option('--expires <when>', '10m, 12h, or an RFC 3339 instant', (text) =>
      expiry(text, terminal.now()),
    )
    .option('--metadata <json>', 'a JSON object of your own', jsonObject)
    .action(async (name: string | undefined, options: ChildOptions) => {
      const { description, expires, metadata } = options
      const wish: NewChild = {
        ...limitsOf(options),
        ...(name === undefined ? {} : { name }),
        ...(description === undefined ? {} : { description }),
        ...(expires === undefined || expires === 'never' ? {} : { expiresAt: expires }),
        ...(metadata === undefined ? {} : { metadata }),
      }
      // With a key a lost answer is asked for again, rather than a second child made.
      const made = await connect(terminal).tokens.createChild(wish, {
        idempotencyKey: randomUUID(),
      })
      answerToken(terminal, { options, token: made, verb: 'Made' })
    })

  narrowing(
    leaf(token, 'jwt', {
      summary: 'Sign what the token in MINTMARK_TOKEN may do, for minutes',
      details:
        'Prints a JWT that the service named as --audience checks by itself, with the public keys and the revocation feed of the server. What is left out is what the token has; nothing can be more. It dies when the token, or one that the token comes from, is revoked.',
      examples: [
        'mintmark token jwt --audience https://deploy.example.com',
        'mintmark token jwt --audience https://deploy.example.com --scope deploy --ttl 10m',
      ],
    }),
  )
    .requiredOption('--audience <service>', 'the one service that it is for')
    .option('--ttl <time>', 'how long it lives: 30s, 15m at most (default: 5m)', ttlOf)
    .action(async (options: SignOptions) => {
      const { audience, ttl } = options
      const wish: NewSignedToken = {
        audience,
        ...limitsOf(options),
        ...(ttl === undefined ? {} : { ttlSeconds: ttl }),
      }
      const made = await connect(terminal).tokens.sign(wish)
      answerSecret(terminal, {
        ...options,
        document: made,
        secret: made.jwt,
        before: visible(`Signed for ${made.audience}, until ${made.expiresAt}.`),
        after: ['Whoever has it may do as much until then: hand it to that service alone.'],
      })
    })

  leaf(token, 'tree', {
    summary: 'A token, those it comes from, and those that come from it',
    details: 'Revoking a token kills everything below it.',
    examples: ['mintmark token tree <id>'],
  })
    .argument('<id>', 'id of the token, or self for the one in use')
    .action(async (id: string, options: JsonOption) => {
      const client = connect(terminal)
      const tree = await client.tokens.tree(await tokenIdOf(client, id))
      answer(terminal, { ...options, document: tree, text: () => drawn(tree, terminal) })
    })
}

/** Signed tokens live for minutes; a service that does not ask learns late of what it is not told. */
function ttlOf(text: string): number {
  const ttl = seconds(text)
  if (ttl >= 1 && ttl <= LONGEST_TTL_SECONDS) return ttl
  throw new InvalidArgumentError('Say a time from 1s to 15m.')
}

function narrowing(command: Command): Command {
  return command
    .option('--access-level <level>', 'READ_ONLY or FULL_ACCESS', accessLevelOf)
    .option('--role <name>', 'a role it carries; may be repeated', repeated)
    .option('--no-roles', 'it carries no roles')
    .option(
      '--group <group:mode>',
      'a group by name or id with READ, WRITE or ADMIN (READ when left out); may be repeated',
      groupGrants,
    )
    .option('--no-groups', 'it carries no groups')
    .option('--scope <scope>', 'a scope it carries; may be repeated', repeated)
    .option('--no-scopes', 'it carries no scopes')
    .option('--allowed-ip <address>', 'address or CIDR range; may be repeated', repeated)
}

function limitsOf(options: NarrowingOptions) {
  const { accessLevel, allowedIp } = options
  const roles = options.roles ? options.role : []
  const groups = options.groups ? options.group : []
  const scopes = options.scopes ? options.scope : []
  return {
    ...(accessLevel === undefined ? {} : { accessLevel }),
    ...(roles === undefined ? {} : { roles }),
    ...(groups === undefined ? {} : { groups }),
    ...(scopes === undefined ? {} : { scopes }),
    ...(allowedIp === undefined ? {} : { allowedIps: allowedIp }),
  }
}

function drawn({ ancestors, token, descendants, more }: TokenTree, { stdout }: Terminal): string {
  const all = [...ancestors, token, ...descendants]
  const children = Map.groupBy(all, ({ parentId }) => parentId)
  const [root = token] = all
  const line = (each: Token) => {
    const text = lineOf(each)
    return each.id === token.id ? styleText('bold', text, { stream: stdout }) : text
  }
  const below = (each: Token, indent: string): string[] =>
    (children.get(each.id) ?? []).flatMap((child, i, siblings) => {
      const isLast = i === siblings.length - 1
      return [
        `${indent}${isLast ? '└─ ' : '├─ '}${line(child)}`,
        ...below(child, `${indent}${isLast ? '   ' : '│  '}`),
      ]
    })
  const note = more ? ['There are more, which are not shown.'] : []
  return [line(root), ...below(root, ''), ...note].join('\n')
}

function lineOf({ id, name, kind, state, accessLevel, expiresAt }: Token): string {
  const end = state === 'active' ? `until ${minute(expiresAt)}` : state
  return visible(`${name ?? kind}  ${id}  ${accessLevel}  ${end}`)
}
