import { argon2, createHash, createHmac, timingSafeEqual } from 'node:crypto'
import { CoreError } from '../errors.ts'

/** Compares a secret with a bcrypt hash, off the event loop. */
export type BcryptTest = (secret: string, hash: string) => Promise<boolean>

export type Algorithm = 'sha256-hex' | 'sha256-base64' | 'bcrypt' | 'argon2'

const BCRYPT = /^\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}$/
const ARGON2 =
  /^\$argon2(id|i|d)\$v=19\$m=(\d+),t=(\d+),p=(\d+)\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$/
/** Nobody's verification may cost more than this, whatever a file says. */
const MAX_BCRYPT_COST = 14
const MAX_MEMORY_KIB = 262_144
const MAX_PASSES = 10
const MAX_LANES = 16
/** bcrypt reads no further, so that a longer text would match by its beginning. */
const MAX_BCRYPT_BYTES = 72

/** SHA-256 of a secret in hexadecimal digits. */
export function sha256Hex(secret: string): string {
  return createHash('sha256').update(secret).digest('hex')
}

/** Stands for a secret of which only the hash is known; `mayBeForeign` keeps it from being presented. */
export function sha256Text(hex: string): string {
  return `sha256:${hex}`
}

/** A SHA-256 hash as hexadecimal digits. Throws `invalid_input`. */
export function readSha256(hash: string, algorithm: 'sha256-hex' | 'sha256-base64'): string {
  const isFit =
    algorithm === 'sha256-hex' ? /^[0-9a-f]{64}$/i.test(hash) : /^[A-Za-z0-9+/_-]{43}=?$/.test(hash)
  if (!isFit) throw new CoreError('invalid_input', `The hash is not one of ${algorithm}.`)
  return algorithm === 'sha256-hex'
    ? hash.toLowerCase()
    : Buffer.from(hash, 'base64').toString('hex')
}

/** Throws `invalid_input` unless it is a slow hash that we can and will compute. */
export function checkSlowHash(hash: string, algorithm: 'bcrypt' | 'argon2'): void {
  if (algorithm === 'bcrypt') {
    const cost = Number(BCRYPT.exec(hash)?.[1] ?? Number.NaN)
    if (cost >= 4 && cost <= MAX_BCRYPT_COST) return
    throw new CoreError(
      'invalid_input',
      `The hash is not one of bcrypt ($2a$, $2b$ or $2y$) of a cost up to ${MAX_BCRYPT_COST}.`,
    )
  }
  const [, , memory, passes, lanes, salt = '', tag = ''] = ARGON2.exec(hash) ?? []
  const tagBytes = Buffer.from(tag, 'base64').length
  const isFit =
    Number(memory) >= 8 * Number(lanes) &&
    Number(memory) <= MAX_MEMORY_KIB &&
    Number(passes) >= 1 &&
    Number(passes) <= MAX_PASSES &&
    Number(lanes) >= 1 &&
    Number(lanes) <= MAX_LANES &&
    Buffer.from(salt, 'base64').length >= 8 &&
    tagBytes >= 16 &&
    tagBytes <= 64
  if (isFit) return
  throw new CoreError(
    'invalid_input',
    `The hash is no PHC string of Argon2 version 19 with at most m=${MAX_MEMORY_KIB}, t=${MAX_PASSES}, p=${MAX_LANES}.`,
  )
}

/** Whether a secret is the one that was hashed. */
export async function matchesSlowHash(
  secret: string,
  hash: string,
  bcrypt: BcryptTest | undefined,
): Promise<boolean> {
  if (!hash.startsWith('$argon2')) {
    if (bcrypt === undefined || Buffer.byteLength(secret) > MAX_BCRYPT_BYTES) return false
    return bcrypt(secret, hash)
  }
  const [, variant, memory, passes, lanes, salt = '', tag = ''] = ARGON2.exec(hash) ?? []
  const expected = Buffer.from(tag, 'base64')
  const derived = await new Promise<Buffer>((resolve, reject) => {
    argon2(
      `argon2${variant as 'id' | 'i' | 'd'}`,
      {
        message: Buffer.from(secret),
        nonce: Buffer.from(salt, 'base64'),
        parallelism: Number(lanes),
        tagLength: expected.length,
        memory: Number(memory),
        passes: Number(passes),
      },
      (error, result) => (error ? reject(error) : resolve(Buffer.from(result))),
    )
  })
  return timingSafeEqual(derived, expected)
}

/** Keyed, so that a stolen database says nothing about the beginnings of secrets. */
export function hintOf(key: Buffer, beginning: string): string {
  return createHmac('sha256', key).update(`hint:${beginning}`).digest('base64url')
}

/** What the same secret or hash is known by when it is imported again. */
export function fingerprintOf(key: Buffer, text: string): string {
  return createHmac('sha256', key).update(`row:${text}`).digest('base64url')
}
