import { generateKeyPairSync } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { makeClient, seedFamily } from '../support/clients.ts'
import { type Call, checkedCall } from '../support/openapi.ts'
import { EVERYTHING, isAlive, logIn, makeToken } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { snapshot } from '../support/tables.ts'

let server: TestServer
let call: Call
let names = 0

beforeAll(async () => {
  server = await startServer()
  call = await checkedCall(server)
})
afterAll(() => server.close())

const CALLBACK = 'https://app.example.com/callback'
const newName = () => `client ${++names} of the tests`
const create = (body: Record<string, unknown>, options: Record<string, unknown> = {}) =>
  call('POST', '/api/v1/clients', { body: { name: newName(), ...body }, ...options })
const patch = (id: string, body: unknown, token = server.adminToken) =>
  call('PATCH', `/api/v1/clients/${id}`, { body, token })
const show = async (id: string) => (await call('GET', `/api/v1/clients/${id}`)).body
const userOf = (id: string) => call('GET', `/api/v1/users/${id}`)
const matches = async (id: string, secret: string | null) => {
  const { clients } = server.app.core
  return clients.secretMatches(await clients.byClientId(id), secret ?? '')
}
const publicKey = () =>
  generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'jwk' })

describe('a client is made', () => {
  test('with defaults, a random client id, a secret and a service account', async () => {
    const { status, body, headers } = await create({ name: 'portal', redirectUris: [CALLBACK] })
    expect(status).toBe(201)
    expect(headers.location).toBe(`/api/v1/clients/${body.id}`)
    const { secret, ...client } = body
    expect(secret).toMatch(/^mm_client_[0-9A-Za-z]{49}$/)
    expect(client).toEqual({
      id: expect.any(String),
      clientId: expect.stringMatching(/^[0-9a-f]{40}$/),
      name: 'portal',
      type: 'confidential',
      secretPreview: `mm_client_…${secret.slice(-4)}`,
      jwks: null,
      redirectUris: [CALLBACK],
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
      applicationSlug: null,
      applicationName: null,
      serviceUserId: expect.any(String),
      active: true,
      createdAt: '2030-01-01T00:00:00.000Z',
      updatedAt: '2030-01-01T00:00:00.000Z',
    })
    expect(await show(client.id)).toEqual(client)
    expect(await show(client.clientId)).toEqual(client)
    expect((await userOf(client.serviceUserId)).body).toMatchObject({
      username: `client:${client.clientId}`,
      displayName: 'portal',
      kind: 'service',
      globalRole: 'USER',
      active: true,
      hasPassword: false,
      roles: [],
      groups: [],
    })
    expect(await matches(client.clientId, secret)).toBe(true)
  })

  test('with everything that can be said about one, lists without repetitions', async () => {
    const wish = {
      clientId: 'billing-2030',
      redirectUris: [CALLBACK, 'http://127.0.0.1:3000/callback'],
      postLogoutRedirectUris: ['https://app.example.com/bye'],
      grants: [
        'authorization_code',
        'refresh_token',
        'client_credentials',
        'urn:ietf:params:oauth:grant-type:device_code',
        'urn:ietf:params:oauth:grant-type:token-exchange',
      ],
      scopes: ['openid', 'mintmark', 'goauthentik.io/api', 'read:a'],
      resources: ['https://api.example.com/v1'],
      serves: ['https://billing.example.com/'],
      codeTtl: 'seconds=30',
      accessTokenTtl: ' hours=1 ; minutes=2 ',
      refreshTokenTtl: 'weeks=1',
      subjectMode: 'user_username',
      requirePkce: false,
      applicationName: 'Büro & Lager (2)',
    }
    const { status, body } = await create({ ...wish, scopes: [...wish.scopes, 'openid'] })
    expect(status).toBe(201)
    expect(body).toMatchObject({ ...wish, applicationSlug: 'buro-lager-2' })
  })

  test('public: without a secret, with an app’s own scheme', async () => {
    const { status, body } = await create({
      type: 'public',
      redirectUris: ['com.example.app:/callback'],
    })
    expect(status).toBe(201)
    expect(body).toMatchObject({ type: 'public', secret: null, secretPreview: null })
    expectProblem(await call('POST', `/api/v1/clients/${body.id}/secret`), 400, 'invalid_input')
  })

  test('with keys instead of a secret', async () => {
    const jwks = { keys: [publicKey()] }
    const { status, body } = await create({ grants: ['client_credentials'], jwks })
    expect(status).toBe(201)
    expect(body).toMatchObject({ jwks, secret: null, secretPreview: null })
    expectProblem(await call('POST', `/api/v1/clients/${body.id}/secret`), 400, 'invalid_input')
  })

  test('only to introspect what is meant for it: without any grant', async () => {
    const { status, body } = await create({ grants: [], serves: ['https://api.example.com/'] })
    expect(status).toBe(201)
    expect(body.secret).toMatch(/^mm_client_/)
  })

  test('with an endless client id, whose account is called by its id', async () => {
    const clientId = 'x'.repeat(255)
    const { status, body } = await create({ clientId, grants: ['client_credentials'] })
    expect(status).toBe(201)
    expect((await userOf(body.serviceUserId)).body.username).toBe(`client:${body.id}`)
  })

  test('once per Idempotency-Key, and the answer comes again with its secret', async () => {
    const headers = { 'idempotency-key': 'make-one-client' }
    const body = { name: 'once', grants: ['client_credentials'] }
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => call('POST', '/api/v1/clients', { headers, body })),
    )
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([201]))
    expect(new Set(answers.map(({ text }) => text)).size).toBe(1)
    const replays = answers.filter((answer) => answer.headers['idempotency-replayed'] === 'true')
    expect(replays).toHaveLength(9)
    const { items } = (await call('GET', '/api/v1/clients?text=once')).body
    expect(items).toHaveLength(1)
    const other = await call('POST', '/api/v1/clients', { headers, body: { ...body, name: 'two' } })
    expectProblem(other, 422, 'idempotency_mismatch')
  })
})

