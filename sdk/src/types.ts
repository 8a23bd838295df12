/** What goes over the wire of `/api/v1`. Instants are RFC 3339 texts in UTC. */

/** READ < WRITE < ADMIN */
export type Mode = 'READ' | 'WRITE' | 'ADMIN'
export type AccessLevel = 'READ_ONLY' | 'FULL_ACCESS'
export type GlobalRole = 'ADMIN' | 'USER'
export type UserKind = 'person' | 'service'
export type TokenKind =
  | 'api'
  | 'service'
  | 'session'
  | 'oauth_code'
  | 'oauth_access'
  | 'oauth_refresh'
export type TokenState = 'active' | 'quarantined' | 'expired' | 'revoked' | 'superseded'
export type SubjectType =
  | 'token'
  | 'user'
  | 'group'
  | 'role'
  | 'client'
  | 'grant'
  | 'policy'
  | 'key'
  | 'job'
  | 'webhook'
  | 'server'

/** One page of a list. The cursors lead to its neighbours; null: there are none. */
export interface Page<T> {
  items: T[]
  nextCursor: string | null
  previousCursor: string | null
}

/** Which page of a list. */
export interface PageQuery {
  /** `nextCursor` or `previousCursor` of a page. */
  cursor?: string
  /** Rows per page, 1 to 1000; default 100. */
  limit?: number
}

/** Keys that are replaced while the server runs. */
export type RotatableKeys = 'oauth' | 's7' | 'jwt' | 'pepper'

export interface Key {
  /** Of signing keys the `kid`. */
  id: string
  purpose: RotatableKeys | 'root'
  algorithm: string
  /** A retired key does no new work, and verifies until what was made with it is over. */
  state: 'current' | 'retired'
  createdAt: string
  retiredAt: string | null
}

export interface AuditEvent {
  sequence: number
  at: string
  action: string
  subjectType: SubjectType
  subjectId: string
  actorId: string | null
  /** As it was then. */
  actorName: string | null
  actorTokenId: string | null
  ip: string | null
  requestId: string | null
  via: string
  before: Record<string, unknown> | null
  after: Record<string, unknown> | null
  /** Seals this record and the one before it. */
  hash: string
}

/** A signed statement of how far the trail reached. Keep one elsewhere. */
export interface Checkpoint {
  /** Last record that it covers. */
  sequence: number
  hash: string
  /** Epoch milliseconds, as signed. */
  atMs: number
  /** Ed25519, base64url. */
  signature: string
}

export interface AuditCheckpoints {
  /** Oldest first. */
  items: Checkpoint[]
  publicKeyPem: string
}

export interface AuditQuery extends PageQuery {
  actorId?: string
  action?: string
  subjectType?: SubjectType
  subjectId?: string
  from?: string
  to?: string
}

/** A server on the database. */
export interface Node {
  id: string
  /** Where this very node is reached, past any load balancer. */
  address: string | null
  version: string
  /** A draining node still answers; one that was silent for longer than its lease is gone. */
  state: 'live' | 'draining' | 'gone'
  startedAt: string
  seenAt: string
  /** 0: it needs none, having the database to itself. */
  leaseSeconds: number
  /** The number of the last change that it has applied. */
  position: number
  /** Whether it is the node that answered. */
  self: boolean
}
