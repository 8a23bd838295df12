import { Type } from 'typebox'
import type { Caller } from '../../core/caller.ts'
import { notFound } from '../../core/errors.ts'
import { isId, type TokenId } from '../../core/id.ts'
import type { TokenReach } from '../../core/tokens/reach.ts'
import { stateOf } from '../../core/tokens/token.ts'
import { callerOf } from '../../http/auth.ts'
import type { ApiParts } from '../../http/parts.ts'
import type { Scope } from '../../http/scope.ts'
import type { AccessTokens } from './access-token.ts'
import { refreshTokenInfo, serviceWish } from './map.ts'
import { isRefreshToken, LIVE_REFRESH_TOKENS } from './refresh-token.ts'
import { type TokenPairs, tokenPairs } from './token-pair.ts'
import {
  failures,
  NoBody,
  RefreshTokenInfo,
  RefreshTokenList,
  RefreshTokenPost,
  Tokens,
} from './wire.ts'

export interface RefreshTokenParts extends Pick<ApiParts, 'core'> {
  mint: AccessTokens
}

const params = Type.Object({ tokenId: Type.String({ minLength: 1 }) })

/** Service tokens, and the sign-ins of this wire. `tokenId` is public; the secret is shown once. */
export function refreshTokenRoutes(app: Scope, { core, mint }: RefreshTokenParts): void {
  const pairOf: TokenPairs = tokenPairs({ core, mint })

  /** Throws `not_found` for tokens of other kinds: this wire does not know them. */
  async function refreshToken(caller: Caller, tokenId: string): Promise<TokenReach> {
    const found = isId(tokenId) ? await core.read.tokenReach(caller, tokenId as TokenId) : undefined
    if (found === undefined || !isRefreshToken(found.token)) throw notFound('token')
    return found
  }

  app.get(
    '/admin/refreshTokens',
    { config: { weight: 'heavy' }, schema: { response: { 200: RefreshTokenList, ...failures } } },
    async (request) => {
      const active = await core.read.everyTokenReach(callerOf(request), LIVE_REFRESH_TOKENS)
      return { refreshTokenInfo: active.map(refreshTokenInfo) }
    },
  )

  app.post(
    '/admin/refreshTokens',
    { schema: { body: RefreshTokenPost, response: { 200: Tokens, ...failures } } },
    async (request) => {
      const caller = callerOf(request)
      const wish = serviceWish(request.body)
      const issued = await core.write((w) => w.issueServiceToken({ caller, wish, via: 's7' }))
      return pairOf(issued, request.ip)
    },
  )

  app.get(
    '/admin/refreshTokens/:tokenId',
    { schema: { params, response: { 200: RefreshTokenInfo, ...failures } } },
    async (request) => {
      const found = await refreshToken(callerOf(request), request.params.tokenId)
      // The answer has no member that could say "dead", so the dead are not shown.
      if (stateOf(found.token, core.clock.now()) !== 'active') throw notFound('token')
      return refreshTokenInfo(found)
    },
  )

  app.delete(
    '/admin/refreshTokens/:tokenId',
    { schema: { params, response: { 200: NoBody, ...failures } } },
    async (request, reply) => {
      const caller = callerOf(request)
      const { token } = await refreshToken(caller, request.params.tokenId)
      await core.write((w) =>
        w.revokeServiceToken({ caller, id: token.id, reason: 'revoked through the S7 API' }),
      )
      return reply.code(200).send(undefined)
    },
  )
}
