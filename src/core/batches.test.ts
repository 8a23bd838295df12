import { expect, test } from 'vitest'
import { inBatches, REST } from './batches.ts'
import type { Clock } from './clock.ts'

const clock: Clock = performance

test('goes on until a batch is not full, and rests for longer than it worked', async () => {
  const counts = [5, 5, 2]
  const spans: [number, number][] = []
  const all = await inBatches(clock, 5, async () => {
    const sinceMs = clock.now()
    while (clock.now() - sinceMs < 10);
    spans.push([sinceMs, clock.now()])
    return counts.shift() ?? 0
  })
  expect(all).toBe(12)
  expect(spans).toHaveLength(3)
  for (const [i, [beganMs]] of spans.entries()) {
    const [lastBeganMs, lastEndedMs] = spans[i - 1] ?? [0, 0]
    // A timer may be a millisecond early.
    if (i > 0) {
      expect(beganMs - lastEndedMs).toBeGreaterThan((lastEndedMs - lastBeganMs) * REST - 2)
    }
  }
})

test('ends with the batch that fails', async () => {
  let batches = 0
  const failing = inBatches(clock, 1, async () => {
    batches++
    throw new Error('full')
  })
  await expect(failing).rejects.toThrow('full')
  expect(batches).toBe(1)
})
