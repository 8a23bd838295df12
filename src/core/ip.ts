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
