import { type Mode, modeCovers } from '../groups/group.ts'
import type { GroupId } from '../id.ts'
import type { Restraint } from '../policy/restraint.ts'
import { namedBy, type Term } from '../policy/terms.ts'
import { holdsScope, type Owner } from '../rights.ts'
import { ADMIN_ROLE, type Role } from '../roles/role.ts'
import type { GroupLimit, Limits } from './token.ts'

/** Something that a token allows and that does not work, because its owner may not do it now. */
export interface LostRight {
  what: 'role' | 'scope' | 'group'
  /** Of a deleted group: its id. */
  name: string
  /** Why, and what to do about it. */
  detail: string
}

/** What there is to hold. */
export interface Directory {
  roles: readonly Role[]
  groupNames: ReadonlyMap<GroupId, string>
}

/**
 * What of a token's limits its owner does not hold now, because it was taken from the owner, or deleted,
 * since the token was made. A limit of `null` promises nothing, so nothing of it is lost.
 */
export function lostRights(limits: Limits, owner: Owner, directory: Directory): LostRight[] {
  return [
    ...(limits.roles ?? [])
      .filter((role) => !owner.roles.has(role))
      .map((role) => lostRole(role, owner, directory)),
    ...(limits.scopes ?? [])
      .filter((scope) => !holdsScope(owner, scope))
      .map((scope) => lostScope(scope, owner, directory)),
    ...(limits.groups ?? []).flatMap((limit) => lostGroup(limit, owner, directory) ?? []),
  ]
}

/** What of a token's limits the policy's rules do not let it have. */
export function withheldRights(
  { roles, scopes }: Limits,
  policy: Pick<Restraint, 'roles' | 'scopes'>,
): LostRight[] {
  const withheld = (what: 'role' | 'scope', names: Limits['roles']) =>
    policy[`${what}s`].flatMap((term) =>
      (names ?? [])
        .filter((name) => !term.value.includes(name))
        .map((name) => ({ what, name, detail: withheldDetail(what, name, term) })),
    )
  return [...withheld('role', roles), ...withheld('scope', scopes)]
}

function withheldDetail(what: string, name: string, term: Term<unknown>): string {
  return `The ${what} "${name}" is more than ${namedBy(term)} lets such a token have. An administrator can change the rule.`
}

function lostRole(name: string, { user }: Owner, { roles }: Directory): LostRight {
  const detail =
    name === ADMIN_ROLE
      ? `${user.username} is not an administrator now.`
      : roles.some((role) => role.name === name)
        ? `${user.username} does not hold the role "${name}" now. Give the role back, and the token has it, too.`
        : `There is no role "${name}" now. Create it and give it to ${user.username}.`
  return { what: 'role', name, detail }
}

function lostScope(name: string, { user }: Owner, { roles }: Directory): LostRight {
  const granting = roles.filter(({ scopes }) => scopes.includes(name)).map((role) => role.name)
  const detail =
    granting.length === 0
      ? `No role grants the scope "${name}" now. Put it into a role of ${user.username}.`
      : `${user.username} lost the scope "${name}": it comes with ${oneOf(granting)}, which ${user.username} does not hold now. Give the role back, and the token has the scope, too.`
  return { what: 'scope', name, detail }
}

function oneOf(roles: readonly string[]): string {
  const names = roles.map((role) => `"${role}"`).join(', ')
  return roles.length === 1 ? `the role ${names}` : `one of the roles ${names}`
}

function lostGroup(
  { id, mode }: GroupLimit,
  { user, groups }: Owner,
  { groupNames }: Directory,
): LostRight | undefined {
  const held = groups.get(id)
  if (held !== undefined && modeCovers(held.mode, mode)) return undefined
  const name = held?.name ?? groupNames.get(id)
  if (name === undefined) {
    const detail = 'The group was deleted. A new one of its name is another group.'
    return { what: 'group', name: id, detail }
  }
  return { what: 'group', name, detail: groupDetail({ user, name, held: held?.mode, mode }) }
}

function groupDetail({
  user,
  name,
  held,
  mode,
}: Pick<Owner, 'user'> & { name: string; held: Mode | undefined; mode: Mode }): string {
  const now = held === undefined ? 'is not a member of' : `has only ${held} in`
  return `${user.username} ${now} the group "${name}" now. With ${mode} in it the token reaches as far again.`
}
