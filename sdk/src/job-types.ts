import type { Person, Token } from './token-types.ts'
import type { PageQuery, TokenKind, TokenState } from './types.ts'

/** `set_expiry` only brings an end forward, and is for api and service tokens. */
export type BulkAction = 'revoke' | 'set_expiry'

/** `selecting` its tokens, `running`, or over. */
export type JobState = 'selecting' | 'running' | 'done' | 'cancelled' | 'failed'

export interface BulkWish {
  action: BulkAction
  /** Which tokens, in the query language; never the one that asks. */
  q: string
  reason?: string
  /** Of `set_expiry`: the latest end. */
  expiresAt?: string
}

/** An action on all tokens that a query selected. */
export interface Job {
  id: string
  action: BulkAction
  expiresAt: string | null
  q: string
  reason: string
  /** Who asked. */
  owner: Person
  state: JobState
  /** Why it failed. */
  problem: string | null
  /** Tokens that the query selected; grows while selecting. */
  total: number
  /** How many of them it has dealt with. */
  done: number
  /** Tokens changed, families and children included. */
  changed: number
  /** Selected tokens left as they are: ended meanwhile, or not the asker's to change. */
  skipped: number
  /** At the pace so far. */
  secondsLeft: number | null
  createdAt: string
  startedAt: string | null
  updatedAt: string
  /** Null while it is under way. */
  finishedAt: string | null
}

export interface JobQuery extends PageQuery {
  /** Only those under way, or only those that are over. */
  open?: boolean
}

/** What would be hit. */
export interface BlastRadius {
  /** Dead for good; refused while the owner is disabled; or left with less. */
  effect: 'revoked' | 'refused' | 'narrowed'
  /** Tokens in all. */
  total: number
  /** Of these, families and descendants that die with the ones that are meant. */
  children: number
  kinds: { value: TokenKind; count: number }[]
  states: { value: TokenState; count: number }[]
  /** The first 100, oldest first, children last. */
  tokens: Token[]
  ownerCount: number
  /** The 100 with most tokens. */
  owners: { id: string; username: string | null; count: number }[]
  /** Through which APIs they were made. */
  vias: { value: string; count: number }[]
  use: {
    lastAt: string | null
    /** Tokens that were used within the last hour. */
    lastHour: number
    lastDay: number
    last30Days: number
    never: number
  }
  callerCount: number
  /** The 100 addresses from which tokens were last used most recently. */
  callers: { ip: string; count: number; lastUsedAt: string }[]
}
