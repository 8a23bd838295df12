import { can, mustBeAllowed, mustBeVisible } from '../access.ts'
import type { Actor } from '../audit/record.ts'
import type { Caller } from '../caller.ts'
import type { Deps } from '../deps.ts'
import { CoreError, notFound } from '../errors.ts'
import { withdrawAll } from '../grants/manage.ts'
import type { NamedMembership } from '../groups/group.ts'
import type { UserId } from '../id.ts'
import { isId } from '../id.ts'
import { type Page, pageOf } from '../page.ts'
import { ADMIN_ROLE } from '../roles/role.ts'
import type { Repositories } from '../store.ts'
import { checkJsonObject, checkName, checkProse, checkSearch, nameKey } from '../text.ts'
import type { ListWish } from '../tokens/read.ts'
import { revokeOwned } from '../tokens/revoke.ts'
import type { UserFilter } from './store.ts'
import type { GlobalRole, User, UserKind } from './user.ts'

export interface UserWish {
  username: string
  displayName?: string
  email?: string
  kind?: UserKind
  globalRole?: GlobalRole
  active?: boolean
  attributes?: Record<string, unknown>
  roles?: string[]
}

/** What a dialect that numbers its users shows of one. */
export type UserLabel = Pick<User, 'serial' | 'username'>

const EMAIL = /^[^\s@]+@[^\s@]+$/

/** Throws `forbidden`, `name_taken`, `invalid_input`, `not_found` (role). */
export async function createUser(
  deps: Deps,
  tx: Repositories,
  { caller, wish }: { caller: Caller; wish: UserWish },
): Promise<User> {
  const policy = deps.policy()
  mustBeAllowed(caller.principal, 'user.manage', { what: undefined, policy })
  if (wish.globalRole === 'ADMIN') {
    mustBeAllowed(caller.principal, 'admin.appoint', { what: undefined, policy })
  }
  return saveUser(deps, tx, { actor: caller, wish })
}

/** Saves a user once it is settled that the actor may. */
export async function saveUser(
  deps: Deps,
  tx: Repositories,
  { actor, wish, id = deps.newId() as UserId }: { actor: Actor; wish: UserWish; id?: UserId },
): Promise<User> {
  const username = checkName(wish.username, { what: 'The username', maxLength: 150 })
  if (isId(username)) {
    throw new CoreError('invalid_input', 'A username must not look like an id.')
  }
  const email = checkEmail(wish.email)
  const attributes = checkJsonObject(wish.attributes ?? {}, 'The attributes')
  await mustBeFree(tx, [username, email], id)
  const user = await tx.users.insert({
    id,
    username,
    usernameKey: nameKey(username),
    displayName: checkProse(wish.displayName ?? '', { what: 'The display name', maxLength: 255 }),
    email,
    emailKey: email === undefined ? undefined : nameKey(email),
    kind: wish.kind ?? 'person',
    globalRole: wish.globalRole ?? 'USER',
    active: wish.active ?? true,
    attributes,
    atMs: deps.clock.now(),
  })
  const roles = await checkRoles(tx, wish.roles ?? [])
  if (roles.length > 0) await tx.roles.setForUser(id, roles)
  await tx.changes.append({ subject: 'user', id, isNew: true })
  await deps.audit(tx, actor, {
    action: 'user.created',
    subjectType: 'user',
    subjectId: id,
    after: { ...userFacts(user), roles },
  })
  return user
}

export interface UserEdit {
  displayName?: string
  email?: string | null
  globalRole?: GlobalRole
  active?: boolean
  attributes?: Record<string, unknown>
  /** Replaces the roles given to the user; `admin` follows the global role and is not listed. */
  roles?: string[]
}

/**
 * Changes a user; what it takes away binds with the commit, on all of the user's tokens. Disabling
 * also ends the user's logins for good. Throws `forbidden`, `not_found`, `last_admin`, `name_taken`.
 */
