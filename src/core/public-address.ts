import { isIP } from 'node:net'
import { type AddressTest, addressTest, unmap } from './ip.ts'

/** Addresses that belong to somebody's own network, to this machine, or to nobody (RFC 6890 and its registries). */
const NOT_PUBLIC_V4 = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  // Link-local, where clouds answer for the credentials of the machine.
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/3',
]

/** The same of IPv6. Apart, because a range that holds the mapped addresses holds all of IPv4, too. */
const NOT_PUBLIC_V6 = [
  // All that is not 2000::/3: loopback, mapped IPv4, NAT64, unique local, link-local, multicast.
  '::/3',
  '4000::/2',
  '8000::/1',
  // Teredo and other special purposes, documentation, 6to4: IPv4 in disguise.
  '2001::/23',
  '2001:db8::/32',
  '2002::/16',
  '3fff::/20',
]

/** Whether the server may send to an address: to public ones, and to those that the operator `allowed`. */
export function reachableTest(allowed: readonly string[]): AddressTest {
  const isAllowed = addressTest(allowed)
  const isPrivateV4 = addressTest(NOT_PUBLIC_V4)
  const isPrivateV6 = addressTest(NOT_PUBLIC_V6)
  return (address) => {
    if (isAllowed(address)) return true
    const plain = unmap(address)
    const version = plain.includes('%') ? 0 : isIP(plain)
    return version !== 0 && !(version === 4 ? isPrivateV4(plain) : isPrivateV6(plain))
  }
}
