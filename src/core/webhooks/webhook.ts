import { isIP } from 'node:net'
import { CoreError } from '../errors.ts'
import type { EventType } from '../events/event.ts'
import type { DeliveryId, WebhookId } from '../id.ts'

/** `paused`: by the server, because nothing got through for long. */
export const WEBHOOK_STATES = ['enabled', 'disabled', 'paused'] as const
export type WebhookState = (typeof WEBHOOK_STATES)[number]

/** An address that is told of events. Its secrets are sealed apart. */
export interface Webhook {
  id: WebhookId
  url: string
  description: string
  /** What it wants to hear of; null: everything, also what there will be. */
  types: readonly EventType[] | null
  state: WebhookState
  /** Why the server paused it, or disabled it with a restore. */
  pausedBecause: string | undefined
  /** Since when nothing has got through. */
  failingSinceMs: number | undefined
  createdAtMs: number
  updatedAtMs: number
}

export const DELIVERY_STATES = ['pending', 'delivered', 'dead'] as const
export type DeliveryState = (typeof DELIVERY_STATES)[number]

/** One event for one webhook. */
export interface Delivery {
  id: DeliveryId
  webhookId: WebhookId
  eventId: number
  state: DeliveryState
  attempts: number
  /** Of a pending one. */
  nextAtMs: number
  createdAtMs: number
  endedAtMs: number | undefined
  lastStatus: number | undefined
  lastError: string | undefined
}

export interface Attempt {
  number: number
  atMs: number
  durationMs: number
  /** What was answered, if anything was. */
  status: number | undefined
  error: string | undefined
}

const MAX_URL_LENGTH = 2000
/** Below these lie mail, names and databases, which take what we send for commands of their own. */
const FIRST_FREE_PORT = 1024
const WEB_PORTS = new Set(['', '80', '443'])

/**
 * Checks what can be told from an address alone; where it leads is looked at with each delivery. Throws
 * `invalid_input`.
 */
export function checkWebhookUrl(
  text: string,
  { allowHttp, mayReach }: { allowHttp: boolean; mayReach: (address: string) => boolean },
): string {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const isWeb = url?.protocol === 'https:' || url?.protocol === 'http:'
  if (url === undefined || !isWeb || text.length > MAX_URL_LENGTH) {
    throw new CoreError('invalid_input', 'The url must be an https URL of at most 2000 characters.')
  }
  if (url.protocol === 'http:' && !allowHttp) {
    throw new CoreError(
      'invalid_input',
      'The url must begin with https. MINTMARK_WEBHOOK_HTTP=true allows plain http.',
    )
  }
  if (url.username !== '' || url.password !== '' || url.hash !== '') {
    throw new CoreError('invalid_input', 'The url must not have a user, a password or a fragment.')
  }
  if (!WEB_PORTS.has(url.port) && Number(url.port) < FIRST_FREE_PORT) {
    throw new CoreError('invalid_input', 'The port must be 80, 443, or 1024 and above.')
  }
  const host = url.hostname.replace(/^\[|\]$/g, '')
  if (isIP(host) !== 0 && !mayReach(host)) {
    throw new CoreError(
      'invalid_input',
      'The url leads into a private network. MINTMARK_WEBHOOK_ALLOW names the ranges that may be reached.',
    )
  }
  return url.href
}
