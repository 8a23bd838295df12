import { createCipheriv, createDecipheriv, hkdfSync, type KeyObject } from 'node:crypto'
import type { Random } from './random.ts'

const IV_BYTES = 12
const TAG_BYTES = 16

/** A 256-bit key for one purpose, so that no key serves two (HKDF-SHA-256, RFC 5869). */
export function deriveKey(root: Buffer | KeyObject, purpose: string, salt = ''): Buffer {
  return Buffer.from(hkdfSync('sha256', root, salt, `mintmark:${purpose}`, 32))
}

/** AES-256-GCM: base64url of iv, ciphertext, tag. `context` is authenticated, not hidden. */
export function seal(
  plain: string | Buffer,
  { key, context, random }: { key: Buffer; context: string; random: Random },
): string {
  const iv = random(IV_BYTES)
  const cipher = createCipheriv('aes-256-gcm', key, iv)
  cipher.setAAD(Buffer.from(context))
  return Buffer.concat([iv, cipher.update(plain), cipher.final(), cipher.getAuthTag()]).toString(
    'base64url',
  )
}

/** The opposite of `seal`; undefined when the text, the key or the context is not the one sealed with. */
export function unseal(
  sealed: string,
  { key, context }: { key: Buffer; context: string },
): Buffer | undefined {
  const bytes = Buffer.from(sealed, 'base64url')
  if (bytes.length < IV_BYTES + TAG_BYTES) return undefined
  const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, IV_BYTES), {
    authTagLength: TAG_BYTES,
  })
  decipher.setAAD(Buffer.from(context))
  decipher.setAuthTag(bytes.subarray(-TAG_BYTES))
  try {
    return Buffer.concat([decipher.update(bytes.subarray(IV_BYTES, -TAG_BYTES)), decipher.final()])
  } catch {
    return undefined
  }
}
