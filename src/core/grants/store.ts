import type { ClientId, GrantId, TokenId, UserId } from '../id.ts'
import type { Position } from '../page.ts'
import type { Grant } from './grant.ts'

export interface GrantFilter {
  userId?: UserId
  clientId?: ClientId
  /** Given during that login. */
  sessionId?: TokenId
  /** Neither withdrawn nor over at that instant. */
  liveAtMs?: number
}

/** What the domain needs saved about grants. `payload` is the engine's own record, sealed. */
export interface GrantStore {
  /** Inserts, or replaces all but who, for what and when. A withdrawn grant stays withdrawn. */
  put(grant: Grant, payload: string): Promise<void>
  byId(id: GrantId): Promise<Grant | undefined>
  /** The same, but others may change the grant meanwhile, unless it is held; see `TokenStore.hold`. */
  glance(id: GrantId): Promise<Grant | undefined>
  payloadOf(id: GrantId): Promise<string | undefined>
  /** Newest first; `size` rows at most. */
  list(filter: GrantFilter, from: Position | undefined, size: number): Promise<Grant[]>
  /** Withdraws those that are not; returns which. */
  revoke(
    which: { id: GrantId } | { clientId: ClientId } | { userId: UserId } | { sessionId: TokenId },
    atMs: number,
  ): Promise<GrantId[]>
  /** Deletes at most `limit` rows that ended before; returns how many. */
  purge(endedBeforeMs: number, limit: number): Promise<number>
}
