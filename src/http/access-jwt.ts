import { decodeProtectedHeader, jwtVerify, SignJWT } from 'jose'
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
}

/**
 * Short-lived RS256 access tokens derived from a stored token. Resource servers verify them with the
 * public key alone; here they are only as good as the token behind them, which the protected header
 * names (`tid`), because the claims are fixed by the clients that decode them.
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

export function accessJwts({ keyring, clock }: { keyring: Keyring; clock: Clock }): AccessJwts {
  const current = () => {
    const [key] = keyring.s7Keys()
    if (key === undefined) throw new Error('There is no signing key.')
    return key
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
      if (jwt.length > MAX_LENGTH) return undefined
      try {
        const { kid, tid } = decodeProtectedHeader(jwt)
        // The key id only picks one of our own keys; nothing in a token says where to look for one.
        const key = keyring.s7Keys().find(({ id }) => id === kid)
        if (key === undefined || typeof tid !== 'string' || !isId(tid)) return undefined
        const { payload } = await jwtVerify(jwt, key.publicKey, {
          algorithms: [ALGORITHM],
          requiredClaims: ['sub', 'exp', 'user_info'],
          currentDate: new Date(clock.now()),
        })
        return { id: tid as TokenId, expiresAtMs: (payload.exp ?? 0) * 1000 }
      } catch {
        return undefined
      }
    },
    publicKeyPem: () => current().publicKey.export({ type: 'spki', format: 'pem' }).toString(),
  }
}

/** Three base64url parts: what cannot be a stored secret, whose alphabets have no such shape. */
export function looksLikeJwt(credential: string): boolean {
  return credential.startsWith('eyJ') && credential.split('.').length === 3
}
