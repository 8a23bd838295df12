import { fromBase64url } from './base64url.ts'
import { MintmarkError } from './error.ts'

/** The claims of a JWT whose signature is good. */
export type Claims = Record<string, unknown>

/** Checks signatures with the keys of one issuer. */
export interface Jws {
  /**
   * Claims of a JWT of type `typ` that the issuer signed; undefined for anything else. Throws when the
   * keys cannot be fetched.
   */
  read(jwt: string, typ: string): Promise<Claims | undefined>
}

/** Not every platform's types name it. */
type PublicKey = Awaited<ReturnType<typeof crypto.subtle.importKey>>

interface Jwk {
  kid?: unknown
  kty?: unknown
  crv?: unknown
  x?: unknown
  y?: unknown
}

const ALGORITHM = 'ES256'
const MAX_LENGTH = 1_000_000
/** Fetching keys again for a key id that nobody knows is worth no more than this. */
const REFETCH_MS = 5_000
/** A retired key is published for an hour, a removed one is to be forgotten. */
const KEEP_KEYS_MS = 300_000

interface Header {
  alg?: unknown
  typ?: unknown
  kid?: unknown
  crit?: unknown
  b64?: unknown
}

/** Keys come from `<issuer>/.well-known/mintmark/jwks.json` alone: no token says where to look. */
export function jwsOf({
  issuer,
  doFetch,
  timeoutMs,
}: {
  issuer: string
  doFetch: typeof globalThis.fetch
  timeoutMs: number
}): Jws {
  let keys: Map<string, PublicKey> | undefined
  let fetchedMs = 0
  let fetching: Promise<Map<string, PublicKey>> | undefined

  async function fetchKeys(): Promise<Map<string, PublicKey>> {
    const startedMs = performance.now()
    const url = `${issuer}/.well-known/mintmark/jwks.json`
    try {
      const response = await doFetch(url, {
        method: 'GET',
        redirect: 'error',
        credentials: 'omit',
        signal: AbortSignal.timeout(timeoutMs),
      })
      if (!response.ok) throw new Error(`status ${response.status}`)
      const { keys: found } = (await response.json()) as { keys: Jwk[] }
      keys = await imported(found)
      fetchedMs = startedMs
      return keys
    } catch (cause) {
      throw new MintmarkError({
        status: 0,
        code: 'unavailable',
        detail: `The keys at ${url} cannot be had.`,
        cause,
      })
    }
  }

  async function keyOf(kid: string): Promise<PublicKey | undefined> {
    const age = performance.now() - fetchedMs
    const isOld = keys === undefined || age > KEEP_KEYS_MS
    const isNew = keys !== undefined && !keys.has(kid) && age > REFETCH_MS
    if (isOld || isNew) {
      fetching ??= fetchKeys().finally(() => {
        fetching = undefined
      })
      await fetching
    }
    return keys?.get(kid)
  }

  return {
    async read(jwt, typ) {
      const parts = jwt.length <= MAX_LENGTH ? jwt.split('.') : []
      const [head, body, signature] = parts.map(fromBase64url)
      if (parts.length !== 3 || !head || !body || !signature) return undefined
      const header = jsonOf(head) as Header | undefined
      // One algorithm, whatever the token would like (RFC 8725, section 3.1).
      if (header?.alg !== ALGORITHM || header.typ !== typ) return undefined
      if (typeof header.kid !== 'string' || header.crit !== undefined || header.b64 !== undefined) {
        return undefined
      }
      const key = await keyOf(header.kid)
      if (key === undefined) return undefined
      const signed = new TextEncoder().encode(jwt.slice(0, jwt.lastIndexOf('.')))
      const isGood = await crypto.subtle.verify(
        { name: 'ECDSA', hash: 'SHA-256' },
        key,
        signature,
        signed,
      )
      return isGood ? jsonOf(body) : undefined
    },
  }
}

async function imported(jwks: readonly Jwk[]): Promise<Map<string, PublicKey>> {
  const keys = new Map<string, PublicKey>()
  for (const jwk of jwks) {
    const { kid, kty, crv, x, y } = jwk
    if (typeof kid !== 'string' || kty !== 'EC' || crv !== 'P-256') continue
    if (typeof x !== 'string' || typeof y !== 'string') continue
    const key = await crypto.subtle.importKey(
      'jwk',
      { kty, crv, x, y },
      { name: 'ECDSA', namedCurve: 'P-256' },
      false,
      ['verify'],
    )
    keys.set(kid, key)
  }
  return keys
}

function jsonOf(bytes: Uint8Array): Claims | undefined {
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value)
    return isObject ? (value as Claims) : undefined
  } catch {
    return undefined
  }
}

/** `https://tokens.example.com/` → without the slash, as the server writes it. Throws `invalid_input`. */
export function issuerOf(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : undefined
  if (parsed?.protocol === 'https:' || parsed?.protocol === 'http:') return url.replace(/\/+$/, '')
  throw new MintmarkError({
    status: 0,
    code: 'invalid_input',
    detail: 'The issuer must be the http or https address of a Mintmark server.',
  })
}
