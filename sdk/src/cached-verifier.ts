import { toBase64url } from './base64url.ts'
import type { Client } from './client.ts'
import { type FeedOptions, nameOf, revocationFeed } from './revocation-feed.ts'
import type { ActiveVerdict, Question, Verdict } from './token-types.ts'

export interface CachedOptions extends FeedOptions {
  client: Pick<Client, 'tokens'>
  /** Verdicts kept at most. Default: 10,000. */
  maxEntries?: number
  /** How long a verdict is kept at most. Default: 60; more than about 1,000 is not. */
  ttlSeconds?: number
}

export interface CachedVerifier {
  /** As `tokens.verify`, whose failures it hands on. */
  verify(question: Question): Promise<Verdict>
  /** Stops following what is revoked; from then on the server is asked each time. */
  close(): void
}

/**
 * Nodes of the server hear of each other's changes within this time: a verdict may be as old, when the
 * feed comes from another node.
 */
const NODE_LAG_MS = 5_000

/** The end of others is not in there, so that the server is asked about them each time. */
const IN_THE_FEED = new Set(['api', 'service'])

interface Entry {
  verdict: ActiveVerdict
  /** Of all whose end is the verdict's. */
  names: readonly string[]
  position: number
  /** By the clock that nobody sets. */
  untilMs: number
  /** By the clock on the wall; infinite: the token has no end. */
  endsAtMs: number
}

/**
 * Asks the server about an api or service token once and then remembers, until the feed of revocations names the token,
 * one that it comes from, its owner or a group of it. Only good tokens are remembered. While the feed
 * cannot be heard the server is asked each time.
 */
export function cachedVerifier(options: CachedOptions): CachedVerifier {
  const { client, maxEntries = 10_000, ttlSeconds = 60 } = options
  const feed = revocationFeed(options)
  const entries = new Map<string, Entry>()

  function known(key: string): ActiveVerdict | undefined {
    const entry = entries.get(key)
    if (entry === undefined) return undefined
    entries.delete(key)
    const isOver =
      entry.untilMs <= performance.now() ||
      entry.endsAtMs <= Date.now() ||
      feed.hasEnded(entry.names, entry.position)
    if (isOver) return undefined
    // The least recently used come first.
    entries.set(key, entry)
    return entry.verdict
  }

  async function keep(key: string, verdict: ActiveVerdict, position: number): Promise<void> {
    const { tokenId, owner, ancestors = [], groups, expiresAt } = verdict
    const ids = [tokenId, owner.id, ...ancestors, ...groups.map(({ id }) => id)]
    const names = await Promise.all(ids.map(nameOf))
    const endsAtMs = expiresAt === null ? Number.POSITIVE_INFINITY : Date.parse(expiresAt)
    // Not longer than the feed remembers an end, which may have been heard as long ago as `position`.
    const keptMs = Math.min(ttlSeconds * 1000, feed.keepsMs() - NODE_LAG_MS)
    const untilMs = performance.now() + keptMs
    entries.set(key, { verdict, names, position, untilMs, endsAtMs })
    for (const oldest of entries.keys()) {
      if (entries.size <= maxEntries) break
      entries.delete(oldest)
    }
  }

  return {
    async verify(question) {
      // Without waiting: the server can be asked all the same.
      if (!feed.isNowFresh()) return client.tokens.verify(question)
      const key = await keyOf(question)
      const found = known(key)
      if (found !== undefined) return found
      const position = feed.positionBefore(NODE_LAG_MS)
      const verdict = await client.tokens.verify(question)
      if (verdict.active && IN_THE_FEED.has(verdict.kind)) await keep(key, verdict, position)
      return verdict
    },
    close: feed.close,
  }
}

/** Not the secret itself: what lies in memory for long is no use to anybody. */
async function keyOf(question: Question): Promise<string> {
  const text = JSON.stringify(Object.entries(question).toSorted(([a], [b]) => (a < b ? -1 : 1)))
  return toBase64url(
    new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text))),
  )
}
