const UNITS = [
  ['day', 86_400],
  ['hour', 3600],
  ['minute', 60],
  ['second', 1],
] as const

const YEAR_SECONDS = 365 * 86_400

/**
 * A lifetime for people: `1 hour 30 minutes`. The two largest units say enough; whole years are years.
 * Throws `RangeError` for what is no length of time.
 */
export function durationInWords(seconds: number): string {
  if (!Number.isFinite(seconds) || seconds < 0) {
    throw new RangeError('A duration must be a number of seconds, zero or more.')
  }
  if (seconds >= YEAR_SECONDS && seconds % YEAR_SECONDS === 0) {
    return counted(seconds / YEAR_SECONDS, 'year')
  }
  const words: string[] = []
  let rest = Math.floor(seconds)
  for (const [unit, length] of UNITS) {
    const count = Math.floor(rest / length)
    rest %= length
    if (count > 0) words.push(counted(count, unit))
  }
  return words.length === 0 ? '0 seconds' : words.slice(0, 2).join(' ')
}

function counted(count: number, unit: string): string {
  return `${count} ${unit}${count === 1 ? '' : 's'}`
}
