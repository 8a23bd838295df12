import { CoreError } from '../../core/errors.ts'

/** ISO 8601 in its extended form: date, time to the minute or finer, with or without a zone. */
const DATE_TIME =
  /^(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d+))?)?(Z|[+-]\d\d(?::?[0-5]\d)?)?$/i

const MINUTE_MS = 60_000

/**
 * The instant that a client names, in epoch milliseconds. Python clients send naive times, which are
 * UTC here. Throws `invalid_input`, also for a date alone and for days that no calendar has.
 */
export function readDateTime(text: string): number {
  const parts = DATE_TIME.exec(text)
  if (parts === null) throw notADateTime(text)
  const written = parts.slice(1, 7).map((digits = '0') => Number(digits))
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = written
  const utcMs = Date.UTC(year, month - 1, day, hour, minute, second, milliseconds(parts[7]))
  // Date.UTC carries over: 30 February would become 2 March.
  const understood = fieldsOf(new Date(utcMs))
  if (written.some((field, i) => field !== understood[i])) throw notADateTime(text)
  return utcMs - offsetMs(parts[8] ?? 'Z')
}

/** RFC 3339 in UTC with a `Z`. */
export function writeDateTime(ms: number): string {
  return new Date(ms).toISOString()
}

function milliseconds(fraction = ''): number {
  return Number(fraction.padEnd(3, '0').slice(0, 3))
}

function fieldsOf(date: Date): number[] {
  return [
    date.getUTCFullYear(),
    date.getUTCMonth() + 1,
    date.getUTCDate(),
    date.getUTCHours(),
    date.getUTCMinutes(),
    date.getUTCSeconds(),
  ]
}

function offsetMs(zone: string): number {
  if (zone.toUpperCase() === 'Z') return 0
  const digits = zone.slice(1).replace(':', '').padEnd(4, '0')
  const minutes = Number(digits.slice(0, 2)) * 60 + Number(digits.slice(2))
  return (zone.startsWith('-') ? -minutes : minutes) * MINUTE_MS
}

function notADateTime(text: string): CoreError {
  return new CoreError(
    'invalid_input',
    `"${text}" is not a date and time. Write it like 2030-01-31T12:00:00Z.`,
  )
}
