import { inBatches } from '../batches.ts'
import type { Deps } from '../deps.ts'
import { STEP_MS, type UseStep } from './use.ts'

/** Rows in one transaction, and transactions in one go: others write, too. */
const BATCH = 1000
const MAX_BATCHES = 500
/** Longer than any overlap may last, and then some to look back. */
const CALLER_TTL_MS = 90 * 86_400_000

/**
 * Turns the figures of minutes into those of hours, hours into days, and deletes days, each when the
 * policy no longer keeps them so finely. No sum changes by it, also when it is cut off: a transaction
 * takes some rows away and adds them to others. What is left over is for the next time.
 */
export async function rollUpUse(deps: Deps): Promise<void> {
  const { useMinutesSeconds, useHoursSeconds, useDaysSeconds } = deps.policy()
  await rollUp(deps, { from: 'minute', into: 'hour', keptSeconds: useMinutesSeconds })
  await rollUp(deps, { from: 'hour', into: 'day', keptSeconds: useHoursSeconds })
  await rollUp(deps, { from: 'day', into: undefined, keptSeconds: useDaysSeconds })
  const nowMs = deps.clock.now()
  await deps.store.transaction((tx) => tx.use.forgetCallers(nowMs - CALLER_TTL_MS))
}

async function rollUp(
  { store, clock }: Deps,
  { from, into, keptSeconds }: { from: UseStep; into: UseStep | undefined; keptSeconds: number },
): Promise<void> {
  const stepMs = STEP_MS[into ?? from]
  // Whole steps, so that what is finer and what is coarser meet at one instant.
  const beforeMs = startOf(clock.now() - keptSeconds * 1000, stepMs)
  let batches = 0
  await inBatches(clock, BATCH, async () => {
    if (batches++ === MAX_BATCHES) return 0
    return store.transaction(async (tx) => {
      const rows = await tx.use.oldest(from, beforeMs, BATCH)
      if (rows.length === 0) return 0
      await tx.use.remove(from, rows)
      if (into !== undefined) {
        const coarse = rows.map((row) => ({ ...row, startMs: startOf(row.startMs, stepMs) }))
        await tx.use.put(into, coarse)
      }
      return rows.length
    })
  })
}

function startOf(ms: number, stepMs: number): number {
  return ms - (ms % stepMs)
}
