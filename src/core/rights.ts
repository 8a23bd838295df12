import { API_SCOPES, STANDARD_SCOPES } from './clients/client.ts'
import { type Mode, modeCovers } from './groups/group.ts'
import type { GroupId, TokenId } from './id.ts'
import { ADMIN_ROLE } from './roles/role.ts'
import { type AccessLevel, isForTokenEndpoint, type Limits, type Token } from './tokens/token.ts'
import type { User } from './users/user.ts'

export interface HeldGroup {
  id: GroupId
  name: string
  description: string
  mode: Mode
}

/** A user with everything that decides what the user may do now. */
export interface Owner {
  user: User
  roles: ReadonlySet<string>
  groups: ReadonlyMap<GroupId, HeldGroup>
  /** Scopes that the user's roles grant; `all` for admins. */
  scopes: ReadonlySet<string> | 'all'
}

/** What remains of the owner's rights after the token's own limits. */
export interface Rights {
  accessLevel: AccessLevel
  /** May act on everything in Mintmark: the owner is an admin now and the token carries `admin`. */
  admin: boolean
  roles: ReadonlySet<string>
  groups: ReadonlyMap<GroupId, HeldGroup>
  scopes: ReadonlySet<string> | 'all'
}

/** Who is asking: the user, the token used, and the rights that remain after the token's limits. */
export interface Principal {
  user: User
  token: Token
  rights: Rights
  /** Presented as a short-lived access token that stands for `token` until then; undefined: itself. */
  derivedUntilMs?: number
  /** The one service that such a token is for; undefined: Mintmark itself. */
  derivedFor?: string
  /** The tokens that `token` comes from, the nearest first; undefined: from none. */
  ancestorIds?: readonly TokenId[]
}

/** Effective rights = what the owner may do now ∩ what the token allows. */
export function effectiveRights(owner: Owner, limits: Limits): Rights {
  const roles = limits.roles === null ? owner.roles : intersect(limits.roles, owner.roles)
  return {
    accessLevel: limits.accessLevel,
    admin: owner.user.globalRole === 'ADMIN' && roles.has(ADMIN_ROLE),
    roles,
    groups: limitGroups(owner.groups, limits),
    scopes: limitScopes(owner, limits),
  }
}

const rightsOf = new WeakMap<Owner, WeakMap<Limits, Rights>>()

/** The same, made once for all tokens of an owner that are limited by the same object. */
export function sharedRights(owner: Owner, limits: Limits): Rights {
  let byLimits = rightsOf.get(owner)
  if (byLimits === undefined) {
    byLimits = new WeakMap()
    rightsOf.set(owner, byLimits)
  }
  const known = byLimits.get(limits)
  if (known !== undefined) return known
  const rights = effectiveRights(owner, limits)
  byLimits.set(limits, rights)
  return rights
}

/** What remains of rights within further limits. */
export function narrowRights(rights: Rights, limits: Limits): Rights {
  const { accessLevel, admin, scopes } = rights
  const roles = limits.roles === null ? rights.roles : intersect(limits.roles, rights.roles)
  return {
    accessLevel: limits.accessLevel === 'READ_ONLY' ? 'READ_ONLY' : accessLevel,
    admin: admin && roles.has(ADMIN_ROLE),
    roles,
    groups: limitGroups(rights.groups, limits),
    scopes:
      limits.scopes === null
        ? scopes
        : new Set(limits.scopes.filter((scope) => hasScope(rights, scope))),
  }
}

/** What remains of the groups that an owner holds now. */
export function limitGroups(
  owned: ReadonlyMap<GroupId, HeldGroup>,
  { groups }: Pick<Limits, 'groups'>,
): ReadonlyMap<GroupId, HeldGroup> {
  if (groups === null) return owned
  const held = new Map<GroupId, HeldGroup>()
  for (const { id, mode } of groups) {
    const group = owned.get(id)
    if (group === undefined) continue
    held.set(id, modeCovers(group.mode, mode) ? { ...group, mode } : group)
  }
  return held
}

function limitScopes(owner: Owner, { scopes }: Limits): ReadonlySet<string> | 'all' {
  if (scopes === null) return owner.scopes
  return new Set(scopes.filter((scope) => holdsScope(owner, scope)))
}

/** Whether a user holds a scope now; admins hold all. */
export function holdsScope({ scopes }: Pick<Owner, 'scopes'>, scope: string): boolean {
  return scopes === 'all' || scopes.has(scope) || isBuiltInScope(scope)
}

const BUILT_IN = new Set<string>([...STANDARD_SCOPES, ...API_SCOPES])

/** Held by every user, because it only says what a client gets to see or act on as that user. */
export function isBuiltInScope(scope: string): boolean {
  return BUILT_IN.has(scope)
}

/**
 * Whether what was presented opens Mintmark's own APIs. Codes and refresh tokens open only the token
 * endpoint; an access token, what its user let it.
 */
export function opensApis({ token, rights }: Principal): boolean {
  if (isForTokenEndpoint(token.kind)) return false
  return token.kind !== 'oauth_access' || API_SCOPES.some((scope) => hasScope(rights, scope))
}

function intersect(wanted: readonly string[], held: ReadonlySet<string>): ReadonlySet<string> {
  return new Set(wanted.filter((each) => held.has(each)))
}

export function hasScope(rights: Rights, scope: string): boolean {
  return rights.scopes === 'all' || rights.scopes.has(scope)
}

/** Whether the rights reach `mode` in the group of that id or exact name. */
export function hasGroup(rights: Pick<Rights, 'groups'>, idOrName: string, mode: Mode): boolean {
  const byId = rights.groups.get(idOrName as GroupId)
  if (byId !== undefined) return modeCovers(byId.mode, mode)
  for (const group of rights.groups.values()) {
    if (group.name === idOrName) return modeCovers(group.mode, mode)
  }
  return false
}
