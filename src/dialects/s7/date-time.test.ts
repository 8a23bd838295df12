import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CoreError } from '../../core/errors.ts'
import { readDateTime, writeDateTime } from './date-time.ts'

const noon = Date.UTC(2030, 0, 31, 12)

describe('readDateTime', () => {
  it.each([
    ['2030-01-31T12:00:00Z', noon],
    ['2030-01-31T12:00:00z', noon],
    ['2030-01-31 12:00:00Z', noon],
    ['2030-01-31T12:00Z', noon],
    ['2030-01-31T12:00:00', noon],
    ['2030-01-31T12:00:00.000005', noon],
    ['2030-01-31T12:00:00.25Z', noon + 250],
    ['2030-01-31T12:00:00,999999999Z', noon + 999],
    ['2030-01-31T12:00:00+00:00', noon],
    ['2030-01-31T14:30:00+02:30', noon],
    ['2030-01-31T06:30:00-0530', noon],
    ['2030-02-01T02:00:00+14', noon],
    ['2028-02-29T00:00:00Z', Date.UTC(2028, 1, 29)],
  ])('reads %s', (text, ms) => {
    expect(readDateTime(text)).toBe(ms)
  })

  it.each([
    '',
    '2030-01-31',
    '2030-01-31T12',
    '2030-02-30T00:00:00Z',
    '2029-02-29T00:00:00Z',
    '2030-13-01T00:00:00Z',
    '2030-01-31T24:00:00Z',
    '2030-01-31T12:60:00Z',
    '2030-01-31T12:00:61Z',
    '2030-01-31T12:00:00+02:99',
    '2030-01-31T12:00:00 +02:00',
    ' 2030-01-31T12:00:00Z',
    '2030-01-31T12:00:00Z\n',
    '1893499200',
    'tomorrow',
    '٢٠٣٠-01-31T12:00:00Z',
  ])('refuses %j', (text) => {
    expect(() => readDateTime(text)).toThrow(CoreError)
  })

  it('reads what writeDateTime writes', () => {
    const instants = fc.integer({ min: Date.UTC(1900, 0, 1), max: Date.UTC(9999, 0, 1) })
    fc.assert(
      fc.property(instants, (ms) => {
        expect(readDateTime(writeDateTime(ms))).toBe(ms)
      }),
    )
  })
})
