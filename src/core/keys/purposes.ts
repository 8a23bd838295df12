import type { SigningAlgorithm } from './signing-key.ts'
import type { KeyPurpose, SealedKey } from './store.ts'

/** What administrators call the purposes; keys of one name are rotated together. */
export type KeyName = 'root' | 'pepper' | 's7' | 'oauth' | 'jwt'

/** The ones that are replaced while the server runs. */
export const ROTATABLE = ['oauth', 's7', 'jwt', 'pepper'] as const satisfies readonly KeyName[]
export type Rotatable = (typeof ROTATABLE)[number]

/** Keys that everything works with; login keys come and go by themselves. */
export type LastingPurpose = Exclude<KeyPurpose, 'xms-login'>
export type LastingKey = SealedKey & { purpose: LastingPurpose }

interface Facts {
  name: KeyName
  algorithm: string
  /** How long a key is kept after it was retired, at least. */
  overlapMs: number
}

const HOUR_MS = 3_600_000
/** Longer than the longest access token of the OpenID provider, which lives for 24 hours. */
const OAUTH: Pick<Facts, 'name' | 'overlapMs'> = { name: 'oauth', overlapMs: 25 * HOUR_MS }

export const LASTING: Record<LastingPurpose, Facts> = {
  root: { name: 'root', algorithm: 'HKDF-SHA-256', overlapMs: Number.POSITIVE_INFINITY },
  // Longer than any node may lag and still use it; then it stays for as long as it is needed.
  pepper: { name: 'pepper', algorithm: 'HMAC-SHA-256', overlapMs: HOUR_MS },
  // S7's access tokens live for ten minutes.
  's7-jwt': { name: 's7', algorithm: 'RS256', overlapMs: HOUR_MS },
  'oauth-rs256': { ...OAUTH, algorithm: 'RS256' },
  'oauth-es256': { ...OAUTH, algorithm: 'ES256' },
  // Signed tokens live for a quarter of an hour.
  'jwt-es256': { name: 'jwt', algorithm: 'ES256', overlapMs: HOUR_MS },
}

export const LASTING_PURPOSES = Object.keys(LASTING) as LastingPurpose[]

/** The purposes that have a name. */
export function purposesOf(name: KeyName): LastingPurpose[] {
  return LASTING_PURPOSES.filter((purpose) => LASTING[purpose].name === name)
}

/** What a signing key signs with. */
export function algorithmOf(purpose: LastingPurpose): SigningAlgorithm {
  return LASTING[purpose].algorithm === 'ES256' ? 'ES256' : 'RS256'
}

/** Whether a key was retired so long ago that its overlap has ended. */
export function isOver({ purpose, retiredAtMs }: LastingKey, nowMs: number): boolean {
  return retiredAtMs !== undefined && retiredAtMs + LASTING[purpose].overlapMs <= nowMs
}

/** Keys that last: current ones first, in the order of their purposes, then the newest. */
export function inOrder(keys: readonly SealedKey[]): LastingKey[] {
  const rank = (key: LastingKey) =>
    Number(key.retiredAtMs !== undefined) * LASTING_PURPOSES.length +
    LASTING_PURPOSES.indexOf(key.purpose)
  return keys.filter(isLasting).sort((a, b) => rank(a) - rank(b) || b.createdAtMs - a.createdAtMs)
}

function isLasting(key: SealedKey): key is LastingKey {
  return Object.hasOwn(LASTING, key.purpose)
}
