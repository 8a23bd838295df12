import { checkAddressRanges } from '../bounds.ts'
import { CoreError } from '../errors.ts'
import type { GroupId } from '../id.ts'
import { checkScope } from '../roles/role.ts'
import { checkName, checkProse, nameKey } from '../text.ts'
import { isOauthKind, type TokenKind } from '../tokens/token.ts'

export const CREATORS = ['anyone', 'group_admins', 'admins'] as const
/** Who may create and rotate tokens: whoever may anyhow, ADMINs of the rule's groups, or admins alone. */
export type Creators = (typeof CREATORS)[number]

/** So many requests at once, and as many again evenly over each window. */
export interface Rate {
  requests: number
  windowSeconds: number
}

/**
 * What the tokens in its scope must keep to. Rules only narrow: of all that apply to a token, and of the
 * policy's own settings, the strictest counts. Null: the rule says nothing about it.
 */
export interface TokenRule {
  /** Unique among the rules, whatever the case. */
  name: string
  description: string
  /** Kinds of tokens that it applies to; null: all. */
  kinds: readonly TokenKind[] | null
  /** Applies to tokens whose owner is a member of one of these; null: whoever owns them. */
  groups: readonly GroupId[] | null
  /** Longest lifetime, counted from creation; binds tokens that exist, too. */
  maxTtlSeconds: number | null
  /** Lifetime of a token when its creator names none. */
  defaultTtlSeconds: number | null
  /** A token that nobody used for so long has ended. */
  idleSeconds: number | null
  requiresDescription: boolean
  /** Client addresses (CIDR) that a token may be presented from. */
  allowedIps: readonly string[] | null
  /** Roles and scopes that a token can have at most. */
  roles: readonly string[] | null
  scopes: readonly string[] | null
  createdBy: Creators
  rate: Rate | null
  /** How long before its end people want to hear of it, the longest first. */
  noticeSeconds: readonly number[]
  /** Only a newer release knows all that it says; never stored. See understood.ts. */
  isUnclear?: true
}

/** A rule that says nothing. */
export const LAX: Omit<TokenRule, 'name'> = {
  description: '',
  kinds: null,
  groups: null,
  maxTtlSeconds: null,
  defaultTtlSeconds: null,
  idleSeconds: null,
  requiresDescription: false,
  allowedIps: null,
  roles: null,
  scopes: null,
  createdBy: 'anyone',
  rate: null,
  noticeSeconds: [],
}

export const MAX_RULES = 100
const MAX_LISTED = 200
const MAX_TTL_SECONDS = 36_600 * 86_400
const MAX_IDLE_SECONDS = 3650 * 86_400
const MAX_REQUESTS = 1_000_000
const MAX_WINDOW_SECONDS = 31 * 86_400
const MAX_NOTICES = 20

/** Kinds that people create and name. */
export function isCreated(kind: TokenKind): boolean {
  return kind === 'api' || kind === 'service'
}

/** Checks and canonicalises rules; whether their groups exist is for the caller. Throws `invalid_input`. */
export function checkRules(rules: readonly TokenRule[]): TokenRule[] {
  if (rules.length > MAX_RULES) throw invalid(`There can be ${MAX_RULES} rules at most.`)
  const checked = rules.map(checkRule)
  const keys = new Set<string>()
  for (const { name } of checked) {
    if (keys.has(nameKey(name))) throw invalid(`Two rules are named "${name}". Rename one of them.`)
    keys.add(nameKey(name))
  }
  return checked
}

