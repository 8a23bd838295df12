import { mustBeAllowed } from '../access.ts'
import { inBatches } from '../batches.ts'
import type { Caller, Origin } from '../caller.ts'
import { notFound } from '../errors.ts'
import type { TokenEvent } from '../events/event.ts'
import type { DeliveryId, WebhookId } from '../id.ts'
import type { Repositories } from '../store.ts'
import { WEBHOOK_MARK, type WebhookDeps } from './manage.ts'
import { eventOut } from './payload.ts'
import type { Sent } from './sender.ts'
import { openSecrets, signedHeaders } from './sign.ts'
import type { Attempt, Delivery, Webhook } from './webhook.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
/** Pauses between attempts, about 28 hours in all; after the last of them the delivery is dead. */
const PAUSES_MS = [
  5000,
  5 * MINUTE_MS,
  30 * MINUTE_MS,
  2 * HOUR_MS,
  5 * HOUR_MS,
  10 * HOUR_MS,
  10 * HOUR_MS,
]
/** Pauses grow by up to this share, so that what failed together is not tried again together. */
const JITTER = 0.2
/** A webhook to which nothing gets through for so long is paused. */
const PAUSE_AFTER_MS = 72 * HOUR_MS
/** A delivery that a node took is another's after this; longer than any attempt. */
const LEASE_MS = MINUTE_MS
const EVENTS_AT_ONCE = 200
/** Attempts at the same time, for each webhook. */
const ATTEMPTS_AT_ONCE = 4
/** How much one pass does for a webhook, so that its news reach it between two passes. */
const MAX_ROUNDS = 100
/** "Gone": the receiver wants no more (Standard Webhooks, "Webhook endpoint disabling"). */
const GONE = 410

const SYSTEM: { origin: Origin } = {
  origin: { ip: undefined, requestId: undefined, via: 'system' },
}

/** How often what was sent ended how, on this node. */
export interface DeliveryTally {
  delivered: number
  failed: number
}

export interface Deliverer {
  /**
   * Hands new events out to webhooks and tries whatever is due; resolves when it was tried. May be called
   * again while it runs: a slow receiver holds up nobody but itself.
   */
  run(): Promise<void>
  /** Waits for attempts under way, and begins no more. */
  stop(): Promise<void>
  tally(): DeliveryTally
}

export function createDeliverer(deps: WebhookDeps): Deliverer {
  const { store } = deps
  const busy = new Map<WebhookId, Promise<void>>()
  const tally: DeliveryTally = { delivered: 0, failed: 0 }
  let handingOut: Promise<void> | undefined
  let isStopped = false

  async function work(id: WebhookId): Promise<void> {
    for (let round = 0; round < MAX_ROUNDS && !isStopped; round++) {
      const nowMs = deps.clock.now()
      const span = { nowMs, untilMs: nowMs + LEASE_MS, limit: ATTEMPTS_AT_ONCE }
      const [webhook, claimed] = await store.transaction(async (tx) => {
        const webhook = await tx.webhooks.byId(id)
        if (webhook?.state !== 'enabled') return [undefined, []]
        return [webhook, await tx.webhooks.claim(id, span)]
      })
      if (webhook === undefined || claimed.length === 0) return
      await Promise.all(claimed.map((delivery) => attempt(deps, { webhook, delivery, tally })))
    }
  }

  return {
    async run() {
      if (isStopped) return
      const all = await store.webhooks.all()
      if (all.every(({ state }) => state !== 'enabled')) return
      handingOut ??= handOut(deps, () => isStopped).finally(() => {
        handingOut = undefined
      })
      await handingOut
      for (const id of await store.webhooks.due(deps.clock.now())) {
        if (busy.has(id) || isStopped) continue
        busy.set(
          id,
          work(id).finally(() => busy.delete(id)),
        )
      }
      await Promise.all(busy.values())
    },
    async stop() {
      isStopped = true
      await Promise.allSettled([handingOut, ...busy.values()])
    },
    tally: () => tally,
  }
}

/** Makes a delivery of each new event for each webhook that wants it. Exactly once, across all nodes. */
async function handOut(deps: WebhookDeps, isStopped: () => boolean): Promise<void> {
  const { events } = deps.store
  const [mark, last] = await Promise.all([events.mark(WEBHOOK_MARK), events.lastId()])
  if (last <= (mark?.at ?? 0)) return
  await inBatches(deps.clock, EVENTS_AT_ONCE, async () =>
    isStopped() ? 0 : deps.store.transaction((tx) => handOutBatch(deps, tx)),
  )
}

async function handOutBatch(deps: WebhookDeps, tx: Repositories): Promise<number> {
  const mark = await tx.events.mark(WEBHOOK_MARK)
  const webhooks = (await tx.webhooks.all()).filter(({ state }) => state === 'enabled')
  const events = await tx.events.after({}, mark?.at ?? 0, EVENTS_AT_ONCE)
  const nowMs = deps.clock.now()
  const wanted = (webhook: Webhook, event: TokenEvent) =>
    event.atMs >= webhook.createdAtMs &&
    (webhook.types === null || webhook.types.includes(event.type))
  const deliveries = events.flatMap((event) =>
    webhooks
      .filter((webhook) => wanted(webhook, event))
      .map(
        (webhook): Delivery => ({
          id: deps.newId() as DeliveryId,
          webhookId: webhook.id,
          eventId: event.id,
          state: 'pending',
          attempts: 0,
          nextAtMs: nowMs,
          createdAtMs: nowMs,
          endedAtMs: undefined,
          lastStatus: undefined,
          lastError: undefined,
        }),
      ),
  )
  await tx.webhooks.addDeliveries(deliveries)
  const last = events.at(-1)
  if (last !== undefined) await tx.events.setMark(WEBHOOK_MARK, { at: last.id, id: '' })
  return events.length
}

