import { randomBytes } from 'node:crypto'
import type { Client } from '../../src/core/clients/client.ts'
import type { ClientId, GrantId, TokenId, UserId } from '../../src/core/id.ts'
import { idMaker } from '../../src/core/id.ts'
import type { Keyring } from '../../src/core/keys/keyring.ts'
import { digestOf, makeSecret, previewOf } from '../../src/core/secret.ts'
import type { Repositories } from '../../src/core/store.ts'
import type { Limits, Token, TokenKind } from '../../src/core/tokens/token.ts'
import { clientStore } from '../../src/store/clients.ts'
import { tokenStore } from '../../src/store/tokens.ts'
import type { TestServer } from './server.ts'

/** What an OAuth client was given, as the rows that the engine would have written. */
export interface OauthSeed {
  client(wish?: Partial<Client>): Promise<Client>
  token(wish: SeededToken): Promise<{ token: Token; secret: string }>
  /** Marks a token as exchanged for its successor: a refresh token rotated, a code redeemed. */
  spend(id: TokenId): Promise<void>
}

export interface SeededToken {
  kind: Extract<TokenKind, `oauth_${string}`>
  ownerId: string
  client: Client
  scopes?: string[]
  /** Default: an hour. `null`: it does not end. */
  ttlMs?: number | null
  grantId?: string
  idClaims?: Record<string, unknown>
  limits?: Partial<Limits>
}

const HOUR_MS = 3_600_000

/** Seeds through any store, inside its transactions. */
export function oauthSeed(deps: {
  transaction: <T>(work: (tx: Pick<Repositories, 'tokens' | 'clients'>) => Promise<T>) => Promise<T>
  keyring: () => Keyring
  clock: { now(): number }
  /** The account that the clients act as for themselves. */
  serviceUserId: string
}): OauthSeed {
  const newId = idMaker(deps.clock, randomBytes)
  let made = 0

  return {
    client(wish = {}) {
      const atMs = deps.clock.now()
      const name = wish.name ?? `client ${++made}`
      return deps.transaction((tx) =>
        tx.clients.insert({
          id: newId() as ClientId,
          clientId: randomBytes(20).toString('hex'),
          name,
          type: 'confidential',
          secretPreview: undefined,
          jwks: undefined,
          redirectUris: ['https://app.example.com/callback'],
          postLogoutRedirectUris: [],
          grants: ['authorization_code', 'refresh_token'],
          scopes: ['openid', 'profile', 'email', 'offline_access'],
          resources: [],
          serves: [],
          codeTtl: 'minutes=1',
          accessTokenTtl: 'minutes=10',
          refreshTokenTtl: 'days=30',
          subjectMode: 'hashed_user_id',
          signingAlgorithm: 'RS256',
          requirePkce: true,
          applicationSlug: undefined,
          applicationName: undefined,
          serviceUserId: deps.serviceUserId as UserId,
          active: true,
          createdAtMs: atMs,
          updatedAtMs: atMs,
          secret: undefined,
          ...wish,
        }),
      )
    },
    async token({ kind, ownerId, client, scopes = ['openid'], ttlMs = HOUR_MS, ...wish }) {
      const atMs = deps.clock.now()
      const id = newId() as TokenId
      const secret = makeSecret('mintmark', kind.replace('oauth_', ''), randomBytes)
      const pepper = deps.keyring().pepper()
      const token = await deps.transaction((tx) =>
        tx.tokens.insert({
          id,
          kind,
          ownerId: ownerId as UserId,
          creatorId: ownerId as UserId,
          creatorTokenId: undefined,
          name: undefined,
          nameKey: undefined,
          description: '',
          via: 'oauth',
          format: 'mintmark',
          preview: previewOf(secret, 'mintmark'),
          limits: {
            accessLevel: 'FULL_ACCESS',
            roles: null,
            groups: null,
            scopes,
            allowedIps: null,
            ...wish.limits,
          },
          metadata: {},
          familyId: (wish.grantId ?? (newId() as GrantId)) as TokenId,
          parentId: undefined,
          createdAtMs: atMs,
          updatedAtMs: atMs,
          expiresAtMs: ttlMs === null ? undefined : atMs + ttlMs,
          idleSeconds: undefined,
          oauth: { clientId: client.id, audience: undefined, boundKey: undefined },
          digest: digestOf(secret, pepper),
          pepperId: pepper.id,
          ...(wish.idClaims === undefined ? {} : { idClaims: wish.idClaims }),
        }),
      )
      return { token, secret }
    },
    async spend(id) {
      await deps.transaction((tx) => tx.tokens.spend(id, undefined, deps.clock.now()))
    },
  }
}

/** The same beside a running server, on a connection of its own. */
export async function seedServer(server: TestServer): Promise<OauthSeed> {
  const { body } = await server.call('GET', '/api/v1/me')
  return oauthSeed({
    transaction: (work) =>
      server.database.transaction((tx) =>
        work({ tokens: tokenStore(tx), clients: clientStore(tx) }),
      ),
    keyring: () => server.app.core.keyring,
    clock: server.clock,
    serviceUserId: body.user.id,
  })
}
