import { v7, validate } from 'uuid'
import type { Clock } from './clock.ts'
import type { Random } from './random.ts'

export type TokenId = string & { readonly brand: 'TokenId' }
export type UserId = string & { readonly brand: 'UserId' }
export type GroupId = string & { readonly brand: 'GroupId' }
/** Of a client's row; what OAuth calls `client_id` is a text of its own. */
export type ClientId = string & { readonly brand: 'ClientId' }
/** Of an action on many tokens. */
export type JobId = string & { readonly brand: 'JobId' }
export type WebhookId = string & { readonly brand: 'WebhookId' }
export type DeliveryId = string & { readonly brand: 'DeliveryId' }
export type GrantId = string & { readonly brand: 'GrantId' }

/** Makes UUIDv7 ids, so that ids sort by the time they were made. */
export type NewId = () => string

/** `randomBytes(16)` feeds the random part; the clock the time part (RFC 9562, section 5.7). */
export function idMaker(clock: Clock, random: Random): NewId {
  return () => v7({ msecs: clock.now(), random: random(16) })
}

/** Whether `text` is spelled like an id. Lower case only: one id has one spelling. */
export function isId(text: string): boolean {
  return validate(text) && text === text.toLowerCase()
}

/** When an id was made: a UUIDv7 begins with its time (RFC 9562, section 5.7). */
export function madeAtMs(id: string): number {
  return Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16)
}