describe('what is refused when a client is made', () => {
  const alone = { grants: ['client_credentials'] }
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })

  test.each<[string, Record<string, unknown>]>([
    ['no name', { ...alone, name: '' }],
    ['a name with a line break', { ...alone, name: 'a\nb' }],
    ['a client id of two characters', { ...alone, clientId: 'ab' }],
    ['a client id with a space', { ...alone, clientId: 'a b c' }],
    ['a client id with a slash', { ...alone, clientId: 'a/b/c' }],
    ['a client id with a colon', { ...alone, clientId: 'a:b:c' }],
    ['an endless client id', { ...alone, clientId: 'x'.repeat(256) }],
    ['an unknown type', { ...alone, type: 'secret' }],
    ['an unknown grant', { grants: ['password'] }],
    ['the implicit grant', { grants: ['implicit'] }],
    ['codes without a redirect URI', { grants: ['authorization_code'] }],
    ['the defaults without a redirect URI', {}],
    ['refresh tokens from nothing', { grants: ['refresh_token'] }],
    ['refresh tokens from credentials', { grants: ['client_credentials', 'refresh_token'] }],
    ['a public client of its own', { type: 'public', grants: ['client_credentials'] }],
    [
      'a public client that exchanges',
      { type: 'public', grants: ['urn:ietf:params:oauth:grant-type:token-exchange'] },
    ],
    ['a public client without PKCE', { type: 'public', grants: [], requirePkce: false }],
    ['a public client with keys', { type: 'public', grants: [], jwks: { keys: [publicKey()] } }],
    ['a scope with a space', { ...alone, scopes: ['a b'] }],
    ['too many scopes', { ...alone, scopes: Array.from({ length: 101 }, (_, i) => `s${i}`) }],
    ['a redirect over http', { redirectUris: ['http://app.example.com/'] }],
    ['a redirect with a fragment', { redirectUris: [`${CALLBACK}#x`] }],
    ['a redirect to a script', { redirectUris: ['javascript:alert(1)'] }],
    ['a redirect to anywhere', { redirectUris: ['https://*.example.com/'] }],
    ['an app’s own scheme', { redirectUris: ['com.example.app:/callback'] }],
    ['a logout to a script', { ...alone, postLogoutRedirectUris: ['javascript:alert(1)'] }],
    ['a logout over http', { ...alone, postLogoutRedirectUris: ['http://app.example.com/'] }],
    [
      'too many redirects',
      { redirectUris: Array.from({ length: 51 }, (_, i) => `${CALLBACK}/${i}`) },
    ],
    ['a resource with a fragment', { ...alone, resources: ['https://api.example.com/#x'] }],
    ['a resource that is no address', { ...alone, serves: ['urn:example:api'] }],
    ['a code for a second', { ...alone, codeTtl: 'seconds=4' }],
    ['a code for an hour', { ...alone, codeTtl: 'seconds=61' }],
    ['an access token for a moment', { ...alone, accessTokenTtl: 'seconds=29' }],
    ['an access token for two days', { ...alone, accessTokenTtl: 'days=1;seconds=1' }],
    ['a refresh token for a moment', { ...alone, refreshTokenTtl: 'seconds=59' }],
    ['a refresh token for eleven years', { ...alone, refreshTokenTtl: 'days=3651' }],
    ['a lifetime in another notation', { ...alone, accessTokenTtl: '10m' }],
    ['an unknown subject', { ...alone, subjectMode: 'user_password' }],
    ['a slug without a name', { ...alone, applicationSlug: 'app' }],
    ['a slug with a space', { ...alone, applicationName: 'app', applicationSlug: 'a b' }],
    ['a name of which no slug comes', { ...alone, applicationName: '李' }],
    ['no keys', { ...alone, jwks: { keys: [] } }],
    ['a private key', { ...alone, jwks: { keys: [privateKey.export({ format: 'jwk' })] } }],
    ['a symmetric key', { ...alone, jwks: { keys: [{ kty: 'oct', k: 'AAAA' }] } }],
    ['keys by address', { ...alone, jwksUri: 'https://keys.example.com/' }],
    ['a secret of its own', { ...alone, secret: 'mine' }],
    ['an account of its own', { ...alone, serviceUserId: 'x' }],
    ['active', { ...alone, active: true }],
  ])('%s: 400, and nothing is changed', async (_, wish) => {
    const before = await snapshot(server)
    expectProblem(await create(wish), 400, 'invalid_input')
    expect(await snapshot(server)).toEqual(before)
  })

  test('a refusal shows how a lifetime is written, and its bounds', async () => {
    const detail = async (accessTokenTtl: string) =>
      (await create({ ...alone, accessTokenTtl })).body.detail
    expect(await detail('soon')).toContain('hours=1;minutes=30')
    expect(await detail('days=2')).toBe('accessTokenTtl must be from seconds=30 to days=1.')
  })

  test('a client id that is taken, also by case or by another client’s id', async () => {
    const { id, clientId } = await makeClient(server, { clientId: 'taken-client' })
    for (const taken of [clientId, 'Taken-Client', id]) {
      expectProblem(await create({ ...alone, clientId: taken }), 409, 'name_taken')
    }
    await server.makeUser({ username: 'client:squatted' })
    expectProblem(await create({ ...alone, clientId: 'squatted' }), 409, 'name_taken')
    await call('DELETE', `/api/v1/clients/${id}`)
    expect((await create({ ...alone, clientId })).status).toBe(201)
  })

  test('twenty at once with one client id: one is made', async () => {
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => create({ ...alone, clientId: 'raced-for' })),
    )
    const statuses = answers.map(({ status }) => status).sort()
    expect(statuses).toEqual([201, ...Array.from({ length: 19 }, () => 409)])
  })
})

