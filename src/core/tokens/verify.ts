import type { Clock } from '../clock.ts'
import type { Mode } from '../groups/group.ts'
import type { TokenId, UserId } from '../id.ts'
import { addressTest } from '../ip.ts'
import type { Keyring } from '../keys/keyring.ts'
import type { Random } from '../random.ts'
import { effectiveRights, hasGroup, hasScope, type Owner, type Principal } from '../rights.ts'
import { digestOf, formatOf, mayBeSecret, type SecretKey, secretKeys } from '../secret.ts'
import type { Store } from '../store.ts'
import { type CacheEntry, type VerdictCache, verdictCache } from './cache.ts'
import type { Token, TokenKind } from './token.ts'
import type { UsageCollector } from './usage.ts'

/** Why a token is refused. For callers allowed to know; everybody else hears a bare "no". */
export type Refusal =
  | 'malformed'
  | 'unknown'
  | 'revoked'
  | 'superseded'
  | 'expired'
  | 'idle'
  | 'owner_disabled'
  | 'wrong_kind'
  | 'ip_not_allowed'
  | 'role_missing'
  | 'scope_missing'
  | 'group_missing'
  | 'wrong_audience'
  | 'proof_missing'

export type Verdict =
  | { active: true; principal: Principal }
  | { active: false; reason: Refusal; principal: Principal | undefined }

/** What is asked of a token beyond being alive. */
export interface Demand {
  kinds?: readonly TokenKind[]
  role?: string
  scope?: string
  /** A group by id or exact name; `mode` defaults to READ. */
  group?: string
  mode?: Mode
  /** Address of the client that presented the token. */
  ip?: string
  /** Resource that the token is presented to; a token for a resource is good there and nowhere else. */
  audience?: string
  /** Thumbprint of the key whose possession the presenter has proven (DPoP). */
  boundKey?: string
  /** The asker looks at audience and key by itself. */
  ignoresBinding?: boolean
}

/** A secret that the cache holds. Nothing says that its token is alive. */
export interface KnownSecret {
  readonly key: SecretKey
  readonly principal: Principal
}

export interface Verifier {
  /**
   * Is this secret good, and for this? Answers synchronously when the secret is known to the cache or
   * malformed, and never writes: uses are collected in memory.
   */
  verify(secret: string, demand?: Demand): Verdict | Promise<Verdict>
  /** The same for a token named by something derived from it, such as a signed access token. */
  verifyById(id: TokenId, demand?: Demand): Verdict | Promise<Verdict>
  /** What the cache knows of a secret; decides nothing and counts no use. */
  lookUp(secret: string): KnownSecret | undefined
  /**
   * The verdict, as of now, on a secret looked up before and presented from `ip`; undefined: the cache
   * knows it no longer.
   */
  verifyKnown(key: SecretKey, ip: string): Verdict | undefined
  /** Forgets everything cached. */
  clear(): void
  cachedEntries(): number
}

/** Nothing beyond being alive; the object itself, so that this is seen at a glance. */
export const NO_DEMAND: Demand = Object.freeze({})
const MALFORMED: Verdict = Object.freeze({
  active: false,
  reason: 'malformed',
  principal: undefined,
})
const UNKNOWN: Verdict = Object.freeze({ active: false, reason: 'unknown', principal: undefined })

