import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { SECRET_PATTERN } from '../../src/core/secret.ts'
import { EVERYTHING, logIn, makeGroup, makeToken } from '../support/people.ts'
import { listen, oneAnswer, sendRaw } from '../support/raw-socket.ts'
import { pathOf, type Route, startWithRoutes } from '../support/routes.ts'
import type { TestServer } from '../support/server.ts'

let server: TestServer
let routes: Route[]
/** Everything that was ever handed out or typed in. */
const secrets: Record<string, string> = {}
let tokenId: string
let aliceId: string
let clientId: string
let port: number

beforeAll(async () => {
  const started = await startWithRoutes()
  server = started.server
  routes = started.routes
  port = await listen(server)
  const alice = await server.makeUser({ username: 'alice' })
  aliceId = alice.id
  await makeGroup(server, 'crew', { [alice.id]: 'READ' })
  const { session, password } = await logIn(server, { id: alice.id, username: 'alice' })
  const api = await makeToken(server, { ...EVERYTHING, ownerId: alice.id })
  tokenId = api.id
  const rotated = await server.call('POST', `/api/v1/tokens/${api.id}/rotate`, {
    headers: { 'idempotency-key': 'kept-for-a-day' },
  })
  const service = await makeToken(server, { ownerId: alice.id, kind: 'service' })
  const jwt = await server.call('POST', '/api/auth/v1/refresh', { token: service.secret })
  const xms = await server.call('POST', '/v1/access-tokens', {
    body: { access_token: { name: 'xms', roles: ['admin'] } },
  })
  const client = await server.call('POST', '/api/v1/clients', {
    body: { name: 'client', clientId: 'client', grants: ['client_credentials'] },
    headers: { 'idempotency-key': 'client-for-a-day' },
  })
  const replaced = await server.call('POST', '/api/v1/clients/client/secret', {
    headers: { 'idempotency-key': 'secret-for-a-day' },
  })
  clientId = client.body.id
  Object.assign(secrets, {
    admin: server.adminToken,
    adminPassword: server.adminPassword,
    session,
    password,
    api: api.secret,
    rotated: rotated.body.secret,
    service: service.secret,
    jwt: jwt.body.token,
    xms: xms.body.access_token.uuid,
    client: client.body.secret,
    clientReplaced: replaced.body.secret,
  })
  for (const [name, secret] of Object.entries(secrets)) {
    if (typeof secret !== 'string') throw new Error(`No secret: ${name}`)
    server.remember(secret)
  }
})
// Closing fails if any of them is in the log, which is written at the level trace.
afterAll(() => server.close())

/** The secret, its usual encodings, and its tail. */
function spellings(secret: string): string[] {
  const bytes = Buffer.from(secret)
  return [secret, bytes.toString('base64'), bytes.toString('hex'), secret.slice(-20)]
}

function expectNoSecret(text: string, where: string): void {
  for (const [name, secret] of Object.entries(secrets)) {
    for (const spelling of spellings(secret)) {
      expect(text.includes(spelling), `${name} in ${where}`).toBe(false)
    }
  }
}

test('a secret is in the answer that creates it and in no other', async () => {
  const rows = new Map([
    ['userId', 'alice'],
    ['groupId', 'crew'],
    ['tokenId', tokenId],
    ['name', 'verifier'],
  ])
  for (const { method, url } of routes) {
    if (method !== 'GET' || url.startsWith('/docs/static')) continue
    const paths = [tokenId, aliceId, clientId, '1', '2', '3'].map((id) =>
      pathOf(url, (name) => rows.get(name) ?? id),
    )
    for (const path of new Set(paths)) {
      const { text } = await server.call('GET', path)
      expectNoSecret(text, path)
      expect(text.match(SECRET_PATTERN), path).toBeNull()
      expect(text, path).not.toMatch(/\$argon2|"digest"|pepper_?id|PRIVATE KEY|"sealed"/i)
    }
  }
})

