import { CoreError } from '../../core/errors.ts'
import { madeAtMs } from '../../core/id.ts'
import type { PolicyEdit } from '../../core/policy/manage.ts'
import type { Policy } from '../../core/policy/policy.ts'
import { ADMIN_ROLE } from '../../core/roles/role.ts'
import type { Secret } from '../../core/secret.ts'
import type { Span } from '../../core/tokens/read.ts'
import { endOf, type Token, type TokenState } from '../../core/tokens/token.ts'
import type { UserLabel } from '../../core/users/manage.ts'
import type { User } from '../../core/users/user.ts'
import type { AccessToken, AuthSecurityPolicy, ListQuery, SessionToken } from './wire.ts'

/** What this wire calls access tokens: `api` tokens that were neither deleted nor regenerated. */
export const SHOWN_KIND = 'api'
export const SHOWN_STATES: TokenState[] = ['active', 'quarantined', 'expired']

/** Rows of one answer at most; also when no limit is asked for. */
const MAX_LIMIT = 1000

function instant(ms: number): string {
  return new Date(ms).toISOString()
}

/** Serials count from 1, so 0 is nobody: an owner deleted while we were reading. */
const GONE: UserLabel = { serial: 0, username: '' }

/** A token as this wire shows it; never with its secret. */
export function accessTokenOut(token: Token, owner: UserLabel = GONE): AccessToken {
  return {
    create: instant(bornAtMs(token)),
    description: token.description,
    id: token.serial ?? 0,
    name: token.name ?? '',
    roles: [...(token.limits.roles ?? [])],
    update: instant(token.updatedAtMs),
    used: token.lastUsedAtMs !== undefined,
    user: { id: owner.serial, name: owner.username },
  }
}

/** Regenerating keeps the token on this wire; in core a successor is born, of the same family. */
function bornAtMs({ id, familyId, createdAtMs }: Token): number {
  return id === familyId ? createdAtMs : madeAtMs(familyId)
}

/** A session with its secret. `roles` are the rights it has; the user's own may be more. */
export function sessionOut(session: {
  token: Token
  secret: Secret
  user: User
  roles: Iterable<string>
  userRoles: Iterable<string>
}): SessionToken {
  const { token, secret, user } = session
  return {
    create: instant(token.createdAtMs),
    // Sessions always end; the type is that of tokens of any kind.
    expires: instant(endOf(token) ?? token.createdAtMs),
    roles: [...session.roles].sort(),
    user: {
      id: user.serial,
      name: user.username,
      email: user.email ?? '',
      external_id: '',
      enabled: user.active,
      create: instant(user.createdAtMs),
      // Clients want an instant here; whoever never had a password has had none since the beginning.
      password_last_update: instant(user.passwordChangedAtMs ?? user.createdAtMs),
      roles: [...session.userRoles].sort(),
    },
    uuid: secret.reveal(),
    valid: true,
  }
}

/** The roles given to a user, with the one that comes with the global role. */
export function allRoles(user: User, given: readonly string[]): string[] {
  return user.globalRole === 'ADMIN' ? [ADMIN_ROLE, ...given] : [...given]
}

export function policyOut(policy: Policy): AuthSecurityPolicy {
  return {
    enabled: policy.lockoutEnabled,
    expiration_time: policy.sessionTtlSeconds,
    freeze_duration: policy.lockoutSeconds,
    max_attempts: policy.lockoutAttempts,
    password_expiration_warning: policy.passwordExpirationWarning,
    password_lifetime: policy.passwordTtlSeconds ?? 0,
  }
}

/** What is absent stays as it is; a `password_lifetime` of 0 takes the limit away. */
export function policyEdit(wish: Partial<AuthSecurityPolicy>): PolicyEdit {
  const edit: { [K in keyof PolicyEdit]: PolicyEdit[K] | undefined } = {
    lockoutEnabled: wish.enabled,
    sessionTtlSeconds: wish.expiration_time,
    lockoutSeconds: wish.freeze_duration,
    lockoutAttempts: wish.max_attempts,
    passwordExpirationWarning: wish.password_expiration_warning,
    passwordTtlSeconds: wish.password_lifetime === 0 ? null : wish.password_lifetime,
  }
  return Object.fromEntries(Object.entries(edit).filter(([, value]) => value !== undefined))
}

/** Go's ParseBool set in any case: Go sends `true`, Python `True`. Throws `invalid_input`. */
export function booleanOf(text: string, what: string): boolean {
  if (/^(1|t|true)$/i.test(text)) return true
  if (/^(0|f|false)$/i.test(text)) return false
  throw new CoreError('invalid_input', `${what} must be true or false.`)
}

/** A number that identifies something; undefined when nothing of ours can have it. */
export function serialOf(text: string, what: string): number | undefined {
  if (!/^-?\d+$/.test(text)) {
    throw new CoreError('invalid_input', `${what} must be a whole number.`)
  }
  const serial = Number(text)
  return Number.isSafeInteger(serial) && serial > 0 ? serial : undefined
}

/** Which rows are asked for. Throws `invalid_input`. */
export function spanOf({ limit, offset }: Pick<ListQuery, 'limit' | 'offset'>): Span {
  return {
    limit: Math.min(countOf(limit ?? String(MAX_LIMIT), 'limit', 1), MAX_LIMIT),
    offset: countOf(offset ?? '0', 'offset', 0),
  }
}

function countOf(text: string, what: string, least: number): number {
  const count = /^\d{1,19}$/.test(text) ? Number(text) : Number.NaN
  if (!Number.isSafeInteger(count) || count < least) {
    throw new CoreError('invalid_input', `${what} must be a whole number of at least ${least}.`)
  }
  return count
}
