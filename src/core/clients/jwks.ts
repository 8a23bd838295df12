import { createPublicKey, type KeyObject } from 'node:crypto'
import { CoreError } from '../errors.ts'
import type { Client } from './client.ts'

type Jwks = NonNullable<Client['jwks']>
type Jwk = Jwks['keys'][number]

const MAX_KEYS = 10
const MIN_RSA_BITS = 2048
/** Larger ones only cost whoever verifies. */
const MAX_RSA_BITS = 8192
const MIN_RSA_EXPONENT = 65_537n
/** Of RSA, EC, OKP and symmetric keys (RFC 7518, section 6; RFC 8037, section 2). */
const PRIVATE = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k']
/** What is kept of a key; other members mean nothing to us (RFC 7517, section 4). */
const KEPT = ['kty', 'use', 'key_ops', 'alg', 'kid', 'crv', 'x', 'y', 'n', 'e']
/** Signature algorithms by type of key, and curve where it has one. */
const ALGORITHMS: Record<string, readonly string[]> = {
  RSA: ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  'EC P-256': ['ES256'],
  'EC P-384': ['ES384'],
  'EC P-521': ['ES512'],
  'OKP Ed25519': ['EdDSA', 'Ed25519'],
}

/**
 * Checks the public keys of a client that signs its authentication (RFC 7523). A private key is
 * refused rather than stripped: whoever sent it must hear that it is no longer private.
 * Throws `invalid_input`.
 */
export function checkJwks({ keys }: Jwks): Jwks {
  if (keys.length === 0 || keys.length > MAX_KEYS) {
    throw new CoreError('invalid_input', `A key set has 1 to ${MAX_KEYS} keys.`)
  }
  const checked = keys.map(checkKey)
  const kids = checked.flatMap(({ kid }) => (kid === undefined ? [] : [kid]))
  if (new Set(kids).size < kids.length) {
    throw new CoreError('invalid_input', 'Two keys of the set have the same kid. Name them apart.')
  }
  return { keys: checked }
}

function checkKey(jwk: Jwk): Jwk {
  if (PRIVATE.some((member) => member in jwk) || jwk.kty === 'oct') {
    throw new CoreError(
      'invalid_input',
      'A key of the set is private or symmetric. Send public keys only, and replace this one: it is known now.',
    )
  }
  const name = jwk.kty === 'RSA' ? 'RSA' : `${jwk.kty} ${jwk.crv}`
  const algorithms = Object.hasOwn(ALGORITHMS, name) ? ALGORITHMS[name] : undefined
  const fits =
    algorithms !== undefined &&
    (jwk.alg === undefined || algorithms.some((each) => each === jwk.alg)) &&
    (jwk.use === undefined || jwk.use === 'sig') &&
    (jwk.key_ops === undefined || isVerifyOnly(jwk.key_ops)) &&
    (jwk.kid === undefined || isKid(jwk.kid))
  if (!fits || !isStrong(publicKeyOf(jwk))) {
    throw new CoreError(
      'invalid_input',
      `A key of the set cannot be used. Take RSA of ${MIN_RSA_BITS} to ${MAX_RSA_BITS} bits, EC on P-256, P-384 or P-521, or Ed25519, for signatures.`,
    )
  }
  return Object.fromEntries(
    KEPT.flatMap((member) => (member in jwk ? [[member, jwk[member]]] : [])),
  )
}

/** Undefined when the numbers are no key, such as a point beside its curve. */
function publicKeyOf(jwk: Jwk): KeyObject | undefined {
  try {
    return createPublicKey({ key: jwk, format: 'jwk' })
  } catch {
    return undefined
  }
}

function isStrong(key: KeyObject | undefined): boolean {
  if (key === undefined) return false
  if (key.asymmetricKeyType !== 'rsa') return true
  const { modulusLength = 0, publicExponent = 0n } = key.asymmetricKeyDetails ?? {}
  const sized = modulusLength >= MIN_RSA_BITS && modulusLength <= MAX_RSA_BITS
  return sized && publicExponent >= MIN_RSA_EXPONENT && publicExponent % 2n === 1n
}

function isVerifyOnly(operations: unknown): boolean {
  return Array.isArray(operations) && operations.length === 1 && operations[0] === 'verify'
}

function isKid(kid: unknown): boolean {
  return typeof kid === 'string' && /^[\x21-\x7e]{1,255}$/.test(kid)
}
