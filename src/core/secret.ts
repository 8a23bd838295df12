import { createHmac, createSecretKey, type KeyObject } from 'node:crypto'
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
 * it is found by the id that it names once its signature has been checked.
 */
export type SecretFormat = 'mintmark' | 'hex' | 'uuid' | 'chosen' | 'jwt'

const BASE62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const BODY_LENGTH = 43
const CHECKSUM_LENGTH = 6
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
  key: KeyObject
}

export function pepper(id: string, bytes: Buffer): Pepper {
  return { id, key: createSecretKey(bytes) }
}

/** HMAC-SHA-256 under the server key: a stolen table can be neither reversed nor forged into. */
export function digestOf(secret: string, { key }: Pepper): SecretDigest {
  return createHmac('sha256', key).update(secret).digest('base64url') as SecretDigest
}
