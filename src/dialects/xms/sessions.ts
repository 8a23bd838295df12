import type { FastifyRequest } from 'fastify'
import type { Core } from '../../core/core.ts'
import { CoreError } from '../../core/errors.ts'
import type { LoginWish } from '../../core/users/login.ts'
import type { Session } from '../../core/users/session.ts'
import { originOf, presentedBy } from '../../http/auth.ts'
import type { LoginKeys } from './login-keys.ts'
import { allRoles, sessionOut } from './map.ts'
import type { LoginForm, PasswordUser } from './wire.ts'

/** Who logs in, by exactly one of name, email and id. Throws `invalid_input`. */
export function loginName({ name, email, id }: Omit<PasswordUser, 'password'>): LoginWish['name'] {
  // Go clients send their zero values for what they leave out.
  const given: LoginWish['name'][] = []
  if (name !== undefined && name !== '') given.push(name)
  if (email !== undefined && email !== '') given.push(email)
  if (id !== undefined && id !== 0) given.push({ serial: id })
  const [only] = given
  if (only !== undefined && given.length === 1) return only
  throw new CoreError('invalid_input', 'Name the user by exactly one of name, email and id.')
}

/**
 * The password of a login form, plain or encrypted. What cannot be decrypted becomes a password that
 * nobody has: the login then fails, costs the same, and counts, like any wrong one.
 * Throws `invalid_input`.
 */
export async function passwordOf(core: Core, keys: LoginKeys, form: LoginForm): Promise<string> {
  const { password = '', encrypted_password: encrypted = '', rsa_key_id: keyId = '' } = form
  if ((password === '') === (encrypted === '')) {
    throw new CoreError('invalid_input', 'Send either password or encrypted_password.')
  }
  if (encrypted === '') return password
  if (keyId === '') {
    throw new CoreError('invalid_input', 'An encrypted_password needs the rsa_key_id of its key.')
  }
  return (await keys.decrypt(keyId, encrypted)) ?? core.random(32).toString('base64')
}

/** A session with the rights it has, as those who open one see it. */
export async function showSession(core: Core, request: FastifyRequest, session: Session) {
  const verdict = await core.verifier.verify(session.secret.reveal(), presentedBy(request, 'xms'))
  if (!verdict.active) {
    throw new CoreError('unauthenticated', 'The session ended as it began. Log in again.')
  }
  const { principal } = verdict
  const { user } = principal
  const caller = { principal, origin: originOf(request, 'xms') }
  const userRoles = allRoles(user, await core.read.rolesOfUser(caller, user.id))
  return { token: sessionOut({ ...session, user, roles: principal.rights.roles, userRoles }) }
}
