import type { Policy } from '@mintmark/sdk'
import type { Command } from 'commander'
import { type ChangeOption, changing } from '../change.ts'
import { branch, leaf } from '../command.ts'
import { connect } from '../connect.ts'
import { wrongUsage } from '../failure.ts'
import { answer, type JsonOption } from '../output.ts'
import { facts } from '../table.ts'
import type { Terminal } from '../terminal.ts'
import { durationSeconds, inWords } from '../values.ts'
import { ruleCommands } from './policy-rule.ts'
import { testPolicy } from './policy-test.ts'

export function policyCommands(program: Command, terminal: Terminal): void {
  const policy = branch(program, 'policy', 'Show and change what the organisation decided')

  leaf(policy, 'show', { summary: 'Show the policy in force' }).action(
    async (options: JsonOption) => {
      const document = await connect(terminal).policy.get()
      answer(terminal, { ...options, document, text: () => spelled(document) })
    },
  )

  changing(policy, 'set', {
    summary: 'Change the policy',
    details:
      'Numbers of seconds may be written like 90d or 12h. `none` takes an optional limit away. Rules about tokens have commands of their own: `policy rule`.',
    examples: [
      'mintmark policy set usersMayCreateTokens=true',
      'mintmark policy set maxTokenTtlSeconds=90d passwordTtlSeconds=none',
      'mintmark policy set noticeSeconds=30d,7d,1d leakAction=revoke',
    ],
  })
    .argument('<key=value...>', 'keys as `policy show` names them')
    .action(async (pairs: string[], options: ChangeOption) => {
      const client = connect(terminal, options)
      const known = settingsOf(await client.policy.get())
      const document = await client.policy.update(editOf(pairs, known))
      answer(terminal, { ...options, document, text: () => spelled(document) })
    })

  ruleCommands(policy, terminal)
  testPolicy(policy, terminal)
}

type Settings = Omit<Policy, 'tokenRules'>

function settingsOf({ tokenRules: _, ...settings }: Policy): Settings {
  return settings
}

/** What a setting can be. */
type Value = boolean | number | string | number[] | null

/** `30d,7d,1d` → seconds; `none`: no notices. */
function noticesOf(text: string): number[] {
  if (text === 'none') return []
  return text.split(',').map((word) => {
    const seconds = durationSeconds(word.trim()) ?? Number(word)
    if (Number.isSafeInteger(seconds)) return seconds
    throw wrongUsage(`noticeSeconds cannot be "${text}". Say times like 30d,7d,1d or none.`)
  })
}

function editOf(pairs: string[], known: Settings): Partial<Settings> {
  return Object.assign({}, ...pairs.map((pair) => settingOf(pair, known)))
}

function settingOf(pair: string, known: Settings): object {
  const equals = pair.indexOf('=')
  const key = pair.slice(0, equals)
  if (equals < 0) throw wrongUsage(`"${pair}" is not like key=value.`)
  if (!Object.hasOwn(known, key)) {
    throw wrongUsage(`There is no "${key}". Say one of ${Object.keys(known).join(', ')}.`)
  }
  return { [key]: wantedOf(pair.slice(equals + 1), { key }) }
}

function wantedOf(text: string, { key }: { key: string }): Value {
  if (key === 'noticeSeconds') return noticesOf(text)
  if (key === 'leakAction') return text
  if (text === 'true' || text === 'false') return text === 'true'
  if (text === 'none' || text === 'null') return null
  const seconds = key.endsWith('Seconds') ? durationSeconds(text) : undefined
  if (seconds !== undefined) return seconds
  if (/^\d{1,15}$/.test(text)) return Number(text)
  throw wrongUsage(`${key} cannot be "${text}". Say true, false, none, a number, or like 90d.`)
}

function spelled(policy: Policy): string {
  const pairs = Object.entries<Value>({ ...settingsOf(policy) })
  const rules = policy.tokenRules.map(({ name }) => name).join(', ')
  return facts([
    ...pairs.map(([key, value]): [string, string] => [key, spelledValue(key, value)]),
    ['tokenRules', rules === '' ? 'none' : rules],
  ])
}

function spelledValue(key: string, value: Value): string {
  if (value === null) return 'none'
  if (!Array.isArray(value)) return withDays(key, value)
  return value.length === 0 ? 'none' : value.map((each) => withDays(key, each)).join(', ')
}

/** Seconds are exact, days are what people think in. */
function withDays(key: string, value: boolean | number | string): string {
  if (typeof value !== 'number' || !key.endsWith('Seconds') || value < 7200) return String(value)
  return `${value} (${inWords(value)})`
}
