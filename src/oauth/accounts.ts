import {
  type Account,
  type AccountClaims,
  type Client as EngineClient,
  errors,
  type KoaContextWithOIDC,
} from 'oidc-provider'
import type { Core } from '../core/core.ts'
import type { UserId } from '../core/id.ts'
import type { Owner } from '../core/rights.ts'

/** Claims by the scope that asks for them (OpenID Connect Core, section 5.4, and `groups`). */
export const CLAIMS = {
  openid: ['sub', 'auth_time', 'amr'],
  profile: ['name', 'preferred_username', 'updated_at'],
  email: ['email', 'email_verified'],
  groups: ['groups'],
}

/** Our users as the engine's accounts; a disabled one is none. */
export function accounts(core: Core) {
  return {
    async find(_: KoaContextWithOIDC, id: string): Promise<Account | undefined> {
      const owner = await core.oauth.owner(id as UserId)
      if (!owner?.user.active) return undefined
      return { accountId: id, claims: () => claimsOf(owner) }
    },

    /** `sub`, as this client is to see the user. Throws when either has gone since the request began. */
    async subject(
      ctx: KoaContextWithOIDC,
      id: string,
      { clientId }: EngineClient,
    ): Promise<string> {
      const [owner, client] = await Promise.all([
        core.oauth.owner(id as UserId),
        core.clients.byClientId(clientId),
      ])
      if (owner === undefined || client === undefined) {
        const detail = 'the user or client is gone'
        throw ctx.oidc?.route === 'userinfo'
          ? new errors.InvalidToken(detail)
          : new errors.InvalidGrant(detail)
      }
      return core.oauth.subjectOf(owner.user, client)
    },
  }
}

function claimsOf({ user, groups }: Owner): AccountClaims {
  return {
    // The engine puts the client's own view of it in place.
    sub: user.id,
    name: user.displayName || user.username,
    preferred_username: user.username,
    updated_at: Math.floor(user.updatedAtMs / 1000),
    // An administrator entered it; nobody has sent a message there.
    ...(user.email === undefined ? {} : { email: user.email, email_verified: false }),
    groups: [...groups.values()].map(({ name }) => name).sort(),
  }
}
