import { describe, expect, it } from 'vitest'
import {
  durationSeconds,
  expiresAt,
  expiry,
  groupGrant,
  jsonObject,
  oneOf,
  pageSize,
  since,
} from './values.ts'

const nowMs = Date.UTC(2030, 0, 1)

describe('times', () => {
  it('an expiry is a time from now, an instant, or never', () => {
    expect(expiry('30d', nowMs)).toBe('2030-01-31T00:00:00.000Z')
    expect(expiry('12h', nowMs)).toBe('2030-01-01T12:00:00.000Z')
    expect(expiry('2030-01-31T13:00:00+01:00', nowMs)).toBe('2030-01-31T12:00:00.000Z')
    expect(expiresAt(expiry('never', nowMs))).toBeNull()
    expect(expiresAt(expiry('1y', nowMs))).toBe('2031-01-01T00:00:00.000Z')
  })

  it('a filter looks back', () => {
    expect(since('24h', nowMs)).toBe('2029-12-31T00:00:00.000Z')
    expect(since('2029-12-31T00:00:00Z', nowMs)).toBe('2029-12-31T00:00:00.000Z')
  })

  it.each(['', 'soon', '30', '-1d', '1.5h', '2030-01-31', '2030-13-01T00:00:00Z', '30 d'])(
    '%j is none',
    (text) => {
      expect(() => expiry(text, nowMs)).toThrow(/30d, 12h/)
      expect(() => since(text, nowMs)).toThrow(/24h, 7d/)
      expect(durationSeconds(text)).toBeUndefined()
    },
  )
})

describe('words', () => {
  it('are taken in any case, with - for _', () => {
    const level = oneOf(['READ_ONLY', 'FULL_ACCESS'])
    expect(level('read-only')).toBe('READ_ONLY')
    expect(level('FULL_ACCESS')).toBe('FULL_ACCESS')
    expect(() => level('full')).toThrow('READ_ONLY, FULL_ACCESS')
  })

  it('a group may have a colon in its name', () => {
    expect(groupGrant('a:b:write')).toEqual({ group: 'a:b', mode: 'WRITE' })
    expect(groupGrant('builders')).toEqual({ group: 'builders', mode: 'READ' })
    expect(() => groupGrant('a:b')).toThrow('READ, WRITE, ADMIN')
  })

  it('pages and objects are checked', () => {
    expect(pageSize('1000')).toBe(1000)
    for (const text of ['0', '1001', '1e2', '']) expect(() => pageSize(text)).toThrow()
    expect(jsonObject('{"a":1}')).toEqual({ a: 1 })
    for (const text of ['[]', 'null', '{', '1']) expect(() => jsonObject(text)).toThrow('object')
  })
})
