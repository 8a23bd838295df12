import type { Mode } from '@mintmark/sdk'
import { InvalidArgumentError } from 'commander'

/** Parsers of what people type. Each throws `InvalidArgumentError` with the form it wants. */

const SECONDS = { s: 1, m: 60, h: 3600, d: 86_400, w: 7 * 86_400, y: 365 * 86_400 } as const
const DURATION = /^(\d{1,6})([smhdwy])$/
const INSTANT = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/i
const MODES: readonly Mode[] = ['READ', 'WRITE', 'ADMIN']

/** `90s`, `15m`, `12h`, `30d`, `2w`, `1y` → seconds; undefined: not a duration. */
export function durationSeconds(text: string): number | undefined {
  const [, amount, unit] = DURATION.exec(text) ?? []
  if (amount === undefined) return undefined
  return Number(amount) * SECONDS[unit as keyof typeof SECONDS]
}

/** 30 days, 12 hours, 90 seconds: about so long, in the largest unit of which there are two. */
export function inWords(seconds: number): string {
  const [unit, size] = WORDS.find(([, each]) => seconds >= 2 * each) ?? (['seconds', 1] as const)
  return `${Number((seconds / size).toFixed(1))} ${unit}`
}

const WORDS = [
  ['days', SECONDS.d],
  ['hours', SECONDS.h],
  ['minutes', SECONDS.m],
] as const

/** The same where nothing else will do. */
export function seconds(text: string): number {
  const found = durationSeconds(text)
  if (found === undefined) throw new InvalidArgumentError('Write a time like 30s, 5m or 1h.')
  return found
}

function instantOf(text: string): string | undefined {
  if (!INSTANT.test(text) || Number.isNaN(Date.parse(text))) return undefined
  return new Date(text).toISOString()
}

const NEVER = 'never'

/** When a token ends: an instant, a time from now, or `never`. */
export function expiry(text: string, nowMs: number): string {
  // Not null: commander takes that for an option without a value.
  if (text === NEVER) return NEVER
  const seconds = durationSeconds(text)
  const end =
    seconds === undefined ? instantOf(text) : new Date(nowMs + seconds * 1000).toISOString()
  if (end !== undefined) return end
  throw new InvalidArgumentError(
    'Say 30d, 12h, 15m, never, or an instant like 2030-01-31T12:00:00Z.',
  )
}

/** The same as the API says it. */
export function expiresAt(expires: string): string | null {
  return expires === NEVER ? null : expires
}

/** A point in the past: an instant, or a time back from now. */
export function since(text: string, nowMs: number): string {
  const seconds = durationSeconds(text)
  const start =
    seconds === undefined ? instantOf(text) : new Date(nowMs - seconds * 1000).toISOString()
  if (start !== undefined) return start
  throw new InvalidArgumentError('Say 24h, 7d, or an instant like 2030-01-31T12:00:00Z.')
}

/** Rows per page, within what the API gives. */
export function pageSize(text: string): number {
  const number = /^\d{1,4}$/.test(text) ? Number(text) : 0
  if (number >= 1 && number <= 1000) return number
  throw new InvalidArgumentError('Say a number from 1 to 1000.')
}

/** One of a list of words, in any case, with - for _. */
export function oneOf<T extends string>(values: readonly T[]) {
  return (text: string): T => {
    const key = text.toUpperCase().replaceAll('-', '_')
    const found = values.find((value) => value.toUpperCase() === key)
    if (found !== undefined) return found
    throw new InvalidArgumentError(`Say one of ${values.join(', ')}.`)
  }
}

export const modeOf = oneOf(MODES)

/** `builders:WRITE` → a group's name or id, and a mode. Without a mode: READ. */
export function groupGrant(text: string): { group: string; mode: Mode } {
  const colon = text.lastIndexOf(':')
  if (colon < 0) return { group: text, mode: 'READ' }
  return { group: text.slice(0, colon), mode: modeOf(text.slice(colon + 1)) }
}

/** The same for options that are given several times. */
export function groupGrants(text: string, before: { group: string; mode: Mode }[] = []) {
  return [...before, groupGrant(text)]
}

/** A JSON object, as metadata and attributes are. */
export function jsonObject(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
      return { ...value }
    }
  } catch {
    // The answer below is the same for all that is not an object.
  }
  throw new InvalidArgumentError('Say a JSON object like {"team":"web"}.')
}
