import { mustBeAllowed } from '../access.ts'
import type { Caller } from '../caller.ts'
import type { Deps } from '../deps.ts'
import { CoreError, notFound } from '../errors.ts'
import type { EventType } from '../events/event.ts'
import type { DeliveryId, WebhookId } from '../id.ts'
import { type Page, type Position, pageOf } from '../page.ts'
import { Secret } from '../secret.ts'
import type { Repositories } from '../store.ts'
import { checkProse } from '../text.ts'
import type { Sender } from './sender.ts'
import { makeWebhookSecret, openSecrets, sealSecrets } from './sign.ts'
import type { DeliveryFilter } from './store.ts'
import { type Attempt, checkWebhookUrl, type Delivery, type Webhook } from './webhook.ts'

export type WebhookDeps = Deps & { sender: Sender }

/** Each event is looked at for each of them. */
const MAX_WEBHOOKS = 100
/** How long both secrets sign after a rotation, unless its wish says else. */
const OVERLAP_SECONDS = 86_400
const MAX_OVERLAP_SECONDS = 30 * 86_400

/** The event up to which all were handed out. */
export const WEBHOOK_MARK = 'webhooks'

export interface WebhookWish {
  url: string
  description?: string
  types?: readonly EventType[] | null
}

export type WebhookEdit = Partial<WebhookWish> & { state?: 'enabled' | 'disabled' }

/** A webhook with its new secret, which is told only now. */
export interface IssuedWebhook {
  webhook: Webhook
  secret: Secret
}

function mustManage({ policy }: Deps, { principal }: Caller): void {
  mustBeAllowed(principal, 'webhook.manage', { what: undefined, policy: policy() })
}

function mustRead({ policy }: Deps, { principal }: Caller): void {
  mustBeAllowed(principal, 'webhook.read', { what: undefined, policy: policy() })
}

/** Throws `forbidden`, `invalid_input`, `conflict` when there are too many. */
export async function createWebhook(
  deps: WebhookDeps,
  tx: Repositories,
  { caller, wish }: { caller: Caller; wish: WebhookWish },
): Promise<IssuedWebhook> {
  mustManage(deps, caller)
  if ((await tx.webhooks.all()).length >= MAX_WEBHOOKS) {
    throw new CoreError('conflict', `There can be ${MAX_WEBHOOKS} webhooks. Delete one first.`)
  }
  const id = deps.newId() as WebhookId
  const atMs = deps.clock.now()
  const webhook: Webhook = {
    id,
    url: checkWebhookUrl(wish.url, deps.sender),
    description: checkDescription(wish.description ?? ''),
    types: checkTypes(wish.types ?? null),
    state: 'enabled',
    pausedBecause: undefined,
    failingSinceMs: undefined,
    createdAtMs: atMs,
    updatedAtMs: atMs,
  }
  const secret = makeWebhookSecret(deps)
  await beginToListen(tx)
  await tx.webhooks.insert(webhook, sealSecrets(deps, id, [{ secret, untilMs: null }]))
  await deps.audit(tx, caller, {
    action: 'webhook.created',
    subjectType: 'webhook',
    subjectId: id,
    after: webhookFacts(webhook),
  })
  return { webhook, secret: new Secret(secret) }
}

/**
 * Changes what is named. Enabling one that was paused takes up its deliveries where they stopped.
 * Throws `not_found`, `forbidden`, `invalid_input`.
 */
export async function updateWebhook(
  deps: WebhookDeps,
  tx: Repositories,
  { caller, id, edit }: { caller: Caller; id: WebhookId; edit: WebhookEdit },
): Promise<Webhook> {
  mustManage(deps, caller)
  const before = await found(tx, id)
  const state = edit.state ?? before.state
  const isFresh = edit.state === 'enabled' || (edit.url !== undefined && edit.url !== before.url)
  const after: Webhook = {
    ...before,
    url: edit.url === undefined ? before.url : checkWebhookUrl(edit.url, deps.sender),
    description: checkDescription(edit.description ?? before.description),
    types: edit.types === undefined ? before.types : checkTypes(edit.types),
    state,
    pausedBecause: state === before.state ? before.pausedBecause : undefined,
    failingSinceMs: isFresh ? undefined : before.failingSinceMs,
    updatedAtMs: deps.clock.now(),
  }
  if (before.state !== 'enabled' && state === 'enabled') await beginToListen(tx)
  await tx.webhooks.update(after)
  await deps.audit(tx, caller, {
    action: 'webhook.updated',
    subjectType: 'webhook',
    subjectId: id,
    before: webhookFacts(before),
    after: webhookFacts(after),
  })
  return after
}

/**
 * Gives a webhook a new secret. Until `overlapSeconds` are over deliveries carry a signature of each, so
 * that the receiver can change over without missing one. Throws `not_found`, `forbidden`,
 * `invalid_input`.
 */
