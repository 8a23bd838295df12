import type { Kysely, Selectable } from 'kysely'
import type { EventType } from '../core/events/event.ts'
import type { DeliveryId, WebhookId } from '../core/id.ts'
import type { WebhookStore } from '../core/webhooks/store.ts'
import type { Delivery, DeliveryState, Webhook, WebhookState } from '../core/webhooks/webhook.ts'
import { pageRows } from './keyset.ts'
import { type Locks, NO_LOCKS } from './locks.ts'
import type { DeliveryTable, Schema, WebhookTable } from './schema.ts'

function toWebhook(row: Selectable<WebhookTable>): Webhook {
  return {
    id: row.id as WebhookId,
    url: row.url,
    description: row.description,
    types: row.types === null ? null : (JSON.parse(row.types) as EventType[]),
    state: row.state as WebhookState,
    pausedBecause: row.paused_because ?? undefined,
    failingSinceMs: row.failing_since_ms ?? undefined,
    createdAtMs: row.created_at_ms,
    updatedAtMs: row.updated_at_ms,
  }
}

function toWebhookRow(webhook: Webhook): Omit<WebhookTable, 'secrets'> {
  return {
    id: webhook.id,
    url: webhook.url,
    description: webhook.description,
    types: webhook.types === null ? null : JSON.stringify(webhook.types),
    state: webhook.state,
    paused_because: webhook.pausedBecause ?? null,
    failing_since_ms: webhook.failingSinceMs ?? null,
    created_at_ms: webhook.createdAtMs,
    updated_at_ms: webhook.updatedAtMs,
  }
}

function toDelivery(row: Selectable<DeliveryTable>): Delivery {
  return {
    id: row.id as DeliveryId,
    webhookId: row.webhook_id as WebhookId,
    eventId: row.event_id,
    state: row.state as DeliveryState,
    attempts: row.attempts,
    nextAtMs: row.next_at_ms,
    createdAtMs: row.created_at_ms,
    endedAtMs: row.ended_at_ms ?? undefined,
    lastStatus: row.last_status ?? undefined,
    lastError: row.last_error ?? undefined,
  }
}

