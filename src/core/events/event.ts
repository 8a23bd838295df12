import type { SealedFields } from '../audit/event.ts'
import type { TokenId, UserId } from '../id.ts'
import type { TokenKind } from '../tokens/token.ts'

/** What others can hear of. Each is an action of the audit trail, too, and told by its record. */
export const EVENT_TYPES = [
  'token.created',
  'token.rotated',
  'token.revoked',
  'token.expiring',
  'token.expired',
  'token.reused',
  'token.leaked',
  'token.quarantined',
  'token.released',
  'token.quarantine_used',
  'token.policy_violated',
] as const
export type EventType = (typeof EVENT_TYPES)[number]

/** Something that happened to a token. Holds no secret. */
export interface TokenEvent {
  /** Number of its audit record: events become visible in this order, on every node. */
  id: number
  type: EventType
  atMs: number
  /** Absent: about a token that never came to be. */
  tokenId: TokenId | undefined
  /** As the token was then; absent without one. */
  ownerId: UserId | undefined
  kind: TokenKind | undefined
  name: string | undefined
  preview: string | undefined
  expiresAtMs: number | undefined
  /** Absent: the server itself, or nobody known. */
  actorId: UserId | undefined
  actorName: string | undefined
  /** What there is to say besides, by type. */
  details: Record<string, unknown>
}

/** An event about to be saved with its audit record; the store adds what the token is like now. */
export interface EventDraft {
  type: EventType
  atMs: number
  tokenId: string | undefined
  /** Whose event it is where there is no token. */
  ownerId: UserId | undefined
  actorId: UserId | undefined
  actorName: string | undefined
  details: Record<string, unknown>
  /** Whether it is news only of a token that lives for long. */
  onlyLasting: boolean
}

/**
 * Kinds that somebody keeps. Codes, access tokens and logins come and go by the thousand; that they do
 * is no news. That one of them leaked is.
 */
export const LASTING_KINDS = ['api', 'service', 'oauth_refresh'] as const satisfies TokenKind[]

const ONLY_LASTING: ReadonlySet<EventType> = new Set<EventType>([
  'token.created',
  'token.rotated',
  'token.revoked',
])

const TYPES: ReadonlySet<string> = new Set(EVENT_TYPES)

/** The event that tells of an audit record; undefined: none does. */
export function eventDraft(record: Omit<SealedFields, 'sequence'>): EventDraft | undefined {
  if (!isEventType(record.action)) return undefined
  return {
    type: record.action,
    atMs: record.atMs,
    tokenId: record.subjectType === 'token' ? record.subjectId : undefined,
    ownerId: record.actorId,
    actorId: record.actorId,
    actorName: record.actorName,
    details: detailsOf(record.action, record),
    onlyLasting: ONLY_LASTING.has(record.action),
  }
}

function isEventType(text: string): text is EventType {
  return TYPES.has(text)
}

function detailsOf(
  type: EventType,
  { before, after }: Pick<SealedFields, 'before' | 'after'>,
): Record<string, unknown> {
  // All about a new token is in the inventory; who listens needs to know which one it is.
  if (type === 'token.created') return {}
  if (type === 'token.rotated') return { predecessorId: before?.tokenId }
  return after ?? {}
}
