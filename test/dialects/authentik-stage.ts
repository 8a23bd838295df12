import type { Client } from '../../src/core/clients/client.ts'
import { type OauthSeed, type SeededToken, seedServer } from '../support/oauth-seed.ts'
import type { TestServer } from '../support/server.ts'

export const FAMILIES = [
  { path: 'refresh_tokens', kind: 'oauth_refresh', model: 'RefreshToken' },
  { path: 'access_tokens', kind: 'oauth_access', model: 'AccessToken' },
  { path: 'authorization_codes', kind: 'oauth_code', model: 'AuthorizationCode' },
] as const

export const base = '/api/v3/oauth2'

/** The people and clients of these tests, and the way to give tokens to them. */
export interface Stage {
  seed: OauthSeed
  alice: Person
  bob: Person
  admin: { pk: number }
  app: Client
  /** A token of a client; answers its pk. */
  give(wish: Partial<SeededToken> & Pick<SeededToken, 'kind'>): Promise<{
    pk: number
    id: string
    secret: string
  }>
}

interface Person {
  id: string
  pk: number
  token: string
}

export async function stage(server: TestServer): Promise<Stage> {
  const seed = await seedServer(server)
  const person = async (username: string): Promise<Person> => {
    const made = await server.makeUser({ username })
    return { ...made, pk: await pkOf(server, made.id) }
  }
  const alice = await person('alice')
  const bob = await person('bob')
  const me = await server.call('GET', '/api/v1/me')
  const app = await seed.client({
    name: 'App',
    clientId: 'app',
    redirectUris: ['https://app.example.com/a', 'https://app.example.com/b'],
  })
  return {
    seed,
    alice,
    bob,
    admin: { pk: await pkOf(server, me.body.user.id) },
    app,
    async give(wish) {
      const { token, secret } = await seed.token({ ownerId: alice.id, client: app, ...wish })
      server.remember(secret)
      return { pk: token.serial ?? 0, id: token.id, secret }
    },
  }
}

/** Of those that users have; our own API does not show it. */
async function pkOf(server: TestServer, userId: string): Promise<number> {
  const labels = await server.app.core.userLabels([userId as never])
  return labels.get(userId as never)?.serial ?? 0
}
