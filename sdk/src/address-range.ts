/** Whether an address lies in one of the ranges (CIDR). IPv4-mapped IPv6 addresses count as IPv4. */
export function isWithin(address: string, ranges: readonly string[]): boolean {
  const bits = bitsOf(address)
  return bits !== undefined && ranges.some((range) => holds(range, bits))
}

/** Whether this is an IPv4 or IPv6 address, without a port or a zone. */
export function isAddress(text: string): boolean {
  return bitsOf(text) !== undefined
}

function holds(range: string, bits: bigint): boolean {
  const slash = range.lastIndexOf('/')
  const base = range.slice(0, slash)
  const start = bitsOf(base)
  const prefix = Number(range.slice(slash + 1)) + (base.includes(':') ? 0 : 96)
  if (start === undefined || slash < 0 || !(prefix >= 0 && prefix <= 128)) return false
  const rest = BigInt(128 - prefix)
  return bits >> rest === start >> rest
}

/** An address as 128 bits, in which IPv4 lies where `::ffff:0:0/96` has it; undefined: none. */
function bitsOf(address: string): bigint | undefined {
  if (!address.includes(':')) {
    const bits = ipv4(address)
    return bits === undefined ? undefined : (0xffffn << 32n) | bits
  }
  // The last 32 bits may be written as IPv4 (RFC 4291, section 2.2).
  const dotted = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(address)
  const tail = dotted === null ? undefined : ipv4(dotted[2] ?? '')
  if (dotted !== null && tail === undefined) return undefined
  const text =
    tail === undefined
      ? address
      : `${dotted?.[1]}${(tail >> 16n).toString(16)}:${(tail & 0xffffn).toString(16)}`
  const halves = text.split('::')
  const [head = [], end = []] = halves.map((half) => (half === '' ? [] : half.split(':')))
  const missing = 8 - head.length - end.length
  const fits = halves.length === 1 ? missing === 0 : halves.length === 2 && missing >= 1
  const groups = [...head, ...Array.from({ length: fits ? missing : 0 }, () => '0'), ...end]
  if (!fits || !groups.every((group) => /^[0-9a-f]{1,4}$/i.test(group))) return undefined
  return groups.reduce((bits, group) => (bits << 16n) | BigInt(`0x${group}`), 0n)
}

function ipv4(address: string): bigint | undefined {
  const bytes = address.split('.')
  const isAddress =
    bytes.length === 4 &&
    bytes.every((byte) => /^(0|[1-9]\d{0,2})$/.test(byte) && Number(byte) < 256)
  if (!isAddress) return undefined
  return bytes.reduce((bits, byte) => (bits << 8n) | BigInt(byte), 0n)
}
