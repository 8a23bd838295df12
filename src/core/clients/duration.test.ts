import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { formatDuration, parseDuration } from './duration.ts'

describe('parseDuration', () => {
  it.each([
    ['seconds=0', 0],
    ['seconds=5', 5],
    ['minutes=1', 60],
    ['hours=1;minutes=2', 3720],
    ['minutes=2;hours=1', 3720],
    ['days=30', 2_592_000],
    ['weeks=1;days=1;hours=1;minutes=1;seconds=1', 694_861],
    [' hours = 1 ; minutes=2 ', 3720],
    ['Hours=1', 3600],
    ['minutes=007', 420],
    ['milliseconds=1999', 1],
    ['milliseconds=999;microseconds=1000', 1],
    ['milliseconds=999;microseconds=999', 0],
    ['seconds=1;microseconds=999999', 1],
  ])('reads %s as %i seconds', (text, seconds) => {
    expect(parseDuration(text)).toBe(seconds)
  })

  it.each([
    '',
    ' ',
    ';',
    'hours',
    'hours=',
    '=1',
    'hours=-1',
    'hours=+1',
    'hours=1.5',
    'hours=1e3',
    'hours=0x10',
    'hours=١',
    'hours=1;',
    ';hours=1',
    'hours=1;;minutes=2',
    'hours=1,minutes=2',
    'hours=1 minutes=2',
    'hours=1;hours=1',
    'hours=1;Hours=1',
    'fortnights=1',
    'months=1',
    'constructor=1',
    '__proto__=1',
    'toString=1',
    'hours=1234567890123',
    '3600',
    '1h',
    'PT1H',
    `hours=1${' '.repeat(200)}`,
  ])('refuses "%s" and shows how it is written', (text) => {
    expect(() => parseDuration(text)).toThrow(
      expect.objectContaining({
        code: 'invalid_input',
        message: expect.stringContaining('"hours=1;minutes=30"'),
      }),
    )
  })

  it('answers with a number or refuses, whatever it is given, at once', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[a-z=; \d]{0,60}$/)), (text) => {
        try {
          expect(parseDuration(text)).toBeGreaterThanOrEqual(0)
        } catch (error) {
          expect(error).toMatchObject({ code: 'invalid_input' })
        }
      }),
    )
  })
})

describe('formatDuration', () => {
  it.each([
    [0, 'seconds=0'],
    [59, 'seconds=59'],
    [60, 'minutes=1'],
    [3720, 'hours=1;minutes=2'],
    [86_400, 'days=1'],
    [604_800, 'weeks=1'],
  ])('writes %i seconds as %s', (seconds, text) => {
    expect(formatDuration(seconds)).toBe(text)
  })

  it('writes what parseDuration reads', () => {
    fc.assert(
      fc.property(fc.nat(4_000_000_000), (seconds) => {
        expect(parseDuration(formatDuration(seconds))).toBe(seconds)
      }),
    )
  })
})
