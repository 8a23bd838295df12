import type { Group, Mode, NamedMembership } from '../../core/groups/group.ts'
import type { HeldGroup, Rights } from '../../core/rights.ts'
import type { ServiceWish } from '../../core/tokens/service.ts'
import type { AccessLevel, Token } from '../../core/tokens/token.ts'
import type { User } from '../../core/users/user.ts'
import { readDateTime, writeDateTime } from './date-time.ts'
import type {
  GroupFull,
  GroupInfo,
  RefreshTokenInfo,
  RefreshTokenPost,
  TokenResponse,
  UserInfo,
  UserInGroup,
} from './wire.ts'

/** A group that a client names, with the mode it wants there. */
export interface GroupWish {
  name: string
  /** For a group that is yet to be made. */
  description: string | undefined
  mode: Mode
}

/** What a user is and belongs to. */
export function userInfo(
  user: Pick<User, 'username' | 'globalRole'>,
  memberships: readonly NamedMembership[],
): UserInfo {
  const groups = memberships.map(({ groupName, groupDescription, mode }) =>
    groupInfo({ name: groupName, description: groupDescription, mode }),
  )
  return { userId: user.username, globalRole: user.globalRole, groups }
}

/** What a credential allows its user now: never more than either of them has. */
export function principalInfo({
  user,
  rights,
}: {
  user: Pick<User, 'username'>
  rights: Rights
}): UserInfo {
  const { accessLevel } = rights
  const isAdmin = rights.admin && accessLevel === 'FULL_ACCESS'
  return {
    userId: user.username,
    globalRole: isAdmin ? 'ADMIN' : 'USER',
    groups: reachedGroups([...rights.groups.values()], accessLevel),
  }
}

/** On this wire a mode is all there is to say READ_ONLY with. */
function reachedGroups(groups: readonly HeldGroup[], accessLevel: AccessLevel): GroupInfo[] {
  return groups.map((group) =>
    groupInfo(accessLevel === 'READ_ONLY' ? { ...group, mode: 'READ' } : group),
  )
}

function groupInfo({
  name,
  description,
  mode,
}: Pick<HeldGroup, 'name' | 'description' | 'mode'>): GroupInfo {
  return { groupId: name, ...described(description), mode }
}

/** An empty description is left out: the clients know no null, and core no absence. */
function described(description: string): { description?: string } {
  return description === '' ? {} : { description }
}

export function groupFull(
  group: Pick<Group, 'name' | 'description'>,
  members: readonly NamedMembership[],
): GroupFull {
  return {
    groupId: group.name,
    ...described(group.description),
    users: members.map(({ username, mode }) => ({ userId: username, mode })),
  }
}

export function groupWish({ groupId, description, mode }: GroupInfo): GroupWish {
  return { name: groupId, description, mode: mode ?? 'READ' }
}

export function memberWish({ userId, mode }: UserInGroup): { username: string; mode: Mode } {
  return { username: userId, mode: mode ?? 'READ' }
}

export function serviceWish({
  tokenName,
  expirationDateTime,
  groups = [],
}: RefreshTokenPost): ServiceWish {
  return {
    name: tokenName,
    groups: groups.map(groupWish).map(({ name, mode }) => ({ name, mode })),
    expires: expirationDateTime === undefined ? 'default' : readDateTime(expirationDateTime),
  }
}

export function refreshTokenInfo({
  token,
  groups,
}: {
  token: Pick<Token, 'id' | 'name' | 'expiresAtMs' | 'limits'>
  groups: readonly HeldGroup[]
}): RefreshTokenInfo {
  const { id, name, expiresAtMs, limits } = token
  return {
    tokenId: id,
    ...(name === undefined ? {} : { tokenName: name }),
    ...(expiresAtMs === undefined ? {} : { expirationDateTime: writeDateTime(expiresAtMs) }),
    groups: reachedGroups(groups, limits.accessLevel),
  }
}

export function tokenResponse(token: string, expiresAtMs: number | undefined): TokenResponse {
  return expiresAtMs === undefined ? { token } : { token, expiresAt: writeDateTime(expiresAtMs) }
}
