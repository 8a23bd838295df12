import type { UserId } from '../id.ts'
import type { Position } from '../page.ts'
import type { GlobalRole, User, UserKind } from './user.ts'

export interface NewUser {
  id: UserId
  username: string
  usernameKey: string
  displayName: string
  email: string | undefined
  emailKey: string | undefined
  kind: UserKind
  globalRole: GlobalRole
  active: boolean
  attributes: string
  atMs: number
}

export interface UserChanges {
  displayName: string
  email: string | undefined
  emailKey: string | undefined
  globalRole: GlobalRole
  active: boolean
  attributes: string
  atMs: number
}

export interface Credentials {
  user: User
  passwordHash: string | undefined
  /** A one-time password is refused after this instant. */
  passwordExpiresAtMs: number | undefined
}

export interface PasswordChange {
  hash: string
  isOneTime: boolean
  expiresAtMs: number | undefined
  atMs: number
}

export interface UserFilter {
  text?: string
  active?: boolean
  kind?: UserKind
  globalRole?: GlobalRole
}

/** What the domain needs saved about users. Deleted users are never returned. */
export interface UserStore {
  /** Throws `name_taken` when the username or the email is in use. */
  insert(user: NewUser): Promise<User>
  byId(id: UserId): Promise<User | undefined>
  /**
   * The same, but inside a transaction others may change the user meanwhile: for rights, which each
   * verification looks at anew. Saving a token makes sure that its owner is still there.
   */
  glance(id: UserId): Promise<User | undefined>
  bySerial(serial: number): Promise<User | undefined>
  byUsernameKey(usernameKey: string): Promise<User | undefined>
  byIds(ids: UserId[]): Promise<User[]>
  /** Newest first; `size + 1` rows at most. */
  list(filter: UserFilter, from: Position | undefined, size: number): Promise<User[]>
  all(): Promise<User[]>
  /** Throws `name_taken` when the email is in use. */
  update(id: UserId, changes: UserChanges): Promise<void>
  /** Marks the user deleted and frees username and email. The id is never used again. */
  remove(id: UserId, atMs: number): Promise<void>
  /** Active admins who can log in: by password, or through an upstream provider. */
  countUsableAdmins(exceptId?: UserId): Promise<number>
  /** Whether somebody else has this as username or email, so that one name never means two people. */
  isNameTaken(key: string, exceptId: UserId): Promise<boolean>
  countAll(): Promise<number>

  /** By username, or else by email. */
  credentials(usernameOrEmailKey: string): Promise<Credentials | undefined>
  credentialsById(id: UserId): Promise<Credentials | undefined>
  /** The same for a transaction that changes nothing about the user, who must only stay as he is. */
  heldCredentials(id: UserId): Promise<Credentials | undefined>
  setPassword(id: UserId, change: PasswordChange): Promise<void>
  /** Replaces the hash of the same password after the parameters were raised. */
  rehash(id: UserId, from: string, to: string): Promise<void>
  /** Says false, at once, when others hold the user just now. */
  recordLogin(id: UserId, atMs: number): Promise<boolean>

  /** The user that an upstream identity provider's subject stands for. */
  byIdentity(issuer: string, subject: string): Promise<User | undefined>
  linkIdentity(id: UserId, issuer: string, subject: string, atMs: number): Promise<void>
  hasIdentity(id: UserId): Promise<boolean>
}
