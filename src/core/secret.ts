import { createHmac, createSecretKey, hash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import type { Random } from './random.ts'

/**
 * A value that must not be printed by accident. Logging, JSON and string templates all say
 * `[secret]`; `reveal()` is the one way out, and easy to find in a review.
 */
export class Secret {
  readonly #value: string
  constructor(value: string) {
    this.#value = value
  }
  reveal(): string {
    return this.#value
  }
  toString(): string {
    return '[secret]'
  }
  toJSON(): string {
    return '[secret]'
  }
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return '[secret]'
  }
}

/** Keyed digest of a secret, base64url. The only form in which a secret is stored. */
export type SecretDigest = string & { readonly brand: 'SecretDigest' }

/**
 * How a secret is spelled. `mintmark` is ours; XMS clients know 32 hex digits, S7 clients UUIDv4
 * text; `chosen` was picked by an operator (MINTMARK_BOOTSTRAP_TOKEN). A `jwt` is no secret of ours:
 * it is found by the id that it names once its signature has been checked. `imported` came from another
 * system, spelled unlike ours or known by a hash alone.
 */
export type SecretFormat = 'mintmark' | 'hex' | 'uuid' | 'chosen' | 'jwt' | 'imported'

const BASE62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const BODY_LENGTH = 43
const CHECKSUM_LENGTH = 6
const TAIL_LENGTH = BODY_LENGTH + CHECKSUM_LENGTH
const OURS = /^mm_[a-z]+(?:_[a-z]+)?_[0-9A-Za-z]{49}$/
const HEX = /^[0-9a-f]{32}$/
const UUID_V4 = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
const CHOSEN = /^[A-Za-z0-9._~+/=-]{32,256}$/

/** Finds Mintmark secrets in text; for leak scanners and log filters. */
export const SECRET_PATTERN = /\bmm_[a-z]+(?:_[a-z]+)?_[0-9A-Za-z]{49}\b/g

/** Makes a new secret: 256 random bits as ours, 128 as `hex`, 122 as `uuid`. */
export function makeSecret(format: 'mintmark' | 'hex' | 'uuid', kind: string, random: Random) {
  if (format === 'hex') return random(16).toString('hex')
  if (format === 'uuid') return uuidV4(random(16))
  const head = `mm_${kind}_${base62(BigInt(`0x${random(32).toString('hex')}`), BODY_LENGTH)}`
  return head + checksum(head)
}

/**
 * Which format `text` has, or undefined when it cannot be one of our secrets: wrong alphabet, wrong
 * length, or a `mm_` secret whose CRC-32 does not fit. Needs no store, so garbage is refused cheaply.
 */
export function formatOf(text: string): SecretFormat | undefined {
  if (text.startsWith('mm_')) return hasValidChecksum(text) ? 'mintmark' : undefined
  if (text.length === 32 && HEX.test(text)) return 'hex'
  if (text.length === 36 && UUID_V4.test(text)) return 'uuid'
  return CHOSEN.test(text) ? 'chosen' : undefined
}

/** What keeps `text` from being one of our secrets; undefined: it may be one. */
export function secretFault(text: string): 'format' | 'checksum' | undefined {
  if (formatOf(text) !== undefined) return undefined
  return OURS.test(text) ? 'checksum' : 'format'
}

/**
 * False for most of what `formatOf` refuses, at a fraction of its cost: for whoever looks into a cache
 * next, because what is found there was found fit before.
 */
export function mayBeSecret(text: string): boolean {
  if (!text.startsWith('mm_')) return formatOf(text) !== undefined
  return text.length <= MAX_SHORT_LENGTH && text.charAt(text.length - TAIL_LENGTH - 1) === '_'
}

/** What an operator may choose as a secret. */
export const CHOSEN_SECRET =
  '32 to 256 characters of A-Z a-z 0-9 . _ ~ + / = -, at least 8 of them different'

