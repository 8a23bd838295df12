import type { GlobalRole, Mode, PageQuery, UserKind } from './types.ts'

export interface GroupGrant {
  id: string
  name: string
  mode: Mode
}

export interface User {
  id: string
  username: string
  displayName: string
  email: string | null
  kind: UserKind
  globalRole: GlobalRole
  active: boolean
  attributes: Record<string, unknown>
  hasPassword: boolean
  lastLoginAt: string | null
  createdAt: string
  updatedAt: string
}

export interface UserWithRights extends User {
  /** Given roles; `admin` follows `globalRole` and is not listed. */
  roles: string[]
  groups: GroupGrant[]
}

export interface NewUser {
  username: string
  displayName?: string
  email?: string
  kind?: UserKind
  globalRole?: GlobalRole
  active?: boolean
  attributes?: Record<string, unknown>
  roles?: string[]
}

export interface UserEdit {
  displayName?: string
  email?: string | null
  globalRole?: GlobalRole
  active?: boolean
  attributes?: Record<string, unknown>
  /** Replaces the roles given so far. */
  roles?: string[]
}

export interface UserQuery extends PageQuery {
  text?: string
  /** Exactly this one; `not_found` when there is none. */
  username?: string
  active?: boolean
  kind?: UserKind
  globalRole?: GlobalRole
}

export interface Group {
  id: string
  name: string
  description: string
  parentId: string | null
  createdAt: string
  updatedAt: string
}

export interface NewGroup {
  name: string
  description?: string
  parentId?: string
}

export interface GroupEdit {
  name?: string
  description?: string
}

export interface GroupQuery extends PageQuery {
  text?: string
}

export interface Member {
  userId: string
  username: string
  mode: Mode
}

/** A named right; tokens that carry it carry its scopes. */
export interface Role {
  name: string
  description: string
  scopes: string[]
}

export interface NewRole {
  name: string
  description?: string
  scopes?: string[]
}

export interface RoleEdit {
  description?: string
  scopes?: string[]
}
