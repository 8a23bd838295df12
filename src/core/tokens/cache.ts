import type { TokenId, UserId } from '../id.ts'
import type { AddressTest } from '../ip.ts'
import type { Budget } from '../policy/rate.ts'
import type { Restraint } from '../policy/restraint.ts'
import type { Principal } from '../rights.ts'
import type { SecretKey } from '../secret.ts'
import type { Change } from '../store.ts'
import type { Token } from './token.ts'
import type { Counted } from './usage.ts'
import type { Yes } from './verdict.ts'

/** What the policy forbids a token that its own limits allow. */
export interface PolicyHold extends Restraint {
  addresses: AddressTest | undefined
}

/** Changes of these are announced with the tokens they end, or touch none that is known. */
const OF_NO_TOKEN = new Set<Change['subject']>(['client', 'import'])

/** A known secret with everything needed to decide about it. */
export interface CacheEntry extends Counted {
  key: SecretKey
  /** Its token is as the policy lets it be. */
  principal: Principal
  /** The token as it and what it comes from are saved. */
  saved: Token
  addresses: AddressTest | undefined
  policy: PolicyHold | undefined
  budget: Budget | undefined
  /**
   * Until when a question that demands nothing is answered yes without looking any further, because
   * nothing but time can end that; a change forgets the entry.
   */
  plainUntilMs: number
  /** The answer for a live token, made once and shared by all requests. */
  active: Yes
  /** Moves with every use: the token's own field is as old as the entry. */
  lastUsedAtMs: number
}

/** Entries that leave with each that comes: more than one, so that never more are held than may be. */
const LEAVING_AT_ONCE = 4

/**
 * secret → decision, bounded. Two generations instead of a linked list: a hit in the young one costs
 * one look-up and writes nothing; when it is full it becomes the old one, and what nobody asked for
 * in between is forgotten, a few at a time: half of a large cache at once would hold up everybody.
 */
export interface VerdictCache {
  byKey(key: SecretKey): CacheEntry | undefined
  byId(id: TokenId): CacheEntry | undefined
  /** Rises with every invalidation; see `put`. */
  epoch(): number
  /**
   * Keeps an entry, unless something was invalidated since `epoch` was read: then what was loaded may
   * already be old, and an old "yes" must not outlive its revocation.
   */
  put(entry: CacheEntry, epoch: number): void
  apply(changes: readonly Change[]): void
  clear(): void
  size(): number
}

export function verdictCache(maxEntries: number): VerdictCache {
  const half = Math.max(1, Math.floor(maxEntries / 2))
  let young = new Map<SecretKey, CacheEntry>()
  let old = new Map<SecretKey, CacheEntry>()
  /** No longer found by secret; an id still finds them, and a change takes them along. */
  let leaving = new Map<SecretKey, CacheEntry>()
  /** Kept between calls: a new iterator would pass all the gaps that those before it left. */
  let exit = leaving.values()
  const ids = new Map<TokenId, CacheEntry>()
  const owners = new Map<UserId, Set<CacheEntry>>()
  /** By ancestor; most tokens have none. */
  const descendants = new Map<TokenId, Set<CacheEntry>>()
  let epoch = 0

  function forget(entry: CacheEntry): void {
    for (const generation of [young, old, leaving]) {
      if (generation.get(entry.key) === entry) generation.delete(entry.key)
    }
    if (ids.get(entry.principal.token.id) === entry) ids.delete(entry.principal.token.id)
    removeFrom(owners, entry.principal.user.id, entry)
    for (const id of entry.principal.ancestorIds ?? []) removeFrom(descendants, id, entry)
  }

  function insertYoung(entry: CacheEntry): void {
    if (young.size >= half) {
      forgetLeaving(leaving.size)
      leaving = old
      exit = leaving.values()
      old = young
      young = new Map()
    }
    forgetLeaving(LEAVING_AT_ONCE)
    young.set(entry.key, entry)
  }

  function forgetLeaving(count: number): void {
    for (let i = 0; i < count; i++) {
      const next = exit.next()
      if (next.done) return
      forget(next.value)
    }
  }

  function clear(): void {
    young = new Map()
    old = new Map()
    leaving = new Map()
    exit = leaving.values()
    ids.clear()
    owners.clear()
    descendants.clear()
  }

  return {
    byKey(key) {
      const entry = young.get(key)
      if (entry !== undefined) return entry
      const aged = old.get(key)
      if (aged === undefined) return undefined
      old.delete(key)
      insertYoung(aged)
      return aged
    },
    byId: (id) => ids.get(id),
    epoch: () => epoch,
    put(entry, loadedAt) {
      if (loadedAt !== epoch) return
      const previous = ids.get(entry.principal.token.id)
      if (previous !== undefined) forget(previous)
      insertYoung(entry)
      ids.set(entry.principal.token.id, entry)
      addTo(owners, entry.principal.user.id, entry)
      for (const id of entry.principal.ancestorIds ?? []) addTo(descendants, id, entry)
    },
    apply(changes) {
      epoch++
      for (const change of changes) {
        if (change.subject === 'token') {
          const entry = ids.get(change.id as TokenId)
          if (entry !== undefined) forget(entry)
          for (const entry of [...(descendants.get(change.id as TokenId) ?? [])]) forget(entry)
        } else if (change.subject === 'user') {
          for (const entry of [...(owners.get(change.id as UserId) ?? [])]) forget(entry)
        } else if (!OF_NO_TOKEN.has(change.subject)) {
          // A group's name, a role's scopes, the policy or a key touch any number of tokens, and change
          // rarely.
          clear()
        }
      }
    },
    clear() {
      epoch++
      clear()
    },
    size: () => young.size + old.size + leaving.size,
  }
}

function addTo<Id>(index: Map<Id, Set<CacheEntry>>, id: Id, entry: CacheEntry): void {
  const entries = index.get(id)
  if (entries === undefined) index.set(id, new Set([entry]))
  else entries.add(entry)
}

function removeFrom<Id>(index: Map<Id, Set<CacheEntry>>, id: Id, entry: CacheEntry): void {
  const entries = index.get(id)
  entries?.delete(entry)
  if (entries?.size === 0) index.delete(id)
}
