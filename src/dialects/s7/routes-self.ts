import type { FastifyRequest } from 'fastify'
import { CoreError } from '../../core/errors.ts'
import type { Principal } from '../../core/rights.ts'
import { callerOf, mustNotWait, originOf, presentedBy } from '../../http/auth.ts'
import { ambiguous, bearerCredential, bearerOf } from '../../http/credential.ts'
import { type LaneAnswer, type LaneRoute, laneAnswer } from '../../http/lane.ts'
import type { ApiParts } from '../../http/parts.ts'
import type { Scope } from '../../http/scope.ts'
import { type AccessTokens, accessTokens } from './access-token.ts'
import { principalInfo } from './map.ts'
import { PREFIXES } from './prefixes.ts'
import { isRefreshToken, REFRESH_KINDS } from './refresh-token.ts'
import type { SealedCookie } from './sealed-cookie.ts'
import { failures, PublicKey, TokenResponse, UserInfo } from './wire.ts'

export interface SelfParts extends Pick<ApiParts, 'core' | 'jwts'> {
  mint: AccessTokens
  /** The refresh token of a browser that came through `/authSso`. */
  cookieSession: SealedCookie
}

/** What a holder of a credential asks about itself, and the key that checks the answers. */
export function selfRoutes(app: Scope, { core, jwts, mint, cookieSession }: SelfParts): void {
  app.get(
    '/publicKey',
    { config: { public: true }, schema: { response: { 200: PublicKey, ...failures } } },
    async () => ({ publicKey: jwts.publicKeyPem() }),
  )

  app.get('/userInfo', { schema: { response: { 200: UserInfo, ...failures } } }, async (request) =>
    principalInfo(callerOf(request).principal),
  )

  // Public for the guard, because the credential here is the one that grants access tokens only. Not
  // rate-limited: services behind one address refresh at will, and 122 random bits are not guessed.
  app.post(
    '/refresh',
    { config: { public: true }, schema: { response: { 200: TokenResponse, ...failures } } },
    async (request) => {
      const principal = await principalOf(request)
      request.caller = { principal, origin: originOf(request, 's7') }
      return mint(principal)
    },
  )

  async function principalOf(request: FastifyRequest): Promise<Principal> {
    const secret = refreshToken(request)
    if (secret === undefined) {
      throw new CoreError('unauthenticated', 'This needs a credential. Send a refresh token.')
    }
    const demand = { ...presentedBy(request, 's7'), kinds: REFRESH_KINDS }
    const verdict = await core.verifier.verify(secret, demand)
    mustNotWait(verdict)
    if (!verdict.active || !isRefreshToken(verdict.principal.token)) {
      throw new CoreError('unauthenticated', 'The credential is not valid.', {
        detail: { reason: verdict.active ? 'wrong_kind' : verdict.reason },
      })
    }
    return verdict.principal
  }

  /** The literal `None` selects the cookie session. Two different credentials are refused. */
  function refreshToken(request: FastifyRequest): string | undefined {
    const bearer = bearerCredential(request)
    const kept = cookieSession.read(request)
    if (bearer === 'None') return kept
    if (bearer !== undefined && kept !== undefined && kept !== bearer) throw ambiguous()
    return bearer
  }
}

/** Signatures under way; where there are more, the ordinary route counts and refuses. */
const MAX_SIGNING = 250

/** The same in front of the framework, where a refresh token that memory knows comes without a cookie. */
export function refreshLanes({ core, jwts }: Pick<ApiParts, 'core' | 'jwts'>): LaneRoute[] {
  const mint = accessTokens({ jwts, clock: core.clock })
  let signing = 0

  async function answer(principal: Principal): Promise<LaneAnswer> {
    signing++
    try {
      return laneAnswer(200, await mint(principal))
    } finally {
      signing--
    }
  }

  return PREFIXES.map((prefix) => ({
    path: `${prefix}/refresh`,
    pattern: `${prefix}/refresh`,
    body: undefined,
    credentialHeader: 'authorization',
    via: 's7',
    strangeHeaders: ['cookie'],
    admits: ({ token }) => isRefreshToken(token),
    credential: bearerOf,
    question: (query) => (query === '' && signing < MAX_SIGNING ? answer : undefined),
  }))
}
