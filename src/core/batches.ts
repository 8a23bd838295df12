import type { Clock } from './clock.ts'

/** Rests so many times as long as it worked, so that those who verify notice little. */
export const REST = 2

/**
 * Does what may be much in batches, each of them a transaction of its own, and lets others work between
 * them. `batch` returns how many it did; fewer than `size` are the last. Returns how many there were.
 */
export async function inBatches(
  clock: Clock,
  size: number,
  batch: () => Promise<number>,
): Promise<number> {
  let all = 0
  for (;;) {
    const sinceMs = clock.now()
    const count = await batch()
    all += count
    if (count < size) return all
    const restMs = (clock.now() - sinceMs) * REST
    await new Promise((resolve) => setTimeout(resolve, restMs))
  }
}
