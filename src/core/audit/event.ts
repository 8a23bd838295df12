import type { TokenId, UserId } from '../id.ts'
import type { Via } from '../tokens/token.ts'

/** Every event there is, named `subject.verb`. */
export const AUDIT_ACTIONS = [
  'token.created',
  'token.updated',
  'token.rotated',
  'token.rotation_extended',
  'token.rotation_finished',
  'token.revoked',
  'token.purged',
  'token.exported',
  'token.rekeyed',
  'token.spent',
  'token.reused',
  'token.expiring',
  'token.expired',
  'token.leaked',
  'token.quarantined',
  'token.released',
  'token.quarantine_used',
  'token.policy_violated',
  'session.opened',
  'session.closed',
  'login.failed',
  'login.locked',
  'user.created',
  'user.updated',
  'user.deleted',
  'user.password_changed',
  'user.password_reset',
  'user.identity_linked',
  'group.created',
  'group.updated',
  'group.deleted',
  'membership.set',
  'membership.removed',
  'role.created',
  'role.updated',
  'role.deleted',
  'policy.updated',
  'client.created',
  'client.updated',
  'client.secret_replaced',
  'client.deleted',
  'grant.given',
  'grant.withdrawn',
  'job.created',
  'job.cancelled',
  'job.finished',
  'key.rotated',
  'key.purged',
  'webhook.created',
  'webhook.updated',
  'webhook.secret_rotated',
  'webhook.tested',
  'webhook.redelivered',
  'webhook.paused',
  'webhook.deleted',
  'server.bootstrapped',
  'server.moved',
  'server.restored',
] as const

export type AuditAction = (typeof AUDIT_ACTIONS)[number]
export type AuditSubject =
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

/** Who did what to what, from where. Holds no secrets. */
export interface AuditEvent {
  action: AuditAction
  subjectType: AuditSubject
  subjectId: string
  before?: Record<string, unknown> | undefined
  after?: Record<string, unknown> | undefined
}

export interface AuditRecord extends AuditEvent {
  /** Position in the chain: no gaps. */
  sequence: number
  atMs: number
  /** Absent when the server itself or an anonymous caller acted. */
  actorId: UserId | undefined
  /** As it was then; ids outlive names. */
  actorName: string | undefined
  actorTokenId: TokenId | undefined
  ip: string | undefined
  requestId: string | undefined
  via: Via | 'system'
  /** HMAC over this record and the hash before it. */
  hash: string
}

export type SealedFields = Omit<AuditRecord, 'hash'>

/**
 * The bytes that are sealed: a JSON array in fixed order, so that neither key order nor a missing
 * member can change the meaning of a hash.
 */
export function canonicalBytes(record: SealedFields): string {
  return JSON.stringify([
    record.sequence,
    record.atMs,
    record.action,
    record.subjectType,
    record.subjectId,
    record.actorId ?? null,
    record.actorName ?? null,
    record.actorTokenId ?? null,
    record.ip ?? null,
    record.requestId ?? null,
    record.via,
    record.before === undefined ? null : JSON.stringify(record.before),
    record.after === undefined ? null : JSON.stringify(record.after),
  ])
}
