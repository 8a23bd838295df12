import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPair,
  type JsonWebKey,
  type KeyObject,
} from 'node:crypto'

export type SigningAlgorithm = 'RS256' | 'ES256'

export interface SigningKey {
  /** What goes out as `kid`: the thumbprint of the public key (RFC 7638). */
  id: string
  alg: SigningAlgorithm
  privateKey: KeyObject
  publicKey: KeyObject
}

export interface KeyPair {
  publicKey: KeyObject
  privateKey: KeyObject
}

/** RSA-2048, made off the event loop. */
export function generateRsa(): Promise<KeyPair> {
  return new Promise((resolve, reject) => {
    generateKeyPair('rsa', { modulusLength: 2048 }, (error, publicKey, privateKey) => {
      if (error) reject(error)
      else resolve({ publicKey, privateKey })
    })
  })
}

/** P-256, made off the event loop. */
function generateEc(): Promise<KeyPair> {
  return new Promise((resolve, reject) => {
    generateKeyPair('ec', { namedCurve: 'P-256' }, (error, publicKey, privateKey) => {
      if (error) reject(error)
      else resolve({ publicKey, privateKey })
    })
  })
}

/** A new key pair for an algorithm, as the PKCS#8 text that is sealed, with its id. */
export async function makeSigningKey(alg: SigningAlgorithm): Promise<{ id: string; pem: string }> {
  const { publicKey, privateKey } = alg === 'RS256' ? await generateRsa() : await generateEc()
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  return { id: thumbprint(publicKey), pem }
}

export function signingKey(id: string, alg: SigningAlgorithm, pem: Buffer): SigningKey {
  const privateKey = createPrivateKey(pem)
  return { id, alg, privateKey, publicKey: createPublicKey(privateKey) }
}

/** The members that make up a public key, in the order in which they are hashed (RFC 7638, section 3.2). */
const MEMBERS = {
  RSA: ['e', 'kty', 'n'],
  EC: ['crv', 'kty', 'x', 'y'],
} as const satisfies Record<string, readonly (keyof JsonWebKey)[]>

/** SHA-256 thumbprint of a public RSA or EC key (RFC 7638), base64url. */
export function thumbprint(publicKey: KeyObject): string {
  const jwk = publicKey.export({ format: 'jwk' })
  const members: readonly (keyof JsonWebKey)[] = jwk.kty === 'RSA' ? MEMBERS.RSA : MEMBERS.EC
  const required = Object.fromEntries(members.map((member) => [member, jwk[member]]))
  return createHash('sha256').update(JSON.stringify(required)).digest('base64url')
}
