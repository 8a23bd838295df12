import type { Clock } from '../../core/clock.ts'
import type { Principal } from '../../core/rights.ts'
import { endOf } from '../../core/tokens/token.ts'
import type { AccessJwts } from '../../http/access-jwt.ts'
import { principalInfo, tokenResponse } from './map.ts'
import type { TokenResponse, UserInfo } from './wire.ts'

/** The reference's lifetime. Resource servers decide offline, so it bounds how long they lag behind. */
const TTL_SECONDS = 600

/** Headers end at 16 KiB with us and at 8 KiB elsewhere; a JWT takes a third more than its claims. */
const MAX_CLAIM_BYTES = 5500

export type AccessTokens = (principal: Principal) => Promise<TokenResponse>

/** Makes access tokens that existing resource servers decode, for what a principal may do now. */
export function accessTokens({ jwts, clock }: { jwts: AccessJwts; clock: Clock }): AccessTokens {
  return async (principal) => {
    const endMs = endOf(principal.token) ?? Number.POSITIVE_INFINITY
    const latestMs = Math.min(clock.now() + TTL_SECONDS * 1000, endMs)
    // `exp` counts whole seconds, and the answer must not promise more than the token.
    const expiresAtMs = Math.floor(latestMs / 1000) * 1000
    const jwt = await jwts.sign({
      subject: principal.user.username,
      sourceId: principal.token.id,
      claims: { user_info: userInfoClaim(principalInfo(principal)) },
      expiresAtMs,
    })
    return tokenResponse(jwt, expiresAtMs)
  }
}

/** JSON as *text*: that is what resource servers decode. Descriptions go first when it grows too long. */
export function userInfoClaim(info: UserInfo): string {
  const full = JSON.stringify(info)
  if (Buffer.byteLength(full) <= MAX_CLAIM_BYTES) return full
  const groups = info.groups.map(({ description: _, ...group }) => group)
  return JSON.stringify({ ...info, groups })
}
