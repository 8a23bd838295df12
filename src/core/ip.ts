import { BlockList, isIP, isIPv6 } from 'node:net'

interface Cidr {
  address: string
  family: 'ipv4' | 'ipv6'
  prefix: number
}

/** Reads `address/prefix`; undefined when it is not one. */
export function parseCidr(text: string): Cidr | undefined {
  const slash = text.lastIndexOf('/')
  if (slash < 0) return undefined
  const address = text.slice(0, slash)
  const digits = text.slice(slash + 1)
  const version = isIP(address)
  if (version === 0 || address.includes('%') || !/^(0|[1-9]\d{0,2})$/.test(digits)) return undefined
  const prefix = Number(digits)
  if (prefix > (version === 4 ? 32 : 128)) return undefined
  return { address, family: version === 4 ? 'ipv4' : 'ipv6', prefix }
}

/** Whether an address lies in any of the ranges. IPv4-mapped IPv6 addresses count as IPv4. */
export type AddressTest = (address: string) => boolean

/** Compiles ranges once, so that each test is one look-up. */
export function addressTest(ranges: readonly string[]): AddressTest {
  const list = new BlockList()
  for (const range of ranges) {
    const cidr = parseCidr(range)
    if (cidr !== undefined) list.addSubnet(cidr.address, cidr.prefix, cidr.family)
  }
  return (address) => {
    const plain = unmap(address)
    return isIP(plain) !== 0 && list.check(plain, isIPv6(plain) ? 'ipv6' : 'ipv4')
  }
}

/** Whether every address of `inner` is one of `outer`. */
export function contains(outer: string, inner: string): boolean {
  const big = parseCidr(outer)
  const small = parseCidr(inner)
  if (big === undefined || small === undefined) return false
  return (
    big.family === small.family && big.prefix <= small.prefix && addressTest([outer])(small.address)
  )
}

/** `::ffff:10.0.0.1` → `10.0.0.1`, as a dual-stack socket reports IPv4 peers. */
export function unmap(address: string): string {
  const lower = address.toLowerCase()
  return lower.startsWith('::ffff:') && isIP(lower.slice(7)) === 4 ? lower.slice(7) : lower
}

/**
 * An address in 32 hexadecimal digits, in which IPv4 lies where `::ffff:0:0/96` has it: every range of
 * addresses is a range of keys. Undefined when it is not an address.
 */
export function addressKey(address: string): string | undefined {
  const plain = unmap(address.replace(/%.*$/, ''))
  const version = isIP(plain)
  if (version === 0) return undefined
  return version === 4 ? `${'0'.repeat(20)}ffff${hexOfIpv4(plain)}` : hexOfIpv6(plain)
}

/** First and last key of `address/prefix` or of a single address; undefined when it is neither. */
export function rangeKeys(text: string): { fromKey: string; toKey: string } | undefined {
  const cidr = parseCidr(text) ?? parseCidr(`${text}/${isIPv6(text) ? 128 : 32}`)
  const key = cidr === undefined ? undefined : addressKey(cidr.address)
  if (cidr === undefined || key === undefined) return undefined
  // An IPv4-mapped range narrower than the mapping is an IPv4 range.
  const prefix = BigInt(cidr.family === 'ipv4' ? cidr.prefix + 96 : cidr.prefix)
  const rest = (1n << (128n - prefix)) - 1n
  const value = BigInt(`0x${key}`)
  const hex = (bits: bigint) => bits.toString(16).padStart(32, '0')
  return { fromKey: hex((value | rest) - rest), toKey: hex(value | rest) }
}

/** The addresses that lie in a range of either list. Ranges are disjoint or within one another. */
export function commonRanges(some: readonly string[], others: readonly string[]): string[] {
  const common = some.flatMap((range) =>
    others.flatMap((other) => {
      if (isWithin(range, other)) return [range]
      return isWithin(other, range) ? [other] : []
    }),
  )
  return [...new Set(common)]
}

/** Unlike `contains`, knows IPv4 ranges in IPv6 ones. */
function isWithin(inner: string, outer: string): boolean {
  const [small, big] = [rangeKeys(inner), rangeKeys(outer)]
  if (small === undefined || big === undefined) return false
  return big.fromKey <= small.fromKey && small.toKey <= big.toKey
}

function hexOfIpv4(address: string): string {
  return address
    .split('.')
    .map((byte) => Number(byte).toString(16).padStart(2, '0'))
    .join('')
}

function hexOfIpv6(address: string): string {
  // The last 32 bits may be written as IPv4 (RFC 4291, section 2.2).
  const whole = address.replace(/[^:]+\.[^:]+$/, (tail) => hexOfIpv4(tail).replace(/^.{4}/, '$&:'))
  const [before = '', after = ''] = whole.split('::')
  const groups = (part: string) => (part === '' ? [] : part.split(':'))
  const head = groups(before)
  const tail = groups(after)
  const gap = Array.from({ length: 8 - head.length - tail.length }, () => '0')
  return [...head, ...gap, ...tail].map((group) => group.padStart(4, '0')).join('')
}
