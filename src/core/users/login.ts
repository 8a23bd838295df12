import { createHash } from 'node:crypto'
import { mustBeAllowed } from '../access.ts'
import type { Caller, Origin } from '../caller.ts'
import type { Deps } from '../deps.ts'
import { CoreError } from '../errors.ts'
import { nameKey } from '../text.ts'
import { type Issued, saveToken } from '../tokens/issue.ts'
import { revokeOwned } from '../tokens/revoke.ts'
import type { Limits, Token, Via } from '../tokens/token.ts'
import { saveUser } from './manage.ts'
import { checkNewPassword } from './password.ts'
import type { Credentials } from './store.ts'
import type { User } from './user.ts'

/** A login stands for the person: everything the user may do, now and later. */
const EVERYTHING: Limits = {
  accessLevel: 'FULL_ACCESS',
  roles: null,
  groups: null,
  scopes: null,
  allowedIps: null,
}

/** How long a sign-in through an upstream provider lasts on the S7 wire. */
const SIGN_IN_TTL_SECONDS = 86_400

export interface LoginWish {
  /** Username or email. */
  name: string
  password: string
  /** Required with a one-time or outdated password, which it replaces in the same step. */
  newPassword?: string
  origin: Origin
  via: Via
  /** Spelling of the session's secret. */
  format?: 'mintmark' | 'hex'
}

export interface Session extends Issued {
  user: User
}

/**
 * Opens a session for a name and a password. Unknown names, wrong passwords and disabled users cost
 * the same time and get the same answer.
 * Throws `login_failed`, `too_many_requests` (locked out), `password_change_required`.
 */
export async function loginWithPassword(deps: Deps, wish: LoginWish): Promise<Session> {
  const key = nameKey(wish.name.trim())
  const credentials = await deps.store.users.credentials(key)
  const account = credentials?.user.id ?? createHash('sha256').update(key).digest('base64url')
  const locksNow = await reserveAttempt(deps, account)

  const matches = await deps.passwords.matches(wish.password, credentials?.passwordHash)
  if (credentials === undefined || !matches || !isUsable(credentials, deps.clock.now())) {
    await recordFailure(deps, { account, locksNow, credentials, origin: wish.origin })
    throw loginFailed()
  }
  const replacement = await replacementHash(deps, credentials, wish)
  return openSession(deps, { credentials, account, wish, replacement })
}

function loginFailed(): CoreError {
  return new CoreError('login_failed', 'The name or the password is wrong.')
}

function isUsable({ user, passwordExpiresAtMs }: Credentials, nowMs: number): boolean {
  return user.active && (passwordExpiresAtMs === undefined || passwordExpiresAtMs > nowMs)
}

/**
 * Counts the attempt before the password is looked at, so that parallel guesses cannot outrun the
 * counter; a right password clears it. Returns whether this attempt is the one that locks.
 */
async function reserveAttempt(deps: Deps, account: string): Promise<boolean> {
  const { lockoutEnabled, lockoutAttempts, lockoutSeconds } = deps.policy()
  if (!lockoutEnabled) return false
  return deps.store.transaction(async (tx) => {
    const nowMs = deps.clock.now()
    const known = await tx.lockouts.get(account)
    const lockedUntilMs = known?.lockedUntilMs
    if (lockedUntilMs !== undefined && lockedUntilMs > nowMs) {
      throw new CoreError('too_many_requests', 'Too many wrong passwords. Try again later.', {
        retryAfterSeconds: Math.ceil((lockedUntilMs - nowMs) / 1000),
      })
    }
    const failures = (lockedUntilMs === undefined ? (known?.failures ?? 0) : 0) + 1
    const locks = failures >= lockoutAttempts
    await tx.lockouts.put(
      account,
      { failures, lockedUntilMs: locks ? nowMs + lockoutSeconds * 1000 : undefined },
      nowMs,
    )
    return locks
  })
}