describe('a client is changed', () => {
  test('by its id or its client id; what is not said stays', async () => {
    const made = await makeClient(server, { clientId: 'changing', applicationName: 'Shop' })
    server.clock.advance(1000)
    const { secret: _, ...before } = { ...(await show(made.id)), secret: null }
    const name = newName()
    const { status, body } = await patch('changing', { name, scopes: ['read:a'] })
    expect(status).toBe(200)
    expect(body).toEqual({ ...before, name, scopes: ['read:a'], updatedAt: expect.any(String) })
    expect(body.updatedAt > before.updatedAt).toBe(true)
    expect((await userOf(made.serviceUserId)).body.displayName).toBe(name)
    expect(await matches('changing', made.secret)).toBe(true)

    expect((await patch(made.id, { applicationSlug: 'store' })).body).toMatchObject({
      applicationName: 'Shop',
      applicationSlug: 'store',
    })
    expect((await patch(made.id, { applicationName: null })).body).toMatchObject({
      applicationName: null,
      applicationSlug: null,
    })
  })

  test('its id, client id, type, account and secret cannot be', async () => {
    const { id, clientId } = await makeClient(server)
    for (const edit of [
      { id: clientId },
      { clientId: 'another' },
      { type: 'public' },
      { serviceUserId: id },
      { secret: 'mine' },
      { secretPreview: 'x' },
      { createdAt: '2030-01-01T00:00:00Z' },
    ]) {
      expectProblem(await patch(id, edit), 400, 'invalid_input')
    }
  })

  test('only to what fits together', async () => {
    const { id } = await makeClient(server)
    for (const edit of [
      { grants: ['authorization_code'] },
      { grants: ['client_credentials', 'refresh_token'] },
      { redirectUris: ['http://app.example.com/'] },
      { codeTtl: 'hours=1' },
      { applicationSlug: 'app' },
      { name: '' },
      { name: null },
      { scopes: null },
    ]) {
      expectProblem(await patch(id, edit), 400, 'invalid_input')
    }
    const open = (await create({ type: 'public', grants: [], requirePkce: true })).body
    for (const edit of [
      { grants: ['client_credentials'] },
      { requirePkce: false },
      { jwks: { keys: [publicKey()] } },
    ]) {
      expectProblem(await patch(open.id, edit), 400, 'invalid_input')
    }
  })

  test('keys replace the secret; without them the client needs a new one', async () => {
    const { id, clientId, secret } = await makeClient(server)
    const jwks = { keys: [publicKey()] }
    expect((await patch(id, { jwks })).body).toMatchObject({ jwks, secretPreview: null })
    expect(await matches(clientId, secret)).toBe(false)
    expect((await patch(id, { jwks: null })).body).toMatchObject({
      jwks: null,
      secretPreview: null,
    })
    expect(await matches(clientId, secret)).toBe(false)
    const next = await call('POST', `/api/v1/clients/${id}/secret`)
    expect(await matches(clientId, next.body.secret)).toBe(true)
  })

  test('scopes that it loses are gone from its own tokens at once', async () => {
    const { id, serviceUserId } = await makeClient(server, { scopes: ['read:a', 'read:b'] })
    const { secret } = await makeToken(server, { ownerId: serviceUserId, scopes: ['read:a'] })
    const verdict = async () =>
      (await call('POST', '/api/v1/tokens/verify', { body: { token: secret, scope: 'read:a' } }))
        .body
    expect(await verdict()).toMatchObject({ active: true })
    await patch(id, { scopes: ['read:b'] })
    expect(await verdict()).toEqual({ active: false, reason: 'scope_missing' })
    await patch(id, { scopes: ['read:a'] })
    expect(await verdict()).toMatchObject({ active: true })
  })
})

