import { decodeProtectedHeader, type JWTPayload, jwtVerify, SignJWT } from 'jose'
import type { Clock } from '../core/clock.ts'
import { isId, type TokenId } from '../core/id.ts'
import type { Keyring } from '../core/keys/keyring.ts'

/** What is signed besides `sub` and `exp`. */
export interface AccessClaims {
  subject: string
  /** The token that the access token stands for and dies with. */
  sourceId: TokenId
  claims: Record<string, string>
  expiresAtMs: number
}

/** What a valid access token stands for, and until when. */
export interface AccessSource {
  id: TokenId
  expiresAtMs: number
  /** It stands for another token, rather than being the token itself. */
  isDerived: boolean
  /** The resource that it was signed for (`aud`); the token itself must be for the same. */
  audience: string | undefined
}

/**
 * Signed access tokens of two kinds. S7's are short-lived and derived from a stored token, which the
 * protected header names (`tid`), because the claims are fixed by the clients that decode them. OAuth's
 * (RFC 9068) are tokens of their own, named by `jti`. Resource servers verify both with a public key
 * alone; here they are only as good as the row behind them.
 */
export interface AccessJwts {
  sign(wish: AccessClaims): Promise<string>
  /** The token behind a valid access token; undefined for anything else. */
  sourceOf(jwt: string): Promise<AccessSource | undefined>
  /** PEM (SPKI) of the current key. */
  publicKeyPem(): string
}

const ALGORITHM = 'RS256'
const MAX_LENGTH = 15_000
/** RFC 9068, section 2.1: what tells an access token from every other JWT. */
const OAUTH_TYPES = ['at+jwt', 'application/at+jwt']
const SKEW_SECONDS = 30
/** Longer than any access token lives. */
const MAX_AGE_SECONDS = 25 * 3600

export function accessJwts({
  keyring,
  clock,
  issuer,
}: {
  keyring: Keyring
  clock: Clock
  /** Of OAuth's tokens: the public URL. */
  issuer: string
}): AccessJwts {
  const current = () => {
    const [key] = keyring.s7Keys()
    if (key === undefined) throw new Error('There is no signing key.')
    return key
  }
  /** As we write them: what our own key signed otherwise was not meant for this. */
  function sourceFrom(
    { sub, aud, iat = 0, exp = 0 }: JWTPayload,
    id: string | undefined,
    isDerived: boolean,
  ): AccessSource | undefined {
    const now = clock.now() / 1000
    if (iat > now + SKEW_SECONDS || exp > now + MAX_AGE_SECONDS) return undefined
    if (typeof sub !== 'string' || id === undefined || !isId(id)) return undefined
    const audience = isDerived ? undefined : String(aud)
    return { id: id as TokenId, expiresAtMs: exp * 1000, isDerived, audience }
  }

  /** RFC 9068, section 4. */
  async function oauthSource(jwt: string, kid: string | undefined) {
    const key = keyring.oauthKeys().find(({ id }) => id === kid)
    if (key === undefined) return undefined
    const { payload } = await jwtVerify(jwt, key.publicKey, {
      algorithms: [key.alg],
      typ: 'at+jwt',
      issuer,
      requiredClaims: ['exp', 'iat', 'sub', 'aud', 'client_id', 'jti'],
      clockTolerance: SKEW_SECONDS,
      currentDate: new Date(clock.now()),
    })
    if (typeof payload.aud !== 'string') return undefined
    return sourceFrom(payload, payload.jti, false)
  }

  return {
    sign({ subject, sourceId, claims, expiresAtMs }) {
      const key = current()
      return new SignJWT(claims)
        .setProtectedHeader({ alg: ALGORITHM, typ: 'JWT', kid: key.id, tid: sourceId })
        .setSubject(subject)
        .setExpirationTime(Math.floor(expiresAtMs / 1000))
        .sign(key.privateKey)
    },
    async sourceOf(jwt) {
      if (jwt.length > MAX_LENGTH || !isCanonical(jwt)) return undefined
      try {
        const { kid, tid, typ, b64 } = decodeProtectedHeader(jwt)
        if (b64 !== undefined) return undefined
        if (OAUTH_TYPES.includes(String(typ).toLowerCase())) return await oauthSource(jwt, kid)
        // The key id only picks one of our own keys; nothing in a token says where to look for one.
        const key = keyring.s7Keys().find(({ id }) => id === kid)
        if (key === undefined || typeof tid !== 'string' || !isId(tid)) return undefined
        const { payload } = await jwtVerify(jwt, key.publicKey, {
          algorithms: [ALGORITHM],
          typ: 'JWT',
          requiredClaims: ['sub', 'exp', 'user_info'],
          currentDate: new Date(clock.now()),
        })
        return sourceFrom(payload, tid, true)
      } catch {
        return undefined
      }
    },
    publicKeyPem: () => current().publicKey.export({ type: 'spki', format: 'pem' }).toString(),
  }
}

/** One spelling per token: unused bits at the end of a part would make others of the same signature. */
function isCanonical(jwt: string): boolean {
  return jwt
    .split('.')
    .every((part) => Buffer.from(part, 'base64url').toString('base64url') === part)
}

/** Three base64url parts: what cannot be a stored secret, whose alphabets have no such shape. */
export function looksLikeJwt(credential: string): boolean {
  return credential.startsWith('eyJ') && credential.split('.').length === 3
}
