import type { Clock } from '../clock.ts'
import type { Mode } from '../groups/group.ts'
import type { TokenId, UserId } from '../id.ts'
import { addressTest } from '../ip.ts'
import type { Keyring } from '../keys/keyring.ts'
import { effectiveRights, hasGroup, hasScope, type Owner, type Principal } from '../rights.ts'
import { digestOf, formatOf, type SecretDigest } from '../secret.ts'
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

export interface Verifier {
  /**
   * Is this secret good, and for this? Answers synchronously when the secret is known to the cache or
   * malformed, and never writes: uses are collected in memory.
   */
  verify(secret: string, demand?: Demand): Verdict | Promise<Verdict>
  /** The same for a token named by something derived from it, such as a signed access token. */
  verifyById(id: TokenId, demand?: Demand): Verdict | Promise<Verdict>
  /** Forgets everything cached. */
  clear(): void
  cachedEntries(): number
}

const NO_DEMAND: Demand = Object.freeze({})
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
}): Verifier {
  const { store, keyring, clock, usage } = deps
  const cache: VerdictCache = verdictCache(deps.maxCachedTokens)
  store.onChange((changes) => cache.apply(changes))

  function verify(secret: string, demand = NO_DEMAND): Verdict | Promise<Verdict> {
    if (formatOf(secret) === undefined) return MALFORMED
    const digest = digestOf(secret, keyring.pepper())
    const entry = cache.byDigest(digest)
    return entry === undefined ? verifyCold(secret, digest, demand) : decide(entry, demand)
  }

  async function verifyCold(
    secret: string,
    digest: SecretDigest,
    demand: Demand,
  ): Promise<Verdict> {
    const epoch = cache.epoch()
    for (const pepper of keyring.peppers()) {
      const candidate = pepper === keyring.pepper() ? digest : digestOf(secret, pepper)
      const token = await store.tokens.byDigest(candidate)
      // Cached under the current digest, because that is the one looked up next time.
      if (token !== undefined) return admit(token, { digest, epoch, demand })
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
    // No secret was presented; the id keeps its place, and no digest looks like one.
    return admit(token, { digest: id as string as SecretDigest, epoch, demand })
  }

  async function admit(
    token: Token,
    found: { digest: SecretDigest; epoch: number; demand: Demand },
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
      digest: found.digest,
      principal,
      addresses:
        token.limits.allowedIps === null ? undefined : addressTest(token.limits.allowedIps),
      active: { active: true, principal },
      lastUsedAtMs: usage.lastUsedAtMs(token.id) ?? token.lastUsedAtMs ?? token.createdAtMs,
    }
    cache.put(entry, found.epoch)
    return decide(entry, found.demand)
  }

  function decide(entry: CacheEntry, demand: Demand): Verdict {
    const nowMs = clock.now()
    const reason = whyDead(entry, nowMs) ?? whyUnfit(entry, demand)
    if (reason !== undefined) return { active: false, reason, principal: entry.principal }
    entry.lastUsedAtMs = nowMs
    usage.record(entry.principal.token.id, nowMs, demand.ip)
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
    clear: () => cache.clear(),
    cachedEntries: () => cache.size(),
  }
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