/** The one function behind every "is this token good?": verify, introspect, validate, authenticate. */
export function createVerifier(deps: {
  store: Store
  keyring: Keyring
  clock: Clock
  usage: UsageCollector
  loadOwner: (id: UserId) => Promise<Owner | undefined>
  maxCachedTokens: number
  random: Random
}): Verifier {
  const { store, keyring, clock, usage } = deps
  const keyOf = secretKeys(deps.random)
  const cache: VerdictCache = verdictCache(deps.maxCachedTokens)
  store.onChange((changes) => cache.apply(changes))

  function verify(secret: string, demand = NO_DEMAND): Verdict | Promise<Verdict> {
    if (!mayBeSecret(secret)) return MALFORMED
    const key = keyOf(secret)
    const entry = cache.byKey(key)
    if (entry !== undefined) return decide(entry, demand)
    // Only now, because what the cache holds was found fit before.
    return formatOf(secret) === undefined ? MALFORMED : verifyCold(secret, key, demand)
  }

  function lookUp(secret: string): KnownSecret | undefined {
    if (!mayBeSecret(secret)) return undefined
    return cache.byKey(keyOf(secret))
  }

  function verifyKnown(key: SecretKey, ip: string): Verdict | undefined {
    const entry = cache.byKey(key)
    if (entry === undefined) return undefined
    const nowMs = clock.now()
    return nowMs < entry.plainUntilMs ? accept(entry, nowMs, ip) : decide(entry, { ip })
  }

  async function verifyCold(secret: string, key: SecretKey, demand: Demand): Promise<Verdict> {
    const epoch = cache.epoch()
    for (const pepper of keyring.peppers()) {
      const token = await store.tokens.byDigest(digestOf(secret, pepper))
      if (token !== undefined) return admit(token, { key, epoch, demand })
    }
    return UNKNOWN
  }

  function verifyById(id: TokenId, demand = NO_DEMAND): Verdict | Promise<Verdict> {
    const entry = cache.byId(id)
    return entry === undefined ? verifyByIdCold(id, demand) : decide(entry, demand)
  }

  async function verifyByIdCold(id: TokenId, demand: Demand): Promise<Verdict> {
    const epoch = cache.epoch()
    const token = await store.tokens.byId(id)
    if (token === undefined) return UNKNOWN
    // No secret was presented; the id keeps its place, and no key looks like one.
    return admit(token, { key: id as string as SecretKey, epoch, demand })
  }

  async function admit(
    token: Token,
    found: { key: SecretKey; epoch: number; demand: Demand },
  ): Promise<Verdict> {
    const owner = await deps.loadOwner(token.ownerId)
    if (owner === undefined)
      return { active: false, reason: 'owner_disabled', principal: undefined }
    const principal: Principal = {
      user: owner.user,
      token,
      rights: effectiveRights(owner, token.limits),
    }
    const entry: CacheEntry = {
      key: found.key,
      principal,
      addresses:
        token.limits.allowedIps === null ? undefined : addressTest(token.limits.allowedIps),
      plainUntilMs: plainUntilMs(principal),
      active: { active: true, principal },
      lastUsedAtMs: usage.lastUsedAtMs(token.id) ?? token.lastUsedAtMs ?? token.createdAtMs,
    }
    cache.put(entry, found.epoch)
    return decide(entry, found.demand)
  }

  function decide(entry: CacheEntry, demand: Demand): Verdict {
    const nowMs = clock.now()
    const isPlain = demand === NO_DEMAND && nowMs < entry.plainUntilMs
    const reason = isPlain ? undefined : (whyDead(entry, nowMs) ?? whyUnfit(entry, demand))
    if (reason !== undefined) return { active: false, reason, principal: entry.principal }
    return accept(entry, nowMs, demand.ip)
  }

  function accept(entry: CacheEntry, nowMs: number, ip: string | undefined): Verdict {
    entry.lastUsedAtMs = nowMs
    usage.record(entry.principal.token.id, nowMs, ip)
    return entry.active
  }

  function whyDead(entry: CacheEntry, nowMs: number): Refusal | undefined {
    const { token, user } = entry.principal
    if (token.revokedAtMs !== undefined) return 'revoked'
    if (token.supersededAtMs !== undefined) return 'superseded'
    if (token.expiresAtMs !== undefined && token.expiresAtMs <= nowMs) return 'expired'
    if (token.idleSeconds !== undefined && isIdle(entry, token.idleSeconds, nowMs)) return 'idle'
    if (!user.active) return 'owner_disabled'
    return undefined
  }

  function isIdle(entry: CacheEntry, idleSeconds: number, nowMs: number): boolean {
    return entry.lastUsedAtMs + idleSeconds * 1000 <= nowMs
  }

  return {
    verify,
    verifyById,
    lookUp,
    verifyKnown,
    clear: () => cache.clear(),
    cachedEntries: () => cache.size(),
  }
}

/** As `whyDead` and `whyUnfit` would have it; what depends on more than the clock is never plain. */
function plainUntilMs({ token, user }: Principal): number {
  const isDead =
    token.revokedAtMs !== undefined || token.supersededAtMs !== undefined || !user.active
  const isConditional =
    token.idleSeconds !== undefined || token.limits.allowedIps !== null || token.oauth !== undefined
  return isDead || isConditional ? 0 : (token.expiresAtMs ?? Number.POSITIVE_INFINITY)
}

function whyUnfit(entry: CacheEntry, demand: Demand): Refusal | undefined {
  const { token, rights } = entry.principal
  if (demand.kinds !== undefined && !demand.kinds.includes(token.kind)) return 'wrong_kind'
  // A limited token whose client is not known cannot be shown to be within its limits.
  if (entry.addresses !== undefined && !entry.addresses(demand.ip ?? '')) return 'ip_not_allowed'
  if (token.oauth !== undefined && demand.ignoresBinding !== true) {
    if (token.oauth.audience !== demand.audience) return 'wrong_audience'
    if (token.oauth.boundKey !== undefined && token.oauth.boundKey !== demand.boundKey) {
      return 'proof_missing'
    }
  }
  if (demand.role !== undefined && !rights.roles.has(demand.role)) return 'role_missing'
  if (demand.scope !== undefined && !hasScope(rights, demand.scope)) return 'scope_missing'
  if (demand.group !== undefined && !hasGroup(rights, demand.group, demand.mode ?? 'READ')) {
    return 'group_missing'
  }
  return undefined
}
