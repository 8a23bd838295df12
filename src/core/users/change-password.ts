import { mustBeAllowed } from '../access.ts'
import type { Actor } from '../audit/record.ts'
import type { Caller } from '../caller.ts'
import type { Deps } from '../deps.ts'
import { CoreError, notFound } from '../errors.ts'
import type { TokenId, UserId } from '../id.ts'
import type { Principal } from '../rights.ts'
import { Secret } from '../secret.ts'
import type { Repositories } from '../store.ts'
import { revokeOwned } from '../tokens/revoke.ts'
import { mustStillStand } from '../tokens/standing.ts'
import { countedLook, recordFailure } from './lockout.ts'
import { checkNewPassword } from './password.ts'
import type { PasswordChange } from './store.ts'
import type { User } from './user.ts'

const ONE_TIME_TTL_SECONDS = 86_400
/** No vowels and no look-alikes: it is read from a screen and typed. */
const READABLE = 'bcdfghjkmnpqrstvwxz23456789'

/** Changes one's own password and ends one's other logins. Throws `forbidden`, `login_failed`, `too_many_requests`, `invalid_input`, `unauthenticated` (ended meanwhile). */
export async function changePassword(
  deps: Deps,
  { caller, current, next }: { caller: Caller; current: string; next: string },
): Promise<void> {
  const { user, token } = caller.principal
  mustBeAllowed(caller.principal, 'password.change', { what: user, policy: deps.policy() })
  // A stolen session must not be a way to guess the password past the lockout.
  const credentials = await deps.store.users.credentialsById(user.id)
  const matches = await countedLook(deps, user.id, () =>
    deps.passwords.matches(current, credentials?.passwordHash),
  )
  if (!matches) {
    await recordFailure(deps, { account: user.id, userId: user.id, origin: caller.origin })
    throw new CoreError('login_failed', 'The current password is wrong.')
  }
  await deps.store.transaction((tx) => tx.lockouts.clear(user.id))
  checkNewPassword(next, user)
  const hash = await deps.passwords.hash(next)
  await deps.store.transaction(async (tx) => {
    // Two hashes took their time; whoever ended the session meanwhile meant this, too.
    await mustStillStand(deps, tx, caller)
    const now = await tx.users.credentialsById(user.id)
    if (now?.passwordHash !== credentials?.passwordHash) {
      throw new CoreError('conflict', 'The password was changed meanwhile. Log in again.')
    }
    const atMs = deps.clock.now()
    await tx.users.setPassword(user.id, { hash, isOneTime: false, expiresAtMs: undefined, atMs })
    await endSessions(deps, tx, { actor: caller, user, keep: token.id })
    await deps.audit(tx, caller, event('user.password_changed', user))
  })
}

/**
 * Gives a user a one-time password that must be replaced at its first use, within a day; ends the
 * user's logins. Throws `forbidden`, `not_found`, `invalid_input` (service accounts have none),
 * `unauthenticated` (the caller's credential ended meanwhile).
 */
export async function resetPassword(
  deps: Deps,
  { caller, id }: { caller: Caller; id: UserId },
): Promise<Secret> {
  const mustMay = (who: Principal) =>
    mustBeAllowed(who, 'password.reset', { what: undefined, policy: deps.policy() })
  mustMay(caller.principal)
  return setOneTimePassword(deps, {
    actor: caller,
    id,
    // A hash takes its time, and the password opens every door of its user.
    stillMay: async (tx) => mustMay(await mustStillStand(deps, tx, caller)),
  })
}

/** The same once it is settled that the actor may: bootstrap and break-glass. */
export async function setOneTimePassword(
  deps: Deps,
  {
    actor,
    id,
    stillMay,
  }: { actor: Actor; id: UserId; stillMay?: (tx: Repositories) => Promise<void> },
): Promise<Secret> {
  const password = oneTimePassword(deps)
  const hash = await deps.passwords.hash(password.reveal())
  await deps.store.transaction(async (tx) => {
    await stillMay?.(tx)
    const user = await tx.users.byId(id)
    if (user === undefined) throw notFound('user')
    if (user.kind === 'service') {
      throw new CoreError('invalid_input', 'A service account has no password; give it a token.')
    }
    await tx.users.setPassword(id, oneTime(hash, deps.clock.now()))
    await tx.lockouts.clear(id)
    await endSessions(deps, tx, { actor, user, keep: undefined })
    await deps.audit(tx, actor, event('user.password_reset', user))
  })
  return password
}

/** How a one-time password is saved: to be replaced at its first use, within a day. */
export function oneTime(hash: string, atMs: number): PasswordChange {
  return { hash, isOneTime: true, expiresAtMs: atMs + ONE_TIME_TTL_SECONDS * 1000, atMs }
}

async function endSessions(
  deps: Deps,
  tx: Repositories,
  { actor, user, keep }: { actor: Actor; user: User; keep: TokenId | undefined },
): Promise<void> {
  await revokeOwned(deps, tx, {
    actor,
    ownerId: user.id,
    kinds: ['session'],
    reason: 'password changed',
    ...(keep === undefined ? {} : { exceptId: keep }),
  })
}

function event(action: 'user.password_changed' | 'user.password_reset', user: User) {
  return { action, subjectType: 'user', subjectId: user.id } as const
}

/** Five groups of five: 118 bits. Rejection keeps every character equally likely. */
export function oneTimePassword({ random }: Pick<Deps, 'random'>): Secret {
  let text = ''
  while (text.length < 25) {
    for (const byte of random(64)) {
      if (byte < 243 && text.length < 25) text += READABLE.charAt(byte % READABLE.length)
    }
  }
  return new Secret(text.replace(/(.{5})(?=.)/g, '$1-'))
}
