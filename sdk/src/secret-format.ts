const BASE62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const CHECKSUM_LENGTH = 6
const OURS = /^mm_([a-z]+(?:_[a-z]+)?)_[0-9A-Za-z]{49}$/

/**
 * The kind that a Mintmark secret names, such as `api`, or undefined when `text` cannot be one: not
 * of the format `mm_<kind>_…`, or with a CRC-32 that does not fit. Works offline, so it says nothing
 * about whether the secret was ever given out or is still alive.
 */
export function secretKind(text: string): string | undefined {
  const kind = OURS.exec(text)?.[1]
  const head = text.slice(0, -CHECKSUM_LENGTH)
  return kind !== undefined && text === head + checksum(head) ? kind : undefined
}

function checksum(head: string): string {
  let rest = crc32(head)
  let text = ''
  for (let i = 0; i < CHECKSUM_LENGTH; i++) {
    text = BASE62.charAt(rest % 62) + text
    rest = Math.floor(rest / 62)
  }
  return text
}

/** CRC-32 as zlib has it (ISO 3309), of ASCII text. */
function crc32(text: string): number {
  let crc = 0xffffffff
  for (let i = 0; i < text.length; i++) {
    crc ^= text.charCodeAt(i)
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0)
  }
  return ~crc >>> 0
}