async function recordFailure(
  deps: Deps,
  fact: {
    account: string
    locksNow: boolean
    credentials: Credentials | undefined
    origin: Origin
  },
): Promise<void> {
  await deps.store.transaction((tx) =>
    deps.audit(
      tx,
      { origin: fact.origin },
      {
        action: fact.locksNow ? 'login.locked' : 'login.failed',
        subjectType: 'user',
        // Not the typed name: people type passwords into that field.
        subjectId: fact.credentials?.user.id ?? 'unknown',
      },
    ),
  )
}

/** The hash that must replace the present one in the same step, if any. */
async function replacementHash(
  deps: Deps,
  { user, passwordHash }: Credentials,
  wish: LoginWish,
): Promise<string | undefined> {
  const { passwordTtlSeconds } = deps.policy()
  const ageMs = deps.clock.now() - (user.passwordChangedAtMs ?? 0)
  const outdated = passwordTtlSeconds !== undefined && ageMs > passwordTtlSeconds * 1000
  if (user.passwordIsOneTime || outdated) {
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
  if (wish.newPassword !== undefined) {
    throw new CoreError(
      'invalid_input',
      'This password need not be replaced. Log in without newPassword and change it afterwards.',
    )
  }
  if (passwordHash !== undefined && deps.passwords.isOutdated(passwordHash)) {
    await deps.store.users.rehash(user.id, passwordHash, await deps.passwords.hash(wish.password))
  }
  return undefined
}

async function openSession(
  deps: Deps,
  {
    credentials,
    account,
    wish,
    replacement,
  }: {
    credentials: Credentials
    account: string
    wish: LoginWish
    replacement: string | undefined
  },
): Promise<Session> {
  const policy = deps.policy()
  const nowMs = deps.clock.now()
  return deps.store.transaction(async (tx) => {
    // Disabled, changed or used up while we were hashing?
    const now = await tx.users.credentialsById(credentials.user.id)
    const same = now?.passwordHash === credentials.passwordHash || replacement === undefined
    if (now === undefined || !same || !isUsable(now, nowMs)) throw loginFailed()
    const { user } = now
    if (replacement !== undefined) {
      await tx.users.setPassword(user.id, {
        hash: replacement,
        isOneTime: false,
        expiresAtMs: undefined,
        atMs: nowMs,
      })
      await deps.audit(tx, { origin: wish.origin }, passwordEvent('user.password_changed', user))
    }
    await tx.lockouts.clear(account)
    await tx.users.recordLogin(user.id, nowMs)
    const issued = await saveToken(deps, tx, {
      actor: { origin: wish.origin },
      ownerId: user.id,
      creatorId: user.id,
      creatorTokenId: undefined,
      kind: 'session',
      name: undefined,
      limits: EVERYTHING,
      expiresAtMs: nowMs + policy.sessionTtlSeconds * 1000,
      idleSeconds: policy.sessionIdleSeconds,
      via: wish.via,
      format: wish.format ?? 'mintmark',
    })
    return { ...issued, user: { ...user, lastLoginAtMs: nowMs } }
  })
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
  const issued = await deps.store.transaction((tx) =>
    saveToken(deps, tx, {
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
    }),
  )
  return { ...issued, user }
}

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
 * password, no other identity. Earlier sign-ins of the user end: one live sign-in per user.
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
    const issued = await saveToken(deps, tx, {
      actor: { origin },
      ownerId: user.id,
      creatorId: user.id,
      creatorTokenId: undefined,
      kind: 'session',
      name: undefined,
      limits: EVERYTHING,
      expiresAtMs: nowMs + SIGN_IN_TTL_SECONDS * 1000,
      via: 's7',
      format: 'uuid',
    })
    return { ...issued, user }

    async function adopt(): Promise<User> {
      const named = await tx.users.byUsernameKey(nameKey(identity.username))
      if (named?.hasPassword || (named && (await tx.users.hasIdentity(named.id)))) {
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

/** Ends the session that is being presented. Throws `invalid_input` for anything but a session. */
export function mustBeSession(token: Token): void {
  if (token.kind === 'session') return
  throw new CoreError(
    'invalid_input',
    'Only a login session can be logged out; revoke the token instead.',
  )
}
