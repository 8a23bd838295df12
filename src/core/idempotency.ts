import { createHash } from 'node:crypto'
import type { Caller } from './caller.ts'
import type { Deps } from './deps.ts'
import { CoreError } from './errors.ts'
import { deriveKey, seal, unseal } from './seal.ts'
import type { Repositories } from './store.ts'

const TTL_SECONDS = 86_400
/** Printable ASCII, long enough not to be hit by accident. */
const KEY = /^[\x21-\x7e]{8,255}$/

export interface Once {
  caller: Caller
  /** The caller's Idempotency-Key; undefined: just do it. */
  key: string | undefined
  /** What is asked, so that one key cannot stand for two things. */
  request: unknown
}

export interface OnceResult<T> {
  value: T
  /** The work was done earlier; this is its answer again. */
  replayed: boolean
}

/**
 * Does `work` once per key of the calling token, within a day: a retry gets the first answer again,
 * secret included. The answer is sealed under a key that only the caller's own key opens, so what
 * lies in the database reveals no secret, not even to us.
 * Throws `invalid_input` (bad key), `idempotency_mismatch` (same key, other request).
 */
export async function once<T>(
  deps: Deps,
  tx: Repositories,
  { caller, key, request }: Once,
  work: () => Promise<T>,
): Promise<OnceResult<T>> {
  if (key === undefined) return { value: await work(), replayed: false }
  if (!KEY.test(key)) {
    throw new CoreError(
      'invalid_input',
      'An Idempotency-Key has 8 to 255 visible ASCII characters.',
    )
  }
  const { token, derivedUntilMs } = caller.principal
  // An access token must not be given what the token itself was.
  const scope = derivedUntilMs === undefined ? token.id : `${token.id} until ${derivedUntilMs}`
  const keyDigest = sha256(`${scope}\n${key}`)
  const requestDigest = sha256(textOf(request))
  const sealing = {
    key: deriveKey(deps.keyring.derived('idempotency'), 'answer', `${scope}\n${key}`),
    context: keyDigest,
  }
  const nowMs = deps.clock.now()
  const known = await tx.idempotency.find(scope, keyDigest)
  if (known !== undefined && known.expiresAtMs > nowMs) {
    const plain = unseal(known.sealed, sealing)
    if (known.requestDigest !== requestDigest || plain === undefined) {
      throw new CoreError(
        'idempotency_mismatch',
        'This Idempotency-Key was used for another request. Use a new key for a new request.',
      )
    }
    return { value: JSON.parse(plain.toString()) as T, replayed: true }
  }
  const value = await work()
  await tx.idempotency.put({
    scope,
    keyDigest,
    requestDigest,
    sealed: seal(JSON.stringify(value), { ...sealing, random: deps.random }),
    expiresAtMs: nowMs + TTL_SECONDS * 1000,
  })
  return { value, replayed: false }
}

/** Throws `invalid_input` for what nests so deeply that it cannot be written down. */
function textOf(request: unknown): string {
  try {
    return JSON.stringify(request)
  } catch (cause) {
    throw new CoreError('invalid_input', 'The request nests too deeply.', { cause })
  }
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('base64url')
}
