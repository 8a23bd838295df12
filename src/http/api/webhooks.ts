import { Type } from 'typebox'
import type { DeliveryId, WebhookId } from '../../core/id.ts'
import {
  type Attempt as CoreAttempt,
  type Delivery as CoreDelivery,
  type Webhook as CoreWebhook,
  DELIVERY_STATES,
  WEBHOOK_STATES,
} from '../../core/webhooks/webhook.ts'
import { callerOf } from '../auth.ts'
import { Nullable } from '../nullable.ts'
import type { ApiParts } from '../parts.ts'
import type { Scope } from '../scope.ts'
import { EventTypeName } from './events.ts'
import { cursorsFor, instant, instantOrNull, pageOut, pageWish } from './format.ts'
import { doOnce, onceHeaders } from './once.ts'
import { Id, Instant, NoContent, PageQuery, pageOf, problems } from './schemas.ts'

const tags = ['webhooks']
const params = Type.Object({ id: Id })
const Url = Type.String({ maxLength: 2000, description: 'https, into a public network' })
const Description = Type.String({ maxLength: 500 })
const Types = Nullable(
  Type.Array(EventTypeName, { minItems: 1, maxItems: 50, description: 'Null: all' }),
)

export const Webhook = Type.Object({
  id: Id,
  url: Type.String(),
  description: Type.String(),
  types: Nullable(Type.Array(EventTypeName)),
  state: Type.Enum([...WEBHOOK_STATES], {
    description: 'paused: by the server, because nothing got through for long',
  }),
  pausedBecause: Nullable(
    Type.String({ description: 'Why the server paused it, or disabled it with a restore' }),
  ),
  failingSince: Nullable(Instant),
  createdAt: Instant,
  updatedAt: Instant,
})

export const IssuedWebhook = Type.Object({
  ...Webhook.properties,
  secret: Type.String({ description: 'Signs the deliveries; shown this once' }),
})

export const NewWebhook = Type.Object(
  { url: Url, description: Type.Optional(Description), types: Type.Optional(Types) },
  { additionalProperties: false },
)

export const WebhookEdit = Type.Object(
  {
    url: Type.Optional(Url),
    description: Type.Optional(Description),
    types: Type.Optional(Types),
    state: Type.Optional(Type.Enum(['enabled', 'disabled'])),
  },
  { additionalProperties: false },
)

const outcome = {
  status: Nullable(Type.Integer({ description: 'What the receiver answered, if it did' })),
  error: Nullable(Type.String()),
}

export const DeliveryAttempt = Type.Object({
  number: Type.Integer(),
  at: Instant,
  durationMs: Type.Integer(),
  ...outcome,
})

export const Delivery = Type.Object({
  id: Id,
  webhookId: Id,
  eventId: Type.String(),
  state: Type.Enum([...DELIVERY_STATES], {
    description: 'dead: given up after the last attempt, or never to be sent',
  }),
  attempts: Type.Integer(),
  nextAttemptAt: Nullable(Instant),
  createdAt: Instant,
  endedAt: Nullable(Instant),
  ...outcome,
})

export const DeliveryWithAttempts = Type.Object({
  ...Delivery.properties,
  log: Type.Array(DeliveryAttempt),
})

function webhookOut(webhook: CoreWebhook) {
  return {
    id: webhook.id,
    url: webhook.url,
    description: webhook.description,
    types: webhook.types === null ? null : [...webhook.types],
    state: webhook.state,
    pausedBecause: webhook.pausedBecause ?? null,
    failingSince: instantOrNull(webhook.failingSinceMs),
    createdAt: instant(webhook.createdAtMs),
    updatedAt: instant(webhook.updatedAtMs),
  }
}

function attemptOut({ number, atMs, durationMs, status, error }: CoreAttempt) {
  return {
    number,
    at: instant(atMs),
    durationMs,
    status: status ?? null,
    error: error ?? null,
  }
}

function deliveryOut(delivery: CoreDelivery) {
  return {
    id: delivery.id,
    webhookId: delivery.webhookId,
    eventId: String(delivery.eventId),
    state: delivery.state,
    attempts: delivery.attempts,
    nextAttemptAt: delivery.state === 'pending' ? instant(delivery.nextAtMs) : null,
    createdAt: instant(delivery.createdAtMs),
    endedAt: instantOrNull(delivery.endedAtMs),
    status: delivery.lastStatus ?? null,
    error: delivery.lastError ?? null,
  }
}

