import type { AdapterPayload } from 'oidc-provider'
import type { Client, SigningAlgorithm } from '../core/clients/client.ts'
import { parseDuration } from '../core/clients/duration.ts'

/** What the engine must know of a client beyond the registered metadata (RFC 7591). */
export interface OwnMetadata {
  codeTtl: number
  accessTokenTtl: number
  refreshTokenTtl: number
  requirePkce: boolean
  signingAlgorithm: SigningAlgorithm
}

/** Stands where the engine wants a secret: it is compared by us, and never here. */
const SECRET_IS_ELSEWHERE = 'kept-as-a-digest'

/** A client as the engine knows it (RFC 7591, section 2; OpenID Connect Registration, section 2). */
export function clientMetadata(client: Client): AdapterPayload {
  const own: OwnMetadata = {
    codeTtl: parseDuration(client.codeTtl),
    accessTokenTtl: parseDuration(client.accessTokenTtl),
    refreshTokenTtl: parseDuration(client.refreshTokenTtl),
    requirePkce: client.requirePkce,
    signingAlgorithm: client.signingAlgorithm,
  }
  const method = authMethodOf(client)
  return {
    client_id: client.clientId,
    client_name: client.name,
    // For native ones the loopback port may vary, and consent is asked each time (RFC 8252, 8.6).
    application_type: client.type === 'public' ? 'native' : 'web',
    redirect_uris: [...client.redirectUris],
    post_logout_redirect_uris: [...client.postLogoutRedirectUris],
    grant_types: [...client.grants],
    response_types: client.grants.includes('authorization_code') ? ['code'] : [],
    scope: client.scopes.join(' ') || 'openid',
    id_token_signed_response_alg: client.signingAlgorithm,
    token_endpoint_auth_method: method,
    ...(method === 'client_secret_basic' ? { client_secret: SECRET_IS_ELSEWHERE } : {}),
    ...(client.jwks === undefined ? {} : { jwks: client.jwks }),
    mintmark: own,
  } as AdapterPayload
}

function authMethodOf({ type, jwks }: Client): 'none' | 'private_key_jwt' | 'client_secret_basic' {
  if (type === 'public') return 'none'
  return jwks === undefined ? 'client_secret_basic' : 'private_key_jwt'
}

/** The part that `clientMetadata` put there. */
export function ownMetadata(client: object | undefined): OwnMetadata {
  return (client as { mintmark: OwnMetadata }).mintmark
}
