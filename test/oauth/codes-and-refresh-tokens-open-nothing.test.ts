import { afterAll, beforeAll, expect, it } from 'vitest'
import type { Client } from '../../src/core/clients/client.ts'
import { makeClient, seedFamily } from '../support/clients.ts'
import { seedServer } from '../support/oauth-seed.ts'
import { type Answer, startServer, type TestServer } from '../support/server.ts'

// They are for the token endpoint, where their client must say who it is. Nowhere else do they stand for
// the user, not even for one who is an administrator and let the client do everything.

let server: TestServer
let secrets: Record<'code' | 'refresh' | 'access', string>

const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'
let basic: string

beforeAll(async () => {
  server = await startServer()
  const alice = await server.makeUser({ username: 'alice', globalRole: 'ADMIN' })
  const scopes = ['openid', 'mintmark']
  const client = await makeClient(server, { clientId: 'portal', grants: [EXCHANGE], scopes })
  server.remember(client.secret ?? '')
  basic = Buffer.from(`portal:${client.secret}`).toString('base64')
  const family = await seedFamily(server, { userId: alice.id, clientId: client.id })
  const code = await (await seedServer(server)).token({
    kind: 'oauth_code',
    ownerId: alice.id,
    client: { id: client.id } as Client,
    scopes,
    grantId: family.id,
  })
  server.remember(code.secret)
  secrets = {
    code: code.secret,
    refresh: family.refresh.secret,
    access: family.access.secret,
  }
})
afterAll(() => server.close())

const asBearer = (method: string, path: string) => (token: string) =>
  server.call(method, path, { token })
const form = (path: string, fields: Record<string, string>, authorization: string) =>
  server.call('POST', path, {
    token: null,
    headers: { 'content-type': 'application/x-www-form-urlencoded', authorization },
    rawBody: new URLSearchParams(fields).toString(),
  })

/** Doors that take a token of some kind, with what they answer to the access token of the same grant. */
const DOORS: [string, (secret: string) => Promise<Answer>, number][] = [
  ['our API', asBearer('GET', '/api/v1/me'), 200],
  ['S7', asBearer('GET', '/api/auth/v1/userInfo'), 200],
  ['XMS', asBearer('GET', '/v1/auth/security-policy'), 200],
  ['Opal', asBearer('GET', '/v1/tokens'), 200],
  ['authentik', asBearer('GET', '/api/v3/oauth2/access_tokens/'), 200],
  ['userinfo', asBearer('GET', '/oauth2/userinfo'), 401],
  ['the refresh of S7', asBearer('POST', '/api/auth/v1/refresh'), 401],
  [
    'a session of XMS',
    (uuid) =>
      server.call('POST', '/v1/auth/tokens', {
        token: null,
        body: { auth: { identity: { token: { uuid } } } },
      }),
    201,
  ],
  [
    'a question of introspection',
    (token) => form('/oauth2/introspect', { token }, `Bearer ${token}`),
    200,
  ],
  [
    'an exchange',
    (token) =>
      form(
        '/oauth2/token',
        { grant_type: EXCHANGE, subject_token: token, subject_token_type: ACCESS_TOKEN },
        `Basic ${basic}`,
      ),
    200,
  ],
]

it.each(DOORS)('%s', async (_, knock, forAccess) => {
  for (const kind of ['code', 'refresh'] as const) {
    const answer = await knock(secrets[kind])
    expect([400, 401, 403], `${kind}: ${answer.text}`).toContain(answer.status)
  }
  const answer = await knock(secrets.access)
  expect(answer.status, answer.text).toBe(forAccess)
  const opened = answer.body.token?.uuid ?? answer.body.access_token
  if (typeof opened === 'string') server.remember(opened)
})
