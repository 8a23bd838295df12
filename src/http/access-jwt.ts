import { decodeProtectedHeader, errors, type JWTPayload, jwtVerify, SignJWT } from 'jose'
import type { Clock } from '../core/clock.ts'
import { isId, type TokenId } from '../core/id.ts'
import type { Keyring } from '../core/keys/keyring.ts'
import type { SignedFault, SignedToken } from '../core/tokens/presented.ts'
import { TOKEN_TYPE, type TokenJwts } from './token-jwt.ts'

/** What is signed besides `sub` and `exp`. */
export interface AccessClaims {
  subject: string
  /** The token that the access token stands for and dies with. */
  sourceId: TokenId
  claims: Record<string, string>
  expiresAtMs: number
}

/** What a valid access token stands for, and until when. */
export type AccessSource = NonNullable<SignedToken['source']>

/**
 * Signed access tokens of three kinds. S7's are short-lived and derived from a stored token, which the
 * protected header names (`tid`), because the claims are fixed by the clients that decode them. OAuth's
 * (RFC 9068) are tokens of their own, named by `jti`. Ours (`token-jwt.ts`) carry the rights of the token
 * that their `chain` begins with. Resource servers verify both with a public key
 * alone; here they are only as good as the row behind them.
 */
export interface AccessJwts {
  sign(wish: AccessClaims): Promise<string>
  /** The token behind a valid access token; undefined for anything else. */
  sourceOf(jwt: string): Promise<AccessSource | undefined>
  /** The same for whoever wants to know what is wrong with it. */
  read(jwt: string): Promise<SignedToken>
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
  tokenJwts,
}: {
  keyring: Keyring
  clock: Clock
  /** Of OAuth's tokens: the public URL. */
  issuer: string
  tokenJwts: TokenJwts
}): AccessJwts {
  const current = () => {
    const [key] = keyring.s7Keys()
    if (key === undefined) throw new Error('There is no signing key.')
    return key
  }
  /** As we write them: what our own key signed otherwise was not meant for this. */
  function sourceFrom(
    { sub, aud, exp }: JWTPayload,
    id: string | undefined,
    isDerived: boolean,
  ): AccessSource | undefined {
    if (typeof sub !== 'string' || id === undefined || !isId(id)) return undefined
    if (typeof exp !== 'number') return undefined
    if (!isDerived && typeof aud !== 'string') return undefined
    const audience = isDerived ? undefined : String(aud)
    return { id: id as TokenId, expiresAtMs: exp * 1000, isDerived, audience }
  }

  function isTimely({ iat = 0, exp = 0 }: JWTPayload): boolean {
    const now = clock.now() / 1000
    return iat <= now + SKEW_SECONDS && exp <= now + MAX_AGE_SECONDS
  }

  /** RFC 9068, section 4. */
  async function oauthPayload(jwt: string, kid: string | undefined): Promise<JWTPayload> {
    const key = keyring.oauthKeys().find(({ id }) => id === kid)
    if (key === undefined) throw new errors.JWSSignatureVerificationFailed()
    const { payload } = await jwtVerify(jwt, key.publicKey, {
      algorithms: [key.alg],
      typ: 'at+jwt',
      issuer,
      requiredClaims: ['exp', 'iat', 'sub', 'aud', 'client_id', 'jti'],
      clockTolerance: SKEW_SECONDS,
      currentDate: new Date(clock.now()),
    })
    return payload
  }

  async function s7Payload(jwt: string, kid: string | undefined): Promise<JWTPayload> {
    // The key id only picks one of our own keys; nothing in a token says where to look for one.
    const key = keyring.s7Keys().find(({ id }) => id === kid)
    if (key === undefined) throw new errors.JWSSignatureVerificationFailed()
    const { payload } = await jwtVerify(jwt, key.publicKey, {
      algorithms: [ALGORITHM],
      typ: 'JWT',
      requiredClaims: ['sub', 'exp', 'user_info'],
      currentDate: new Date(clock.now()),
    })
    return payload
  }

  async function read(jwt: string): Promise<SignedToken> {
    const header = headerOf(jwt)
    if (header === undefined) return UNREADABLE
    const { kid, tid } = header
    const isOurs = header.typ === TOKEN_TYPE
    const isDerived = !OAUTH_TYPES.includes(String(header.typ).toLowerCase())
    const named = (payload: JWTPayload) =>
      isOurs
        ? tokenJwts.sourceOf(payload)
        : sourceFrom(payload, isDerived ? textOf(tid) : payload.jti, isDerived)
    const readPayload = isOurs ? tokenJwts.read : isDerived ? s7Payload : oauthPayload
    try {
      const payload = await readPayload(jwt, kid)
      const source = named(payload)
      if (source === undefined) return UNREADABLE
      return { fault: isTimely(payload) ? undefined : 'times', source }
    } catch (error) {
      const fault = faultOf(error)
      return { fault, source: fault === 'times' ? named(payloadOf(error)) : undefined }
    }
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
    read,
    async sourceOf(jwt) {
      const { fault, source } = await read(jwt)
      return fault === undefined ? source : undefined
    },
    publicKeyPem: () => current().publicKey.export({ type: 'spki', format: 'pem' }).toString(),
  }
}

const UNREADABLE: SignedToken = { fault: 'format', source: undefined }

/** Undefined: no JWT that we could have made. */
function headerOf(jwt: string) {
  if (jwt.length > MAX_LENGTH || !isCanonical(jwt)) return undefined
  try {
    const header = decodeProtectedHeader(jwt)
    return header.b64 === undefined ? header : undefined
  } catch {
    return undefined
  }
}

/** What of it made jose refuse. A signature is looked at before all claims. */
function faultOf(error: unknown): SignedFault {
  if (error instanceof errors.JWTExpired) return 'times'
  if (error instanceof errors.JWTClaimValidationFailed) return CLAIM_FAULTS[error.claim] ?? 'format'
  const isSignature =
    error instanceof errors.JWSSignatureVerificationFailed ||
    error instanceof errors.JOSEAlgNotAllowed
  return isSignature ? 'signature' : 'format'
}

const CLAIM_FAULTS: Record<string, SignedFault> = { iss: 'issuer', nbf: 'times' }

/** The claims that jose refused after it had found the signature good. */
function payloadOf(error: unknown): JWTPayload {
  const isOfClaims =
    error instanceof errors.JWTExpired || error instanceof errors.JWTClaimValidationFailed
  return isOfClaims ? error.payload : {}
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
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
