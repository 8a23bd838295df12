import type { KoaContextWithOIDC } from 'oidc-provider'
import type { Core } from '../core/core.ts'
import type { LoginCookie } from './login-cookie.ts'
import { currentRequest } from './request.ts'

/**
 * Signing out at the engine (OpenID Connect RP-Initiated Logout) ends our own record of the login, and
 * with it every token that was not to outlive it.
 */
export function endLogins(core: Core, login: LoginCookie) {
  return async (ctx: KoaContextWithOIDC, next: () => Promise<void>): Promise<void> => {
    await next()
    if (ctx.oidc?.route !== 'end_session_confirm' || ctx.status !== 303) return
    if (!ctx.oidc.params?.logout) return
    const { origin, login: current } = currentRequest()
    const principal = await current()
    // When somebody else signs in on top, the engine ends the earlier login through the same door.
    if (principal === undefined || principal.user.id !== ctx.oidc.session?.accountId) return
    await core.oauth.endLogin({ principal, origin })
    ctx.append('Set-Cookie', login.header(undefined))
  }
}
