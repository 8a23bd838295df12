import type { PageQuery, TokenKind } from './types.ts'

export type EventType =
  | 'token.created'
  | 'token.rotated'
  | 'token.revoked'
  | 'token.expiring'
  | 'token.expired'
  | 'token.reused'
  | 'token.leaked'
  | 'token.quarantined'
  | 'token.released'
  | 'token.quarantine_used'
  | 'token.policy_violated'

/** Something that happened to a token. Webhooks get the same; their `webhook-id` begins with `evt_` and `id`. */
export interface Event {
  /** Rises with every event. */
  id: string
  type: EventType
  timestamp: string
  data: {
    /** As it was then; null: none came to be. */
    token: {
      id: string
      kind: TokenKind | null
      name: string | null
      preview: string | null
      ownerId: string | null
      expiresAt: string | null
    } | null
    /** Null: the server itself, or nobody known. */
    actor: { id: string; username: string | null } | null
    details: Record<string, unknown>
  }
}

export interface EventFilter {
  types?: readonly EventType[]
  tokenId?: string
  ownerId?: string
}

export interface EventQuery extends EventFilter, PageQuery {}

export interface Webhook {
  id: string
  url: string
  description: string
  /** Null: all. */
  types: EventType[] | null
  /** paused: by the server, because nothing got through for long. */
  state: 'enabled' | 'disabled' | 'paused'
  /** Why the server paused it, or disabled it with a restore. */
  pausedBecause: string | null
  failingSince: string | null
  createdAt: string
  updatedAt: string
}

/** A webhook with the secret that signs its deliveries, which is shown this once. */
export interface IssuedWebhook extends Webhook {
  secret: string
}

export interface NewWebhook {
  /** https, into a public network. */
  url: string
  description?: string
  /** Absent or null: all. */
  types?: EventType[] | null
}

export interface WebhookEdit extends Partial<NewWebhook> {
  state?: 'enabled' | 'disabled'
}

export interface DeliveryAttempt {
  number: number
  at: string
  durationMs: number
  /** What the receiver answered, if it did. */
  status: number | null
  error: string | null
}

export type DeliveryState = 'pending' | 'delivered' | 'dead'

/** One event for one webhook. */
export interface Delivery {
  id: string
  webhookId: string
  eventId: string
  state: DeliveryState
  attempts: number
  nextAttemptAt: string | null
  createdAt: string
  endedAt: string | null
  status: number | null
  error: string | null
}

export interface DeliveryWithAttempts extends Delivery {
  log: DeliveryAttempt[]
}

export interface DeliveryQuery extends PageQuery {
  webhookId?: string
  state?: DeliveryState
}

export interface LeakReport {
  /** At most 100. */
  secrets: string[]
  /** What found them, or where. */
  source?: string
  /** Where they can be seen. */
  url?: string
}

export interface LeakReceipt {
  received: number
  /** In the order of the secrets; for admins alone. */
  outcomes?: { tokenId: string | null; action: 'notify' | 'quarantine' | 'revoke' | 'none' }[]
}
