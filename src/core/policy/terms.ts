import type { GroupId } from '../id.ts'
import type { TokenKind } from '../tokens/token.ts'
import type { Policy } from './policy.ts'
import {
  type Creators,
  isCreated,
  isMetered,
  isPresented,
  type Rate,
  type TokenRule,
} from './rule.ts'

/** A limit, and who says so. */
export interface Term<T> {
  value: T
  /** Name of the rule; undefined: the policy's own setting. */
  rule: string | undefined
}

/** Everything that the policy says about tokens of one kind and owner. Of lists, each entry counts. */
export interface Terms {
  maxTtlSeconds: Term<number> | undefined
  defaultTtlSeconds: Term<number> | undefined
  idleSeconds: Term<number> | undefined
  description: Term<true> | undefined
  allowedIps: readonly Term<readonly string[]>[]
  roles: readonly Term<readonly string[]>[]
  scopes: readonly Term<readonly string[]>[]
  creators: readonly Term<{ by: Exclude<Creators, 'anyone'>; groups: readonly GroupId[] }>[]
  rates: readonly Term<Rate>[]
  /** A rule that only a newer release understands. */
  unclear: Term<true> | undefined
  /** Longest first. */
  noticeSeconds: readonly number[]
}

/** Whose tokens, and which. */
export interface TokenSubject {
  kind: TokenKind
  /** Groups that the owner is a member of now. */
  groups: { has(id: GroupId): boolean }
}

/** Whether the policy has nothing to say about tokens that exist. */
export function isLax({ tokenRules, maxTokenTtlSeconds }: Policy): boolean {
  return tokenRules.length === 0 && maxTokenTtlSeconds === undefined
}

/** Combines all rules that apply with the policy's own settings: the strictest of each counts. */
export function termsFor(policy: Policy, subject: TokenSubject): Terms {
  const { kind } = subject
  const rules = policy.tokenRules.filter((rule) => applies(rule, subject))
  const own = (value: number | undefined) =>
    value === undefined || !isCreated(kind) ? undefined : { value, rule: undefined }
  const least = (first: Term<number> | undefined, of: (rule: TokenRule) => number | null) =>
    strictest(first, terms(rules, of))
  const created = isCreated(kind) ? rules : []
  const presented = isPresented(kind) ? rules : []
  // A login stands for its user, with all that the user may do.
  const limited = kind === 'session' ? [] : rules
  return {
    maxTtlSeconds: least(own(policy.maxTokenTtlSeconds), (rule) => rule.maxTtlSeconds),
    defaultTtlSeconds: least(own(policy.defaultTokenTtlSeconds), (rule) =>
      isCreated(kind) ? rule.defaultTtlSeconds : null,
    ),
    idleSeconds: strictest(
      undefined,
      terms(presented, (rule) => rule.idleSeconds),
    ),
    description: terms(created, (rule) => (rule.requiresDescription ? (true as const) : null))[0],
    allowedIps: terms(presented, (rule) => rule.allowedIps),
    roles: terms(limited, (rule) => rule.roles),
    scopes: terms(limited, (rule) => rule.scopes),
    creators: terms(created, ({ createdBy, groups }) =>
      createdBy === 'anyone' ? null : { by: createdBy, groups: groups ?? [] },
    ),
    rates: isMetered(kind) ? terms(rules, (rule) => rule.rate) : [],
    unclear: terms(rules, (rule) => rule.isUnclear ?? null)[0],
    noticeSeconds: [...new Set(rules.flatMap((rule) => rule.noticeSeconds))].toSorted(
      (a, b) => b - a,
    ),
  }
}

function applies({ kinds, groups }: TokenRule, subject: TokenSubject): boolean {
  if (kinds !== null && !kinds.includes(subject.kind)) return false
  return groups?.some((id) => subject.groups.has(id)) ?? true
}

/** What those rules say that say anything, in their order. */
function terms<T>(rules: readonly TokenRule[], of: (rule: TokenRule) => T | null): Term<T>[] {
  return rules.flatMap((rule) => {
    const value = of(rule)
    return value === null ? [] : [{ value, rule: rule.name }]
  })
}

function strictest(
  first: Term<number> | undefined,
  others: readonly Term<number>[],
): Term<number> | undefined {
  return others.reduce<Term<number> | undefined>(
    (least, term) => (least === undefined || term.value < least.value ? term : least),
    first,
  )
}

/** `the rule "ci"`, or the policy itself. */
export function namedBy({ rule }: { rule: string | undefined }): string {
  return rule === undefined ? 'the policy' : `the rule "${rule}"`
}