export async function updateUser(
  deps: Deps,
  tx: Repositories,
  { caller, id, edit }: { caller: Caller; id: UserId; edit: UserEdit },
): Promise<User> {
  const policy = deps.policy()
  mustBeVisible(caller.principal, 'user.read', { what: { id }, policy })
  mustBeAllowed(caller.principal, 'user.manage', { what: undefined, policy })
  const before = await tx.users.byId(id)
  if (before === undefined) throw notFound('user')
  // One who was disabled comes back by a login that knows no limits, too.
  const { globalRole = before.globalRole, active = before.active } = edit
  const wasAdmin = before.globalRole === 'ADMIN' && (before.active || !active)
  if (globalRole === 'ADMIN' && !wasAdmin) {
    mustBeAllowed(caller.principal, 'admin.appoint', { what: undefined, policy })
  }
  const email = edit.email === undefined ? before.email : checkEmail(edit.email ?? undefined)
  await mustBeFree(tx, [email], id)
  const after: User = {
    ...before,
    displayName: checkProse(edit.displayName ?? before.displayName, {
      what: 'The display name',
      maxLength: 255,
    }),
    email,
    globalRole,
    active,
    attributes: edit.attributes ?? before.attributes,
    updatedAtMs: deps.clock.now(),
  }
  await tx.users.update(id, {
    displayName: after.displayName,
    email,
    emailKey: email === undefined ? undefined : nameKey(email),
    globalRole: after.globalRole,
    active: after.active,
    attributes: checkJsonObject(after.attributes, 'The attributes'),
    atMs: after.updatedAtMs,
  })
  const rolesBefore = (await tx.roles.ofUser(id)).map((role) => role.name)
  const roles = edit.roles === undefined ? rolesBefore : await checkRoles(tx, edit.roles)
  if (edit.roles !== undefined) await tx.roles.setForUser(id, roles)
  await mustKeepAnAdmin(tx)
  if (before.active && !after.active) {
    await revokeOwned(deps, tx, {
      actor: caller,
      ownerId: id,
      kinds: ['session'],
      reason: 'user disabled',
    })
  }
  await tx.changes.append({ subject: 'user', id })
  await deps.audit(tx, caller, {
    action: 'user.updated',
    subjectType: 'user',
    subjectId: id,
    before: { ...userFacts(before), roles: rolesBefore },
    after: { ...userFacts(after), roles },
  })
  return after
}

/**
 * Deletes a user: memberships go, every token is revoked for good, the name is free again, the id is
 * never reused. Throws `forbidden`, `not_found`, `last_admin`, `conflict` (the account of a client).
 */
export async function deleteUser(
  deps: Deps,
  tx: Repositories,
  { caller, id }: { caller: Caller; id: UserId },
): Promise<void> {
  const user = await mustBeDeletable(deps, tx, { caller, id })
  await removeUser(deps, tx, { actor: caller, user, reason: 'user deleted' })
}

/** The user, once it is settled that the caller may delete it. Throws what `deleteUser` throws. */
export async function mustBeDeletable(
  deps: Deps,
  tx: Repositories,
  { caller, id }: { caller: Caller; id: UserId },
): Promise<User> {
  const user = await mustBeDisablable(deps, tx, { caller, id })
  if (user.kind === 'service' && (await tx.clients.byServiceUser(id)) !== undefined) {
    throw new CoreError(
      'conflict',
      'This is the service account of an OAuth client. Delete the client, and it goes with it.',
    )
  }
  return user
}

/** The user, once it is settled that the caller may disable it. Throws `not_found`, `forbidden`, `last_admin`. */
export async function mustBeDisablable(
  deps: Deps,
  tx: Repositories,
  { caller, id }: { caller: Caller; id: UserId },
): Promise<User> {
  const policy = deps.policy()
  mustBeVisible(caller.principal, 'user.read', { what: { id }, policy })
  mustBeAllowed(caller.principal, 'user.manage', { what: undefined, policy })
  const user = await tx.users.byId(id)
  if (user === undefined) throw notFound('user')
  await mustKeepAnAdmin(tx, id)
  return user
}

/** Deletes a user once it is settled that the actor may. Throws `last_admin`. */
export async function removeUser(
  deps: Deps,
  tx: Repositories,
  { actor, user, reason }: { actor: Actor; user: User; reason: string },
): Promise<void> {
  const { id } = user
  await revokeOwned(deps, tx, { actor, ownerId: id, reason })
  await withdrawAll(deps, tx, { actor, which: { userId: id }, reason })
  await tx.groups.removeMembershipsOf(id)
  await tx.roles.setForUser(id, [])
  await tx.users.remove(id, deps.clock.now())
  await mustKeepAnAdmin(tx)
  await tx.changes.append({ subject: 'user', id })
  await deps.audit(tx, actor, {
    action: 'user.deleted',
    subjectType: 'user',
    subjectId: id,
    before: userFacts(user),
  })
}

/** Checked inside the transaction that changes users, so that two admins demoting each other cannot both win. */
async function mustKeepAnAdmin(tx: Repositories, exceptId?: UserId): Promise<void> {
  if ((await tx.users.countUsableAdmins(exceptId)) > 0) return
  throw new CoreError(
    'last_admin',
    'This is the last administrator who can log in. Give another user the role ADMIN and a password first.',
  )
}

