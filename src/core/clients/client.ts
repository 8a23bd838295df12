import type { ClientId, UserId } from '../id.ts'

/** A confidential client can keep a secret; a public one (browser, phone, device) cannot. */
export type ClientType = 'confidential' | 'public'

/** The grants there are, by the names that go over the wire (RFC 6749, 8628, 8693). */
export const GRANT_TYPES = [
  'authorization_code',
  'refresh_token',
  'client_credentials',
  'urn:ietf:params:oauth:grant-type:device_code',
  'urn:ietf:params:oauth:grant-type:token-exchange',
] as const
export type GrantType = (typeof GRANT_TYPES)[number]

/** What `sub` is in tokens for a client. The hashed id is the same for all clients. */
export const SUBJECT_MODES = [
  'hashed_user_id',
  'user_id',
  'user_uuid',
  'user_username',
  'user_email',
  'user_upn',
] as const
export type SubjectMode = (typeof SUBJECT_MODES)[number]

/** Algorithms that we sign ID tokens and JWT access tokens with. */
export const SIGNING_ALGORITHMS = ['RS256', 'ES256'] as const
export type SigningAlgorithm = (typeof SIGNING_ALGORITHMS)[number]

/** Scopes of OpenID Connect itself: every user holds them, no role needs to grant them. */
export const STANDARD_SCOPES = ['openid', 'profile', 'email', 'groups', 'offline_access'] as const

/**
 * Scopes that let an access token act for its user on Mintmark's own APIs. The second is the one that
 * authentik's clients ask for.
 */
export const API_SCOPES = ['mintmark', 'goauthentik.io/api'] as const

/** An OAuth2 client application (authentik calls it a provider). The secret itself is not in here. */
export interface Client {
  id: ClientId
  /** Integer identifier for dialects that need one. */
  serial: number
  /** What OAuth calls `client_id`. Unique among clients that are not deleted. */
  clientId: string
  name: string
  type: ClientType
  /** Enough of the secret to recognise it; undefined without one. */
  secretPreview: string | undefined
  /** Public keys (JWK set) of a client that signs its authentication (`private_key_jwt`, RFC 7523). */
  jwks: { keys: Record<string, unknown>[] } | undefined
  redirectUris: readonly string[]
  postLogoutRedirectUris: readonly string[]
  grants: readonly GrantType[]
  /** Scopes it may ask for at most. */
  scopes: readonly string[]
  /** Resource indicators (RFC 8707) that it may ask tokens for; such access tokens are JWTs. */
  resources: readonly string[]
  /** Resource indicators that it answers for as a resource server: it may introspect their tokens. */
  serves: readonly string[]
  /** Lifetimes in authentik's notation, such as `hours=1;minutes=2`. */
  codeTtl: string
  accessTokenTtl: string
  refreshTokenTtl: string
  subjectMode: SubjectMode
  /** Of the ID tokens and JWT access tokens that it gets. */
  signingAlgorithm: SigningAlgorithm
  /** False only for a confidential client that cannot do PKCE. */
  requirePkce: boolean
  applicationSlug: string | undefined
  applicationName: string | undefined
  /** The service account that owns what the client gets for itself (client credentials). */
  serviceUserId: UserId
  active: boolean
  createdAtMs: number
  updatedAtMs: number
}