export function webhookStore(db: Kysely<Schema>, locks: Locks = NO_LOCKS): WebhookStore {
  const deliveries = () => db.selectFrom('delivery').selectAll()
  const ofWebhook = (id: WebhookId) =>
    db.selectFrom('delivery').select('id').where('webhook_id', '=', id)
  return {
    async insert(webhook, secrets) {
      await db
        .insertInto('webhook')
        .values({ ...toWebhookRow(webhook), secrets })
        .execute()
    },
    async byId(id) {
      const query = db.selectFrom('webhook').selectAll().where('id', '=', id)
      const row = await locks.rows(query).executeTakeFirst()
      return row === undefined ? undefined : toWebhook(row)
    },
    async all() {
      const rows = await db.selectFrom('webhook').selectAll().orderBy('created_at_ms').execute()
      return rows.map(toWebhook)
    },
    async sealedSecrets(id) {
      const row = await db
        .selectFrom('webhook')
        .select('secrets')
        .where('id', '=', id)
        .executeTakeFirst()
      return row?.secrets
    },
    async setSecrets(id, secrets, atMs) {
      await db
        .updateTable('webhook')
        .set({ secrets, updated_at_ms: atMs })
        .where('id', '=', id)
        .execute()
    },
    async update(webhook) {
      await db
        .updateTable('webhook')
        .set(toWebhookRow(webhook))
        .where('id', '=', webhook.id)
        .execute()
    },
    async remove(id) {
      await db.deleteFrom('delivery_attempt').where('delivery_id', 'in', ofWebhook(id)).execute()
      await db.deleteFrom('delivery').where('webhook_id', '=', id).execute()
      await db.deleteFrom('webhook').where('id', '=', id).execute()
    },
    async addDeliveries(added) {
      for (const delivery of added) {
        await db
          .insertInto('delivery')
          .values({
            id: delivery.id,
            webhook_id: delivery.webhookId,
            event_id: delivery.eventId,
            state: delivery.state,
            attempts: delivery.attempts,
            next_at_ms: delivery.nextAtMs,
            created_at_ms: delivery.createdAtMs,
            ended_at_ms: null,
            last_status: null,
            last_error: null,
          })
          .onConflict((conflict) => conflict.columns(['webhook_id', 'event_id']).doNothing())
          .execute()
      }
    },
    async due(nowMs) {
      const rows = await db
        .selectFrom('webhook')
        .select('id')
        .where('state', '=', 'enabled')
        .where(({ exists, selectFrom }) =>
          exists(
            selectFrom('delivery')
              .select('delivery.id')
              .whereRef('delivery.webhook_id', '=', 'webhook.id')
              .where('delivery.state', '=', 'pending')
              .where('delivery.next_at_ms', '<=', nowMs),
          ),
        )
        .execute()
      return rows.map(({ id }) => id as WebhookId)
    },
    async claim(id, { nowMs, untilMs, limit }) {
      const due = await locks
        .free(
          deliveries()
            .where('webhook_id', '=', id)
            .where('state', '=', 'pending')
            .where('next_at_ms', '<=', nowMs)
            .orderBy('next_at_ms')
            .limit(limit),
        )
        .execute()
      if (due.length === 0) return []
      const ids = due.map((row) => row.id)
      await db.updateTable('delivery').set({ next_at_ms: untilMs }).where('id', 'in', ids).execute()
      return due.map((row) => toDelivery({ ...row, next_at_ms: untilMs }))
    },
    async record(delivery, { state, nextAtMs, endedAtMs, attempt }) {
      const row = await db
        .updateTable('delivery')
        .set({
          state,
          attempts: attempt.number,
          next_at_ms: nextAtMs,
          ended_at_ms: endedAtMs ?? null,
          last_status: attempt.status ?? null,
          last_error: attempt.error ?? null,
        })
        .where('id', '=', delivery.id)
        .where('state', '=', 'pending')
        .where('attempts', '=', delivery.attempts)
        .where('next_at_ms', '=', delivery.nextAtMs)
        .returning('id')
        .executeTakeFirst()
      if (row === undefined) return false
      await db
        .insertInto('delivery_attempt')
        .values({
          delivery_id: delivery.id,
          number: attempt.number,
          at_ms: attempt.atMs,
          duration_ms: attempt.durationMs,
          status: attempt.status ?? null,
          error: attempt.error ?? null,
        })
        .execute()
      return true
    },
    async requeue(id, atMs) {
      await db
        .updateTable('delivery')
        .set({ state: 'pending', next_at_ms: atMs, ended_at_ms: null })
        .where('id', '=', id)
        .execute()
    },
    async deliveryById(id) {
      const row = await locks.rows(deliveries().where('id', '=', id)).executeTakeFirst()
      return row === undefined ? undefined : toDelivery(row)
    },
    async deliveries({ webhookId, state }, from, size) {
      let query = deliveries()
      if (webhookId !== undefined) query = query.where('webhook_id', '=', webhookId)
      if (state !== undefined) query = query.where('state', '=', state)
      return (await pageRows(query, from, size)).map(toDelivery)
    },
    async attempts(id) {
      const rows = await db
        .selectFrom('delivery_attempt')
        .selectAll()
        .where('delivery_id', '=', id)
        .orderBy('number')
        .execute()
      return rows.map((row) => ({
        number: row.number,
        atMs: row.at_ms,
        durationMs: row.duration_ms,
        status: row.status ?? undefined,
        error: row.error ?? undefined,
      }))
    },
    async countOpen() {
      const rows = await db
        .selectFrom('delivery')
        .select(['state', (eb) => eb.fn.countAll<number>().as('size')])
        .where('state', '<>', 'delivered')
        .groupBy('state')
        .execute()
      const of = (state: DeliveryState) =>
        Number(rows.find((row) => row.state === state)?.size ?? 0)
      return { pending: of('pending'), dead: of('dead') }
    },
  }
}
