import type { Clock, ClockReading, GuidedClock } from './core/clock.ts'

export interface SteadyClock extends GuidedClock {
  /** How far the machine's own clock is ahead, in milliseconds. */
  wallAheadMs(): number
  /** Follows the machine's clock where it has gone ahead, unless another guides. Call it every second or so. */
  check(): void
}

export function isSteady(clock: Clock): clock is SteadyClock {
  return 'wallAheadMs' in clock
}

/** Quartz is worse than this only when it is broken: how fast what we know of another clock ages. */
const DRIFT = 0.0002
/** As a share of the time that has passed: how fast a guided clock is put back. */
const SLOWING = 0.01
/** The reading is in whole milliseconds. */
const RESOLUTION_MS = 0.5

/**
 * Time that goes on evenly from one reading of the machine's clock, counted by the monotonic clock: whoever
 * sets the machine's clock neither ends nor revives anything. Where a database is shared, it guides (ADR 32).
 */
export function steadyClock({
  wall = () => Date.now(),
  monotonic = () => performance.now(),
  notBeforeMs = Number.NEGATIVE_INFINITY,
}: {
  wall?: () => number
  monotonic?: () => number
  /** What another process of this server counts already. */
  notBeforeMs?: number | undefined
} = {}): SteadyClock {
  let offsetMs = Math.max(wall(), notBeforeMs) - monotonic()
  let lastMs = Number.NEGATIVE_INFINITY
  let guided: { errorMs: number; atMs: number } | undefined

  function now(): number {
    const nowMs = Math.floor(monotonic() + offsetMs)
    if (nowMs > lastMs) lastMs = nowMs
    return lastMs
  }

  return {
    now,
    guide({ atMs, sentAtMs, receivedAtMs }: ClockReading) {
      const middleMs = (sentAtMs + receivedAtMs) / 2
      const errorMs = (receivedAtMs - sentAtMs) / 2 + RESOLUTION_MS
      const found = atMs + RESOLUTION_MS - middleMs
      if (guided === undefined) {
        offsetMs = found
        lastMs = Number.NEGATIVE_INFINITY
        guided = { errorMs, atMs: receivedAtMs }
        return
      }
      const passedMs = Math.max(0, receivedAtMs - guided.atMs)
      const knownMs = guided.errorMs + passedMs * DRIFT
      // A slow answer tells little: only that the truth is not further off than half its way.
      const isBetter = errorMs <= knownMs
      const wanted = isBetter
        ? found
        : Math.min(found + errorMs, Math.max(found - errorMs, offsetMs))
      offsetMs = Math.max(wanted, offsetMs - passedMs * SLOWING)
      guided = { errorMs: isBetter ? errorMs : knownMs, atMs: receivedAtMs }
    },
    wallAheadMs: () => wall() - now(),
    check() {
      if (guided === undefined) offsetMs = Math.max(offsetMs, wall() - monotonic())
    },
  }
}
