import { hasGroup, hasScope } from '../rights.ts'
import type { CacheEntry } from './cache.ts'
import { isSuperseded } from './token.ts'
import type { Demand, Refusal } from './verdict.ts'

/** What is looked at in a token that is known. */
export type CheckName =
  | 'state'
  | 'expiry'
  | 'quarantine'
  | 'idle'
  | 'owner'
  | 'addresses'
  | 'policy'
  | 'audience'
  | 'proof'
  | 'role'
  | 'scope'
  | 'group'
  | 'rate'

/** Why a token fails; undefined: it passes, or nothing asks for it. */
type Check = (entry: CacheEntry, demand: Demand, nowMs: number) => Refusal | undefined

/**
 * The checks by name, in the order of `firstRefusal`; for whoever wants to know of each. Without the kind,
 * which only our own doors ask for.
 */
export const CHECKS: readonly (readonly [CheckName, Check])[] = [
  ['state', (entry, _, nowMs) => whyEnded(entry, nowMs)],
  ['expiry', (entry, _, nowMs) => whyExpired(entry, nowMs)],
  ['quarantine', whyQuarantined],
  ['idle', (entry, _, nowMs) => whyIdle(entry, nowMs)],
  ['owner', whyDisabled],
  ['addresses', whyNotFromThere],
  ['policy', whyAgainstPolicy],
  ['audience', whyNotForThem],
  ['proof', whyUnproven],
  ['role', whyWithoutRole],
  ['scope', whyWithoutScope],
  ['group', whyWithoutGroup],
  ['rate', (entry, _, nowMs) => whyTooOften(entry, nowMs)],
]

/**
 * The verdict on a known token as of `nowMs`; undefined: it is good. One line per check instead of a loop
 * over `CHECKS`, which costs three times as much where most time is spent; a test holds the two together.
 */
export function firstRefusal(
  entry: CacheEntry,
  demand: Demand,
  nowMs: number,
): Refusal | undefined {
  return (
    whyEnded(entry, nowMs) ??
    whyExpired(entry, nowMs) ??
    whyQuarantined(entry) ??
    whyIdle(entry, nowMs) ??
    whyDisabled(entry) ??
    whyOtherKind(entry, demand) ??
    whyNotFromThere(entry, demand) ??
    whyAgainstPolicy(entry, demand, nowMs) ??
    whyNotForThem(entry, demand) ??
    whyUnproven(entry, demand) ??
    whyWithoutRole(entry, demand) ??
    whyWithoutScope(entry, demand) ??
    whyWithoutGroup(entry, demand) ??
    whyTooOften(entry, nowMs)
  )
}

function whyEnded({ principal: { token } }: CacheEntry, nowMs: number): Refusal | undefined {
  if (token.revokedAtMs !== undefined) return 'revoked'
  return isSuperseded(token, nowMs) ? 'superseded' : undefined
}

function whyExpired({ saved: token }: CacheEntry, nowMs: number): Refusal | undefined {
  return token.expiresAtMs !== undefined && token.expiresAtMs <= nowMs ? 'expired' : undefined
}

function whyQuarantined({ principal: { token } }: CacheEntry): Refusal | undefined {
  return token.quarantinedAtMs === undefined ? undefined : 'quarantined'
}

function whyIdle(entry: CacheEntry, nowMs: number): Refusal | undefined {
  const endMs = idleEndMs(entry)
  return endMs !== undefined && endMs <= nowMs ? 'idle' : undefined
}

/**
 * When the token's own limit ends it for standing idle, unless it is used before; undefined: it may
 * stand idle.
 */
export function idleEndMs({ saved, lastUsedAtMs }: CacheEntry): number | undefined {
  return saved.idleSeconds === undefined ? undefined : lastUsedAtMs + saved.idleSeconds * 1000
}

/** The same by the policy. */
export function policyIdleEndMs({ policy, lastUsedAtMs }: CacheEntry): number | undefined {
  const seconds = policy?.idleSeconds?.value
  return seconds === undefined ? undefined : lastUsedAtMs + seconds * 1000
}

/** What the policy refuses has the same reason as if the token itself were limited so. */
function whyAgainstPolicy(entry: CacheEntry, { ip }: Demand, nowMs: number): Refusal | undefined {
  const { policy } = entry
  if (policy === undefined) return undefined
  if (policy.endMs !== undefined && policy.endMs.value <= nowMs) return 'expired'
  const idleMs = policyIdleEndMs(entry)
  if (idleMs !== undefined && idleMs <= nowMs) return 'idle'
  const isElsewhere = policy.addresses !== undefined && !policy.addresses(ip ?? '')
  return isElsewhere ? 'ip_not_allowed' : undefined
}

function whyTooOften({ budget }: CacheEntry, nowMs: number): Refusal | undefined {
  return budget?.refusal(nowMs) === undefined ? undefined : 'rate_limited'
}

function whyDisabled({ principal: { user } }: CacheEntry): Refusal | undefined {
  return user.active ? undefined : 'owner_disabled'
}

function whyOtherKind({ principal: { token } }: CacheEntry, { kinds }: Demand) {
  return kinds !== undefined && !kinds.includes(token.kind) ? 'wrong_kind' : undefined
}

/** A limited token whose client is not known cannot be shown to be within its limits. */
function whyNotFromThere({ addresses }: CacheEntry, { ip }: Demand): Refusal | undefined {
  return addresses !== undefined && !addresses(ip ?? '') ? 'ip_not_allowed' : undefined
}

function whyNotForThem({ principal: { token } }: CacheEntry, demand: Demand): Refusal | undefined {
  if (token.oauth === undefined || demand.ignoresBinding === true) return undefined
  return token.oauth.audience === demand.audience ? undefined : 'wrong_audience'
}

function whyUnproven({ principal: { token } }: CacheEntry, demand: Demand): Refusal | undefined {
  const boundKey = token.oauth?.boundKey
  if (boundKey === undefined || demand.ignoresBinding === true) return undefined
  return boundKey === demand.boundKey ? undefined : 'proof_missing'
}

type OfRights = Pick<CacheEntry, 'principal'>

/** The last three of the checks, which hang on the rights alone. */
export function whyWithoutRight(entry: OfRights, demand: Demand): Refusal | undefined {
  return (
    whyWithoutRole(entry, demand) ??
    whyWithoutScope(entry, demand) ??
    whyWithoutGroup(entry, demand)
  )
}

function whyWithoutRole({ principal: { rights } }: OfRights, { role }: Demand) {
  return role !== undefined && !rights.roles.has(role) ? 'role_missing' : undefined
}

function whyWithoutScope({ principal: { rights } }: OfRights, { scope }: Demand) {
  return scope !== undefined && !hasScope(rights, scope) ? 'scope_missing' : undefined
}

function whyWithoutGroup({ principal: { rights } }: OfRights, demand: Demand) {
  const { group, mode = 'READ' } = demand
  return group !== undefined && !hasGroup(rights, group, mode) ? 'group_missing' : undefined
}
