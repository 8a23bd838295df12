import { LEAK_ACTIONS, type LeakAction, type Policy } from './policy.ts'
import { CREATORS, type Creators, LAX, type TokenRule } from './rule.ts'

/** Whether a value has the shape that this release reads there. */
type Shape = (value: unknown) => boolean

const isNumber: Shape = (value) => Number.isSafeInteger(value)
const isFlag: Shape = (value) => typeof value === 'boolean'
const isText: Shape = (value) => typeof value === 'string'
const listOf =
  (each: Shape): Shape =>
  (value) =>
    Array.isArray(value) && value.every(each)
const orNull =
  (shape: Shape): Shape =>
  (value) =>
    value === null || shape(value)
/** CIDR, or one address; what else there may be one day is no range here. */
const isRange: Shape = (value) => typeof value === 'string' && /^[\da-f.:]+(\/\d+)?$/i.test(value)
const isRate: Shape = (value) => {
  const { requests, windowSeconds, ...more } = value as Record<string, unknown>
  return isNumber(requests) && isNumber(windowSeconds) && saysNothing(more)
}

const RULE: { [K in Exclude<keyof TokenRule, 'isUnclear'>]: Shape } = {
  name: isText,
  description: isText,
  // Tokens of a kind that is unknown here are refused, whatever the rules say.
  kinds: orNull(listOf(isText)),
  groups: orNull(listOf(isText)),
  maxTtlSeconds: orNull(isNumber),
  defaultTtlSeconds: orNull(isNumber),
  idleSeconds: orNull(isNumber),
  requiresDescription: isFlag,
  allowedIps: orNull(listOf(isRange)),
  roles: orNull(listOf(isText)),
  scopes: orNull(listOf(isText)),
  createdBy: (value) => CREATORS.includes(value as Creators),
  rate: orNull((value) => typeof value === 'object' && isRate(value)),
  noticeSeconds: listOf(isNumber),
}

const POLICY: { [K in Exclude<keyof Policy, 'tokenRules'>]: Shape } = {
  usersMayCreateTokens: isFlag,
  tokensMayMintChildren: isFlag,
  sessionTtlSeconds: isNumber,
  sessionIdleSeconds: isNumber,
  defaultTokenTtlSeconds: orNull(isNumber),
  maxTokenTtlSeconds: orNull(isNumber),
  rotationOverlapSeconds: isNumber,
  lockoutEnabled: isFlag,
  lockoutAttempts: isNumber,
  lockoutSeconds: isNumber,
  passwordTtlSeconds: orNull(isNumber),
  passwordExpirationWarning: isFlag,
  retentionSeconds: isNumber,
  useMinutesSeconds: isNumber,
  useHoursSeconds: isNumber,
  useDaysSeconds: isNumber,
  noticeSeconds: listOf(isNumber),
  // For what else might be done with a leaked token the default stands in, which stops the thief.
  leakAction: isText,
}

const UNCLEAR =
  'Only a newer release of Mintmark understands this. Servers of this one refuse every token that it applies to.'

/** Stands for a policy that says something beyond its rules which is unheard of here: it applies to all tokens. */
const EVERYTHING: TokenRule = {
  ...LAX,
  name: 'of a newer release',
  description: UNCLEAR,
  isUnclear: true,
}

/**
 * The policy as it is stored, as far as this release understands it. Beside a newer one it need not: what a
 * newer one adds to a rule, other than null, makes the rule unclear, and so does any other shape of what there is.
 * Settings of the whole policy may be added freely; those that restrict tokens are named in `mustKnow`.
 */
export function understoodPolicy(stored: Readonly<Record<string, unknown>>): Partial<Policy> {
  const { tokenRules = [], mustKnow = [], ...settings } = stored
  const misread = Object.entries(POLICY).filter(
    ([name, shape]) => name in settings && !shape(settings[name]),
  )
  const isClear =
    misread.length === 0 &&
    Array.isArray(tokenRules) &&
    Array.isArray(mustKnow) &&
    // This release knows no such word.
    mustKnow.length === 0
  const read = Object.fromEntries(
    Object.entries(settings)
      .filter(([name]) => !misread.some(([each]) => each === name))
      // JSON has no undefined; a limit that was taken away is stored as null.
      .map(([name, value]) => [name, value ?? undefined]),
  ) as Partial<Policy>
  if (!LEAK_ACTIONS.includes(read.leakAction as LeakAction)) delete read.leakAction
  const rules = Array.isArray(tokenRules) ? tokenRules.map(understoodRule) : []
  if (isClear && stored.tokenRules === undefined) return read
  return { ...read, tokenRules: isClear ? rules : [...rules, EVERYTHING] }
}

/**
 * A rule that is not clear keeps its name and, if they are clear, the kinds and groups that it applies to. What
 * is added to rules may narrow those; what widens them must be named in the `mustKnow` of the policy.
 */
function understoodRule(stored: unknown): TokenRule {
  if (typeof stored !== 'object' || stored === null) return EVERYTHING
  // What releases before did not know of says nothing.
  const rule: Record<string, unknown> = { ...LAX, ...stored }
  const more = Object.entries(rule).filter(([name]) => !Object.hasOwn(RULE, name))
  const unclear = Object.entries(RULE).filter(([name, shape]) => !shape(rule[name]))
  if (unclear.length === 0 && saysNothing(Object.fromEntries(more))) {
    return rule as unknown as TokenRule
  }
  const { name, kinds, groups } = { ...rule, ...without(unclear) } as Partial<TokenRule>
  return {
    ...EVERYTHING,
    ...(name === undefined ? {} : { name }),
    kinds: kinds ?? null,
    groups: groups ?? null,
  }
}

function without(members: readonly [string, unknown][]): Record<string, undefined> {
  return Object.fromEntries(members.map(([name]) => [name, undefined]))
}

function saysNothing(more: Record<string, unknown>): boolean {
  return Object.values(more).every((value) => value === null)
}
