import { expect, test } from 'vitest'
import type { TokenId } from '../id.ts'
import type { Store } from '../store.ts'
import type { Usage } from './store.ts'
import type { Token } from './token.ts'
import { usageCollector } from './usage.ts'

const TOKENS = 1000
const tokenIds = Array.from({ length: TOKENS }, (_, i) => `token-${i}` as TokenId)

/** The one port that is used, with what it was given. */
function recorder(recordUse: (uses: Usage[]) => Promise<void>) {
  // Collecting touches nothing else of a store.
  return usageCollector({ tokens: { recordUse } } as unknown as Store)
}

test('thousands of uses are written in several steps, and counted once at any moment', async () => {
  const written = new Map<TokenId, number>()
  const stepSizes: number[] = []
  const shown = (id: TokenId) => {
    const stored = { id, useCount: written.get(id) ?? 0 } as Token
    return usage.overlay(stored).useCount
  }
  const usage = recorder(async (uses) => {
    stepSizes.push(uses.length)
    expect(shown('token-0' as TokenId)).toBe(1)
    expect(shown(`token-${TOKENS - 1}` as TokenId)).toBe(1)
    for (const { tokenId, count } of uses) written.set(tokenId, count)
  })
  for (const id of tokenIds) usage.record(id, 1, undefined)
  await usage.flush()

  expect(stepSizes.length).toBeGreaterThan(1)
  expect(Math.max(...stepSizes)).toBeLessThan(TOKENS)
  expect([...written.keys()]).toEqual(tokenIds)
  expect(shown('token-0' as TokenId)).toBe(1)
})

test('what could not be written is written next time, and no more than that', async () => {
  const written = new Map<TokenId, number>()
  let steps = 0
  const usage = recorder(async (uses) => {
    if (++steps === 2) throw new Error('The disk is full.')
    for (const { tokenId, count } of uses) {
      written.set(tokenId, (written.get(tokenId) ?? 0) + count)
    }
  })
  for (const id of tokenIds) usage.record(id, 1, undefined)
  await expect(usage.flush()).rejects.toThrow('The disk is full.')
  await usage.flush()
  expect(written).toEqual(new Map(tokenIds.map((id) => [id, 1])))
})
