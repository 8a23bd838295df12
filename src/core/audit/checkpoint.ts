import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto'

/**
 * A signed statement of how far the chain reached: whoever keeps one elsewhere can show later that
 * nothing before it was cut off or replaced, and anybody can check it with the public key alone.
 */
export interface Checkpoint {
  /** Last record that it covers. */
  sequence: number
  /** That record's hash. */
  hash: string
  atMs: number
  /** Ed25519 over the other three, base64url. */
  signature: string
}

export interface CheckpointKeys {
  privateKey: KeyObject
  publicKey: KeyObject
}

/** What precedes the 32 bytes of an Ed25519 key in PKCS#8 (RFC 8410, section 7). */
const PKCS8_HEAD = Buffer.from('302e020100300506032b657004220420', 'hex')

/** The signing key that belongs to a seed, so that it needs no row of its own. */
export function checkpointKeys(seed: Buffer): CheckpointKeys {
  const key = Buffer.concat([PKCS8_HEAD, seed])
  const privateKey = createPrivateKey({ key, format: 'der', type: 'pkcs8' })
  return { privateKey, publicKey: createPublicKey(privateKey) }
}

function statement({ sequence, hash, atMs }: Omit<Checkpoint, 'signature'>): Buffer {
  return Buffer.from(JSON.stringify(['mintmark-audit-checkpoint', sequence, hash, atMs]))
}

/** Signs how far a chain reaches. */
export function signed(
  unsigned: Omit<Checkpoint, 'signature'>,
  { privateKey }: CheckpointKeys,
): Checkpoint {
  return {
    ...unsigned,
    signature: sign(null, statement(unsigned), privateKey).toString('base64url'),
  }
}

/** Whether the checkpoint was signed by the key. */
export function isSignedBy(checkpoint: Checkpoint, publicKey: KeyObject): boolean {
  const signature = Buffer.from(checkpoint.signature, 'base64url')
  return verify(null, statement(checkpoint), publicKey, signature)
}