describe('the secret is replaced', () => {
  test('at once, as often as asked, and shown in that answer alone', async () => {
    const { id, clientId, secret: first } = await makeClient(server)
    const { status, body } = await call('POST', `/api/v1/clients/${clientId}/secret`)
    expect(status).toBe(200)
    expect(body).toMatchObject({ id, secretPreview: `mm_client_…${body.secret.slice(-4)}` })
    expect(await matches(clientId, first)).toBe(false)
    expect(await matches(clientId, body.secret)).toBe(true)
    expect(await show(id)).not.toHaveProperty('secret')
    expect((await show(id)).secretPreview).toBe(body.secretPreview)
  })

  test('once per Idempotency-Key', async () => {
    const { id, clientId } = await makeClient(server)
    const replace = (key: string) =>
      call('POST', `/api/v1/clients/${id}/secret`, { headers: { 'idempotency-key': key } })
    const first = await replace('replace-secret-1')
    const again = await replace('replace-secret-1')
    expect(again.body).toEqual(first.body)
    expect(again.headers['idempotency-replayed']).toBe('true')
    const next = await replace('replace-secret-2')
    expect(next.body.secret).not.toBe(first.body.secret)
    expect(await matches(clientId, first.body.secret)).toBe(false)
    expect(await matches(clientId, next.body.secret)).toBe(true)
  })
})

