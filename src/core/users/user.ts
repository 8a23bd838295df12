import type { UserId } from '../id.ts'

export type GlobalRole = 'ADMIN' | 'USER'
export type UserKind = 'person' | 'service'

/** A person or a service account. */
export interface User {
  id: UserId
  /** Integer identifier for dialects that need one. */
  serial: number
  username: string
  displayName: string
  email: string | undefined
  kind: UserKind
  globalRole: GlobalRole
  active: boolean
  /** Whatever the organisation wants to keep about the user. */
  attributes: Record<string, unknown>
  hasPassword: boolean
  /** The password was made by us and must be replaced at its first use. */
  passwordIsOneTime: boolean
  passwordChangedAtMs: number | undefined
  lastLoginAtMs: number | undefined
  createdAtMs: number
  updatedAtMs: number
}
