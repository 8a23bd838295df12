import type { DeliveryId, WebhookId } from '../id.ts'
import type { Position } from '../page.ts'
import type { Attempt, Delivery, DeliveryState, Webhook } from './webhook.ts'

export interface DeliveryFilter {
  webhookId?: WebhookId
  state?: DeliveryState
}

/** How an attempt changed its delivery. */
export interface DeliveryChange {
  state: DeliveryState
  nextAtMs: number
  endedAtMs: number | undefined
  attempt: Attempt
}

export interface WebhookStore {
  insert(webhook: Webhook, sealedSecrets: string): Promise<void>
  byId(id: WebhookId): Promise<Webhook | undefined>
  /** All of them, oldest first; there are few. */
  all(): Promise<Webhook[]>
  sealedSecrets(id: WebhookId): Promise<string | undefined>
  setSecrets(id: WebhookId, sealed: string, atMs: number): Promise<void>
  update(webhook: Webhook): Promise<void>
  /** Deletes it with its deliveries. */
  remove(id: WebhookId): Promise<void>
  /** Adds deliveries, each event once for each webhook. */
  addDeliveries(deliveries: readonly Delivery[]): Promise<void>
  /** Enabled webhooks for which something is due. */
  due(nowMs: number): Promise<WebhookId[]>
  /**
   * Takes at most `limit` deliveries that are due, which are nobody else's until `untilMs`. Only inside
   * a transaction.
   */
  claim(id: WebhookId, span: { nowMs: number; untilMs: number; limit: number }): Promise<Delivery[]>
  /** False when somebody else has taken the delivery over meanwhile. */
  record(delivery: Delivery, change: DeliveryChange): Promise<boolean>
  /** Puts a delivery that has ended back in line, with all its attempts before it. */
  requeue(id: DeliveryId, atMs: number): Promise<void>
  deliveryById(id: DeliveryId): Promise<Delivery | undefined>
  /** Newest first; `size` rows at most. */
  deliveries(filter: DeliveryFilter, from: Position | undefined, size: number): Promise<Delivery[]>
  /** In order. */
  attempts(id: DeliveryId): Promise<Attempt[]>
  countOpen(): Promise<{ pending: number; dead: number }>
}