/** One may log in with either, so a username must not be somebody else's email, nor the reverse. */
async function mustBeFree(
  tx: Repositories,
  names: (string | undefined)[],
  id: UserId,
): Promise<void> {
  for (const name of names) {
    if (name === undefined || !(await tx.users.isNameTaken(nameKey(name), id))) continue
    throw new CoreError(
      'name_taken',
      'A user with this username or email exists. Choose another, or change that user.',
    )
  }
}

async function checkRoles(tx: Repositories, names: string[]): Promise<string[]> {
  const wanted = [...new Set(names)]
  for (const name of wanted) {
    if (name === ADMIN_ROLE) {
      throw new CoreError(
        'invalid_input',
        'The role "admin" comes with the global role ADMIN. Set globalRole instead.',
      )
    }
    if ((await tx.roles.byName(name)) === undefined) {
      throw new CoreError('invalid_input', `There is no role "${name}". Define it first.`)
    }
  }
  return wanted
}

function checkEmail(email: string | undefined): string | undefined {
  if (email === undefined) return undefined
  const clean = checkName(email, { what: 'The email', maxLength: 254 })
  if (!EMAIL.test(clean))
    throw new CoreError('invalid_input', `"${clean}" is not an email address.`)
  return clean
}

function userFacts(user: User): Record<string, unknown> {
  return {
    username: user.username,
    displayName: user.displayName,
    email: user.email,
    kind: user.kind,
    globalRole: user.globalRole,
    active: user.active,
    attributes: user.attributes,
  }
}

/** Throws `not_found`, also for users whom the caller may not see. */
export async function getUser(deps: Deps, caller: Caller, id: UserId): Promise<User> {
  mustBeVisible(caller.principal, 'user.read', { what: { id }, policy: deps.policy() })
  const user = await deps.store.users.byId(id)
  if (user === undefined) throw notFound('user')
  return user
}

/** Throws `not_found`, also for users whom the caller may not see. */
export async function getUserByName(deps: Deps, caller: Caller, username: string): Promise<User> {
  const user = await deps.store.users.byUsernameKey(nameKey(username))
  if (user === undefined) throw notFound('user')
  mustBeVisible(caller.principal, 'user.read', { what: user, policy: deps.policy() })
  return user
}

/** The user of a serial; undefined when there is none that the caller may see. */
export async function findUserBySerial(
  deps: Deps,
  caller: Caller,
  serial: number,
): Promise<User | undefined> {
  const user = await deps.store.users.bySerial(serial)
  if (user === undefined) return undefined
  const visible = can(caller.principal, 'user.read', { what: user, policy: deps.policy() })
  return visible ? user : undefined
}

/** One page, newest first. Throws `forbidden`. */
export async function listUsers(
  deps: Deps,
  caller: Caller,
  { filter, from, size }: ListWish<UserFilter>,
): Promise<Page<User>> {
  mustBeAllowed(caller.principal, 'user.list', { what: undefined, policy: deps.policy() })
  checkSearch(filter.text)
  const rows = await deps.store.users.list(filter, from, size + 1)
  return pageOf(rows, { size, from, positionOf: (user) => [user.createdAtMs, user.id] })
}

/** Every user with memberships, by serial. Throws `forbidden`. */
export async function everyUser(
  deps: Deps,
  caller: Caller,
): Promise<{ user: User; memberships: NamedMembership[] }[]> {
  mustBeAllowed(caller.principal, 'user.list', { what: undefined, policy: deps.policy() })
  const [all, memberships] = await Promise.all([
    deps.store.users.all(),
    deps.store.groups.allMemberships(),
  ])
  const byUser = Map.groupBy(memberships, (membership) => membership.userId)
  return all.map((user) => ({ user, memberships: byUser.get(user.id) ?? [] }))
}

/** The groups a user belongs to. Throws `not_found`. */
export async function membershipsOf(
  deps: Deps,
  caller: Caller,
  id: UserId,
): Promise<NamedMembership[]> {
  await getUser(deps, caller, id)
  return deps.store.groups.membershipsOfUser(id)
}

/** Names of the roles given to a user; `admin` follows the global role and is not among them. */
export async function rolesOf(deps: Deps, caller: Caller, id: UserId): Promise<string[]> {
  await getUser(deps, caller, id)
  return (await deps.store.roles.ofUser(id)).map((role) => role.name)
}