describe('a client that is disabled or deleted', () => {
  async function clientInUse() {
    const client = await makeClient(server, { scopes: ['openid', 'mintmark'] })
    const alice = await server.makeUser({ username: `user-${++names}` })
    const { id: clientId } = client
    const family = await seedFamily(server, { userId: alice.id, clientId })
    const own = await makeToken(server, { ...EVERYTHING, ownerId: client.serviceUserId })
    expect(await isAlive(server, family.access.secret)).toBe(true)
    expect(await isAlive(server, own.secret)).toBe(true)
    return { client, alice, family, own }
  }
  const grantsOf = async (clientId: string) =>
    (await call('GET', `/api/v1/grants?clientId=${clientId}`)).body.items
  const statesOf = async (clientId: string) =>
    (await call('GET', `/api/v1/tokens?clientId=${clientId}`)).body.items.map(
      ({ state }: { state: string }) => state,
    )

  test('loses all that it was given, for good; others lose nothing', async () => {
    const { client, alice, family, own } = await clientInUse()
    const other = await clientInUse()
    expect((await patch(client.id, { active: false })).body).toMatchObject({ active: false })
    expect(await isAlive(server, family.access.secret)).toBe(false)
    expect(await isAlive(server, own.secret)).toBe(false)
    expect(await isAlive(server, alice.token)).toBe(true)
    expect(await matches(client.clientId, client.secret)).toBe(false)
    expect(await statesOf(client.id)).toEqual(['revoked', 'revoked'])
    expect(await grantsOf(client.id)).toEqual([])
    expect((await userOf(client.serviceUserId)).body.active).toBe(false)

    await patch(client.id, { active: true })
    expect((await userOf(client.serviceUserId)).body.active).toBe(true)
    expect(await matches(client.clientId, client.secret)).toBe(true)
    expect(await isAlive(server, family.access.secret)).toBe(false)
    expect(await statesOf(client.id)).toEqual(['revoked', 'revoked'])
    expect(await grantsOf(client.id)).toEqual([])

    expect(await isAlive(server, other.family.access.secret)).toBe(true)
    expect(await grantsOf(other.client.id)).toHaveLength(1)
  })

  test('is not there any more; its tokens still say whose they were', async () => {
    const { client, alice, family, own } = await clientInUse()
    expect((await call('DELETE', `/api/v1/clients/${client.clientId}`)).status).toBe(204)
    for (const secret of [family.access.secret, own.secret]) {
      expect(await isAlive(server, secret)).toBe(false)
    }
    expect(await isAlive(server, alice.token)).toBe(true)
    expect(await matches(client.clientId, client.secret)).toBe(false)
    for (const id of [client.id, client.clientId]) {
      expectProblem(await call('GET', `/api/v1/clients/${id}`), 404, 'not_found')
      expectProblem(await patch(id, {}), 404, 'not_found')
      expectProblem(await call('POST', `/api/v1/clients/${id}/secret`), 404, 'not_found')
      expectProblem(await call('DELETE', `/api/v1/clients/${id}`), 404, 'not_found')
    }
    expectProblem(await userOf(client.serviceUserId), 404, 'not_found')
    const { body } = await call('GET', `/api/v1/tokens/${family.refresh.token.id}`)
    expect(body).toMatchObject({ state: 'revoked', client: { clientId: client.clientId } })
    expect(await grantsOf(client.id)).toEqual([])
  })

  test('its account cannot be deleted without it', async () => {
    const { id, serviceUserId } = await makeClient(server)
    expectProblem(await call('DELETE', `/api/v1/users/${serviceUserId}`), 409, 'conflict')
    expect((await call('DELETE', `/api/v1/clients/${id}`)).status).toBe(204)
  })
})

describe('the list', () => {
  test('is newest first, by state and by text, in pages', async () => {
    for (const name of ['listed-a', 'listed-b', 'listed-c']) {
      server.clock.advance(1)
      await makeClient(server, { name, clientId: `id-of-${name}`, applicationName: `App ${name}` })
    }
    await patch('id-of-listed-b', { active: false })
    const list = async (query: string) =>
      (await call('GET', `/api/v1/clients?${query}`)).body.items.map(
        ({ name }: { name: string }) => name,
      )
    expect(await list('text=LISTED-')).toEqual(['listed-c', 'listed-b', 'listed-a'])
    expect(await list('text=id-of-listed-b')).toEqual(['listed-b'])
    expect(await list('text=app%20listed-a')).toEqual(['listed-a'])
    expect(await list('text=listed-&active=true')).toEqual(['listed-c', 'listed-a'])
    expect(await list('text=listed-&active=false')).toEqual(['listed-b'])
    expect(await list('text=%25')).toEqual([])
    const first = (await call('GET', '/api/v1/clients?text=listed-&limit=2')).body
    const rest = (
      await call('GET', `/api/v1/clients?text=listed-&limit=2&cursor=${first.nextCursor}`)
    ).body
    expect(first.items).toHaveLength(2)
    expect(rest.items[0].name).toBe('listed-a')
    expectProblem(await call('GET', '/api/v1/clients?active=yes'), 400, 'invalid_input')
  })
})

