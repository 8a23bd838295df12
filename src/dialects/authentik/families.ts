import type { ClientTokenFilter } from '../../core/tokens/store.ts'

/** One of the three kinds of grant that this wire shows. */
export interface Family {
  path: string
  /** What the original calls its class, in sentences. */
  model: string
  /** The same in words, as OPTIONS tells it. */
  title: string
  filter: Pick<ClientTokenFilter, 'kind' | 'withSpent'>
}

export const REFRESH_TOKENS: Family = {
  path: 'refresh_tokens',
  model: 'RefreshToken',
  title: 'Refresh Token',
  // Rotated ones stay listed, as revoked.
  filter: { kind: 'oauth_refresh', withSpent: true },
}

export const ACCESS_TOKENS: Family = {
  path: 'access_tokens',
  model: 'AccessToken',
  title: 'Access Token',
  filter: { kind: 'oauth_access', withSpent: true },
}

export const AUTHORIZATION_CODES: Family = {
  path: 'authorization_codes',
  model: 'AuthorizationCode',
  title: 'Authorization Code',
  // The original deletes a code when it is exchanged.
  filter: { kind: 'oauth_code', withSpent: false },
}

export const FAMILIES = [REFRESH_TOKENS, ACCESS_TOKENS, AUTHORIZATION_CODES]
