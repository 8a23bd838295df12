import { expect, test, vi } from 'vitest'
import type { TokenId } from '../id.ts'
import type { Principal } from '../rights.ts'
import type { Token } from './token.ts'
import { type Counted, usageCollector } from './usage.ts'

const TOKENS = 1000
const clock = { now: () => 0 }
const tokenIds = Array.from({ length: TOKENS }, (_, i) => `token-${i}` as TokenId)

/** What holds the counter of a token; of the token nothing else is looked at. */
function countedOf(id: TokenId): Counted {
  return { principal: { token: { id } } as Principal, use: undefined }
}

test('thousands of uses are written in several steps, and counted once at any moment', async () => {
  const written = new Map<TokenId, number>()
  const stepSizes: number[] = []
  const shown = (id: TokenId) => {
    const stored = { id, useCount: written.get(id) ?? 0 } as Token
    return usage.overlay(stored).useCount
  }
  const usage = usageCollector(async (uses) => {
    stepSizes.push(uses.length)
    expect(shown('token-0' as TokenId)).toBe(1)
    expect(shown(`token-${TOKENS - 1}` as TokenId)).toBe(1)
    for (const { tokenId, count } of uses) written.set(tokenId, count)
  }, clock)
  for (const id of tokenIds) usage.record(countedOf(id), 1, undefined, 'api', undefined)
  await usage.flush()

  // By id, however they came: what was made together lies together in the tables.
  expect([...written.keys()]).toEqual(tokenIds.toSorted())
  expect(stepSizes.length).toBeGreaterThan(1)
  expect(Math.max(...stepSizes)).toBeLessThan(TOKENS)
  expect(shown('token-0' as TokenId)).toBe(1)
})

test('what could not be written is written next time, and no more than that', async () => {
  const written = new Map<TokenId, number>()
  let steps = 0
  const usage = usageCollector(async (uses) => {
    if (++steps === 2) throw new Error('The disk is full.')
    for (const { tokenId, count } of uses) {
      written.set(tokenId, (written.get(tokenId) ?? 0) + count)
    }
  }, clock)
  for (const id of tokenIds) usage.record(countedOf(id), 1, undefined, 'api', undefined)
  await expect(usage.flush()).rejects.toThrow('The disk is full.')
  await usage.flush()
  expect(written).toEqual(new Map(tokenIds.map((id) => [id, 1])))
})

test('what is written is let go of, and counted anew with the next use', async () => {
  const counted = countedOf('token-0' as TokenId)
  const written: number[] = []
  const usage = usageCollector(async (uses) => {
    // Of the same token, seen anew while the last uses are being written.
    if (written.length === 0) usage.record(counted, 2, undefined, 'api', undefined)
    written.push(...uses.map(({ count }) => count))
  }, clock)
  usage.record(counted, 1, undefined, 'api', undefined)
  await usage.flush()
  expect(counted.use?.count).toBe(1)
  await usage.flush()
  expect(counted.use).toBeUndefined()
  usage.record(counted, 3, undefined, 'api', undefined)
  await usage.flush()
  expect(written).toEqual([1, 1, 1])
})

test('spread over a while, it is written bit by bit; in haste all at once, with what came since', async () => {
  const written = new Map<TokenId, number>()
  const usage = usageCollector(async (uses) => {
    for (const { tokenId, count } of uses) {
      written.set(tokenId, (written.get(tokenId) ?? 0) + count)
    }
  }, clock)
  for (const id of tokenIds) usage.record(countedOf(id), 1, undefined, 'api', undefined)
  const spread = usage.flush(60_000)
  await vi.waitUntil(() => written.size > 0)
  expect(written.size).toBeLessThan(TOKENS / 2)
  const [first = '' as TokenId] = tokenIds
  usage.record(countedOf(first), 1, undefined, 'api', undefined)
  await usage.flush()
  await spread
  expect(written.size).toBe(TOKENS)
  expect(written.get(first)).toBe(2)
})
