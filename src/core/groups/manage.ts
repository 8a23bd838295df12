import { can, mustBeAllowed, mustBeVisible } from '../access.ts'
import type { Actor } from '../audit/record.ts'
import type { Caller } from '../caller.ts'
import type { Deps } from '../deps.ts'
import { CoreError, notFound } from '../errors.ts'
import type { GroupId, UserId } from '../id.ts'
import { isId } from '../id.ts'
import { type Page, pageOf } from '../page.ts'
import type { Repositories } from '../store.ts'
import { checkName, checkProse, checkSearch, nameKey } from '../text.ts'
import type { ListWish } from '../tokens/read.ts'
import type { Group, Mode, NamedMembership } from './group.ts'
import type { GroupFilter } from './store.ts'

export interface GroupWish {
  name: string
  description?: string
  parentId?: GroupId
}

/** Throws `forbidden`, `name_taken`, `invalid_input`, `not_found` (parent). */
export async function createGroup(
  deps: Deps,
  tx: Repositories,
  { caller, wish }: { caller: Caller; wish: GroupWish },
): Promise<Group> {
  mustBeAllowed(caller.principal, 'group.manage', { what: undefined, policy: deps.policy() })
  const name = checkGroupName(wish.name)
  if (wish.parentId !== undefined && (await tx.groups.byId(wish.parentId)) === undefined) {
    throw new CoreError('not_found', 'There is no such parent group.')
  }
  const group = await tx.groups.insert({
    id: deps.newId() as GroupId,
    name,
    nameKey: nameKey(name),
    description: checkDescription(wish.description ?? ''),
    parentId: wish.parentId,
    atMs: deps.clock.now(),
  })
  await tx.changes.append({ subject: 'group', id: group.id })
  await deps.audit(tx, caller, {
    action: 'group.created',
    subjectType: 'group',
    subjectId: group.id,
    after: { name, description: group.description, parentId: wish.parentId },
  })
  return group
}

export interface GroupEdit {
  name?: string
  description?: string
}

/** A group's ADMIN may describe it; only admins rename. Throws `not_found`, `forbidden`, `name_taken`. */
export async function updateGroup(
  deps: Deps,
  tx: Repositories,
  { caller, id, edit }: { caller: Caller; id: GroupId; edit: GroupEdit },
): Promise<Group> {
  const policy = deps.policy()
  const before = await readable(deps, caller, await tx.groups.byId(id))
  if (edit.name !== undefined && edit.name !== before.name) {
    mustBeAllowed(caller.principal, 'group.manage', { what: undefined, policy })
  }
  mustBeAllowed(caller.principal, 'group.describe', { what: { id }, policy })
  const after: Group = {
    ...before,
    name: edit.name === undefined ? before.name : checkGroupName(edit.name),
    description: checkDescription(edit.description ?? before.description),
    updatedAtMs: deps.clock.now(),
  }
  await tx.groups.update(id, {
    name: after.name,
    nameKey: nameKey(after.name),
    description: after.description,
    atMs: after.updatedAtMs,
  })
  await tx.changes.append({ subject: 'group', id })
  await deps.audit(tx, caller, {
    action: 'group.updated',
    subjectType: 'group',
    subjectId: id,
    before: { name: before.name, description: before.description },
    after: { name: after.name, description: after.description },
  })
  return after
}

/**
 * Removes a group with its memberships; what tokens held of it is gone. Throws `not_found`, `forbidden`,
 * `conflict` while a rule of the policy names it.
 */
export async function deleteGroup(
  deps: Deps,
  tx: Repositories,
  { caller, id }: { caller: Caller; id: GroupId },
): Promise<void> {
  const group = await mustBeManageable(deps, tx, { caller, id })
  const members = await tx.groups.membershipsOfGroup(id)
  await tx.groups.remove(id, deps.clock.now())
  await tx.changes.append({ subject: 'group', id })
  await deps.audit(tx, caller, {
    action: 'group.deleted',
    subjectType: 'group',
    subjectId: id,
    before: {
      name: group.name,
      description: group.description,
      members: members.map(({ userId, mode }) => ({ userId, mode })),
    },
  })
}

/**
 * The group, once it is settled that the caller may delete it. Throws `not_found`, `forbidden`, `conflict`
 * while a rule of the policy names it.
 */
export async function mustBeManageable(
  deps: Deps,
  tx: Repositories,
  { caller, id }: { caller: Caller; id: GroupId },
): Promise<Group> {
  const group = await readable(deps, caller, await tx.groups.byId(id))
  mustBeAllowed(caller.principal, 'group.manage', { what: undefined, policy: deps.policy() })
  await mustBeFree(tx, group)
  return group
}

/** Without its group a rule would silently apply to nobody. */
async function mustBeFree(tx: Repositories, { id, name }: Group): Promise<void> {
  const { tokenRules = [] } = await tx.policy.load()
  const rule = tokenRules.find(({ groups }) => groups?.includes(id))
  if (rule === undefined) return
  throw new CoreError(
    'conflict',
    `The rule "${rule.name}" of the policy is about the group "${name}". Change the rule first.`,
  )
}

export interface MembershipWish {
  groupId: GroupId
  userId: UserId
  mode: Mode
}

