import type { UserId } from '../id.ts'
import type { Role } from './role.ts'

export interface RoleStore {
  /** Throws `name_taken`. */
  insert(role: Role, atMs: number): Promise<void>
  byName(name: string): Promise<Role | undefined>
  all(): Promise<Role[]>
  update(role: Role, atMs: number): Promise<void>
  /** Also takes it from everyone who holds it. Whether there was one. */
  remove(name: string): Promise<boolean>
  ofUser(userId: UserId): Promise<Role[]>
  /** Replaces the roles given to a user. */
  setForUser(userId: UserId, names: string[]): Promise<void>
}
