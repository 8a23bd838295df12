import type { TokenId, UserId } from '../id.ts'
import type { Position } from '../page.ts'
import type { TokenKind } from '../tokens/token.ts'
import type { EventType, TokenEvent } from './event.ts'

export interface EventFilter {
  ownerId?: UserId
  tokenId?: TokenId
  types?: readonly EventType[]
}

/** A place in an order of rows that somebody has come to. */
export interface Mark {
  at: number
  id: string
}

/** A live token with its end, as a notice tells of it. */
export interface Ending {
  id: TokenId
  expiresAtMs: number
  createdAtMs: number
}

/** How many live tokens of a kind end in a span. */
export interface EndingCount {
  kind: TokenKind
  count: number
}

export interface EventStore {
  /** Newest first; `size` rows at most. */
  list(filter: EventFilter, from: Position | undefined, size: number): Promise<TokenEvent[]>
  /** In order, what comes after event `id`. Nothing before it becomes visible later. */
  after(filter: EventFilter, id: number, limit: number): Promise<TokenEvent[]>
  byId(id: number): Promise<TokenEvent | undefined>
  /** The number of the newest event; 0: there is none. */
  lastId(): Promise<number>
  /** Deletes at most `limit` events that are older, with their deliveries. Returns how many. */
  purge(olderThanMs: number, limit: number): Promise<number>
  /** Where somebody has come to. Inside a transaction: nobody else moves it meanwhile. */
  mark(name: string): Promise<Mark | undefined>
  setMark(name: string, mark: Mark): Promise<void>
  /**
   * Lasting tokens neither revoked nor replaced that end after `from` and until `toMs`, the earliest
   * first.
   */
  endings(from: Mark, toMs: number, limit: number): Promise<Ending[]>
  /** The same of those that end `ageMs` after they were made, whatever end of their own they have. */
  endingsAtAge(ageMs: number, span: { from: Mark; toMs: number; limit: number }): Promise<Ending[]>
  /** Live tokens that end after `fromMs` and until `toMs`. */
  countEndings(fromMs: number, toMs: number): Promise<EndingCount[]>
}
