import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startPrepared } from '../support/routes.ts'
import { startServer, type TestServer } from '../support/server.ts'

let server: TestServer

beforeAll(async () => {
  server = await startServer({ MINTMARK_LOG_LEVEL: 'info' })
})
afterAll(() => server.close())

const SEED = 20_300_101
const RUNS = 5000

const latin1 = fc.uint8Array({ maxLength: 300 }).map((bytes) =>
  Buffer.from(bytes)
    .toString('latin1')
    .replace(/[\r\n\0]/g, ' '),
)
const base64url = fc
  .uint8Array({ maxLength: 200 })
  .map((bytes) => Buffer.from(bytes).toString('base64url'))
const json = fc.json().map((text) => Buffer.from(text).toString('base64url'))
const jwtHeader = fc
  .record({
    alg: fc.constantFrom('none', 'None', 'HS256', 'RS256', 'ES256', '', 7, null),
    kid: fc.constantFrom('../../dev/null', "' or '1'='1", '', 'x'.repeat(5000), null),
    tid: fc.constantFrom('018bcfe5-6800-7000-8000-000000000000', '', 7, null),
    jku: fc.constant('http://127.0.0.1:9/'),
    crit: fc.constantFrom(undefined, ['b64'], 'x'),
  })
  .map((header) => Buffer.from(JSON.stringify(header)).toString('base64url'))
const jwt = fc
  .tuple(fc.oneof(jwtHeader, json, base64url), fc.oneof(json, base64url), base64url)
  .map((parts) => parts.join('.'))
const ours = base64url.map((text) => `mm_api_${text}`)
const credential = fc.oneof(
  latin1,
  base64url,
  jwt,
  ours,
  jwt.map((text) => `eyJ${text}`),
)
const scheme = fc.constantFrom(
  'Bearer ',
  'bearer ',
  'BEARER  ',
  'Basic ',
  'Bearer',
  '',
  'Negotiate ',
)
const authorization = fc.oneof(
  fc.tuple(scheme, credential).map((parts) => parts.join('')),
  fc.array(credential, { maxLength: 5 }).map((parts) => `Bearer ${parts.join(', ')}`),
  fc.integer({ min: 1, max: 15_000 }).map((length) => `Bearer ${'a'.repeat(length)}`),
)
const cookie = fc
  .array(
    fc.tuple(
      fc.oneof(fc.constantFrom('XMS_AUTH_TOKEN', '__proto__', 'session'), latin1),
      credential,
    ),
    { maxLength: 6 },
  )
  .map((pairs) => pairs.map((pair) => pair.join('=')).join('; '))

const PATHS = [
  '/api/v1/me',
  '/api/v1/users',
  '/api/auth/v1/userInfo',
  '/v1/access-tokens',
  '/v1/tokens',
]

test(`${RUNS} random Authorization values are refused, never with a 5xx`, async () => {
  let i = 0
  await fc.assert(
    fc.asyncProperty(authorization, async (value) => {
      const path = PATHS[i++ % PATHS.length] ?? ''
      const headers = { authorization: value }
      const { status } = await server.call('GET', path, { token: null, headers })
      expect([400, 401]).toContain(status)
    }),
    { seed: SEED, numRuns: RUNS },
  )
})

test(`${RUNS} random Cookie values are refused, never with a 5xx`, async () => {
  let i = 0
  await fc.assert(
    fc.asyncProperty(cookie, async (value) => {
      const path = PATHS[i++ % PATHS.length] ?? ''
      const { status } = await server.call('GET', path, { token: null, headers: { cookie: value } })
      expect([400, 401]).toContain(status)
    }),
    { seed: SEED, numRuns: RUNS },
  )
})

test('the server is alive afterwards', async () => {
  expect((await server.call('GET', '/api/v1/me')).status).toBe(200)
})

test('a failure while a credential is looked at is a refusal, not a pass', async () => {
  let broken = false
  const fragile = await startPrepared((app) => {
    app.addHook('onRequest', async () => {
      if (broken) throw new Error('The database is on fire.')
    })
  })
  broken = true
  for (const path of PATHS) {
    for (const token of [fragile.adminToken, null]) {
      const { status, text } = await fragile.call('GET', path, { token })
      expect(status).toBe(500)
      expect(text).not.toContain('fire')
    }
  }
  broken = false
  expect((await fragile.call('GET', '/api/v1/me')).status).toBe(200)
  await fragile.close()
})
