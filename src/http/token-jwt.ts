import { errors, type JWTPayload, jwtVerify, SignJWT } from 'jose'
import type { Clock } from '../core/clock.ts'
import type { Mode } from '../core/groups/group.ts'
import { type GroupId, isId, type TokenId } from '../core/id.ts'
import type { Keyring } from '../core/keys/keyring.ts'
import type { SigningKey } from '../core/keys/signing-key.ts'
import { KEEP_SECONDS, type Revocations } from '../core/revocations/feed.ts'
import type { SignedToken } from '../core/tokens/presented.ts'
import type { SignedRights } from '../core/tokens/sign.ts'
import type { AccessLevel, Limits } from '../core/tokens/token.ts'

/** Tells a signed token from every other JWT (RFC 8725, section 3.11). */
export const TOKEN_TYPE = 'mm+jwt'
const STATEMENT_TYPE = 'revocations+jwt'
const ALGORITHM = 'ES256'
/** Headers end at 8 KiB in front of many services. */
const MAX_BYTES = 7000

/** What is written into a signed token besides the registered claims. */
interface TokenClaims {
  username: string
  /** The token behind it and those that it comes from, the nearest first. */
  chain: string[]
  /** The change up to which all this is true. */
  pos: number
  access: AccessLevel
  admin: boolean
  roles: string[]
  groups: { id: string; name: string; mode: Mode }[]
  /** RFC 8693, section 4.2. Absent: every scope. */
  scope?: string
  /** Addresses that may present it; absent: any. */
  ips?: string[]
}

/** Short-lived signed tokens, which verifiers check by themselves, and what ends them early. */
export interface TokenJwts {
  /** Undefined: it would be too long for a header. */
  sign(rights: SignedRights): Promise<string | undefined>
  signStatement(statement: Revocations): Promise<string>
  /** What a signed token says, once its signature is found good. Throws jose's errors. */
  read(jwt: string, kid: string | undefined): Promise<JWTPayload>
  sourceOf(payload: JWTPayload): SignedToken['source']
  /** RFC 7517. */
  jwks(): { keys: Record<string, unknown>[] }
}

export function tokenJwts({
  keyring,
  clock,
  issuer,
}: {
  keyring: Keyring
  clock: Clock
  /** The public URL. */
  issuer: string
}): TokenJwts {
  const current = (): SigningKey => {
    const [key] = keyring.jwtKeys()
    if (key === undefined) throw new Error('There is no signing key.')
    return key
  }
  const signed = (claims: JWTPayload, typ: string, iatMs: number) => {
    const { id, privateKey } = current()
    return new SignJWT(claims)
      .setProtectedHeader({ alg: ALGORITHM, typ, kid: id })
      .setIssuer(issuer)
      .setIssuedAt(Math.floor(iatMs / 1000))
      .sign(privateKey)
  }

  return {
    async sign(signing) {
      const { subject, rights, allowedIps } = signing
      const claims: TokenClaims = {
        username: subject.username,
        chain: [...signing.chain],
        pos: signing.position,
        access: rights.accessLevel,
        admin: rights.admin,
        roles: [...rights.roles],
        groups: [...rights.groups.values()].map(({ id, name, mode }) => ({ id, name, mode })),
        ...(rights.scopes === 'all' ? {} : { scope: [...rights.scopes].join(' ') }),
        ...(allowedIps === null ? {} : { ips: [...allowedIps] }),
      }
      const registered = {
        sub: subject.id,
        aud: signing.audience,
        exp: signing.expiresAtMs / 1000,
        jti: signing.id,
      }
      const jwt = await signed({ ...registered, ...claims }, TOKEN_TYPE, signing.issuedAtMs)
      return jwt.length <= MAX_BYTES ? jwt : undefined
    },

    signStatement: ({ asOfMs, next, full, ended, everything }) =>
      signed(
        {
          as_of: asOfMs,
          next,
          full,
          keep: KEEP_SECONDS,
          ended: Object.fromEntries(ended),
          everything,
        },
        STATEMENT_TYPE,
        asOfMs,
      ),

    async read(jwt, kid) {
      // The key id only picks one of our own keys; nothing in a token says where to look for one.
      const key = keyring.jwtKeys().find(({ id }) => id === kid)
      if (key === undefined) throw new errors.JWSSignatureVerificationFailed()
      const { payload } = await jwtVerify(jwt, key.publicKey, {
        algorithms: [ALGORITHM],
        typ: TOKEN_TYPE,
        issuer,
        requiredClaims: ['exp', 'iat', 'sub', 'aud', 'jti', 'chain', 'pos'],
        currentDate: new Date(clock.now()),
      })
      return payload
    },

    sourceOf(payload) {
      const { aud, exp, access, roles, groups, scope, ips, chain } = payload as JWTPayload &
        Partial<TokenClaims>
      const id = chain?.[0]
      if (typeof aud !== 'string' || typeof exp !== 'number') return undefined
      if (id === undefined || !isId(id) || access === undefined) return undefined
      const limits: Limits = {
        accessLevel: access,
        roles: roles ?? [],
        groups: (groups ?? []).map(({ id, mode }) => ({ id: id as GroupId, mode })),
        scopes: scope === undefined ? null : scope.split(' ').filter((each) => each !== ''),
        allowedIps: ips ?? null,
      }
      return {
        id: id as TokenId,
        expiresAtMs: exp * 1000,
        isDerived: true,
        // Ours is the audience that nobody has to name.
        audience: aud === issuer ? undefined : aud,
        limits,
      }
    },

    jwks: () => ({
      keys: keyring.jwtKeys().map(({ id, publicKey }) => ({
        ...publicKey.export({ format: 'jwk' }),
        kid: id,
        alg: ALGORITHM,
        use: 'sig',
      })),
    }),
  }
}