export async function rotateWebhookSecret(
  deps: WebhookDeps,
  tx: Repositories,
  {
    caller,
    id,
    overlapSeconds = OVERLAP_SECONDS,
  }: { caller: Caller; id: WebhookId; overlapSeconds?: number | undefined },
): Promise<IssuedWebhook> {
  mustManage(deps, caller)
  if (!(overlapSeconds >= 0 && overlapSeconds <= MAX_OVERLAP_SECONDS)) {
    throw new CoreError('invalid_input', 'The overlap must be from 0 seconds to 30 days.')
  }
  const webhook = await found(tx, id)
  const nowMs = deps.clock.now()
  const untilMs = nowMs + overlapSeconds * 1000
  const sealed = await tx.webhooks.sealedSecrets(id)
  const current = sealed === undefined ? undefined : openSecrets(deps, id, sealed)[0]
  const secret = makeWebhookSecret(deps)
  // The one before the last signs no longer: whoever rotates twice has a reason.
  const kept = current !== undefined && untilMs > nowMs ? [{ ...current, untilMs }] : []
  await tx.webhooks.setSecrets(
    id,
    sealSecrets(deps, id, [{ secret, untilMs: null }, ...kept]),
    nowMs,
  )
  await deps.audit(tx, caller, {
    action: 'webhook.secret_rotated',
    subjectType: 'webhook',
    subjectId: id,
    after: { overlapSeconds },
  })
  return { webhook: { ...webhook, updatedAtMs: nowMs }, secret: new Secret(secret) }
}

/** Deletes a webhook with its deliveries. Throws `not_found`, `forbidden`. */
export async function deleteWebhook(
  deps: Deps,
  tx: Repositories,
  { caller, id }: { caller: Caller; id: WebhookId },
): Promise<void> {
  mustManage(deps, caller)
  const webhook = await found(tx, id)
  await tx.webhooks.remove(id)
  await deps.audit(tx, caller, {
    action: 'webhook.deleted',
    subjectType: 'webhook',
    subjectId: id,
    before: webhookFacts(webhook),
  })
}

/** Tries a delivery that has ended once more. Throws `not_found`, `forbidden`, `conflict`. */
export async function redeliver(
  deps: Deps,
  tx: Repositories,
  { caller, id }: { caller: Caller; id: DeliveryId },
): Promise<Delivery> {
  mustManage(deps, caller)
  const delivery = await tx.webhooks.deliveryById(id)
  if (delivery === undefined) throw notFound('delivery')
  if (delivery.state === 'pending') {
    throw new CoreError('conflict', 'The delivery is in line already.')
  }
  const nextAtMs = deps.clock.now()
  await tx.webhooks.requeue(id, nextAtMs)
  await deps.audit(tx, caller, {
    action: 'webhook.redelivered',
    subjectType: 'webhook',
    subjectId: delivery.webhookId,
    after: { deliveryId: id, eventId: delivery.eventId },
  })
  return { ...delivery, state: 'pending', nextAtMs, endedAtMs: undefined }
}

/** Throws `forbidden`. */
export async function listWebhooks(deps: Deps, caller: Caller): Promise<Webhook[]> {
  mustRead(deps, caller)
  return deps.store.webhooks.all()
}

/** Throws `not_found`, `forbidden`. */
export async function getWebhook(deps: Deps, caller: Caller, id: WebhookId): Promise<Webhook> {
  mustRead(deps, caller)
  return found(deps.store, id)
}

/** One page, newest first. Throws `forbidden`. */
export async function listDeliveries(
  deps: Deps,
  caller: Caller,
  wish: { filter: DeliveryFilter; from: Position | undefined; size: number },
): Promise<Page<Delivery>> {
  mustRead(deps, caller)
  const { filter, from, size } = wish
  const rows = await deps.store.webhooks.deliveries(filter, from, size + 1)
  return pageOf(rows, { size, from, positionOf: (row) => [row.createdAtMs, row.id] })
}

/** A delivery with all its attempts. Throws `not_found`, `forbidden`. */
export async function getDelivery(
  deps: Deps,
  caller: Caller,
  id: DeliveryId,
): Promise<{ delivery: Delivery; attempts: Attempt[] }> {
  mustRead(deps, caller)
  const delivery = await deps.store.webhooks.deliveryById(id)
  if (delivery === undefined) throw notFound('delivery')
  return { delivery, attempts: await deps.store.webhooks.attempts(id) }
}

/** What happened while nobody listened is told to nobody. */
async function beginToListen(tx: Repositories): Promise<void> {
  await tx.events.mark(WEBHOOK_MARK)
  const all = await tx.webhooks.all()
  if (all.some(({ state }) => state === 'enabled')) return
  await tx.events.setMark(WEBHOOK_MARK, { at: await tx.events.lastId(), id: '' })
}

async function found({ webhooks }: Pick<Repositories, 'webhooks'>, id: WebhookId) {
  const webhook = await webhooks.byId(id)
  if (webhook === undefined) throw notFound('webhook')
  return webhook
}

function checkDescription(text: string): string {
  return checkProse(text, { what: 'The description', maxLength: 500 })
}

function checkTypes(types: readonly EventType[] | null): readonly EventType[] | null {
  if (types !== null && types.length === 0) {
    throw new CoreError('invalid_input', 'Name at least one type of event, or null for all.')
  }
  return types === null ? null : [...new Set(types)]
}

/** What the audit trail keeps of a webhook. A URL may hold a key of its own, so only where it leads. */
function webhookFacts({ url, types, state, description }: Webhook): Record<string, unknown> {
  return { origin: new URL(url).origin, types, state, description }
}
