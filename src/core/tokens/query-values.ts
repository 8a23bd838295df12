import { isId } from '../id.ts'
import { rangeKeys } from '../ip.ts'
import type { Period } from './filter.ts'

/** A time as people say it: at a distance from now, or on the calendar. */
export type QueryTime =
  | { never: true }
  | { comparison: Comparison; seconds: number }
  | { during: Period }

export type Comparison = '<' | '<=' | '>' | '>='

const SECONDS = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800, y: 31_536_000 } as const
const DURATION = /^(\d{1,6})([smhdwy])$/
const MONTH = /^(\d{4})-(\d\d)$/
const DAY = /^(\d{4})-(\d\d)-(\d\d)$/
const INSTANT = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,3})?(?:Z|[+-]\d\d:\d\d)$/i
const DAY_MS = 86_400_000

/** What a time can be, for messages. */
export const TIME_HELP =
  '<30d, >=12h (s, m, h, d, w, y), 2026-01, 2026-01-31, >2026-01-31, an instant like 2026-01-31T12:00:00Z, or never'

/** Reads `90d` with its comparison, a date with or without one, or `never`; undefined: none of these. */
export function readTime(text: string, comparison: Comparison | undefined): QueryTime | undefined {
  if (text.toLowerCase() === 'never') return comparison === undefined ? { never: true } : undefined
  const [, amount, unit] = DURATION.exec(text) ?? []
  if (amount !== undefined) {
    if (comparison === undefined) return undefined
    return { comparison, seconds: Number(amount) * SECONDS[unit as keyof typeof SECONDS] }
  }
  const period = periodOf(text)
  return period === undefined ? undefined : { during: compared(period, comparison) }
}

/** A month, a day or a millisecond, in UTC. */
function periodOf(text: string): Required<Period> | undefined {
  const [, year = '', month = ''] = MONTH.exec(text) ?? []
  if (year !== '') {
    const isMonth = Number(month) >= 1 && Number(month) <= 12
    if (!isMonth) return undefined
    const startOf = (index: number) => Date.UTC(Number(year), index, 1)
    return { fromMs: startOf(Number(month) - 1), untilMs: startOf(Number(month)) }
  }
  if (DAY.test(text)) {
    const fromMs = Date.parse(`${text}T00:00:00Z`)
    // The 31st of February parses as a day in March.
    if (Number.isNaN(fromMs) || new Date(fromMs).toISOString().slice(0, 10) !== text) {
      return undefined
    }
    return { fromMs, untilMs: fromMs + DAY_MS }
  }
  const atMs = INSTANT.test(text) ? Date.parse(text) : Number.NaN
  return Number.isNaN(atMs) ? undefined : { fromMs: atMs, untilMs: atMs + 1 }
}

function compared(
  { fromMs, untilMs }: Required<Period>,
  comparison: Comparison | undefined,
): Period {
  switch (comparison) {
    case '<':
      return { untilMs: fromMs }
    case '<=':
      return { untilMs }
    case '>':
      return { fromMs: untilMs }
    case '>=':
      return { fromMs }
    default:
      return { fromMs, untilMs }
  }
}

/** An instant that lay so long ago, compared: `>90d` is longer ago than 90 days. */
export function agoPeriod(comparison: Comparison, seconds: number, nowMs: number): Period {
  const atMs = nowMs - seconds * 1000
  switch (comparison) {
    case '<':
      return { fromMs: atMs + 1 }
    case '<=':
      return { fromMs: atMs }
    case '>':
      return { untilMs: atMs }
    case '>=':
      return { untilMs: atMs + 1 }
  }
}

/** An instant that is still to come, so far from now, compared: `<14d` is within 14 days. */
export function aheadPeriod(comparison: Comparison, seconds: number, nowMs: number): Period {
  const atMs = nowMs + seconds * 1000
  const fromMs = nowMs + 1
  switch (comparison) {
    case '<':
      return { fromMs, untilMs: atMs }
    case '<=':
      return { fromMs, untilMs: atMs + 1 }
    case '>':
      return { fromMs: Math.max(fromMs, atMs + 1) }
    case '>=':
      return { fromMs: Math.max(fromMs, atMs) }
  }
}

/** One of a list of words, in any case, with - for _; undefined: none of them. */
export function readWord<T extends string>(words: readonly T[], text: string): T | undefined {
  const plain = (word: string) => word.toLowerCase().replaceAll('-', '_')
  return words.find((word) => plain(word) === plain(text))
}

export function readId(text: string): string | undefined {
  const id = text.toLowerCase()
  return isId(id) ? id : undefined
}

/** An address or a CIDR range that can be compared; undefined: neither. */
export function readRange(text: string): string | undefined {
  return rangeKeys(text) === undefined ? undefined : text
}
