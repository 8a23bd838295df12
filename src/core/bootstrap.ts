import type { Deps } from './deps.ts'
import { CoreError } from './errors.ts'
import type { Secret } from './secret.ts'
import { nameKey } from './text.ts'
import { saveToken } from './tokens/issue.ts'
import { UNLIMITED } from './tokens/token.ts'
import { oneTime, oneTimePassword, setOneTimePassword } from './users/change-password.ts'
import { saveUser } from './users/manage.ts'
import { checkNewPassword } from './users/password.ts'
import type { User } from './users/user.ts'

export interface BootstrapWish {
  username: string
  /** Absent: a random one-time password is made. */
  password: Secret | undefined
  /** Becomes a FULL_ACCESS `api` token of the first admin. */
  token: Secret | undefined
}

export interface Bootstrapped {
  admin: User
  /** Only when no password was given; shown once, by whoever asked. */
  oneTimePassword: Secret | undefined
}

const SYSTEM = { origin: { ip: undefined, requestId: undefined, via: 'system' } } as const

/** Makes the first admin of an empty installation; undefined when there are users already. */
export async function bootstrap(
  deps: Deps,
  wish: BootstrapWish,
): Promise<Bootstrapped | undefined> {
  if ((await deps.store.users.countAll()) > 0) return undefined
  const given = wish.password
  if (given !== undefined) checkNewPassword(given.reveal(), { username: wish.username })
  const password = given ?? oneTimePassword(deps)
  const hash = await deps.passwords.hash(password.reveal())
  const admin = await deps.store.transaction(async (tx) => {
    if ((await tx.users.countAll()) > 0) return undefined
    const atMs = deps.clock.now()
    const user = await saveUser(deps, tx, {
      actor: SYSTEM,
      wish: { username: wish.username, displayName: 'Administrator', globalRole: 'ADMIN' },
    })
    await tx.roles.insert(
      { name: 'verifier', description: 'May be told why a token is refused.', scopes: [] },
      atMs,
    )
    const chosen = { hash, isOneTime: false, expiresAtMs: undefined, atMs }
    await tx.users.setPassword(user.id, given === undefined ? oneTime(hash, atMs) : chosen)
    if (wish.token !== undefined) {
      await saveToken(deps, tx, {
        actor: SYSTEM,
        ownerId: user.id,
        creatorId: user.id,
        creatorTokenId: undefined,
        kind: 'api',
        name: 'bootstrap',
        description: 'MINTMARK_BOOTSTRAP_TOKEN',
        limits: UNLIMITED,
        expiresAtMs: undefined,
        via: 'bootstrap',
        format: 'mintmark',
        chosenSecret: wish.token,
      })
    }
    await deps.audit(tx, SYSTEM, {
      action: 'server.bootstrapped',
      subjectType: 'server',
      subjectId: user.id,
    })
    return user
  })
  if (admin === undefined) return undefined
  return { admin, oneTimePassword: given === undefined ? password : undefined }
}

/**
 * Break-glass, offline: a one-time password for a user, who becomes an active admin again.
 * Throws `not_found`, `invalid_input` (service accounts).
 */
export async function breakGlass(deps: Deps, username: string): Promise<Bootstrapped> {
  const user = await deps.store.users.byUsernameKey(nameKey(username))
  if (user === undefined) {
    throw new CoreError('not_found', `There is no user "${username}".`)
  }
  if (user.kind === 'service') {
    throw new CoreError('invalid_input', 'A service account has no password. Name a person.')
  }
  await deps.store.transaction(async (tx) => {
    await tx.users.update(user.id, {
      displayName: user.displayName,
      email: user.email,
      emailKey: user.email === undefined ? undefined : nameKey(user.email),
      globalRole: 'ADMIN',
      active: true,
      attributes: JSON.stringify(user.attributes),
      atMs: deps.clock.now(),
    })
    await tx.changes.append({ subject: 'user', id: user.id })
    await deps.audit(tx, SYSTEM, {
      action: 'user.updated',
      subjectType: 'user',
      subjectId: user.id,
      before: { globalRole: user.globalRole, active: user.active },
      after: { globalRole: 'ADMIN', active: true, breakGlass: true },
    })
  })
  const password = await setOneTimePassword(deps, { actor: SYSTEM, id: user.id })
  return { admin: { ...user, globalRole: 'ADMIN', active: true }, oneTimePassword: password }
}