async function attempt(
  deps: WebhookDeps,
  { webhook, delivery, tally }: { webhook: Webhook; delivery: Delivery; tally: DeliveryTally },
): Promise<void> {
  const event = await deps.store.events.byId(delivery.eventId)
  if (event === undefined) return
  const { id, ...message } = eventOut(event)
  const atMs = deps.clock.now()
  // With the time, because a restored database gives its numbers out again, to other events.
  const sent = await send(deps, webhook, { id: `evt_${id}_${event.atMs}`, message })
  const number = delivery.attempts + 1
  const attempt = attemptOf(sent, { number, atMs, durationMs: deps.clock.now() - atMs })
  const isDelivered = attempt.error === undefined
  tally[isDelivered ? 'delivered' : 'failed']++
  const byte = deps.random(1).readUInt8()
  await deps.store.transaction(async (tx) => {
    // Before its delivery, as whoever deletes it does.
    const current = await tx.webhooks.byId(webhook.id)
    if (current === undefined) return
    const pauseMs = PAUSES_MS[delivery.attempts]
    const state = isDelivered ? 'delivered' : pauseMs === undefined ? 'dead' : 'pending'
    const nowMs = deps.clock.now()
    const isOurs = await tx.webhooks.record(delivery, {
      state,
      nextAtMs: nowMs + Math.round((pauseMs ?? 0) * (1 + (JITTER * byte) / 255)),
      endedAtMs: state === 'pending' ? undefined : nowMs,
      attempt,
    })
    if (isOurs) await followHealth(deps, tx, { webhook: current, attempt })
  })
}

/** Signs and sends one message. Never throws: what went wrong is part of the answer. */
async function send(
  deps: WebhookDeps,
  webhook: Webhook,
  { id, message }: { id: string; message: object },
): Promise<Sent> {
  try {
    const sealed = await deps.store.webhooks.sealedSecrets(webhook.id)
    if (sealed === undefined) return { error: 'The webhook was deleted.' }
    const nowMs = deps.clock.now()
    const secrets = openSecrets(deps, webhook.id, sealed)
      .filter(({ untilMs }) => untilMs === null || untilMs > nowMs)
      .map(({ secret }) => secret)
    const body = JSON.stringify(message)
    const timestamp = Math.floor(nowMs / 1000)
    return await deps.sender.post({
      url: webhook.url,
      headers: {
        'content-type': 'application/json',
        ...signedHeaders({ id, timestamp, body }, secrets),
      },
      body,
    })
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) }
  }
}

function attemptOf(sent: Sent, facts: Pick<Attempt, 'number' | 'atMs' | 'durationMs'>): Attempt {
  if ('error' in sent) return { ...facts, status: undefined, error: sent.error.slice(0, 500) }
  const isGood = sent.status >= 200 && sent.status < 300
  const error = isGood ? undefined : `The receiver answered ${sent.status}.`
  return { ...facts, status: sent.status, error }
}

/** Notes whether anything gets through, and pauses a webhook that is given up. */
async function followHealth(
  deps: WebhookDeps,
  tx: Repositories,
  { webhook, attempt }: { webhook: Webhook; attempt: Attempt },
): Promise<void> {
  if (attempt.error === undefined) {
    if (webhook.failingSinceMs === undefined) return
    await tx.webhooks.update({ ...webhook, failingSinceMs: undefined })
    return
  }
  const nowMs = deps.clock.now()
  const failingSinceMs = webhook.failingSinceMs ?? attempt.atMs
  const isGone = attempt.status === GONE
  const isGivenUp = isGone || nowMs - failingSinceMs >= PAUSE_AFTER_MS
  if (!isGivenUp || webhook.state !== 'enabled') {
    if (webhook.failingSinceMs === undefined)
      await tx.webhooks.update({ ...webhook, failingSinceMs })
    return
  }
  const pausedBecause = isGone
    ? 'The receiver answered 410 Gone: it wants no more.'
    : `Nothing got through since ${new Date(failingSinceMs).toISOString()}: ${attempt.error}`
  const paused: Webhook = {
    ...webhook,
    state: 'paused',
    pausedBecause,
    failingSinceMs,
    updatedAtMs: nowMs,
  }
  await tx.webhooks.update(paused)
  await deps.audit(tx, SYSTEM, {
    action: 'webhook.paused',
    subjectType: 'webhook',
    subjectId: webhook.id,
    after: { because: pausedBecause },
  })
}

/** Sends a message made up for the purpose, now and once. Throws `not_found`, `forbidden`. */
export async function testWebhook(
  deps: WebhookDeps,
  { caller, id }: { caller: Caller; id: WebhookId },
): Promise<Attempt> {
  mustBeAllowed(caller.principal, 'webhook.manage', { what: undefined, policy: deps.policy() })
  const webhook = await deps.store.webhooks.byId(id)
  if (webhook === undefined) throw notFound('webhook')
  await deps.store.transaction((tx) =>
    deps.audit(tx, caller, { action: 'webhook.tested', subjectType: 'webhook', subjectId: id }),
  )
  const atMs = deps.clock.now()
  const message = {
    type: 'webhook.test',
    timestamp: new Date(atMs).toISOString(),
    data: { webhook: { id } },
  }
  const sent = await send(deps, webhook, { id: `test_${deps.newId()}`, message })
  return attemptOf(sent, { number: 1, atMs, durationMs: deps.clock.now() - atMs })
}
