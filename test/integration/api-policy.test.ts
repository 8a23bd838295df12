import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Call, checkedCall } from '../support/openapi.ts'
import { EVERYTHING, makeToken, setPolicy } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { startServer, type TestServer } from '../support/server.ts'

let server: TestServer
let call: Call
let alice: { id: string; token: string }

beforeAll(async () => {
  server = await startServer()
  call = await checkedCall(server)
  alice = await server.makeUser({ username: 'alice' })
})
afterAll(() => server.close())

const DEFAULTS = {
  usersMayCreateTokens: false,
  tokensMayMintChildren: true,
  sessionTtlSeconds: 43_200,
  sessionIdleSeconds: 3600,
  defaultTokenTtlSeconds: 7_776_000,
  maxTokenTtlSeconds: null,
  tokenRules: [],
  rotationOverlapSeconds: 86_400,
  lockoutEnabled: true,
  lockoutAttempts: 10,
  lockoutSeconds: 900,
  passwordTtlSeconds: null,
  passwordExpirationWarning: false,
  retentionSeconds: 7_776_000,
  useMinutesSeconds: 172_800,
  useHoursSeconds: 5_184_000,
  useDaysSeconds: 63_072_000,
  noticeSeconds: [2_592_000, 604_800, 86_400],
  leakAction: 'quarantine',
}
const read = async () => (await call('GET', '/api/v1/policy', { token: alice.token })).body
const patch = (body: unknown, token = server.adminToken) =>
  call('PATCH', '/api/v1/policy', { token, ...(body === undefined ? {} : { body }) })

test('everybody may read it; a change binds and survives a restart', async () => {
  expect(await read()).toEqual(DEFAULTS)
  const edit = { defaultTokenTtlSeconds: null, maxTokenTtlSeconds: 60, lockoutEnabled: false }
  const { status, body } = await patch(edit)
  expect(status).toBe(200)
  expect(body).toEqual({ ...DEFAULTS, ...edit })
  await server.restart()
  expect(await read()).toEqual({ ...DEFAULTS, ...edit })
  await patch(DEFAULTS)
  expect(await read()).toEqual(DEFAULTS)
})

describe('in effect', () => {
  const inSeconds = (seconds: number) => new Date(server.clock.now() + seconds * 1000).toISOString()
  const newToken = async (body: Record<string, unknown>) =>
    (await call('POST', '/api/v1/tokens', { body })).body

  test('the default lifetime, bounded by the longest', async () => {
    await setPolicy(server, { defaultTokenTtlSeconds: 100 })
    expect((await newToken({ name: 'a' })).expiresAt).toBe(inSeconds(100))
    await setPolicy(server, { maxTokenTtlSeconds: 50 })
    expect((await newToken({ name: 'b' })).expiresAt).toBe(inSeconds(50))
    await setPolicy(server, { defaultTokenTtlSeconds: null, maxTokenTtlSeconds: null })
    expect((await newToken({ name: 'c' })).expiresAt).toBeNull()
    await patch(DEFAULTS)
  })

  test('the lifetime of logins', async () => {
    await setPolicy(server, { sessionTtlSeconds: 60, sessionIdleSeconds: 60 })
    const body = { username: 'admin', password: server.adminPassword }
    const login = await call('POST', '/api/v1/login', { token: null, body })
    expect(login.body.expiresAt).toBe(inSeconds(60))
    await patch(DEFAULTS)
  })

  test('the age of passwords', async () => {
    server.clock.advance(3600_001)
    await setPolicy(server, { passwordTtlSeconds: 3600 })
    const login = (newPassword?: string) =>
      call('POST', '/api/v1/login', {
        token: null,
        body: {
          username: 'admin',
          password: server.adminPassword,
          ...(newPassword === undefined ? {} : { newPassword }),
        },
      })
    expectProblem(await login(), 403, 'password_change_required')
    const next = 'ninety nine violet balloons'
    server.remember(next)
    expect((await login(next)).status).toBe(200)
    expectProblem(await login(), 401, 'login_failed')
    await patch(DEFAULTS)
  })

  test('how long ended tokens stay visible', async () => {
    await setPolicy(server, { retentionSeconds: 10 })
    const { id } = await makeToken(server, {})
    await call('DELETE', `/api/v1/tokens/${id}`)
    server.clock.advance(10_000)
    await server.app.core.purge()
    expect((await call('GET', `/api/v1/tokens/${id}`)).status).toBe(200)
    server.clock.advance(1)
    await server.app.core.purge()
    expectProblem(await call('GET', `/api/v1/tokens/${id}`), 404, 'not_found')
    await patch(DEFAULTS)
  })
})

describe('refused with 400, nothing changed', () => {
  test.each([
    ['no body', undefined],
    ['null', null],
    ['a list', []],
    ['something unknown', { usersMayCreateUsers: true }],
    ['null where a value is needed', { usersMayCreateTokens: null }],
    ['null for a number', { sessionTtlSeconds: null }],
    ['text for a flag', { lockoutEnabled: 'false' }],
    ['text for a number', { lockoutAttempts: '5' }],
    ['a fraction', { lockoutAttempts: 5.5 }],
    ['none at all', { lockoutAttempts: 0 }],
    ['too many', { lockoutAttempts: 101 }],
    ['a negative time', { lockoutSeconds: -1 }],
    ['minus nothing', { sessionTtlSeconds: -0 }],
    ['a session of a second', { sessionTtlSeconds: 1 }],
    ['an endless session', { sessionTtlSeconds: 31 * 86_400 }],
    ['more than a number can count', { maxTokenTtlSeconds: 2 ** 53 }],
  ])('%s', async (_, edit) => {
    expectProblem(await patch(edit), 400, 'invalid_input')
    expect(await read()).toEqual(DEFAULTS)
  })

  test('a number beyond all numbers', async () => {
    const refusal = await call('PATCH', '/api/v1/policy', {
      rawBody: '{"maxTokenTtlSeconds":1e309}',
    })
    expectProblem(refusal, 400, 'invalid_input')
    expect(await read()).toEqual(DEFAULTS)
  })
})

test('only admins that write change it', async () => {
  const { secret } = await makeToken(server, { ...EVERYTHING, accessLevel: 'READ_ONLY' })
  for (const token of [alice.token, secret]) {
    expectProblem(await patch({ usersMayCreateTokens: true }, token), 403, 'forbidden')
  }
  expect(await read()).toEqual(DEFAULTS)
})
