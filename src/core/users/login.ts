import { mustBeAllowed } from '../access.ts'
import type { Caller, Origin } from '../caller.ts'
import type { Deps } from '../deps.ts'
import { CoreError } from '../errors.ts'
import { digestOf, pepper } from '../secret.ts'
import type { Repositories } from '../store.ts'
import { nameKey } from '../text.ts'
import { saveToken } from '../tokens/issue.ts'
import { stateOf, type Token, type Via } from '../tokens/token.ts'
import { countedLook, recordFailure } from './lockout.ts'
import { checkNewPassword } from './password.ts'
import { type Session, saveSession } from './session.ts'
import type { Credentials } from './store.ts'
import type { User } from './user.ts'

export interface LoginWish {
  /** Username or email; or the serial, for the wire that numbers its users. */
  name: string | { serial: number }
  password: string
  /** Required with a one-time or outdated password, which it replaces in the same step. */
  newPassword?: string
  origin: Origin
  via: Via
  /** Spelling of the session's secret. */
  format?: 'mintmark' | 'hex'
}

/**
 * Opens a session for a name and a password. Unknown names, wrong passwords and disabled users cost
 * the same time and get the same answer.
 * Throws `login_failed`, `too_many_requests` (locked out, or too many logins), `password_change_required`.
 */
export async function loginWithPassword(deps: Deps, wish: LoginWish): Promise<Session> {
  const { credentials, account, matches } = await lookAt(deps, wish)
  if (credentials === undefined || !matches || !isUsable(credentials, deps.clock.now())) {
    await recordFailure(deps, { account, userId: credentials?.user.id, origin: wish.origin })
    throw loginFailed()
  }
  const replacement = await replacementHash(deps, { credentials, account, wish })
  const session = await openSession(deps, { credentials, account, wish, replacement })
  if (replacement === undefined) await strengthen(deps, credentials, wish.password)
  return session
}

/** Whom the name means, and whether the password is theirs. */
async function lookAt(deps: Deps, { name, password }: LoginWish) {
  const place = deps.passwords.place()
  try {
    const { credentials, account } = await findAccount(deps, name)
    const matches = await countedLook(deps, account, () =>
      deps.passwords.matches(password, credentials?.passwordHash, place),
    )
    return { credentials, account, matches }
  } finally {
    place.leave()
  }
}

/** A login whose password was right. */
interface RightPassword {
  credentials: Credentials
  account: string
  wish: LoginWish
}

/** Whom a name means, and the one account whose attempts all its spellings count towards. */
async function findAccount(
  { store, keyring }: Deps,
  name: LoginWish['name'],
): Promise<{ credentials: Credentials | undefined; account: string }> {
  const key = typeof name === 'string' ? nameKey(name.trim()) : `serial:${name.serial}`
  const credentials =
    typeof name === 'string'
      ? await store.users.credentials(key)
      : await credentialsBySerial(store, name.serial)
  // Keyed, because people type passwords into that field; by no pepper, so that no rotation of peppers
  // forgets a lockout.
  const nobody = () => digestOf(key, pepper('lockout', keyring.derived('lockout')))
  return { credentials, account: credentials?.user.id ?? nobody() }
}

async function credentialsBySerial(
  store: Deps['store'],
  serial: number,
): Promise<Credentials | undefined> {
  const user = await store.users.bySerial(serial)
  return user === undefined ? undefined : store.users.credentialsById(user.id)
}

/** One answer for every way in which a name and a password do not open anything. */
function loginFailed(): CoreError {
  return new CoreError('login_failed', 'The name or the password is wrong.')
}

function isUsable({ user, passwordExpiresAtMs }: Credentials, nowMs: number): boolean {
  return user.active && (passwordExpiresAtMs === undefined || passwordExpiresAtMs > nowMs)
}

/** The hash that must replace the present one in the same step, if any. */
async function replacementHash(
  deps: Deps,
  { credentials: { user }, account, wish }: RightPassword,
): Promise<string | undefined> {
  const { passwordTtlSeconds } = deps.policy()
  const ageMs = deps.clock.now() - (user.passwordChangedAtMs ?? 0)
  const outdated = passwordTtlSeconds !== undefined && ageMs > passwordTtlSeconds * 1000
  const mustChange = user.passwordIsOneTime || outdated
  if (!mustChange && wish.newPassword === undefined) return undefined
  // This one was right, whatever is wrong with the new one.
  await deps.store.transaction((tx) => tx.lockouts.clear(account))
  if (mustChange) {
    if (wish.newPassword === undefined) {
      throw new CoreError(
        'password_change_required',
        'This password must be replaced. Send the same login again with a newPassword of your choice.',
      )
    }
    if (wish.newPassword === wish.password) {
      throw new CoreError('invalid_input', 'The new password must differ from the old one.')
    }
    checkNewPassword(wish.newPassword, user)
    return deps.passwords.hash(wish.newPassword)
  }
  throw new CoreError(
    'invalid_input',
    'This password need not be replaced. Log in without newPassword and change it afterwards.',
  )
}

