import type { TokenId } from '../id.ts'
import type { Store } from '../store.ts'
import type { Usage } from './store.ts'
import type { Token } from './token.ts'

/**
 * Collects uses in memory and writes them in batches, so that verifying never writes. A crash loses
 * at most one flush interval of last-used times, never a verdict.
 */
export interface UsageCollector {
  record(tokenId: TokenId, atMs: number, ip: string | undefined): void
  /** When the token was last used, if that is newer than what the store knows. */
  lastUsedAtMs(tokenId: TokenId): number | undefined
  /** The token as a reader should see it: with the uses that are not flushed yet. */
  overlay(token: Token): Token
  /** The same for what knows only its last use. */
  latest<T extends Pick<Token, 'id' | 'lastUsedAtMs' | 'lastUsedIp'>>(token: T): T
  flush(): Promise<void>
}

/** Tokens per transaction: one with thousands would hold up everybody who only asks. */
const BATCH = 200

export function usageCollector(store: Store): UsageCollector {
  let pending = new Map<TokenId, Usage>()
  let flushing = new Map<TokenId, Usage>()
  let running: Promise<void> | undefined

  async function write(): Promise<void> {
    if (pending.size === 0) return
    flushing = pending
    pending = new Map()
    try {
      const uses = [...flushing.values()]
      for (let i = 0; i < uses.length; i += BATCH) {
        const batch = uses.slice(i, i + BATCH)
        await store.tokens.recordUse(batch)
        for (const { tokenId } of batch) flushing.delete(tokenId)
      }
    } catch (error) {
      for (const use of flushing.values()) merge(pending, use)
      throw error
    } finally {
      flushing = new Map()
    }
  }

  function latest<T extends Pick<Token, 'id' | 'lastUsedAtMs' | 'lastUsedIp'>>(token: T): T {
    let seen = token
    for (const use of [flushing.get(token.id), pending.get(token.id)]) {
      if (use === undefined) continue
      const lastUsedAtMs = Math.max(use.lastUsedAtMs, seen.lastUsedAtMs ?? 0)
      seen = { ...seen, lastUsedAtMs, lastUsedIp: use.lastUsedIp ?? seen.lastUsedIp }
    }
    return seen
  }

  return {
    record(tokenId, atMs, ip) {
      const use = pending.get(tokenId)
      if (use === undefined) {
        pending.set(tokenId, { tokenId, lastUsedAtMs: atMs, lastUsedIp: ip, count: 1 })
        return
      }
      use.lastUsedAtMs = atMs
      use.lastUsedIp = ip ?? use.lastUsedIp
      use.count++
    },
    lastUsedAtMs: (tokenId) => (pending.get(tokenId) ?? flushing.get(tokenId))?.lastUsedAtMs,
    overlay(token) {
      const seen = latest(token)
      if (seen === token) return token
      const uses = [flushing.get(token.id), pending.get(token.id)]
      const count = uses.reduce((sum, use) => sum + (use?.count ?? 0), 0)
      return { ...seen, useCount: token.useCount + count }
    },
    latest,
    flush() {
      running ??= write().finally(() => {
        running = undefined
      })
      return running
    },
  }
}

function merge(into: Map<TokenId, Usage>, use: Usage): void {
  const newer = into.get(use.tokenId)
  if (newer === undefined) into.set(use.tokenId, use)
  else newer.count += use.count
}
