import fc from 'fast-check'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startServer, type TestServer } from '../support/server.ts'

/** Whatever arrives is refused in the API's own shape, or harmless: never a 5xx, never a change. */
let server: TestServer

beforeAll(async () => {
  server = await startServer()
})
afterAll(() => server.close())

const strange = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.constantFrom('\u0000', '\ud800', "' or 1=1--", '%', '__proto__', '9'.repeat(400), '-0', '1e9'),
)
const json = fc.oneof(fc.jsonValue(), strange)
const bodies = fc.oneof(
  fc.json(),
  fc.record({ access_token: json }).map((value) => JSON.stringify(value)),
  fc
    .record({ name: json, roles: fc.oneof(json, fc.array(json)), description: json })
    .map((access_token) => JSON.stringify({ access_token: { ...access_token, roles: ['nope'] } })),
  fc.record({ enabled: strange, max_attempts: json }).map((auth_security_policy) =>
    // `enabled` is always of a wrong type, lest the rest be a change that an admin may make.
    JSON.stringify({ auth_security_policy }),
  ),
  fc.string({ unit: 'binary' }),
)

const queries = fc
  .dictionary(
    fc.constantFrom(
      'limit',
      'offset',
      'user_id',
      'role',
      'all',
      'page_size',
      'token_ids',
      'cursor',
    ),
    strange,
  )
  .map((query) => new URLSearchParams(query).toString())

const targets = fc.oneof(
  fc.constantFrom<[string, string]>(
    ['GET', '/v1/access-tokens/'],
    ['POST', '/v1/access-tokens/'],
    ['PATCH', '/v1/access-tokens/999'],
    ['POST', '/v1/access-tokens:validate'],
    ['PATCH', '/v1/auth/security-policy'],
    ['GET', '/v1/tokens'],
  ),
  strange.map((id): [string, string] => {
    const safe = encodeURIComponent(id.toWellFormed())
    return ['DELETE', `/v1/tokens/x${safe}`]
  }),
)

function looksLikeTheApi(url: string, body: unknown): boolean {
  const members = Object.keys(body as object)
    .sort()
    .join()
  return members === (url.startsWith('/v1/tokens') ? 'code,message' : 'code,details,message')
}

it('is never answered with a 5xx, and changes nothing', { timeout: 60_000 }, async () => {
  const before = await server.call('GET', '/api/v1/audit')
  await fc.assert(
    fc.asyncProperty(targets, queries, bodies, async ([method, path], query, rawBody) => {
      const url = `${path}?${query}`
      const answer = await server.call(method, url, {
        headers: { 'content-type': 'application/json' },
        ...(method === 'GET' ? {} : { rawBody }),
      })
      expect(answer.status).toBeLessThan(500)
      if (answer.status >= 400) expect(looksLikeTheApi(url, answer.body)).toBe(true)
    }),
    { numRuns: 500 },
  )
  const after = await server.call('GET', '/api/v1/audit')
  expect(after.body).toEqual(before.body)
})

it('opens no session', { timeout: 60_000 }, async () => {
  const login = fc.record(
    { name: json, password: json, encrypted_password: json, rsa_key_id: json },
    { requiredKeys: [] },
  )
  const identity = fc.record(
    {
      password: fc.oneof(json, fc.record({ user: fc.record({ name: json, id: json }) })),
      token: fc.oneof(json, fc.record({ uuid: json })),
    },
    { requiredKeys: [] },
  )
  await fc.assert(
    fc.asyncProperty(login, identity, async (form, who) => {
      const attempts: [string, unknown][] = [
        ['/v1/auth/tokens:login', { auth: form }],
        ['/v1/auth/tokens', { auth: { identity: who } }],
      ]
      for (const [url, body] of attempts) {
        const answer = await server.call('POST', url, { token: null, body })
        expect(answer.status).toBeGreaterThanOrEqual(400)
        expect(answer.status).toBeLessThan(500)
        expect(looksLikeTheApi(url, answer.body)).toBe(true)
      }
    }),
    { numRuns: 60 },
  )
})
