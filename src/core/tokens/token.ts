import type { Mode } from '../groups/group.ts'
import type { ClientId, GroupId, TokenId, UserId } from '../id.ts'
import type { SecretFormat } from '../secret.ts'

export const TOKEN_KINDS = [
  'api',
  'service',
  'session',
  'oauth_code',
  'oauth_access',
  'oauth_refresh',
] as const
export type TokenKind = (typeof TOKEN_KINDS)[number]

export const TOKEN_STATES = ['active', 'quarantined', 'expired', 'revoked', 'superseded'] as const
export type TokenState = (typeof TOKEN_STATES)[number]

export const ACCESS_LEVELS = ['READ_ONLY', 'FULL_ACCESS'] as const
/** READ_ONLY never changes anything through any door. */
export type AccessLevel = (typeof ACCESS_LEVELS)[number]

export const VIAS = [
  'api',
  's7',
  'xms',
  'opal',
  'authentik',
  'oauth',
  'cli',
  'bootstrap',
  'import',
] as const
/** Through which door a token came to be. */
export type Via = (typeof VIAS)[number]

/** Through what a token is used: one of our doors, or a service that asks whether it is good. */
const USE_VIAS = [...VIAS, 'verify', 'introspect', 'validate'] as const
export type UseVia = (typeof USE_VIAS)[number]

/**
 * What a token may do at most. `null` means "all that its owner may, now and later"; a list means
 * "these at most". Effective rights are always this ∩ what the owner may do now (see rights.ts).
 */
export interface Limits {
  accessLevel: AccessLevel
  roles: readonly string[] | null
  groups: readonly GroupLimit[] | null
  scopes: readonly string[] | null
  /** Client addresses (CIDR) that may use the token; `null`: any. */
  allowedIps: readonly string[] | null
}

/** No limits: a login stands for the person, with everything the user may do, now and later. */
export const UNLIMITED: Limits = {
  accessLevel: 'FULL_ACCESS',
  roles: null,
  groups: null,
  scopes: null,
  allowedIps: null,
}

export interface GroupLimit {
  id: GroupId
  mode: Mode
}

/** A credential that we can name, list and kill. The secret itself is not in here, nor anywhere. */
export interface Token {
  id: TokenId
  /** Integer identifier for dialects that need one; a successor takes it over, then it is undefined here. */
  serial: number | undefined
  kind: TokenKind
  ownerId: UserId
  creatorId: UserId
  name: string | undefined
  description: string
  via: Via
  format: SecretFormat
  preview: string
  limits: Limits
  /** Caller-defined data, given back by reads and by verify. */
  metadata: Record<string, unknown>
  /** All successors of one token share a family and die together. */
  familyId: TokenId
  /** The token that this one was derived from and dies with. */
  parentId: TokenId | undefined
  createdAtMs: number
  updatedAtMs: number
  expiresAtMs: number | undefined
  idleSeconds: number | undefined
  revokedAtMs: number | undefined
  revokedBy: UserId | undefined
  revokeReason: string | undefined
  /**
   * When the secret stops, because a successor has taken its place; of what was derived from a rotated
   * token, when that one stops. Until then, while old and new overlap, the token is active.
   */
  supersededAtMs: number | undefined
  supersededBy: TokenId | undefined
  /** Of a successor: until when its predecessor's secret works, too. */
  overlapEndsAtMs: number | undefined
  /** Refused until somebody releases it; see quarantine.ts. */
  quarantinedAtMs: number | undefined
  /** Absent: the server itself, after a leak was reported. */
  quarantinedBy: UserId | undefined
  quarantineReason: string | undefined
  lastUsedAtMs: number | undefined
  lastUsedIp: string | undefined
  lastUsedVia: UseVia | undefined
  lastUsedAgent: string | undefined
  useCount: number
  /** Of tokens that an OAuth2 client was given. */
  oauth: OauthFacts | undefined
}

export interface OauthFacts {
  clientId: ClientId
  /** The resource indicator (RFC 8707) that the token is for; undefined: for Mintmark itself. */
  audience: string | undefined
  /** Thumbprint of the key that must prove each use (DPoP, RFC 9449, section 6). */
  boundKey: string | undefined
}

/** Issued by the OAuth2 engine: its client refreshes it, nobody names or rotates it. */
export function isOauthKind(kind: TokenKind): boolean {
  return kind === 'oauth_code' || kind === 'oauth_access' || kind === 'oauth_refresh'
}

/** Codes and refresh tokens are for the token endpoint; presented elsewhere they are nothing. */
export function isForTokenEndpoint(kind: TokenKind): boolean {
  return kind === 'oauth_code' || kind === 'oauth_refresh'
}

/**
 * Whether the secret has stopped for its successor's sake. What had stopped when it was written down has
 * stopped by every clock: the clocks of nodes differ, and to one that is behind, a rotation at once must
 * not look like one with an overlap.
 */
export function isSuperseded(
  { supersededAtMs, updatedAtMs }: Pick<Token, 'supersededAtMs' | 'updatedAtMs'>,
  nowMs: number,
): boolean {
  return supersededAtMs !== undefined && (supersededAtMs <= nowMs || supersededAtMs <= updatedAtMs)
}

/** The state at `nowMs`. Revoked wins over everything, superseded over expired, that over quarantined. */
export function stateOf(
  token: Pick<
    Token,
    'revokedAtMs' | 'supersededAtMs' | 'updatedAtMs' | 'expiresAtMs' | 'quarantinedAtMs'
  >,
  nowMs: number,
): TokenState {
  if (token.revokedAtMs !== undefined) return 'revoked'
  if (isSuperseded(token, nowMs)) return 'superseded'
  if (token.expiresAtMs !== undefined && token.expiresAtMs <= nowMs) return 'expired'
  return token.quarantinedAtMs === undefined ? 'active' : 'quarantined'
}

/** When the token stops unless somebody revokes it before; undefined: never. */
export function endOf(token: Pick<Token, 'expiresAtMs' | 'supersededAtMs'>): number | undefined {
  const { expiresAtMs, supersededAtMs } = token
  if (expiresAtMs === undefined || supersededAtMs === undefined)
    return expiresAtMs ?? supersededAtMs
  return Math.min(expiresAtMs, supersededAtMs)
}

/**
 * Whether a successor has been made, and the old secret still works beside its own, or would if it were
 * released from quarantine.
 */
export function isBeingRotated(token: Token, nowMs: number): boolean {
  const state = stateOf(token, nowMs)
  return token.supersededBy !== undefined && (state === 'active' || state === 'quarantined')
}
