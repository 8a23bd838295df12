import { toBase64url } from './base64url.ts'
import { type Claims, issuerOf, type Jws, jwsOf } from './jws.ts'

export interface FeedOptions {
  /** The server's public URL, as its tokens name it in `iss`. */
  issuer: string
  /**
   * Whoever has heard nothing for so long trusts nothing any more. Default: 10. Revocations are
   * usually known within a fraction of a second, and never later than this.
   */
  maxStaleSeconds?: number
  /** How far the clocks may be apart. Default: 5. */
  clockToleranceSeconds?: number
  /** Default: the platform's. */
  fetch?: typeof globalThis.fetch
}

/** What has ended before its time, kept up to date in the background. */
export interface RevocationFeed {
  jws: Jws
  issuer: string
  /** Resolves true once what is known is fresh enough, false when that cannot be had. */
  isFresh(): Promise<boolean>
  /** Whether it is now, for whoever can do without. */
  isNowFresh(): boolean
  /** Whether what was signed, or said, as of change `position` is over for one of these names. */
  hasEnded(names: readonly string[], position: number): boolean
  /** The change up to which everything was known `msAgo` milliseconds ago. */
  positionBefore(msAgo: number): number
  /** For how long an end is remembered; 0 before anything was heard. */
  keepsMs(): number
  /** Stops following. */
  close(): void
}

const TYPE = 'revocations+jwt'
const DEFAULT_STALE_SECONDS = 10
const PAUSE_MS = 250
const MAX_PAUSE_MS = 2000
const REMEMBERED_POSITIONS = 200

interface Statement {
  as_of: number
  next: string
  full: boolean
  keep: number
  ended: Record<string, number>
  everything: number
}

/**
 * Follows `<issuer>/api/v1/revocations` from the first question on. Everything in a statement is
 * signed; an old one, held back or served again, is noticed by its `as_of`, so that nothing that has ended
 * comes back, whatever lies in between.
 */
