import { expect, it } from 'vitest'
import { distribution, plot, summaryOf } from './latencies.ts'

const HUNDRED = Array.from({ length: 100 }, (_, i) => i + 1)

it('percentiles are values that were measured', () => {
  expect(summaryOf(HUNDRED)).toEqual({ p50: 50, p90: 90, p99: 99, max: 100 })
  expect(summaryOf([1.23456])).toEqual({ p50: 1.23, p90: 1.23, p99: 1.23, max: 1.23 })
  expect(summaryOf([])).toEqual({ p50: 0, p90: 0, p99: 0, max: 0 })
})

it('every value is in one bucket, and empty ends are left out', () => {
  const buckets = distribution(HUNDRED)
  expect(buckets[0]).toEqual({ upToMs: 1, count: 1 })
  expect(buckets.at(-1)).toEqual({ upToMs: 100, count: 50 })
  expect(buckets.reduce((sum, { count }) => sum + count, 0)).toBe(100)
  expect(distribution([9999])).toEqual([{ upToMs: null, count: 1 }])
  expect(distribution([])).toEqual([])
})

it('the plot has a bar for each bucket', () => {
  const lines = plot([1, 3, 3, 3])
  expect(lines[0]).toContain('p50 3 ms')
  expect(lines).toHaveLength(5)
  expect(lines.at(-1)).toMatch(/up to 5 ms {2}#{40} {2}3$/)
})
