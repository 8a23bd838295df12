import type { UserId } from '../id.ts'
import type { HeldGroup, Owner } from '../rights.ts'
import { ADMIN_ROLE } from '../roles/role.ts'
import type { Repositories } from '../store.ts'

/** Reads a user with everything that decides what the user may do. */
export async function loadOwner(repos: Repositories, id: UserId): Promise<Owner | undefined> {
  const user = await repos.users.byId(id)
  if (user === undefined) return undefined
  const [roles, memberships] = await Promise.all([
    repos.roles.ofUser(id),
    repos.groups.membershipsOfUser(id),
  ])
  const names = new Set(roles.map((role) => role.name))
  const isAdmin = user.globalRole === 'ADMIN'
  if (isAdmin) names.add(ADMIN_ROLE)
  return {
    user,
    roles: names,
    groups: new Map(
      memberships.map(
        ({ groupId, groupName, groupDescription, mode }): [typeof groupId, HeldGroup] => [
          groupId,
          { id: groupId, name: groupName, description: groupDescription, mode },
        ],
      ),
    ),
    scopes: isAdmin ? 'all' : new Set(roles.flatMap((role) => role.scopes)),
  }
}