test('none is in the database, its write-ahead log or any other file', async () => {
  const contents = readdirSync(server.dataDir).map((file): [string, Buffer] => [
    file,
    readFileSync(join(server.dataDir, file)),
  ])
  const loot = await server.database.loot()
  expect(loot.toString('latin1')).toContain('argon2id')
  for (const [file, bytes] of [...contents, ['all of the database', loot] as const]) {
    const content = bytes.toString('latin1')
    expectNoSecret(content, file)
    expect(content).not.toMatch(/PRIVATE KEY|"d":"/)
  }
})

describe('none is in the log, even at the level trace, when', () => {
  const query = () => encodeURIComponent(secrets.api ?? '')
  const raw = (target: string, ...headers: string[]) =>
    sendRaw(
      port,
      `${target} HTTP/1.1\r\n${['Host: x', ...headers].join('\r\n')}\r\n\r\n`,
      oneAnswer,
    )

  test('it is in a query', async () => {
    for (const path of [
      '/api/v1/me',
      '/api/v1/tokens',
      '/v1/access-tokens',
      '/nowhere',
      '/v1/tokens',
    ]) {
      await server.call('GET', `${path}?token=${query()}`, { token: null })
      await server.call('GET', `${path}?token=${query()}&token=${query()}`, { token: null })
    }
    await server.call('POST', `/v1/access-tokens:validate?subject_access_token=${query()}`)
  })

  test('it is in a path, good or bad', async () => {
    await server.call('GET', `/api/v1/tokens/${query()}`)
    await server.call('DELETE', `/v1/tokens/${query()}`)
    await server.call('GET', `/${query()}/%zz`)
    await server.call('GET', `/api/v1/${query()}`)
    await server.call('PUT', `/api/v1/me/${'x'.repeat(1100)}${query()}`)
  })

  test('it is where a name belongs', async () => {
    const secret = secrets.api ?? ''
    const asName = [
      ['POST', '/api/v1/login', { username: secret, password: secret }],
      ['POST', '/api/v1/login', { username: 'alice', password: secret, [secret]: 1 }],
      ['POST', '/api/v1/tokens', { name: 'x', ownerId: secret }],
      ['POST', '/api/v1/tokens', { name: 'x', roles: [secret] }],
      ['POST', '/api/v1/tokens', { name: 'x', groups: [{ group: secret, mode: 'READ' }] }],
      ['POST', '/api/v1/tokens', { name: 'x', allowedIps: [secret] }],
      ['POST', '/api/v1/tokens', { name: 'x', expiresAt: secret }],
      ['POST', '/api/v1/users', { username: 'x', roles: [secret] }],
      ['POST', '/api/v1/users', { username: 'x', email: secret }],
      ['PATCH', `/api/v1/roles/${secret}`, {}],
      ['GET', `/api/v1/clients/${secret}`, undefined],
      ['PATCH', `/api/v1/clients/${secret}`, {}],
      ['POST', '/api/v1/clients', { name: 'x', redirectUris: [secret] }],
      ['POST', '/api/v1/clients', { name: 'x', grants: [], codeTtl: secret }],
      ['POST', '/api/v1/clients', { name: 'x', grants: [], serves: [secret] }],
      ['GET', `/api/v1/grants?userId=${query()}`, undefined],
      ['GET', `/api/v1/users?username=${query()}`, undefined],
      ['GET', `/api/v1/tokens?group=${query()}`, undefined],
      ['GET', `/api/v1/audit?from=${query()}`, undefined],
    ] as const
    for (const [method, path, body] of asName) {
      const { status } = await server.call(method, path, body === undefined ? {} : { body })
      expect(status, path).toBeGreaterThanOrEqual(400)
      expect(status, path).toBeLessThan(500)
    }
  })

  test('it comes in a header that is wrong, or twice', async () => {
    const bearer = `Authorization: Bearer ${secrets.api}`
    await raw('GET /api/v1/me', bearer, bearer)
    await raw('GET /api/v1/me', `Authorization: Basic ${secrets.api}`)
    await raw('GET /api/v1/me', `Cookie: XMS_AUTH_TOKEN=${secrets.api}`)
    await raw('GET /v1/access-tokens', `Xms-Auth-Token: ${secrets.api}`, bearer)
    await raw('GET /api/v1/me', `Idempotency-Key: ${secrets.api}`, bearer)
  })

  test('the request cannot be parsed', async () => {
    const bearer = `Authorization: Bearer ${secrets.api}`
    await raw(`GET /?token=${secrets.api}`, bearer, 'Bad Header: x')
    await raw('GET /api/v1/me', bearer, 'Content-Length: 1', 'Content-Length: 2')
    await raw('GET /api/v1/me', bearer, `X-Big: ${'x'.repeat(17_000)}`)
    await raw('STEAL /api/v1/me', bearer)
    const json = ['Content-Type: application/json', 'Content-Length: 100']
    await raw('POST /api/v1/tokens', bearer, ...json)
    await sendRaw(
      port,
      `POST /api/v1/login HTTP/1.1\r\nHost: x\r\n${bearer}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n`,
    )
  })

  test('the body is no JSON', async () => {
    for (const rawBody of [`{"token":"${secrets.api}"`, `${secrets.api}`, `{"${secrets.api}":1}`]) {
      await server.call('POST', '/api/v1/tokens/verify', { rawBody })
      await server.call('POST', '/api/v1/tokens/explain', { rawBody })
    }
  })
})

test('the log has a line for each request, with route, status and actor, and nothing raw', () => {
  const lines = server.logLines().map((line) => JSON.parse(line))
  const requests = lines.filter(({ msg }) => msg === 'request')
  expect(requests.length).toBeGreaterThan(100)
  for (const line of requests) {
    expect(Object.keys(line).sort()).toEqual(
      expect.arrayContaining(['method', 'milliseconds', 'reqId', 'route', 'status']),
    )
    expect(line.route).toMatch(/^(none|[/*])/)
    for (const member of ['url', 'headers', 'query', 'body', 'req', 'remoteAddress']) {
      expect(line).not.toHaveProperty(member)
    }
  }
  const text = server.logLines().join('')
  expectNoSecret(text, 'the log')
  // Bytes that were logged as numbers.
  const numbers = [...Buffer.from(secrets.api ?? '')].join(',')
  expect(text.includes(numbers)).toBe(false)
  expect(text).not.toContain('rawPacket')
})

test('the metrics have routes as patterns, never addresses or ids', async () => {
  const { text } = await server.call('GET', '/metrics', { token: null })
  expectNoSecret(text, '/metrics')
  expect(text).not.toContain(tokenId)
  expect(text).not.toContain(aliceId)
  expect(text).toContain('route="/api/v1/tokens/:id"')
  expect(text).not.toContain('/nowhere')
})
