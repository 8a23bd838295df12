import { AsyncLocalStorage } from 'node:async_hooks'
import type { Origin } from '../core/caller.ts'
import type { Principal } from '../core/rights.ts'

/** What the engine's callbacks need to know of the HTTP request they serve. */
export interface OauthRequest {
  origin: Origin
  /** Who is logged in in this browser now; undefined: nobody. */
  login: () => Promise<Principal | undefined>
  /** Resolves when the nodes know what the request has changed. */
  isKnown: () => Promise<void>
  /** Counts what anybody can have done from this address. Throws `too_many_requests`. */
  countAnybodys?: () => Promise<void>
}

/** The engine has no place of its own for it. */
export const oauthRequests = new AsyncLocalStorage<OauthRequest>()

/** Throws outside of a request. */
export function currentRequest(): OauthRequest {
  const request = oauthRequests.getStore()
  if (request === undefined) throw new Error('The engine was called outside of a request.')
  return request
}
