import type { AuditStore } from './audit/store.ts'
import type { ClientStore } from './clients/store.ts'
import type { EventStore } from './events/store.ts'
import type { GrantStore } from './grants/store.ts'
import type { GroupStore } from './groups/store.ts'
import type { ImportStore } from './imports/store.ts'
import type { JobStore } from './jobs/store.ts'
import type { KeyStore } from './keys/store.ts'
import type { LeakStore } from './leaks/store.ts'
import type { NodeRegistry } from './nodes/registry.ts'
import type { PolicyStore } from './policy/policy.ts'
import type { RateStore } from './policy/rate-store.ts'
import type { RevocationStore } from './revocations/store.ts'
import type { RoleStore } from './roles/store.ts'
import type { InventoryStore } from './tokens/inventory-store.ts'
import type { LineageStore } from './tokens/lineage.ts'
import type { TokenStore } from './tokens/store.ts'
import type { UseStore } from './tokens/use-store.ts'
import type { UserStore } from './users/store.ts'
import type { WebhookStore } from './webhooks/store.ts'

/** Stands for every subject of its kind, when a node cannot know which of them changed. */
export const ANY = '*'

export const CHANGE_SUBJECTS = [
  'token',
  'user',
  'group',
  'client',
  'role',
  'policy',
  'key',
  'import',
] as const

/** Something that can alter a verdict. Every node that caches verdicts must hear of it. */
export interface Change {
  subject: (typeof CHANGE_SUBJECTS)[number]
  id: string
  /** It only adds something that no node can have remembered, so that nobody need wait for them. */
  isNew?: true
}

export interface ChangeStore {
  /** Appends to the ordered change log; listeners hear of it once the transaction has committed. */
  append(change: Change): Promise<void>
  /** Forgets what every reader has long applied. */
  prune(olderThanMs: number): Promise<void>
}

/** The change log as a node follows it. */
export interface ChangeLog extends ChangeStore {
  /** The number of the change up to which this node has applied everything. */
  position(): number
  /**
   * Whether answers may be given from memory: nothing acknowledged elsewhere can be missing in it.
   * Asked for each verdict, at the moment of deciding.
   */
  isCurrent(): boolean
  /** Resolves once that is so. Throws `unavailable` when the database cannot be reached. */
  catchUp(): Promise<void>
}

export interface IdempotencyEntry {
  scope: string
  keyDigest: string
  requestDigest: string
  sealed: string
  expiresAtMs: number
}

/** Replies to repeated requests, kept sealed under the caller's own key so that we cannot read them. */
export interface IdempotencyStore {
  find(scope: string, keyDigest: string): Promise<IdempotencyEntry | undefined>
  /** Replaces an entry that expired. */
  put(entry: IdempotencyEntry): Promise<void>
  purge(nowMs: number): Promise<void>
}

export interface LoginAttempts {
  failures: number
  lockedUntilMs: number | undefined
}

/** Wrong passwords in a row per account; survives restarts. */
export interface LockoutStore {
  get(account: string): Promise<(LoginAttempts & { atMs: number }) | undefined>
  put(account: string, attempts: LoginAttempts, atMs: number): Promise<void>
  clear(account: string): Promise<void>
  purge(olderThanMs: number): Promise<void>
}

/** A short-lived record of the OAuth2 engine: a browser session, an interaction, a device code. */
export interface OauthRecord {
  /** Digest of what its holder presents. */
  digest: string
  model: string
  uidDigest: string | undefined
  userCodeDigest: string | undefined
  grantId: string | undefined
  /** The engine's own data, sealed. */
  sealed: string
  expiresAtMs: number
  consumedAtMs: number | undefined
}

export interface OauthRecordStore {
  /** Inserts or replaces. */
  put(record: OauthRecord): Promise<void>
  /** Inserts; false when it exists and is not over at `nowMs`. One conditional statement. */
  add(record: OauthRecord, nowMs: number): Promise<boolean>
  byDigest(digest: string): Promise<OauthRecord | undefined>
  byUid(uidDigest: string): Promise<OauthRecord | undefined>
  byUserCode(userCodeDigest: string): Promise<OauthRecord | undefined>
  /** One conditional statement: false when it was consumed meanwhile or is gone. */
  consume(digest: string, atMs: number): Promise<boolean>
  remove(digest: string): Promise<void>
  removeOfGrant(model: string, grantId: string): Promise<void>
  /** Deletes at most `limit` records that are over; returns how many. */
  purge(nowMs: number, limit: number): Promise<number>
}

/** The same queries over a connection or inside a transaction. */
export interface Repositories {
  tokens: TokenStore
  inventory: InventoryStore
  jobs: JobStore
  lineage: LineageStore
  revocations: RevocationStore
  use: UseStore
  users: UserStore
  groups: GroupStore
  roles: RoleStore
  clients: ClientStore
  grants: GrantStore
  oauthRecords: OauthRecordStore
  imports: ImportStore
  audit: AuditStore
  events: EventStore
  leaks: LeakStore
  webhooks: WebhookStore
  policy: PolicyStore
  rates: RateStore
  keys: KeyStore
  changes: ChangeStore
  idempotency: IdempotencyStore
  lockouts: LockoutStore
}

/** What it returns is awaited, so that a change is in force when the call that made it returns. */
export type ChangeListener = (changes: readonly Change[]) => void | Promise<void>

/** All that the domain needs saved. */
export interface Store extends Repositories {
  changes: ChangeLog
  /** Whether other nodes may work on the same database. */
  readonly isShared: boolean
  nodes: NodeRegistry
  /**
   * Runs `work` atomically; resolves once the commit is durable. Inside, only queries: SQLite has one
   * writer, so awaiting anything else stops everybody. PostgreSQL may run it again from the start when
   * transactions were in each other's way, so it must change nothing outside. Throws `unavailable`
   * when nothing was stored, or, as the message then says, when nobody can know.
   */
  transaction<T>(work: (repositories: Repositories) => Promise<T>): Promise<T>
  /**
   * Called after each commit of this node, before `transaction` resolves, and for those of others as
   * soon as they are known. Returns the way to stop listening.
   */
  onChange(listener: ChangeListener): () => void
  /** Called after each commit of this node that left events behind. Returns the way to stop listening. */
  onEvent(listener: () => void): () => void
  /** Rejects when the database cannot be read. */
  ping(): Promise<void>
  close(): Promise<void>
}
