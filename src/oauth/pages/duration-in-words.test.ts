import fc from 'fast-check'
import { expect, test } from 'vitest'
import { durationInWords } from './duration-in-words.ts'

test.each([
  [0, '0 seconds'],
  [1, '1 second'],
  [90, '1 minute 30 seconds'],
  [3600, '1 hour'],
  [5400, '1 hour 30 minutes'],
  [3601, '1 hour 1 second'],
  [90_061, '1 day 1 hour'],
  [2_592_000, '30 days'],
  [31_536_000, '1 year'],
  [63_072_000, '2 years'],
  [34_560_000, '400 days'],
  [59.9, '59 seconds'],
])('%d seconds are %s', (seconds, words) => {
  expect(durationInWords(seconds)).toBe(words)
})

test.each([-1, Number.NaN, Number.POSITIVE_INFINITY])('%d is no length of time', (seconds) => {
  expect(() => durationInWords(seconds)).toThrow(RangeError)
})

test('there are at most two units, and never more is said than it is', () => {
  const lengths: Record<string, number> = {
    year: 31_536_000,
    day: 86_400,
    hour: 3600,
    minute: 60,
    second: 1,
  }
  fc.assert(
    fc.property(fc.nat({ max: 4_000_000_000 }), (seconds) => {
      const pairs = [...durationInWords(seconds).matchAll(/(\d+) ([a-z]+?)s?(?: |$)/g)]
      expect(pairs.length).toBeLessThanOrEqual(2)
      const said = pairs.reduce(
        (sum, [, count, unit]) => sum + Number(count) * (lengths[unit ?? ''] ?? Number.NaN),
        0,
      )
      expect(said).toBeLessThanOrEqual(seconds)
      expect(said).toBeGreaterThanOrEqual(seconds * 0.98)
    }),
  )
})
