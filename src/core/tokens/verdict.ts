import type { Mode } from '../groups/group.ts'
import type { Principal } from '../rights.ts'
import type { TokenKind, UseVia } from './token.ts'

/** One and the same object for as long as its token is cached. */
export interface Yes {
  active: true
  principal: Principal
  /** What APIs made of it, for the next who ask; belongs to them. */
  kept?: Kept | undefined
}

export interface Kept {
  /** Whose it is. */
  by: object
  next: Kept | undefined
}

/** Why a token is refused. For callers allowed to know; everybody else hears a bare "no". */
export type Refusal =
  | 'malformed'
  | 'unknown'
  | 'revoked'
  | 'superseded'
  | 'expired'
  | 'quarantined'
  | 'idle'
  | 'owner_disabled'
  | 'wrong_kind'
  | 'ip_not_allowed'
  | 'role_missing'
  | 'scope_missing'
  | 'group_missing'
  | 'wrong_audience'
  | 'proof_missing'
  | 'rate_limited'

export type Verdict =
  | Yes
  | {
      active: false
      reason: Refusal
      principal: Principal | undefined
      /** Of `rate_limited`: after how many seconds one more use is allowed. */
      retryAfterSeconds?: number
    }

/** What is asked of a token beyond being alive. */
export interface Demand {
  kinds?: readonly TokenKind[]
  role?: string
  scope?: string
  /** A group by id or exact name; `mode` defaults to READ. */
  group?: string
  mode?: Mode
  /** Address of the client that presented the token. */
  ip?: string
  /** Resource that the token is presented to; a token for a resource is good there and nowhere else. */
  audience?: string
  /** Thumbprint of the key whose possession the presenter has proven (DPoP). */
  boundKey?: string
  /** Through what it was presented, and with which user agent; for the figures alone. */
  via?: UseVia
  userAgent?: string
  /** The asker looks at audience and key by itself. */
  ignoresBinding?: boolean
}

/** Nothing beyond being alive, asked by a service; the object itself, so that this is seen at a glance. */
export const NO_DEMAND: Demand = Object.freeze({})
