import { constants, createPrivateKey, type KeyObject, privateDecrypt } from 'node:crypto'
import type { Core } from '../../core/core.ts'
import { generateRsa } from '../../core/keys/signing-key.ts'

/** One key serves everybody for a while: making one takes a good part of a second of a core. */
const HANDED_OUT_MS = 5 * 60_000
/** Time enough to type a password after the last one was handed out. */
const ACCEPTED_MS = 15 * 60_000

export interface LoginKey {
  id: string
  publicKeyPem: string
  expiresAtMs: number
}

/** Public keys under which a login form may encrypt its password. */
export interface LoginKeys {
  /** The one to use now. */
  current(): Promise<LoginKey>
  /** The password in a login form; undefined for every reason why it cannot be read. */
  decrypt(keyId: string, ciphertext: string): Promise<string | undefined>
}

/** The private keys are kept sealed in the store, so that restarts and other nodes know them. */
export function loginKeys({ keyring, clock, random }: Core): LoginKeys {
  let making: Promise<LoginKey> | undefined
  let latest: LoginKey | undefined

  async function make(): Promise<LoginKey> {
    const { publicKey, privateKey } = await generateRsa()
    const id = random(16).toString('hex')
    const expiresAtMs = clock.now() + ACCEPTED_MS
    const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
    await keyring.saveKey('xms-login', id, pem)
    const publicKeyPem = publicKey.export({ type: 'spki', format: 'pem' }).toString()
    latest = { id, publicKeyPem, expiresAtMs }
    return latest
  }

  return {
    async current() {
      const spentMs = HANDED_OUT_MS - ACCEPTED_MS
      if (latest !== undefined && clock.now() < latest.expiresAtMs + spentMs) return latest
      making ??= make().finally(() => {
        making = undefined
      })
      return making
    },
    async decrypt(keyId, ciphertext) {
      const key = await keyring.openKey('xms-login', keyId)
      if (key === undefined || clock.now() >= key.createdAtMs + ACCEPTED_MS) return undefined
      return decryptAny(createPrivateKey(key.pem), Buffer.from(ciphertext, 'base64'))
    },
  }
}

/** What clients are known to use; the wire does not say. PKCS#1 v1.5 last: see below. */
const PADDINGS = [
  { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha1' },
  { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' },
  { padding: constants.RSA_PKCS1_PADDING },
]

/**
 * Tries every padding each time, so that the time taken does not tell which one fitted. A wrong
 * PKCS#1 v1.5 padding yields random bytes rather than an error (OpenSSL's implicit rejection): just a
 * wrong password, so there is no padding oracle.
 */
function decryptAny(key: KeyObject, ciphertext: Buffer): string | undefined {
  const plains = PADDINGS.map((padding) => {
    try {
      return privateDecrypt({ key, ...padding }, ciphertext).toString()
    } catch {
      return undefined
    }
  })
  return plains.find((plain) => plain !== undefined)
}
