import type { Origin } from '../caller.ts'
import type { Deps } from '../deps.ts'
import { CoreError } from '../errors.ts'
import { nameKey } from '../text.ts'
import { revokeOwned } from '../tokens/revoke.ts'
import { saveUser } from './manage.ts'
import { type Session, saveSession } from './session.ts'
import type { User } from './user.ts'

/** How long a sign-in through an upstream provider lasts. */
const SIGN_IN_TTL_SECONDS = 86_400

export interface UpstreamIdentity {
  issuer: string
  subject: string
  /** The one claim that names the user; verified by the provider when it is an email. */
  username: string
  displayName: string | undefined
}

/**
 * Opens the session of someone whom an upstream provider vouches for. Unknown people become users
 * without rights. An existing user of that name is linked only if no other way in exists yet: no
 * password, no other identity, and no service account. Earlier sign-ins of the user end: one live sign-in per user.
 */
export async function signInFromUpstream(
  deps: Deps,
  { identity, origin }: { identity: UpstreamIdentity; origin: Origin },
): Promise<Session> {
  const nowMs = deps.clock.now()
  return deps.store.transaction(async (tx) => {
    const known = await tx.users.byIdentity(identity.issuer, identity.subject)
    const user = known ?? (await adopt())
    if (!user.active) throw new CoreError('login_failed', 'This user is disabled.')
    await revokeOwned(deps, tx, {
      actor: { origin },
      ownerId: user.id,
      kinds: ['session'],
      via: ['s7'],
      reason: 'signed in again',
    })
    await tx.users.recordLogin(user.id, nowMs)
    return saveSession(deps, tx, {
      user,
      origin,
      via: 's7',
      format: 'uuid',
      ttlSeconds: SIGN_IN_TTL_SECONDS,
    })

    async function adopt(): Promise<User> {
      const named = await tx.users.byUsernameKey(nameKey(identity.username))
      const isTaken = named?.hasPassword || named?.kind === 'service'
      if (isTaken || (named && (await tx.users.hasIdentity(named.id)))) {
        throw new CoreError(
          'login_failed',
          'A user of this name exists and signs in another way. Ask an administrator.',
        )
      }
      const wish = { username: identity.username, displayName: identity.displayName ?? '' }
      const user = named ?? (await saveUser(deps, tx, { actor: { origin }, wish }))
      await tx.users.linkIdentity(user.id, identity.issuer, identity.subject, nowMs)
      await deps.audit(
        tx,
        { origin },
        {
          action: 'user.identity_linked',
          subjectType: 'user',
          subjectId: user.id,
          after: { issuer: identity.issuer, subject: identity.subject },
        },
      )
      return user
    }
  })
}
