import type { ClientId, GrantId, TokenId, UserId } from '../id.ts'

/**
 * What a user let a client do. Every token that comes of it has the grant's id as its family, so that
 * withdrawing the grant kills them all.
 */
export interface Grant {
  id: GrantId
  userId: UserId
  clientId: ClientId
  /** The login during which it was given; tokens without `offline_access` end with that login. */
  sessionId: TokenId | undefined
  scopes: readonly string[]
  /** Resource indicators (RFC 8707) that it covers. */
  resources: readonly string[]
  createdAtMs: number
  updatedAtMs: number
  expiresAtMs: number
  revokedAtMs: number | undefined
}
