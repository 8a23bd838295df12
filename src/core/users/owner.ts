import type { NamedMembership } from '../groups/group.ts'
import type { GroupId, UserId } from '../id.ts'
import type { HeldGroup, Owner } from '../rights.ts'
import { ADMIN_ROLE } from '../roles/role.ts'
import type { Repositories } from '../store.ts'

/** Reads a user with everything that decides what the user may do. */
export async function loadOwner(repos: Repositories, id: UserId): Promise<Owner | undefined> {
  // Asked together: as one question, they take the time of one.
  const [user, roles, memberships] = await Promise.all([
    repos.users.glance(id),
    repos.roles.ofUser(id),
    repos.groups.membershipsOfUser(id),
  ])
  if (user === undefined) return undefined
  // A client's service account acts for the client, which holds the scopes it was given.
  const client = user.kind === 'service' ? await repos.clients.byServiceUser(id) : undefined
  const names = new Set(roles.map((role) => role.name))
  const isAdmin = user.globalRole === 'ADMIN'
  if (isAdmin) names.add(ADMIN_ROLE)
  return {
    user,
    roles: names,
    groups: heldGroups(memberships),
    scopes: isAdmin
      ? 'all'
      : new Set([...roles.flatMap((role) => role.scopes), ...(client?.scopes ?? [])]),
  }
}

/** A user's memberships as what the user holds, by group. */
export function heldGroups(memberships: NamedMembership[]): ReadonlyMap<GroupId, HeldGroup> {
  const held = new Map<GroupId, HeldGroup>()
  for (const { groupId: id, groupName, groupDescription, mode } of memberships) {
    held.set(id, { id, name: groupName, description: groupDescription, mode })
  }
  return held
}
