import type { Clock } from '../clock.ts'
import type { TokenId, UserId } from '../id.ts'
import type { ImportedSecrets } from '../imports/find.ts'
import { type AddressTest, addressTest } from '../ip.ts'
import type { Keyring } from '../keys/keyring.ts'
import type { Policy } from '../policy/policy.ts'
import type { RateLimiter } from '../policy/rate.ts'
import { restrained, restraintOf } from '../policy/restraint.ts'
import type { Random } from '../random.ts'
import { effectiveRights, type Owner, type Principal, sharedRights } from '../rights.ts'
import { digestOf, formatOf, mayBeSecret, type SecretKey, secretKeys } from '../secret.ts'
import type { Store } from '../store.ts'
import type { OwnerCache } from '../users/owner-cache.ts'
import { type CacheEntry, type VerdictCache, verdictCache } from './cache.ts'
import { firstRefusal } from './checks.ts'
import { descentOf } from './lineage.ts'
import type { QuarantineAlarm } from './quarantine-alarm.ts'
import { endOf, isSuperseded, type Token, type UseVia } from './token.ts'
import type { AgentSource, UsageCollector } from './usage.ts'
import { type Demand, NO_DEMAND, type Verdict, type Yes } from './verdict.ts'

/** A secret that the cache holds. Nothing says that its token is alive. */
export interface KnownSecret {
  readonly key: SecretKey
  readonly principal: Principal
}

/** A token with all that decides about it; without an entry when its owner is gone. */
export interface Inspected {
  token: Token
  entry: CacheEntry | undefined
}

/** How a known secret was presented. */
export interface Presentation {
  readonly ip: string
  readonly via: UseVia
  readonly agent: AgentSource
}

