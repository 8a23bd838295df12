import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { logIn, makeToken, setPolicy } from '../support/people.ts'
import { expectProblem, withoutRequestId } from '../support/problem.ts'
import { startServer, type TestServer } from '../support/server.ts'

let server: TestServer
let alice: { id: string; token: string }
let password: string

beforeAll(async () => {
  server = await startServer()
  alice = await server.makeUser({ username: 'alice' })
  await server.call('PATCH', `/api/v1/users/${alice.id}`, { body: { email: 'alice@example.org' } })
  password = (await logIn(server, { id: alice.id, username: 'alice' })).password
  const disabled = await server.makeUser({ username: 'disabled' })
  const { password: theirs } = await logIn(server, { id: disabled.id, username: 'disabled' })
  await server.call('PATCH', `/api/v1/users/${disabled.id}`, { body: { active: false } })
  disabledPassword = theirs
  await server.makeUser({ username: 'no-password' })
  await server.call('POST', '/api/v1/users', { body: { username: 'robot', kind: 'service' } })
})
afterAll(() => server.close())

let disabledPassword: string
const login = (username: string, given: string) =>
  server.call('POST', '/api/v1/login', { token: null, body: { username, password: given } })

test('unknown, wrong, disabled and password-less users get one and the same answer', async () => {
  const first = await login('nobody at all', 'some password')
  expectProblem(first, 401, 'login_failed')
  const others = [
    await login('alice', 'some password'),
    await login('alice@example.org', 'some password'),
    await login('disabled', 'some password'),
    await login('disabled', disabledPassword),
    await login('no-password', 'some password'),
    await login('robot', 'some password'),
    await login(alice.id, password),
  ]
  for (const other of others) expect(withoutRequestId(other)).toEqual(withoutRequestId(first))
})

test('a locked account and a locked name that nobody has look the same', async () => {
  expect((await login('alice', password)).status).toBe(200)
  await setPolicy(server, { lockoutAttempts: 2 })
  for (let i = 0; i < 2; i++) await login('alice', 'wrong')
  for (let i = 0; i < 2; i++) await login('nobody', 'wrong')
  const known = await login('alice', password)
  const unknown = await login('nobody', password)
  expectProblem(known, 429, 'too_many_requests')
  expect(withoutRequestId(unknown)).toEqual(withoutRequestId(known))
  server.clock.advance(900_000)
  expect((await login('alice', password)).status).toBe(200)
})

describe('the state of a credential', () => {
  const me = (token: string) => server.call('GET', '/api/v1/me', { token })

  test('is not told to its holder: one answer for all that is not good', async () => {
    const revoked = await makeToken(server, {})
    await server.call('DELETE', `/api/v1/tokens/${revoked.id}`)
    const rotated = await makeToken(server, {})
    await server.call('POST', `/api/v1/tokens/${rotated.id}/rotate`, {
      body: { overlapSeconds: 0 },
    })
    const expiresAt = new Date(server.clock.now() + 1000).toISOString()
    const expired = await makeToken(server, { expiresAt })
    const elsewhere = await makeToken(server, { allowedIps: ['10.0.0.1'] })
    const owner = await server.makeUser({ username: 'gone' })
    await server.call('PATCH', `/api/v1/users/${owner.id}`, { body: { active: false } })
    server.clock.advance(1000)
    const unknown = await me('0123456789abcdef0123456789abcdef')
    expectProblem(unknown, 401, 'unauthenticated')
    const others = [
      await me('not even close'),
      await me('eyJhbGciOiJub25lIn0.e30.'),
      await me(revoked.secret),
      await me(rotated.secret),
      await me(expired.secret),
      await me(elsewhere.secret),
      await me(owner.token),
    ]
    for (const other of others) expect(withoutRequestId(other)).toEqual(withoutRequestId(unknown))
  })
})

describe('guessing', () => {
  test('two hundred guesses at once get ten looks at the password', async () => {
    await setPolicy(server, { lockoutAttempts: 10 })
    const statuses: number[] = []
    const guess = async () => {
      const wrong = (_: unknown, i: number) => login('alice', `guess number ${i}`)
      const guesses = await Promise.all(Array.from({ length: 200 }, wrong))
      statuses.push(...guesses.map(({ status }) => status))
    }
    const looked = () => statuses.filter((status) => status === 401).length
    // On a busy machine most of them wait for too long, and are sent away without a look.
    for (let round = 0; round < 10 && looked() < 10; round++) await guess()
    await guess()
    expect(looked()).toBe(10)
    for (const status of new Set(statuses)) expect([401, 429, 503]).toContain(status)
    const right = await login('alice', password)
    expectProblem(right, 429, 'too_many_requests')
    const wait = Number(right.headers['retry-after'])
    expect(wait).toBeGreaterThan(0)
    server.clock.advance(900_000)
    expect((await login('alice', password)).status).toBe(200)
  })

  test('every spelling, every address and every wire counts towards one account', async () => {
    await setPolicy(server, { lockoutAttempts: 6 })
    const spellings = ['alice', 'ALICE', ' alice', 'alice ', 'ａｌｉｃｅ', 'Alice@Example.ORG']
    for (const [i, spelling] of spellings.entries()) {
      const answer = await server.app.server.inject({
        method: 'POST',
        url: '/api/v1/login',
        remoteAddress: `192.0.2.${i}`,
        payload: { username: spelling, password: 'wrong' },
      })
      expect(answer.statusCode, spelling).toBe(401)
    }
    for (const spelling of spellings) expectProblem(await login(spelling, password), 429)
    const body = { auth: { identity: { password: { user: { name: 'alice', password } } } } }
    const onXms = await server.call('POST', '/v1/auth/tokens', { token: null, body })
    expect(onXms.status).not.toBe(200)
    // Who is already in stays in.
    expect((await server.call('GET', '/api/v1/me', { token: alice.token })).status).toBe(200)
    server.clock.advance(900_000)
    expect((await login('alice', password)).status).toBe(200)
  })

  test('a lockout outlives a restart, and an administrator ends it', async () => {
    await setPolicy(server, { lockoutAttempts: 2 })
    for (let i = 0; i < 2; i++) await login('alice', 'wrong')
    await server.restart()
    expectProblem(await login('alice', password), 429)
    await logIn(server, { id: alice.id, username: 'alice' })
  })

  test('a right password forgives the wrong ones before it', async () => {
    server.clock.advance(900_000)
    const { password: now } = await logIn(server, { id: alice.id, username: 'alice' })
    for (let round = 0; round < 3; round++) {
      expectProblem(await login('alice', 'wrong'), 401)
      expect((await login('alice', now)).status).toBe(200)
    }
  })

  test('the current password cannot be guessed past the lockout with a stolen session', async () => {
    const { session, password: now } = await logIn(server, { id: alice.id, username: 'alice' })
    const change = (currentPassword: string) =>
      server.call('POST', '/api/v1/me/password', {
        token: session,
        body: { currentPassword, newPassword: 'nine slow grey elephants' },
      })
    server.remember('nine slow grey elephants')
    for (let i = 0; i < 2; i++) expectProblem(await change(`guess ${i}`), 401, 'login_failed')
    expectProblem(await change(now), 429, 'too_many_requests')
  })
})