/** What opens a client, or what it is given, further than before. */
const GAINS: Record<string, unknown>[] = [
  { redirectUris: [CALLBACK, 'https://evil.example.com/'] },
  { postLogoutRedirectUris: ['https://evil.example.com/'] },
  { resources: ['https://api.example.com'] },
  { serves: ['https://api.example.com'] },
  { requirePkce: false },
  { refreshTokenTtl: 'days=3000' },
]

describe('who may', () => {
  const requests = (id: string): [string, string, unknown?][] => [
    ['GET', '/api/v1/clients'],
    ['GET', `/api/v1/clients/${id}`],
    ['POST', '/api/v1/clients', { name: 'x', grants: ['client_credentials'] }],
    ['PATCH', `/api/v1/clients/${id}`, { name: 'x' }],
    ['POST', `/api/v1/clients/${id}/secret`],
    ['DELETE', `/api/v1/clients/${id}`],
  ]
  const send = ([method, url, body]: [string, string, unknown?], token: string) =>
    call(method, url, body === undefined ? { token } : { token, body })

  test('nobody but administrators, and reading is all that READ_ONLY does', async () => {
    const { id } = await makeClient(server)
    const bob = await server.makeUser({ username: 'bob' })
    const readOnly = await makeToken(server, { ...EVERYTHING, accessLevel: 'READ_ONLY' })
    for (const request of requests(id)) {
      expectProblem(await send(request, bob.token), 403, 'forbidden')
      const { status } = await send(request, readOnly.secret)
      expect(status, request.join(' ')).toBe(request[0] === 'GET' ? 200 : 403)
    }
  })

  test('a login and an unlimited token give secrets; whatever is limited gives none beyond itself', async () => {
    const { id } = await makeClient(server, { scopes: ['read:a'] })
    const me = (await call('GET', '/api/v1/me')).body.user
    const carol = await server.makeUser({ username: 'carol', globalRole: 'ADMIN' })
    const { session } = await logIn(server, { id: carol.id, username: 'carol' })
    const expiresAt = new Date(server.clock.now() + 3_600_000).toISOString()
    const limited = async (limit: Record<string, unknown>) =>
      (await makeToken(server, { ...EVERYTHING, ownerId: me.id, ...limit })).secret
    const ends = await limited({ expiresAt })
    const narrow = await limited({ scopes: ['read:b'], expiresAt: null })
    const elsewhere = await limited({ allowedIps: ['127.0.0.0/8'], expiresAt: null })
    const wide = await limited({ scopes: ['read:a'], roles: ['admin'], expiresAt: null })
    const makes = (token: string, body: Record<string, unknown> = { scopes: ['read:a'] }) =>
      create({ grants: ['client_credentials'], ...body }, { token })

    for (const token of [session, wide]) {
      expect((await makes(token)).status).toBe(201)
      expect((await call('POST', `/api/v1/clients/${id}/secret`, { token })).status).toBe(200)
    }
    for (const token of [ends, narrow, elsewhere]) {
      expectProblem(await makes(token), 403, 'beyond_rights')
      const replaced = await call('POST', `/api/v1/clients/${id}/secret`, { token })
      expectProblem(replaced, 403, 'beyond_rights')
      expectProblem(await patch(id, { jwks: { keys: [publicKey()] } }, token), 403, 'beyond_rights')
      expectProblem(await patch(id, { scopes: ['read:a', 'c'] }, token), 403, 'beyond_rights')
      // What gives nobody anything is no matter of limits.
      expect((await patch(id, { name: newName() }, token)).status).toBe(200)
      const open = { type: 'public', grants: ['authorization_code'], redirectUris: [CALLBACK] }
      const phone = await makes(token, { ...open, scopes: ['read:a'] })
      expectProblem(phone, 403, 'beyond_rights')
      for (const gain of GAINS) expectProblem(await patch(id, gain, token), 403, 'beyond_rights')
    }
  })

  test('not an access token that stands for another token', async () => {
    const service = await makeToken(server, { ...EVERYTHING, kind: 'service', expiresAt: null })
    const { body } = await server.call('POST', '/api/auth/v1/refresh', { token: service.secret })
    server.remember(body.token)
    const made = await create({ grants: ['client_credentials'] }, { token: body.token })
    expectProblem(made, 403, 'forbidden')
  })
})