/** Hashes the same password anew when the parameters have been raised since. */
async function strengthen(
  deps: Deps,
  { user, passwordHash }: Credentials,
  password: string,
): Promise<void> {
  if (passwordHash === undefined || !deps.passwords.isOutdated(passwordHash)) return
  await deps.store.users.rehash(user.id, passwordHash, await deps.passwords.hash(password))
}

async function openSession(
  deps: Deps,
  { credentials, account, wish, replacement }: RightPassword & { replacement: string | undefined },
): Promise<Session> {
  const policy = deps.policy()
  const nowMs = deps.clock.now()
  const { session, isNoted } = await deps.store.transaction(async (tx) => {
    // Disabled, changed or used up while we were hashing?
    const { id } = credentials.user
    const now = await (replacement === undefined
      ? tx.users.heldCredentials(id)
      : tx.users.credentialsById(id))
    if (now === undefined || now.passwordHash !== credentials.passwordHash) throw loginFailed()
    if (!isUsable(now, nowMs)) throw loginFailed()
    const { user } = now
    if (replacement !== undefined) {
      await tx.users.setPassword(user.id, {
        hash: replacement,
        isOneTime: false,
        expiresAtMs: undefined,
        atMs: nowMs,
      })
      await deps.audit(
        tx,
        { origin: wish.origin, user },
        passwordEvent('user.password_changed', user),
      )
    }
    const session = await saveSession(deps, tx, {
      user,
      origin: wish.origin,
      via: wish.via,
      format: wish.format ?? 'mintmark',
      ttlSeconds: policy.sessionTtlSeconds,
      idleSeconds: policy.sessionIdleSeconds,
    })
    const [isNoted] = await Promise.all([
      tx.users.recordLogin(user.id, nowMs),
      // Last, because other attempts at the account wait for it from here on.
      tx.lockouts.clear(account),
    ])
    return { session, isNoted }
  })
  if (!isNoted) deps.logins.note(session.user.id, nowMs)
  return session
}

function passwordEvent(action: 'user.password_changed' | 'user.password_reset', user: User) {
  return { action, subjectType: 'user', subjectId: user.id } as const
}

/**
 * Opens a session that stands for the presented token: same limits, never longer-lived, and it dies
 * with the token. Throws `forbidden` for READ_ONLY tokens.
 */
export async function openSessionFromToken(
  deps: Deps,
  { caller, via, format }: { caller: Caller; via: Via; format: 'mintmark' | 'hex' },
): Promise<Session> {
  const { user, token } = caller.principal
  const policy = deps.policy()
  mustBeAllowed(caller.principal, 'session.open', { what: undefined, policy })
  const endMs = deps.clock.now() + policy.sessionTtlSeconds * 1000
  const issued = await deps.store.transaction(async (tx) => {
    await mustStillBeGood(tx, token, deps.clock.now())
    return saveToken(deps, tx, {
      actor: caller,
      ownerId: user.id,
      creatorId: user.id,
      creatorTokenId: token.id,
      kind: 'session',
      name: undefined,
      limits: token.limits,
      expiresAtMs: Math.min(endMs, token.expiresAtMs ?? endMs),
      idleSeconds: policy.sessionIdleSeconds,
      via,
      format,
      parentId: token.id,
    })
  })
  return { ...issued, user }
}

/** Revoked, rotated or its owner disabled since it was presented? A session must not survive that. */
async function mustStillBeGood(tx: Repositories, token: Token, nowMs: number): Promise<void> {
  const owner = await tx.users.byId(token.ownerId)
  const now = await tx.tokens.byId(token.id)
  if (now !== undefined && stateOf(now, nowMs) === 'active' && owner?.active) return
  throw new CoreError('unauthenticated', 'The token is no longer good.')
}

/** Ends the session that is being presented. Throws `invalid_input` for anything but a session. */
export function mustBeSession(token: Token): void {
  if (token.kind === 'session') return
  throw new CoreError(
    'invalid_input',
    'Only a login session can be logged out; revoke the token instead.',
  )
}
