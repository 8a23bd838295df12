import type { TokenKind, TokenRule, TokenRuleSettings } from '@mintmark/sdk'
import { type Command, InvalidArgumentError } from 'commander'
import { type ChangeOption, changing } from '../change.ts'
import { branch, leaf, repeated } from '../command.ts'
import { connect } from '../connect.ts'
import { answer, type JsonOption, tableOr } from '../output.ts'
import type { Terminal } from '../terminal.ts'
import { visible } from '../text.ts'
import { durationSeconds, inWords, oneOf, seconds } from '../values.ts'

const KINDS: readonly TokenKind[] = [
  'api',
  'service',
  'session',
  'oauth_code',
  'oauth_access',
  'oauth_refresh',
]
const CREATORS: readonly TokenRule['createdBy'][] = ['anyone', 'group_admins', 'admins']

interface RuleOptions extends ChangeOption {
  description?: string
  kind?: TokenKind[]
  group?: string[]
  maxTtl?: number
  defaultTtl?: number
  idle?: number
  requireDescription?: boolean
  ip?: string[]
  role?: string[]
  scope?: string[]
  createdBy?: TokenRule['createdBy']
  rate?: NonNullable<TokenRule['rate']>
  notice?: number[]
}

export function ruleCommands(policy: Command, terminal: Terminal): void {
  const rule = branch(policy, 'rule', 'Rules about tokens of some kinds or groups')
  listRules(rule, terminal)
  setRule(rule, terminal)

  changing(rule, 'remove', {
    summary: 'Remove a rule',
    examples: ['mintmark policy rule remove ci'],
  })
    .argument('<name>')
    .action(async (name: string, options: ChangeOption) => {
      await connect(terminal, options).policy.removeRule(name)
      answer(terminal, {
        ...options,
        document: { removed: name },
        text: () => `Removed the rule ${visible(name)}.`,
      })
    })
}

function listRules(rule: Command, terminal: Terminal): void {
  leaf(rule, 'list', { summary: 'List the rules' }).action(async (options: JsonOption) => {
    const { tokenRules } = await connect(terminal).policy.get()
    answer(terminal, {
      ...options,
      document: { items: tokenRules },
      text: () =>
        tableOr(terminal, {
          rows: tokenRules,
          empty: 'There are no rules.',
          columns: [
            { title: 'NAME', of: ({ name }) => name, whole: true },
            { title: 'KINDS', of: ({ kinds }) => kinds?.join(' ') ?? 'all' },
            { title: 'GROUPS', of: ({ groups }) => groups?.join(' ') ?? 'all' },
            { title: 'SAYS', of: sayingOf },
          ],
        }),
    })
  })
}

function setRule(rule: Command, terminal: Terminal): void {
  changing(rule, 'set', {
    summary: 'Make a rule, or replace the one of that name',
    details:
      'Of all rules that apply to a token, and of the policy itself, the strictest counts. What is left out, the rule says nothing about. Try it before with `mintmark policy test`.',
    examples: [
      'mintmark policy rule set ci --kind api --group ci --max-ttl 30d --require-description',
      'mintmark policy rule set office --kind session --ip 192.0.2.0/24 --ip 2001:db8::/32',
      'mintmark policy rule set fair --kind api --rate 600/1m',
    ],
  })
    .argument('<name>')
    .option('--description <text>', 'what the rule is for')
    .option('--kind <kind>', 'tokens of this kind; may be repeated', each(oneOf(KINDS)))
    .option('--group <group>', 'tokens of members of this group; may be repeated', repeated)
    .option('--max-ttl <time>', 'longest lifetime, counted from creation', seconds)
    .option('--default-ttl <time>', 'lifetime where the creator names none', seconds)
    .option('--idle <time>', 'end tokens that nobody used for so long', seconds)
    .option('--require-description', 'refuse tokens without a description')
    .option('--ip <range>', 'client addresses that may present them; may be repeated', repeated)
    .option('--role <role>', 'a role that they may have at most; may be repeated', repeated)
    .option('--scope <scope>', 'a scope that they may have at most; may be repeated', repeated)
    .option('--created-by <who>', 'anyone, group_admins or admins', oneOf(CREATORS))
    .option('--rate <requests/time>', 'uses of each token, such as 600/1m', rateOf)
    .option('--notice <time>', 'how long before the end to tell; may be repeated', each(seconds))
    .action(async (name: string, options: RuleOptions) => {
      const { tokenRules } = await connect(terminal, options).policy.setRule(
        name,
        settingsOf(options),
      )
      const made = tokenRules.find((each) => each.name.toLowerCase() === name.toLowerCase())
      const text = () => (made === undefined ? name : `${made.name}: ${sayingOf(made)}`)
      answer(terminal, { ...options, document: made, text })
    })
}

function settingsOf(options: RuleOptions): TokenRuleSettings {
  const { requireDescription, notice = [], description = '', createdBy = 'anyone' } = options
  return {
    description,
    kinds: options.kind ?? null,
    groups: options.group ?? null,
    maxTtlSeconds: options.maxTtl ?? null,
    defaultTtlSeconds: options.defaultTtl ?? null,
    idleSeconds: options.idle ?? null,
    requiresDescription: requireDescription === true,
    allowedIps: options.ip ?? null,
    roles: options.role ?? null,
    scopes: options.scope ?? null,
    createdBy,
    rate: options.rate ?? null,
    noticeSeconds: notice,
  }
}

function each<T>(parse: (text: string) => T) {
  return (text: string, before: T[] = []): T[] => [...before, parse(text)]
}

function rateOf(text: string): NonNullable<TokenRule['rate']> {
  const [, requests, time = ''] = /^(\d{1,7})\/(\d{1,6}[smhdw])$/.exec(text) ?? []
  const windowSeconds = durationSeconds(time)
  if (requests === undefined || windowSeconds === undefined) {
    throw new InvalidArgumentError('Write a rate like 600/1m: so many requests in such a time.')
  }
  return { requests: Number(requests), windowSeconds }
}

/** What a rule demands, in few words. */
function sayingOf(rule: TokenRule): string {
  const list = (what: string, values: string[] | null) =>
    values === null ? [] : [`${what} ${values.length === 0 ? 'none' : values.join(' ')}`]
  const time = (what: string, value: number | null) =>
    value === null ? [] : [`${what} ${inWords(value)}`]
  const { rate } = rule
  const sayings = [
    ...time('at most', rule.maxTtlSeconds),
    ...time('by default', rule.defaultTtlSeconds),
    ...time('idle', rule.idleSeconds),
    ...(rule.requiresDescription ? ['described'] : []),
    ...list('from', rule.allowedIps),
    ...list('roles', rule.roles),
    ...list('scopes', rule.scopes),
    ...(rule.createdBy === 'anyone' ? [] : [`created by ${rule.createdBy}`]),
    ...(rate === null ? [] : [`${rate.requests} uses in ${inWords(rate.windowSeconds)}`]),
    ...(rule.noticeSeconds.length === 0
      ? []
      : [`notice ${rule.noticeSeconds.map(inWords).join(', ')}`]),
  ]
  return sayings.length === 0 ? 'nothing' : sayings.join('; ')
}
