import { expect, test } from 'vitest'
import { reachableTest } from './public-address.ts'

const REFUSED = [
  '0.0.0.0',
  '10.1.2.3',
  '100.64.0.1',
  '127.0.0.1',
  '127.255.255.254',
  '169.254.169.254',
  '172.31.255.255',
  '192.168.1.1',
  '224.0.0.1',
  '240.0.0.1',
  '255.255.255.255',
  '::',
  '::1',
  '::ffff:127.0.0.1',
  '::ffff:7f00:1',
  '::ffff:a9fe:a9fe',
  '64:ff9b::7f00:1',
  'fc00::1',
  'fd00:ec2::254',
  'fe80::1',
  'ff02::1',
  '2001::1',
  '2002:7f00:1::',
  '2001:db8::1',
]

test.each(REFUSED)('%s is in nobody else’s network', (address) => {
  expect(reachableTest([])(address)).toBe(false)
})

test.each(['93.184.216.34', '8.8.8.8', '172.32.0.1', '2606:4700::1111', '::ffff:8.8.8.8'])(
  '%s is public',
  (address) => {
    expect(reachableTest([])(address)).toBe(true)
  },
)

test('what the operator allowed may be reached, and nothing beside it', () => {
  const mayReach = reachableTest(['127.0.0.0/8', 'fd00::/8'])
  expect(mayReach('127.0.0.1')).toBe(true)
  expect(mayReach('::ffff:127.0.0.1')).toBe(true)
  expect(mayReach('fd00::1')).toBe(true)
  expect(mayReach('10.0.0.1')).toBe(false)
  expect(mayReach('::1')).toBe(false)
})

test('what is no address cannot be reached', () => {
  expect(reachableTest([])('localhost')).toBe(false)
})