function checkRule(rule: TokenRule): TokenRule {
  const name = checkName(rule.name, { what: 'The name of a rule', maxLength: 100 })
  const what = (member: string) => `${member} of the rule "${name}"`
  const checked: TokenRule = {
    name,
    description: checkProse(rule.description, { what: what('The description'), maxLength: 2000 }),
    kinds: checkList(rule.kinds, what('kinds')),
    groups: checkList(rule.groups, what('groups')),
    maxTtlSeconds: checkNumber(rule.maxTtlSeconds, MAX_TTL_SECONDS, what('maxTtlSeconds')),
    defaultTtlSeconds: checkNumber(
      rule.defaultTtlSeconds,
      MAX_TTL_SECONDS,
      what('defaultTtlSeconds'),
    ),
    idleSeconds: checkNumber(rule.idleSeconds, MAX_IDLE_SECONDS, what('idleSeconds')),
    requiresDescription: rule.requiresDescription,
    allowedIps: checkAddresses(rule.allowedIps, what('allowedIps')),
    roles: bounded(rule.roles, what('roles')),
    scopes: bounded(rule.scopes, what('scopes'))?.map(checkScope) ?? null,
    createdBy: rule.createdBy,
    rate: checkRate(rule.rate, what('rate')),
    noticeSeconds: checkNotices(rule.noticeSeconds, what('noticeSeconds')),
  }
  mustMakeSense(checked)
  return checked
}

function checkNumber(value: number | null, most: number, what: string): number | null {
  if (value === null || (Number.isSafeInteger(value) && value >= 1 && value <= most)) return value
  throw invalid(`${what} must be a whole number from 1 to ${most}.`)
}

/** Each once. */
function bounded<T>(values: readonly T[] | null, what: string): T[] | null {
  if (values === null) return null
  if (values.length > MAX_LISTED) throw invalid(`${what} can name ${MAX_LISTED} at most.`)
  return [...new Set(values)]
}

function checkList<T>(values: readonly T[] | null, what: string): T[] | null {
  const listed = bounded(values, what)
  if (listed?.length === 0) throw invalid(`${what} must name something, or be null for all.`)
  return listed
}

function checkAddresses(ranges: readonly string[] | null, what: string): string[] | null {
  const listed = checkList(ranges, what)
  return listed === null ? null : checkAddressRanges(listed)
}

function checkRate(rate: Rate | null, what: string): Rate | null {
  if (rate === null) return null
  checkNumber(rate.requests, MAX_REQUESTS, `requests in ${what}`)
  checkNumber(rate.windowSeconds, MAX_WINDOW_SECONDS, `windowSeconds in ${what}`)
  return { requests: rate.requests, windowSeconds: rate.windowSeconds }
}

function checkNotices(seconds: readonly number[], what: string): number[] {
  if (seconds.length > MAX_NOTICES) throw invalid(`${what} can name ${MAX_NOTICES} times at most.`)
  for (const each of seconds) checkNumber(each, MAX_TTL_SECONDS, `Each of ${what}`)
  return [...new Set(seconds)].toSorted((a, b) => b - a)
}

/** Refuses what would look like a limit and be none. */
function mustMakeSense(rule: TokenRule): void {
  const { name, kinds, groups, createdBy, defaultTtlSeconds, requiresDescription } = rule
  if (createdBy === 'group_admins' && groups === null) {
    throw invalid(`The rule "${name}" lets ADMINs of its groups create tokens, but names no group.`)
  }
  const isAboutCreating =
    createdBy !== 'anyone' || requiresDescription || defaultTtlSeconds !== null
  if (isAboutCreating && kinds !== null && !kinds.some(isCreated)) {
    throw invalid(
      `createdBy, requiresDescription and defaultTtlSeconds are about api and service tokens, to which the rule "${name}" does not apply.`,
    )
  }
  const limitsRights = rule.roles !== null || rule.scopes !== null
  if (limitsRights && kinds?.every((kind) => kind === 'session')) {
    throw invalid(
      `The rule "${name}" cannot limit roles or scopes of sessions: a login stands for its user. Take roles from the user instead.`,
    )
  }
  const isRateOnly = rule.rate !== null || rule.idleSeconds !== null
  if (isRateOnly && kinds?.every((kind) => kind === 'oauth_code')) {
    throw invalid(
      `The rule "${name}" cannot count the uses of authorization codes: each is used once.`,
    )
  }
}

/** Whether uses of a token are counted and told apart by where they come from. */
export function isPresented(kind: TokenKind): boolean {
  return kind !== 'oauth_code'
}

/** Whether a token asks on each request, rather than once at the token endpoint. */
export function isMetered(kind: TokenKind): boolean {
  return !isOauthKind(kind) || kind === 'oauth_access'
}

function invalid(message: string): CoreError {
  return new CoreError('invalid_input', message)
}