export interface Verifier {
  /**
   * Is this secret good, and for this? Answers synchronously when the secret is known to the cache or
   * malformed, and never writes: uses are collected in memory.
   */
  verify(secret: string, demand?: Demand): Verdict | Promise<Verdict>
  /** The same for a token named by something derived from it, such as a signed access token. */
  verifyById(id: TokenId, demand?: Demand): Verdict | Promise<Verdict>
  /** The same by what the database says now, whatever this node remembers. */
  verifyStored(secret: string, demand?: Demand): Promise<Verdict>
  verifyStoredById(id: TokenId, demand?: Demand): Promise<Verdict>
  /** What the cache knows of a secret; decides nothing and counts no use. */
  lookUp(secret: string): KnownSecret | undefined
  /** Lets `lookUp` find the secret, if there is such a token. Decides nothing, and counts no use. */
  learn(secret: string): Promise<void>
  /**
   * Accepts, as of now, a secret looked up before, and counts that as a use. Undefined: `verify` is to decide;
   * nothing is counted, because it counts what it refuses.
   */
  verifyKnown(key: SecretKey, presented: Presentation): Yes | undefined
  /** What `verify` would decide about a secret, undecided; counts no use and caches nothing. */
  inspect(secret: string): Promise<Inspected | undefined>
  /** Whether an imported secret may be spelled like this, though none of ours is. */
  mayBeImported(secret: string): boolean
  /** What `verifyById` would decide about. */
  inspectById(id: TokenId): Promise<Inspected | undefined>
  /** Forgets everything cached. */
  clear(): void
  cachedEntries(): number
}

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
  policy: () => Policy
  limiter: RateLimiter
  loadOwner: (id: UserId) => Promise<Owner | undefined>
  /** The same from memory, as current as the cache of verdicts. */
  owners: OwnerCache
  maxCachedTokens: number
  random: Random
  imported: ImportedSecrets
  /** Hears of each use of a quarantined token; must not wait for anything. */
  alarm: Pick<QuarantineAlarm, 'record'>
}): Verifier {
  const { store, keyring, clock, usage, imported } = deps
  const { changes } = store
  const keyOf = secretKeys(deps.random)
  const cache: VerdictCache = verdictCache(deps.maxCachedTokens)
  store.onChange((changes) => cache.apply(changes))

  function verify(secret: string, demand = NO_DEMAND): Verdict | Promise<Verdict> {
    if (!changes.isCurrent()) return changes.catchUp().then(() => verify(secret, demand))
    if (!mayBeSecret(secret)) return verifyForeign(secret, demand)
    const key = keyOf(secret)
    const entry = cache.byKey(key)
    if (entry !== undefined) return decide(entry, demand)
    // Only now, because what the cache holds was found fit before.
    return formatOf(secret) === undefined ? MALFORMED : verifyCold(secret, key, demand)
  }

  /** Spelled unlike ours: only where such secrets were imported is there anything to look for. */
  function verifyForeign(secret: string, demand: Demand): Verdict | Promise<Verdict> {
    if (!imported.mayKnow(secret)) return MALFORMED
    const key = keyOf(secret)
    const entry = cache.byKey(key)
    return entry === undefined ? verifyCold(secret, key, demand) : decide(entry, demand)
  }

  function lookUp(secret: string): KnownSecret | undefined {
    if (!mayBeSecret(secret) && !imported.mayKnow(secret)) return undefined
    return cache.byKey(keyOf(secret))
  }

  async function learn(secret: string): Promise<void> {
    if (!changes.isCurrent()) await changes.catchUp()
    if (lookUp(secret) !== undefined) return
    if (formatOf(secret) === undefined && !imported.mayKnow(secret)) return
    const epoch = cache.epoch()
    const token = await stored(secret)
    const entry = token && (await entryOf(token, keyOf(secret), deps.owners.byId))
    if (entry !== undefined) cache.put(entry, epoch)
  }

  function verifyKnown(key: SecretKey, { ip, via, agent }: Presentation): Yes | undefined {
    const entry = changes.isCurrent() ? cache.byKey(key) : undefined
    if (entry === undefined) return undefined
    const nowMs = clock.now()
    if (nowMs < entry.plainUntilMs) return accept(entry, nowMs, ip, via, agent)
    const isGood =
      entry.budget === undefined && firstRefusal(entry, { ip, via }, nowMs) === undefined
    return isGood ? accept(entry, nowMs, ip, via, agent) : undefined
  }

  async function verifyCold(secret: string, key: SecretKey, demand: Demand): Promise<Verdict> {
    const epoch = cache.epoch()
    const token = (await stored(secret)) ?? (await imported.take(secret, demand.ip))
    return token === undefined ? UNKNOWN : admit(token, { key, epoch, demand })
  }

  async function stored(secret: string): Promise<Token | undefined> {
    for (const pepper of keyring.peppers()) {
      const token = await store.tokens.byDigest(digestOf(secret, pepper))
      if (token !== undefined) return token
    }
    return undefined
  }

  function verifyById(id: TokenId, demand = NO_DEMAND): Verdict | Promise<Verdict> {
    if (!changes.isCurrent()) return changes.catchUp().then(() => verifyById(id, demand))
    const entry = cache.byId(id)
    return entry === undefined ? verifyByIdCold(id, demand) : decide(entry, demand)
  }

  async function verifyByIdCold(id: TokenId, demand: Demand): Promise<Verdict> {
    const epoch = cache.epoch()
    const token = await store.tokens.byId(id)
    if (token === undefined) return UNKNOWN
    return admit(token, { key: keyOfId(id), epoch, demand })
  }

  async function admit(
    token: Token,
    found: { key: SecretKey; epoch: number; demand: Demand },
  ): Promise<Verdict> {
    const entry = await entryOf(token, found.key, deps.owners.byId)
    if (entry === undefined)
      return { active: false, reason: 'owner_disabled', principal: undefined }
    cache.put(entry, found.epoch)
    return decide(entry, found.demand, true)
  }

  /** Undefined: the owner is gone. */
  async function entryOf(
    stored: Token,
    key: SecretKey,
    ownerOf = deps.loadOwner,
  ): Promise<CacheEntry | undefined> {
    const owner = await ownerOf(stored.ownerId)
    if (owner === undefined) return undefined
    const { token: saved, ancestorIds } = await descentOf(store, stored)
    const restraint = await restraintOf(deps.policy(), store, stored)
    const token = restrained(saved, restraint)
    const budget = restraint && deps.limiter.budgetFor(restraint.rates)
    const principal: Principal = {
      user: owner.user,
      token,
      // What the policy limits is of this token alone.
      rights: (token.limits === saved.limits ? sharedRights : effectiveRights)(owner, token.limits),
      ...(ancestorIds.length === 0 ? {} : { ancestorIds }),
    }
    return {
      key,
      principal,
      saved,
      addresses: testOf(saved.limits.allowedIps),
      policy: restraint && {
        ...restraint,
        addresses: restraint.allowedIps.length === 0 ? undefined : testOf(token.limits.allowedIps),
      },
      budget,
      plainUntilMs: budget === undefined ? plainUntilMs(principal) : 0,
      active: { active: true, principal, kept: undefined },
      use: undefined,
      lastUsedAtMs: Math.max(
        usage.lastUsedAtMs(token.id) ?? 0,
        token.lastUsedAtMs ?? token.createdAtMs,
      ),
    }
  }

  async function verifyStored(secret: string, demand = NO_DEMAND): Promise<Verdict> {
    const isOurs = mayBeSecret(secret) && formatOf(secret) !== undefined
    if (!isOurs && !imported.mayKnow(secret)) return MALFORMED
    const token = (await stored(secret)) ?? (await imported.take(secret, demand.ip))
    return decideStored(token, keyOf(secret), demand)
  }

  /** Nothing of it from memory, and nothing of it remembered. */
  async function decideStored(
    token: Token | undefined,
    key: SecretKey,
    demand: Demand,
  ): Promise<Verdict> {
    if (token === undefined) return UNKNOWN
    const entry = await entryOf(token, key)
    if (entry !== undefined) return decide(entry, demand, true)
    return { active: false, reason: 'owner_disabled', principal: undefined }
  }

  async function inspect(secret: string): Promise<Inspected | undefined> {
    if (!changes.isCurrent()) await changes.catchUp()
    const key = keyOf(secret)
    const entry = cache.byKey(key)
    if (entry !== undefined) return { token: entry.saved, entry }
    const token = (await stored(secret)) ?? (await imported.find(secret, undefined))
    return token && { token, entry: await entryOf(token, key) }
  }

  async function inspectById(id: TokenId): Promise<Inspected | undefined> {
    if (!changes.isCurrent()) await changes.catchUp()
    const entry = cache.byId(id)
    if (entry !== undefined) return { token: entry.saved, entry }
    const token = await store.tokens.byId(id)
    return token && { token, entry: await entryOf(token, keyOfId(id)) }
  }

  /** `isFresh`: the entry has just been read. */
  function decide(entry: CacheEntry, demand: Demand, isFresh = false): Verdict | Promise<Verdict> {
    const nowMs = clock.now()
    if (demand === NO_DEMAND && nowMs < entry.plainUntilMs) {
      return accept(entry, nowMs, undefined, 'verify', undefined)
    }
    const verdict = verdictOn(entry, demand, nowMs, demand.userAgent, isFresh)
    return verdict ?? askStore(entry, demand, nowMs)
  }

  /**
   * Undefined: the database must be asked, for a share of a rate or for whether a token that seems to stand
   * idle is used on another node.
   */
  function verdictOn(
    entry: CacheEntry,
    demand: Demand,
    nowMs: number,
    agent: AgentSource,
    isFresh: boolean,
  ): Verdict | undefined {
    const reason = firstRefusal(entry, demand, nowMs)
    if (reason === 'idle' && store.isShared && !isFresh) return undefined
    if (reason !== undefined) usage.refuse(entry, nowMs, reason)
    if (reason === 'rate_limited') return tooOften(entry, nowMs)
    // Not of what only a rule holds back: nobody suspects it.
    if (reason === 'quarantined' && entry.saved.quarantinedAtMs !== undefined) {
      deps.alarm.record(entry.principal.token.id, demand.ip)
    }
    if (reason !== undefined) return { active: false, reason, principal: entry.principal }
    if (entry.budget?.take(nowMs) === false) return undefined
    return accept(entry, nowMs, demand.ip, demand.via ?? 'verify', agent)
  }

  /** Decides anew afterwards, and not from memory: much can happen while the database answers. */
  async function askStore(entry: CacheEntry, demand: Demand, nowMs: number): Promise<Verdict> {
    await entry.budget?.refill(nowMs)
    const epoch = cache.epoch()
    const token = await store.tokens.byId(entry.saved.id)
    return token === undefined ? UNKNOWN : admit(token, { key: entry.key, epoch, demand })
  }

  // One by one, because an object to hold them would be one more for every question.
  function accept(
    entry: CacheEntry,
    nowMs: number,
    ip: string | undefined,
    via: UseVia,
    agent: AgentSource,
  ): Yes {
    entry.lastUsedAtMs = nowMs
    usage.record(entry, nowMs, ip, via, agent)
    return entry.active
  }

  return {
    verify,
    verifyById,
    verifyStored,
    verifyStoredById: async (id, demand = NO_DEMAND) =>
      decideStored(await store.tokens.byId(id), keyOfId(id), demand),
    lookUp,
    learn,
    verifyKnown,
    inspect,
    mayBeImported: imported.mayKnow,
    inspectById,
    clear() {
      cache.clear()
      deps.owners.clear()
    },
    cachedEntries: () => cache.size(),
  }
}