/** Whether an operator may choose `text` as a secret: base64, base64url, hex and the like. */
export function mayBeChosen(text: string): boolean {
  return formatOf(text) !== undefined && new Set(text).size >= 8
}

function hasValidChecksum(text: string): boolean {
  if (!OURS.test(text)) return false
  const head = text.slice(0, -CHECKSUM_LENGTH)
  return checksum(head) === text.slice(-CHECKSUM_LENGTH)
}

function checksum(head: string): string {
  return base62(BigInt(crc32(head)), CHECKSUM_LENGTH)
}

function base62(number: bigint, length: number): string {
  let rest = number
  let text = ''
  for (let i = 0; i < length; i++) {
    text = BASE62.charAt(Number(rest % 62n)) + text
    rest /= 62n
  }
  return text
}

function uuidV4(bytes: Buffer): string {
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x40, 6)
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8)
  const hex = bytes.toString('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}

/** What people see of a secret in lists: enough to recognise it, useless to guess it. */
export function previewOf(secret: string, format: SecretFormat): string {
  const head = format === 'mintmark' ? secret.slice(0, secret.lastIndexOf('_') + 1) : ''
  return `${head}…${secret.slice(-4)}`
}

/** A server key for digests ("pepper"). Several live at once while one is being replaced. */
export interface Pepper {
  id: string
  /** HMAC-SHA-256 of a text under the key, base64url. The key itself is not to be had. */
  mac: (text: string) => string
}

export function pepper(id: string, bytes: Buffer): Pepper {
  return { id, mac: keyedMac(bytes) }
}

/** HMAC-SHA-256 under the server key: a stolen table can be neither reversed nor forged into. */
export function digestOf(secret: string, { mac }: Pepper): SecretDigest {
  return mac(secret) as SecretDigest
}

/** What a secret is known by in the memory of this process, and nowhere else. */
export type SecretKey = string & { readonly brand: 'SecretKey' }

/**
 * Keys for a cache of secrets: SHA-256 of 256 bits that only this process has ever had, and the secret.
 * It gives away as little as a digest, is never stored, and costs half, where a cache is asked twice
 * in every request. Nobody sees a key, so there is nothing to lengthen.
 */
export function secretKeys(random: Random): (secret: string) => SecretKey {
  const prefix = random(HASH_BYTES).toString('base64url')
  // As text from end to end, a byte for each character of the key: cheaper than by way of a Buffer.
  return (secret) => hash('sha256', prefix + secret, 'binary') as SecretKey
}

const BLOCK_BYTES = 64
const HASH_BYTES = 32
/** Of one UTF-16 unit in UTF-8. */
const MAX_UNIT_BYTES = 3
/** Longer than any secret of ours. */
const MAX_SHORT_LENGTH = 320

/**
 * HMAC-SHA-256 (RFC 2104, section 2) from two one-shot hashes, each of them one call into OpenSSL,
 * where an Hmac object takes three and an object that must be collected. Half the time, and every
 * question takes two.
 */
function keyedMac(key: Buffer): (text: string) => string {
  if (key.length > BLOCK_BYTES) throw new RangeError('A pepper is at most 64 bytes long.')
  const inner = Buffer.alloc(BLOCK_BYTES + MAX_SHORT_LENGTH * MAX_UNIT_BYTES, 0x36)
  const outer = Buffer.alloc(BLOCK_BYTES + HASH_BYTES, 0x5c)
  for (const [i, byte] of key.entries()) {
    inner[i] = byte ^ 0x36
    outer[i] = byte ^ 0x5c
  }
  const secretKey = createSecretKey(key)
  return (text) => {
    if (text.length > MAX_SHORT_LENGTH) {
      return createHmac('sha256', secretKey).update(text).digest('base64url')
    }
    const end = BLOCK_BYTES + inner.write(text, BLOCK_BYTES)
    // As text, because a hash into a new Buffer costs half as much again.
    outer.write(hash('sha256', inner.subarray(0, end), 'binary'), BLOCK_BYTES, 'binary')
    return hash('sha256', outer, 'base64url')
  }
}