/** Adds a member or changes the mode. Throws `not_found`, `forbidden`. */
export async function setMembership(
  deps: Deps,
  tx: Repositories,
  { caller, wish }: { caller: Caller; wish: MembershipWish },
): Promise<void> {
  await readable(deps, caller, await tx.groups.byId(wish.groupId))
  const user = await tx.users.byId(wish.userId)
  const existing = await tx.groups.mode(wish.userId, wish.groupId)
  if (user === undefined) {
    // Whoever is not an admin sees members only, so nobody is refused just as an outsider is.
    mustBeAllowed(caller.principal, 'group.manage', { what: undefined, policy: deps.policy() })
    throw notFound('user')
  }
  mustBeAllowed(caller.principal, 'membership.set', {
    what: { groupId: wish.groupId, user, existing },
    policy: deps.policy(),
  })
  if (existing === wish.mode) return
  await putMembership(deps, tx, { actor: caller, wish, existing })
}

/** Saves a membership once it is settled that the actor may. */
async function putMembership(
  deps: Deps,
  tx: Repositories,
  { actor, wish, existing }: { actor: Actor; wish: MembershipWish; existing: Mode | undefined },
): Promise<void> {
  await tx.groups.putMembership(wish, deps.clock.now())
  await tx.changes.append({ subject: 'user', id: wish.userId })
  await deps.audit(tx, actor, {
    action: 'membership.set',
    subjectType: 'group',
    subjectId: wish.groupId,
    before: existing === undefined ? undefined : { userId: wish.userId, mode: existing },
    after: { userId: wish.userId, mode: wish.mode },
  })
}

/** Throws `not_found`, `forbidden`. */
export async function removeMembership(
  deps: Deps,
  tx: Repositories,
  { caller, groupId, userId }: { caller: Caller; groupId: GroupId; userId: UserId },
): Promise<void> {
  await readable(deps, caller, await tx.groups.byId(groupId))
  const user = await tx.users.byId(userId)
  const existing = user === undefined ? undefined : await tx.groups.mode(userId, groupId)
  if (user === undefined || existing === undefined) throw notFound('membership')
  mustBeAllowed(caller.principal, 'membership.remove', {
    what: { groupId, user },
    policy: deps.policy(),
  })
  await tx.groups.removeMembership(userId, groupId)
  await tx.changes.append({ subject: 'user', id: userId })
  await deps.audit(tx, caller, {
    action: 'membership.removed',
    subjectType: 'group',
    subjectId: groupId,
    before: { userId, mode: existing },
  })
}

async function readable(deps: Deps, caller: Caller, group: Group | undefined): Promise<Group> {
  if (group === undefined) throw notFound('group')
  mustBeVisible(caller.principal, 'group.read', { what: group, policy: deps.policy() })
  return group
}

/** Throws `not_found`, also for groups that the caller may not see. */
export async function getGroup(deps: Deps, caller: Caller, id: GroupId): Promise<Group> {
  return readable(deps, caller, await deps.store.groups.byId(id))
}

/** Throws `not_found`, also for groups that the caller may not see. */
export async function getGroupByName(deps: Deps, caller: Caller, name: string): Promise<Group> {
  return readable(deps, caller, await deps.store.groups.byNameKey(nameKey(name)))
}

/**
 * The group of a name that somebody asks rights in; undefined also for one that the caller may not see, so
 * that nobody learns of a group by asking.
 */
export async function findGroup(
  deps: Deps,
  from: Pick<Repositories, 'groups'>,
  { caller, name }: { caller: Caller; name: string },
): Promise<Group | undefined> {
  const group = await from.groups.byNameKey(nameKey(name))
  if (group === undefined) return undefined
  const of = { what: group, policy: deps.policy() }
  return can(caller.principal, 'group.read', of) ? group : undefined
}

/** Members with their modes. Throws `not_found`. */
export async function listMembers(
  deps: Deps,
  caller: Caller,
  id: GroupId,
): Promise<NamedMembership[]> {
  await getGroup(deps, caller, id)
  return deps.store.groups.membershipsOfGroup(id)
}

/** Admins see all groups by name, others the ones they belong to. */
export async function listGroups(
  deps: Deps,
  caller: Caller,
  { filter, from, size }: ListWish<GroupFilter>,
): Promise<Page<Group>> {
  checkSearch(filter.text)
  const { principal } = caller
  if (!can(principal, 'group.list', { what: undefined, policy: deps.policy() })) {
    return { items: await ownGroups(deps, caller, filter), next: undefined, previous: undefined }
  }
  const rows = await deps.store.groups.list(filter, from, size + 1)
  return pageOf(rows, { size, from, positionOf: (group) => [group.createdAtMs, group.id] })
}

async function ownGroups(deps: Deps, caller: Caller, { text }: GroupFilter): Promise<Group[]> {
  const groups: Group[] = []
  for (const id of caller.principal.rights.groups.keys()) {
    const group = await deps.store.groups.byId(id)
    if (group === undefined) continue
    if (text === undefined || nameKey(group.name).includes(nameKey(text))) groups.push(group)
  }
  return groups
}

function checkGroupName(value: string): string {
  const name = checkName(value, { what: 'The group name', maxLength: 150 })
  if (isId(name)) throw new CoreError('invalid_input', 'A group name must not look like an id.')
  return name
}

function checkDescription(value: string): string {
  return checkProse(value, { what: 'The description', maxLength: 2000 })
}

/** Every group with its members, by serial. Throws `forbidden`. */
export async function everyGroup(
  deps: Deps,
  caller: Caller,
): Promise<{ group: Group; members: NamedMembership[] }[]> {
  mustBeAllowed(caller.principal, 'group.list', { what: undefined, policy: deps.policy() })
  const [all, memberships] = await Promise.all([
    deps.store.groups.all(),
    deps.store.groups.allMemberships(),
  ])
  const byGroup = Map.groupBy(memberships, (membership) => membership.groupId)
  return all.map((group) => ({ group, members: byGroup.get(group.id) ?? [] }))
}
