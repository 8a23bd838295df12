const BAR_WIDTH = 40
/** Upper bounds in milliseconds; the last bucket has none. */
const BOUNDS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000]

export interface Summary {
  p50: number
  p90: number
  p99: number
  max: number
}

/** Percentiles by nearest rank, rounded to a hundredth of a millisecond. All 0 for none. */
export function summaryOf(valuesMs: readonly number[]): Summary {
  const sorted = valuesMs.toSorted((a, b) => a - b)
  const at = (share: number) => rounded(sorted[Math.ceil(share * sorted.length) - 1] ?? 0)
  return { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1) }
}

export interface Bucket {
  /** Null: no bound. */
  upToMs: number | null
  count: number
}

/** How many values each bucket has, from the first one that has any to the last. */
export function distribution(valuesMs: readonly number[]): Bucket[] {
  const buckets: Bucket[] = [...BOUNDS, null].map((upToMs) => ({ upToMs, count: 0 }))
  for (const value of valuesMs) {
    const bucket = buckets.find(({ upToMs }) => upToMs === null || value <= upToMs)
    if (bucket !== undefined) bucket.count++
  }
  const first = buckets.findIndex(({ count }) => count > 0)
  return first < 0 ? [] : buckets.slice(first, buckets.findLastIndex(({ count }) => count > 0) + 1)
}

/** The same for people: percentiles, and a bar for each bucket. */
export function plot(valuesMs: readonly number[]): string[] {
  const { p50, p90, p99, max } = summaryOf(valuesMs)
  const buckets = distribution(valuesMs)
  const most = Math.max(...buckets.map(({ count }) => count))
  const bars = buckets.map(({ upToMs, count }) => {
    const bound = upToMs === null ? `over ${BOUNDS.at(-1)} ms` : `up to ${upToMs} ms`
    const bar = '#'.repeat(Math.ceil((count / most) * BAR_WIDTH))
    return `  ${bound.padStart(13)}  ${bar.padEnd(BAR_WIDTH)}  ${count}`
  })
  return [`  p50 ${p50} ms   p90 ${p90} ms   p99 ${p99} ms   max ${max} ms`, '', ...bars]
}

function rounded(ms: number): number {
  return Math.round(ms * 100) / 100
}
