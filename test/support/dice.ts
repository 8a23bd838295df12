/** Repeatable randomness for trials: the same seed throws the same dice. */
export interface Dice {
  /** A whole number from 0 to `below - 1`. */
  number(below: number): number
  chance(probability: number): boolean
  pick<T>(list: readonly T[]): T | undefined
}

/** The mulberry32 generator: good enough to choose by, never for secrets. */
export function dice(seed: number): Dice {
  let state = seed >>> 0
  const fraction = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  return {
    number: (below) => Math.floor(fraction() * below),
    chance: (probability) => fraction() < probability,
    pick: (list) => list[Math.floor(fraction() * list.length)],
  }
}

/** The seed of this run: MINTMARK_TEST_SEED, or a new one. Print it, so that a failure can be repeated. */
export function seedOfRun(): number {
  const given = process.env.MINTMARK_TEST_SEED
  if (given === undefined || given === '') return Math.floor(Math.random() * 2 ** 31)
  const seed = Number(given)
  if (!Number.isSafeInteger(seed)) throw new Error('MINTMARK_TEST_SEED must be a whole number.')
  return seed
}