/** Where no secret was presented the id keeps its place; no key looks like one. */
function keyOfId(id: TokenId): SecretKey {
  return id as string as SecretKey
}

/** As `firstRefusal` would have it; what depends on more than the clock is never plain. */
function plainUntilMs({ token, user }: Principal): number {
  const isDead =
    token.revokedAtMs !== undefined ||
    token.quarantinedAtMs !== undefined ||
    isSuperseded(token, 0) ||
    !user.active
  const isConditional =
    token.idleSeconds !== undefined || token.limits.allowedIps !== null || token.oauth !== undefined
  return isDead || isConditional ? 0 : (endOf(token) ?? Number.POSITIVE_INFINITY)
}

const tests = new WeakMap<readonly string[], AddressTest>()

/** One for all tokens that share their ranges: it is held outside of the heap, and large. */
function testOf(ranges: readonly string[] | null): AddressTest | undefined {
  if (ranges === null) return undefined
  const test = tests.get(ranges) ?? addressTest(ranges)
  tests.set(ranges, test)
  return test
}

/** The refusal of a token that has used up what it may for now. */
export function tooOften({ principal, budget }: CacheEntry, nowMs: number): Verdict {
  const waitMs = budget?.refusal(nowMs)?.waitMs ?? 0
  const retryAfterSeconds = Math.max(1, Math.ceil(waitMs / 1000))
  return { active: false, reason: 'rate_limited', principal, retryAfterSeconds }
}
