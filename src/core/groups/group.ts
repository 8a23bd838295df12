import type { GroupId, UserId } from '../id.ts'

/** Rank of a membership: READ < WRITE < ADMIN. */
export type Mode = 'READ' | 'WRITE' | 'ADMIN'

export const MODES: readonly Mode[] = ['READ', 'WRITE', 'ADMIN']

/** Whether holding `held` satisfies a demand for `needed`. */
export function modeCovers(held: Mode, needed: Mode): boolean {
  return MODES.indexOf(held) >= MODES.indexOf(needed)
}

export interface Group {
  id: GroupId
  /** Integer identifier for dialects that need one. */
  serial: number
  name: string
  description: string
  parentId: GroupId | undefined
  createdAtMs: number
  updatedAtMs: number
}

/** A user's place in a group. */
export interface Membership {
  userId: UserId
  groupId: GroupId
  mode: Mode
}

/** A membership with what a reader of either side wants to see. */
export interface NamedMembership extends Membership {
  username: string
  groupName: string
  groupDescription: string
}