export function webhookRoutes(app: Scope, { core }: ApiParts): void {
  const list = core.cursors('deliveries')

  app.get(
    '/webhooks',
    {
      schema: {
        tags,
        summary: 'List webhooks, oldest first',
        response: { 200: Type.Object({ items: Type.Array(Webhook) }), ...problems },
      },
    },
    async (request) => ({
      items: (await core.read.webhooks(callerOf(request))).map(webhookOut),
    }),
  )

  app.post(
    '/webhooks',
    {
      schema: {
        tags,
        summary: 'Create a webhook; its secret is shown this once',
        description:
          'Each event becomes a POST with the headers of Standard Webhooks, at least once and in no promised order; answer 2xx within 5 seconds. Else it is tried 8 times within 28 hours and then kept as dead. An address to which nothing gets through for three days, or that answers 410, is paused.',
        headers: onceHeaders,
        body: NewWebhook,
        response: { 201: IssuedWebhook, ...problems },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      const asked = ['create webhook', request.body]
      const { webhook, secret } = await doOnce(core, { request, reply, asked }, async (w) => {
        const issued = await w.createWebhook({ caller, wish: request.body })
        return { webhook: issued.webhook, secret: issued.secret.reveal() }
      })
      return reply
        .code(201)
        .header('location', `/api/v1/webhooks/${webhook.id}`)
        .send({ ...webhookOut(webhook), secret })
    },
  )

  app.get(
    '/webhooks/:id',
    { schema: { tags, summary: 'One webhook', params, response: { 200: Webhook, ...problems } } },
    async (request) =>
      webhookOut(await core.read.webhook(callerOf(request), request.params.id as WebhookId)),
  )

  app.patch(
    '/webhooks/:id',
    {
      schema: {
        tags,
        summary: 'Change a webhook; enabling one that was paused takes up its deliveries again',
        params,
        body: WebhookEdit,
        response: { 200: Webhook, ...problems },
      },
    },
    async (request) => {
      const caller = callerOf(request)
      const id = request.params.id as WebhookId
      return webhookOut(
        await core.write((w) => w.updateWebhook({ caller, id, edit: request.body })),
      )
    },
  )

  app.delete(
    '/webhooks/:id',
    {
      schema: {
        tags,
        summary: 'Delete a webhook with its deliveries',
        params,
        response: { 204: NoContent, ...problems },
      },
    },
    async (request, reply) => {
      const id = request.params.id as WebhookId
      await core.write((w) => w.deleteWebhook({ caller: callerOf(request), id }))
      return reply.code(204).send(null)
    },
  )

  app.post(
    '/webhooks/:id/secret',
    {
      schema: {
        tags,
        summary: 'Replace the secret of a webhook; for a while deliveries are signed with both',
        params,
        headers: onceHeaders,
        body: Type.Optional(
          Nullable(
            Type.Object(
              {
                overlapSeconds: Type.Optional(
                  Type.Integer({ minimum: 0, description: 'Default: a day' }),
                ),
              },
              { additionalProperties: false },
            ),
          ),
        ),
        response: { 200: IssuedWebhook, ...problems },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      const id = request.params.id as WebhookId
      const overlapSeconds = request.body?.overlapSeconds
      const asked = ['rotate webhook secret', id, overlapSeconds ?? null]
      const { webhook, secret } = await doOnce(core, { request, reply, asked }, async (w) => {
        const issued = await w.rotateWebhookSecret({ caller, id, overlapSeconds })
        return { webhook: issued.webhook, secret: issued.secret.reveal() }
      })
      return { ...webhookOut(webhook), secret }
    },
  )

  app.post(
    '/webhooks/:id/test',
    {
      schema: {
        tags,
        summary: 'Send a message of the type webhook.test, now and once',
        params,
        response: { 200: DeliveryAttempt, ...problems },
      },
    },
    async (request) => {
      const id = request.params.id as WebhookId
      return attemptOut(await core.testWebhook({ caller: callerOf(request), id }))
    },
  )

  app.get(
    '/deliveries',
    {
      schema: {
        tags,
        summary: 'List deliveries, newest first; state=dead is the list of those given up',
        querystring: Type.Object(
          {
            ...PageQuery,
            webhookId: Type.Optional(Id),
            state: Type.Optional(Type.Enum([...DELIVERY_STATES])),
          },
          { additionalProperties: false },
        ),
        response: { 200: pageOf(Delivery), ...problems },
      },
    },
    async (request) => {
      const { webhookId, state } = request.query
      const cursors = cursorsFor(list, request)
      const page = await core.read.deliveries(callerOf(request), {
        filter: {
          ...(webhookId === undefined ? {} : { webhookId: webhookId as WebhookId }),
          ...(state === undefined ? {} : { state }),
        },
        ...pageWish(request.query, cursors),
      })
      return pageOut(page, cursors, deliveryOut)
    },
  )

  app.get(
    '/deliveries/:id',
    {
      schema: {
        tags,
        summary: 'One delivery with its attempts',
        params,
        response: { 200: DeliveryWithAttempts, ...problems },
      },
    },
    async (request) => {
      const id = request.params.id as DeliveryId
      const { delivery, attempts } = await core.read.delivery(callerOf(request), id)
      return { ...deliveryOut(delivery), log: attempts.map(attemptOut) }
    },
  )

  app.post(
    '/deliveries/:id/redeliver',
    {
      schema: {
        tags,
        summary: 'Try a delivery that has ended once more',
        params,
        response: { 200: Delivery, ...problems },
      },
    },
    async (request) => {
      const id = request.params.id as DeliveryId
      return deliveryOut(await core.write((w) => w.redeliver({ caller: callerOf(request), id })))
    },
  )
}
