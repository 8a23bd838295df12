import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { addressTest, contains, parseCidr, unmap } from './ip.ts'

describe('parseCidr', () => {
  it.each(['10.0.0.0/8', '0.0.0.0/0', '1.2.3.4/32', '::/0', '2001:db8::/32', '::1/128'])(
    'reads %s',
    (text) => expect(parseCidr(text)).toBeDefined(),
  )

  it.each([
    '',
    '/',
    '10.0.0.0',
    '10.0.0.0/',
    '10.0.0.0/33',
    '::/129',
    '10.0.0.0/08',
    '10.0.0.0/-1',
    '10.0.0.0/8.0',
    '10.0.0.0/8/8',
    '10.0.0/8',
    '010.0.0.1/8',
    '0x0a.0.0.1/8',
    '2130706433/8',
    'fe80::1%eth0/64',
    ' 10.0.0.0/8',
    '10.0.0.0/8 ',
    '１０.0.0.0/8',
  ])('refuses "%s"', (text) => expect(parseCidr(text)).toBeUndefined())
})

describe('addressTest', () => {
  const allowed = addressTest(['10.0.0.0/8', '192.168.7.9/32', '2001:db8::/32'])

  it.each([
    '10.0.0.0',
    '10.255.255.255',
    '192.168.7.9',
    '2001:db8::1',
    '2001:DB8:0:0::1',
    '::ffff:10.1.2.3',
    '::FFFF:10.1.2.3',
    '::ffff:a01:203',
  ])('takes %s', (address) => expect(allowed(address)).toBe(true))

  it.each([
    '9.255.255.255',
    '11.0.0.0',
    '192.168.7.8',
    '2001:db9::',
    '::10.1.2.3',
    '::ffff:11.1.2.3',
    '',
    'localhost',
    '10.0.0.1 ',
    '10.0.0.1/8',
    'fe80::1%eth0',
    '\0',
  ])('refuses "%s"', (address) => expect(allowed(address)).toBe(false))

  it('takes nothing when there are no ranges', () => {
    expect(addressTest([])('10.0.0.1')).toBe(false)
  })
})

describe('contains', () => {
  const v4 = fc.tuple(fc.ipV4(), fc.integer({ min: 0, max: 32 })).map(([a, p]) => `${a}/${p}`)
  const v6 = fc.tuple(fc.ipV6(), fc.integer({ min: 0, max: 128 })).map(([a, p]) => `${a}/${p}`)
  const ranges = fc.oneof(v4, v6)

  it('says of every range that it contains itself', () => {
    fc.assert(
      fc.property(ranges, (range) => {
        expect(contains(range, range)).toBe(true)
      }),
    )
  })

  it('is true only if every address of the inner passes the test of the outer', () => {
    const nearby = fc.tuple(v4, fc.integer({ min: 0, max: 32 }), fc.ipV4()).map(
      ([range, prefix, address]) =>
        // Mostly ranges that overlap, for unrelated ones say little.
        [range.replace(/\/\d+$/, `/${prefix}`), range, address] as const,
    )
    fc.assert(
      fc.property(nearby, ([outer, inner, address]) => {
        if (!contains(outer, inner)) return
        if (addressTest([inner])(address)) expect(addressTest([outer])(address)).toBe(true)
        const [first = ''] = inner.split('/')
        expect(addressTest([outer])(first)).toBe(true)
      }),
      { numRuns: 1000 },
    )
  })

  it.each([
    ['10.0.0.0/8', '10.1.0.0/16', true],
    ['10.0.0.0/8', '10.0.0.0/7', false],
    ['10.0.0.0/8', '11.0.0.0/16', false],
    ['0.0.0.0/0', '::/0', false],
    ['::/0', '10.0.0.0/8', false],
    ['::/0', '2001:db8::/32', true],
    ['2001:db8::/32', '2001:db8::/31', false],
    ['nonsense', '10.0.0.0/8', false],
    ['10.0.0.0/8', 'nonsense', false],
  ])('%s ⊇ %s: %s', (outer, inner, expected) => {
    expect(contains(outer, inner)).toBe(expected)
  })
})

it('unmap gives IPv4 peers of a dual-stack socket their own spelling', () => {
  expect(unmap('::ffff:10.0.0.1')).toBe('10.0.0.1')
  expect(unmap('::FFFF:10.0.0.1')).toBe('10.0.0.1')
  expect(unmap('2001:DB8::1')).toBe('2001:db8::1')
  expect(unmap('::ffff:1.2.3')).toBe('::ffff:1.2.3')
})