export function revocationFeed(options: FeedOptions): RevocationFeed {
  const issuer = issuerOf(options.issuer)
  // Called without an object before it: browsers refuse `options.fetch(…)`.
  const doFetch = options.fetch ?? globalThis.fetch
  const staleMs = (options.maxStaleSeconds ?? DEFAULT_STALE_SECONDS) * 1000
  const toleranceMs = (options.clockToleranceSeconds ?? 5) * 1000
  // Twice within what is still fresh, so that one answer may be lost.
  const waitSeconds = Math.min(30, Math.floor(staleMs / 3000))
  const jws = jwsOf({ issuer, doFetch, timeoutMs: staleMs })
  const closing = new AbortController()

  let ended = new Map<string, { position: number; untilMs: number }>()
  let everything = 0
  let cursor: string | undefined
  let confirmedMs = Number.NEGATIVE_INFINITY
  let latestAsOfMs = Number.NEGATIVE_INFINITY
  let keptMs = 0
  let positions: { atMs: number; position: number }[] = []
  let isFollowing = false
  let awaited = Promise.withResolvers<void>()

  const isNowFresh = () => !closing.signal.aborted && performance.now() - confirmedMs <= staleMs

  async function pull(): Promise<void> {
    const startedMs = performance.now()
    const query = cursor === undefined ? '' : `?since=${cursor}&wait=${waitSeconds}`
    const response = await doFetch(`${issuer}/api/v1/revocations${query}`, {
      method: 'GET',
      redirect: 'error',
      credentials: 'omit',
      cache: 'no-store',
      signal: AbortSignal.any([AbortSignal.timeout(staleMs), closing.signal]),
    })
    if (!response.ok) throw new Error(`The feed answered ${response.status}.`)
    const statement = statementFrom(await jws.read(await response.text(), TYPE), issuer)
    if (statement === undefined) throw new Error('The statement is not signed by the issuer.')
    const ageMs = Date.now() - statement.as_of
    if (ageMs > staleMs + toleranceMs) throw new Error('The statement is an old one.')
    // It would take back what a later one said.
    if (statement.as_of < latestAsOfMs) throw new Error('The statement is older than the last.')
    // A server whose clock was ahead must be believed again once it is put right.
    latestAsOfMs = Math.min(statement.as_of, Date.now() + toleranceMs)
    const nowMs = performance.now()
    // It was true at some moment since the question; when, the clocks say if they agree. One from before the
    // question, by more than the clocks may be apart, was kept by somebody, and is as old as it says.
    const sinceQuestionMs = Math.max(startedMs, nowMs - Math.abs(ageMs))
    take(statement, Math.min(sinceQuestionMs, nowMs - ageMs + toleranceMs))
  }

  function take(statement: Statement, readMs: number): void {
    const { full, next, keep } = statement
    if (full) ended = new Map()
    everything = full ? statement.everything : Math.max(everything, statement.everything)
    const nowMs = performance.now()
    for (const [name, { untilMs }] of ended) if (untilMs < nowMs) ended.delete(name)
    keptMs = keep * 1000
    const untilMs = nowMs + keptMs
    for (const [name, position] of Object.entries(statement.ended)) {
      ended.set(name, { position: Math.max(position, ended.get(name)?.position ?? 0), untilMs })
    }
    cursor = next
    confirmedMs = readMs
    positions = [...positions, { atMs: confirmedMs, position: Number.parseInt(next, 10) }].slice(
      -REMEMBERED_POSITIONS,
    )
    awaited.resolve()
    awaited = Promise.withResolvers()
  }

  async function follow(): Promise<void> {
    for (let failures = 0; !closing.signal.aborted; ) {
      const startedMs = performance.now()
      try {
        await pull()
        failures = 0
      } catch {
        // Told by `isFresh` once it matters. A cursor that leads nowhere must not keep failing.
        failures++
        if (failures > 3) cursor = undefined
      }
      // Also after a success: an answer without waiting must not become a storm of questions.
      const restMs = PAUSE_MS * 2 ** Math.min(failures, 5)
      const spentMs = performance.now() - startedMs
      await pause(Math.min(MAX_PAUSE_MS, restMs) - (failures === 0 ? spentMs : 0), closing.signal)
    }
  }

  function startFollowing(): void {
    if (!isFollowing) void follow()
    isFollowing = true
  }

  return {
    jws,
    issuer,
    isNowFresh() {
      startFollowing()
      return isNowFresh()
    },
    async isFresh() {
      startFollowing()
      if (isNowFresh()) return true
      const late = new AbortController()
      await Promise.race([awaited.promise, pause(staleMs, late.signal)])
      late.abort()
      return isNowFresh()
    },
    hasEnded: (names, position) =>
      position < everything ||
      names.some((name) => position < (ended.get(name)?.position ?? Number.NEGATIVE_INFINITY)),
    positionBefore(msAgo) {
      const latestMs = performance.now() - msAgo
      return positions.findLast(({ atMs }) => atMs <= latestMs)?.position ?? 0
    },
    keepsMs: () => keptMs,
    close: () => closing.abort(),
  }
}

function statementFrom(claims: Claims | undefined, issuer: string): Statement | undefined {
  const { iss, as_of, next, full, keep, ended, everything } = claims ?? {}
  const isWhole =
    iss === issuer &&
    typeof as_of === 'number' &&
    typeof next === 'string' &&
    /^\d+\.[\w-]+$/.test(next) &&
    typeof full === 'boolean' &&
    typeof keep === 'number' &&
    typeof ended === 'object' &&
    ended !== null &&
    Object.values(ended).every((position) => typeof position === 'number') &&
    typeof everything === 'number'
  if (!isWhole) return undefined
  return { as_of, next, full, keep, ended: ended as Record<string, number>, everything }
}

/** What stands for an id in the feed. */
export async function nameOf(id: string): Promise<string> {
  const bytes = new TextEncoder().encode(`mintmark:${id}`)
  const digest = await crypto.subtle.digest('SHA-256', bytes)
  return toBase64url(new Uint8Array(digest, 0, 12))
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (ms <= 0 || signal.aborted) return Promise.resolve()
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    // What waits for the next statement keeps no process alive.
    if (typeof timer === 'object') (timer as { unref?: () => void }).unref?.()
    signal.addEventListener('abort', done)
  })
}
