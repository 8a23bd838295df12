import { createHash, createPublicKey, type KeyObject, verify } from 'node:crypto'

/** GitHub's public keys by identifier, as its list of them has them. */
export type GithubKeys = ReadonlyMap<string, KeyObject>

/**
 * Reads what https://api.github.com/meta/public_keys/secret_scanning answers. Throws an Error whose
 * message is a sentence.
 */
export function readGithubKeys(text: string): GithubKeys {
  const list = listIn(text)
  if (list === undefined || list.length === 0) {
    throw new Error('must be the JSON of https://api.github.com/meta/public_keys/secret_scanning.')
  }
  return new Map(list.map((entry) => keyOf(entry)))
}

function listIn(text: string): unknown[] | undefined {
  try {
    const { public_keys: list } = JSON.parse(text) as { public_keys?: unknown }
    return Array.isArray(list) ? list : undefined
  } catch {
    return undefined
  }
}

function keyOf(entry: unknown): [string, KeyObject] {
  const { key_identifier: id, key } = (entry ?? {}) as Record<string, unknown>
  if (typeof id !== 'string' || typeof key !== 'string') {
    throw new Error('has an entry without key_identifier or key.')
  }
  try {
    const parsed = createPublicKey(key)
    if (parsed.asymmetricKeyDetails?.namedCurve === 'prime256v1') return [id, parsed]
  } catch {
    // Said below, as of every key that is of no use.
  }
  throw new Error(`has a key "${id}" that is no public key on the curve P-256.`)
}

/** Whether a body was signed by GitHub: ECDSA on P-256 with SHA-256 over its bytes, base64 of DER. */
export function isSignedByGithub(
  body: Buffer,
  {
    keys,
    keyId,
    signature,
  }: { keys: GithubKeys; keyId: string | undefined; signature: string | undefined },
): boolean {
  const key = keyId === undefined ? undefined : keys.get(keyId)
  if (key === undefined || signature === undefined) return false
  return verify('sha256', body, key, Buffer.from(signature, 'base64'))
}

/** What GitHub is told of a token instead of the token itself. */
export function githubHash(token: string): string {
  return createHash('sha256').update(token).digest('hex')
}
