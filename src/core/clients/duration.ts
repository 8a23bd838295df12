import { CoreError } from '../errors.ts'

/** Largest first; the keys that add up to whole seconds. */
const SECONDS = { weeks: 604_800, days: 86_400, hours: 3600, minutes: 60, seconds: 1 } as const
/** Keys below a second, in microseconds. authentik takes them, so we do, too. */
const MICROSECONDS = { milliseconds: 1000, microseconds: 1 } as const

type Unit = keyof typeof SECONDS | keyof typeof MICROSECONDS

const PAIR = /^\s*([a-z]+)\s*=\s*(\d{1,12})\s*$/i
const MAX_LENGTH = 200

/**
 * Reads authentik's notation of lifetimes, such as `hours=1;minutes=2`: keys in any order, each once.
 * Returns whole seconds; what is left below a second is dropped. Throws `invalid_input`.
 */
export function parseDuration(text: string): number {
  if (text.length > MAX_LENGTH) throw notADuration()
  const amounts = new Map<Unit, number>()
  for (const pair of text.split(';')) {
    const [, key = '', amount = ''] = PAIR.exec(pair) ?? []
    const unit = unitOf(key)
    if (unit === undefined || amounts.has(unit)) throw notADuration()
    amounts.set(unit, Number(amount))
  }
  return sumOf(amounts, SECONDS) + Math.floor(sumOf(amounts, MICROSECONDS) / 1_000_000)
}

/** Seconds in the same notation, in as few pairs as there are. */
export function formatDuration(seconds: number): string {
  const pairs: string[] = []
  let rest = seconds
  for (const [unit, size] of Object.entries(SECONDS)) {
    const amount = Math.floor(rest / size)
    rest -= amount * size
    if (amount > 0) pairs.push(`${unit}=${amount}`)
  }
  return pairs.length === 0 ? 'seconds=0' : pairs.join(';')
}

function unitOf(key: string): Unit | undefined {
  const name = key.toLowerCase()
  return Object.hasOwn(SECONDS, name) || Object.hasOwn(MICROSECONDS, name)
    ? (name as Unit)
    : undefined
}

function sumOf(amounts: ReadonlyMap<Unit, number>, sizes: Partial<Record<Unit, number>>): number {
  let sum = 0
  for (const [unit, amount] of amounts) sum += amount * (sizes[unit] ?? 0)
  return sum
}

function notADuration(): CoreError {
  return new CoreError(
    'invalid_input',
    'A lifetime is written like "hours=1;minutes=30", with the keys weeks, days, hours, minutes and seconds, each once, and whole numbers.',
  )
}
