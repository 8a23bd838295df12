import type { Person } from './token-types.ts'
import type { PageQuery } from './types.ts'

/** A confidential client can keep a secret; a public one (browser, phone, device) cannot. */
export type OAuthClientType = 'confidential' | 'public'

export type OAuthGrantType =
  | 'authorization_code'
  | 'refresh_token'
  | 'client_credentials'
  | 'urn:ietf:params:oauth:grant-type:device_code'
  | 'urn:ietf:params:oauth:grant-type:token-exchange'

export type SigningAlgorithm = 'RS256' | 'ES256'

/** What `sub` is in a client's tokens. */
export type SubjectMode =
  | 'hashed_user_id'
  | 'user_id'
  | 'user_uuid'
  | 'user_username'
  | 'user_email'
  | 'user_upn'

/** Public keys (RFC 7517). */
export interface JsonWebKeySet {
  keys: Record<string, unknown>[]
}

/** An OAuth2 client application. */
export interface OAuthClient {
  id: string
  /** What OAuth calls `client_id`. */
  clientId: string
  name: string
  type: OAuthClientType
  /** Enough of the secret to recognise it; null: it has none. */
  secretPreview: string | null
  /** Of a client that signs its authentication (`private_key_jwt`). */
  jwks: JsonWebKeySet | null
  redirectUris: string[]
  postLogoutRedirectUris: string[]
  grants: OAuthGrantType[]
  /** Scopes that it may ask for at most. */
  scopes: string[]
  /** Resource indicators that it may ask tokens for. */
  resources: string[]
  /** Resource indicators that it answers for: it may introspect their tokens. */
  serves: string[]
  /** Lifetimes such as `hours=1;minutes=30`. */
  codeTtl: string
  accessTokenTtl: string
  refreshTokenTtl: string
  subjectMode: SubjectMode
  /** Of its ID tokens and JWT access tokens. */
  signingAlgorithm: SigningAlgorithm
  requirePkce: boolean
  applicationSlug: string | null
  applicationName: string | null
  /** The user that owns what the client gets for itself. */
  serviceUserId: string
  active: boolean
  createdAt: string
  updatedAt: string
}

/** A client with its secret, which is shown this once; null: it has none. */
export interface IssuedOAuthClient extends OAuthClient {
  secret: string | null
}

/** What may be said about a client at its making and later. Lists replace the ones so far. */
interface OAuthClientSettings {
  redirectUris?: string[]
  postLogoutRedirectUris?: string[]
  grants?: OAuthGrantType[]
  scopes?: string[]
  resources?: string[]
  serves?: string[]
  codeTtl?: string
  accessTokenTtl?: string
  refreshTokenTtl?: string
  subjectMode?: SubjectMode
  /** Default: RS256. */
  signingAlgorithm?: SigningAlgorithm
  requirePkce?: boolean
  applicationSlug?: string
}

export interface NewOAuthClient extends OAuthClientSettings {
  name: string
  /** Absent: a random one. */
  clientId?: string
  /** Absent: `confidential`. */
  type?: OAuthClientType
  /** Instead of a secret. */
  jwks?: JsonWebKeySet
  applicationName?: string
}

export interface OAuthClientEdit extends OAuthClientSettings {
  name?: string
  /** Replaces the secret; null: removes the keys. */
  jwks?: JsonWebKeySet | null
  /** Null: removes the application. */
  applicationName?: string | null
  /** False: revokes all that the client was given, for good. */
  active?: boolean
}

export interface OAuthClientQuery extends PageQuery {
  active?: boolean
  /** Part of the name, client id or application name. */
  text?: string
}

/** What a user let a client do. */
export interface OAuthGrant {
  id: string
  user: Person
  client: { id: string; clientId: string | null; name: string | null }
  /** The login during which it was given. */
  sessionId: string | null
  scopes: string[]
  resources: string[]
  createdAt: string
  updatedAt: string
  expiresAt: string
  /** When it was withdrawn. */
  revokedAt: string | null
}

export interface OAuthGrantQuery extends PageQuery {
  /** Absent: everybody for admins, else the own. */
  userId?: string
  /** The client's `id`. */
  clientId?: string
  /** Also those that were withdrawn or are over. */
  all?: boolean
}
