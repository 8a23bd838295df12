import type { FastifyBaseLogger } from 'fastify'
import { Gauge } from 'prom-client'
import type { Metrics } from './metrics.ts'

const LOOK_MS = 1000
const WORTH_A_WARNING_MS = 1000

/** As `src/steady-clock.ts` has it. */
export interface WatchedClock {
  wallAheadMs(): number
  check(): void
}

/**
 * Keeps a clock going right, shows how far the machine's own is off, and warns when that is more than a
 * second. Returns the way to stop.
 */
export function watchClock(
  { registry }: Metrics,
  { clock, log }: { clock: WatchedClock; log: FastifyBaseLogger },
): () => void {
  new Gauge({
    name: 'mintmark_clock_ahead_seconds',
    help: 'How far the clock of this machine is ahead of the time that the server goes by.',
    aggregator: 'max',
    registers: [registry],
    collect() {
      this.set(clock.wallAheadMs() / 1000)
    },
  })
  let isOff = false
  const look = () => {
    clock.check()
    const aheadMs = clock.wallAheadMs()
    const wasOff = isOff
    isOff = Math.abs(aheadMs) > WORTH_A_WARNING_MS
    if (isOff && !wasOff) {
      log.warn(
        { aheadMs },
        'The clock of this machine is wrong, or was set; the server does not go by it',
      )
    }
  }
  look()
  const timer = setInterval(look, LOOK_MS)
  timer.unref()
  return () => clearInterval(timer)
}
