import type {
  Delivery,
  DeliveryAttempt,
  DeliveryQuery,
  DeliveryWithAttempts,
  IssuedWebhook,
  NewWebhook,
  Webhook,
  WebhookEdit,
} from './event-types.ts'
import { type CallOptions, type ChangeOptions, path, type Send } from './http.ts'
import { type OnceOptions, once } from './once.ts'
import { everyItem } from './pages.ts'
import type { Page } from './types.ts'

/** Addresses that are told of events. */
export function webhooks(send: Send) {
  return {
    /** All of them, oldest first. */
    async list(options: CallOptions = {}): Promise<Webhook[]> {
      const answer = await send<{ items: Webhook[] }>({
        method: 'GET',
        path: '/webhooks',
        repeatable: true,
        ...options,
      })
      return answer.items
    },

    get(id: string, options: CallOptions = {}): Promise<Webhook> {
      return send({ method: 'GET', path: path`/webhooks/${id}`, repeatable: true, ...options })
    },

    /** Makes a webhook; its secret is shown this once. */
    create(wish: NewWebhook, options: OnceOptions = {}): Promise<IssuedWebhook> {
      return send({ method: 'POST', path: '/webhooks', body: wish, ...once(options) })
    },

    /** Enabling one that was paused takes up its deliveries again. */
    update(id: string, edit: WebhookEdit, options: ChangeOptions = {}): Promise<Webhook> {
      return send({ method: 'PATCH', path: path`/webhooks/${id}`, body: edit, ...options })
    },

    /** Replaces the secret; until the overlap is over (default: a day) deliveries carry both signatures. */
    rotateSecret(
      id: string,
      wish: { overlapSeconds?: number } = {},
      options: OnceOptions = {},
    ): Promise<IssuedWebhook> {
      return send({
        method: 'POST',
        path: path`/webhooks/${id}/secret`,
        body: wish,
        ...once(options),
      })
    },

    /** Sends a message of the type `webhook.test`, now and once. */
    test(id: string, options: CallOptions = {}): Promise<DeliveryAttempt> {
      return send({ method: 'POST', path: path`/webhooks/${id}/test`, ...options })
    },

    /** Deletes a webhook with its deliveries. */
    async delete(id: string, options: ChangeOptions = {}): Promise<void> {
      await send({ method: 'DELETE', path: path`/webhooks/${id}`, ...options })
    },
  }
}

/** What was, and is to be, sent to webhooks. */
export function deliveries(send: Send) {
  const list = (query: DeliveryQuery = {}, options: CallOptions = {}): Promise<Page<Delivery>> =>
    send({ method: 'GET', path: '/deliveries', query, repeatable: true, ...options })

  return {
    /** One page, newest first. */
    list,

    /** All that fit, newest first, fetched page by page. */
    listAll(query: DeliveryQuery = {}, options: CallOptions = {}): AsyncGenerator<Delivery> {
      return everyItem((page: DeliveryQuery) => list(page, options), query)
    },

    /** One with all its attempts. */
    get(id: string, options: CallOptions = {}): Promise<DeliveryWithAttempts> {
      return send({ method: 'GET', path: path`/deliveries/${id}`, repeatable: true, ...options })
    },

    /** Tries one that has ended once more. */
    redeliver(id: string, options: ChangeOptions = {}): Promise<Delivery> {
      return send({ method: 'POST', path: path`/deliveries/${id}/redeliver`, ...options })
    },
  }
}
