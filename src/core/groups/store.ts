import type { GroupId, UserId } from '../id.ts'
import type { Position } from '../page.ts'
import type { Group, Membership, Mode, NamedMembership } from './group.ts'

export interface NewGroup {
  id: GroupId
  name: string
  nameKey: string
  description: string
  parentId: GroupId | undefined
  atMs: number
}

export interface GroupFilter {
  text?: string
}

/** A group that a user is in. */
export interface GroupOfUser {
  userId: UserId
  group: Group
  parentName: string | undefined
}

/** What the domain needs saved about groups. Deleted groups are never returned. */
export interface GroupStore {
  /** Throws `name_taken` when the name is in use. */
  insert(group: NewGroup): Promise<Group>
  byId(id: GroupId): Promise<Group | undefined>
  byNameKey(nameKey: string): Promise<Group | undefined>
  /** By name; `size + 1` rows at most. */
  list(filter: GroupFilter, from: Position | undefined, size: number): Promise<Group[]>
  all(): Promise<Group[]>
  /** Throws `name_taken` when the new name is in use. */
  update(
    id: GroupId,
    to: { name: string; nameKey: string; description: string; atMs: number },
  ): Promise<void>
  /** Marks the group deleted, frees its name and drops its memberships. */
  remove(id: GroupId, atMs: number): Promise<void>

  putMembership(membership: Membership, atMs: number): Promise<void>
  /** Whether there was one to remove. */
  removeMembership(userId: UserId, groupId: GroupId): Promise<boolean>
  removeMembershipsOf(userId: UserId): Promise<void>
  mode(userId: UserId, groupId: GroupId): Promise<Mode | undefined>
  membershipsOfUser(userId: UserId): Promise<NamedMembership[]>
  membershipsOfGroup(groupId: GroupId): Promise<NamedMembership[]>
  /** The groups of all these users at once, by user then group. */
  groupsOfUsers(ids: UserId[]): Promise<GroupOfUser[]>
  /** Every membership there is, by user then group; for the dialect without paging. */
  allMemberships(): Promise<NamedMembership[]>
}
