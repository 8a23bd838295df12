import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Call, checkedCall } from '../support/openapi.ts'
import { isAlive, logIn, makeToken } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { startServer, type TestServer } from '../support/server.ts'

let server: TestServer
let call: Call

beforeAll(async () => {
  server = await startServer()
  call = await checkedCall(server)
})
afterAll(() => server.close())

const HOUR_MS = 3_600_000

function adminLogin(password = server.adminPassword) {
  return call('POST', '/api/v1/login', { token: null, body: { username: 'admin', password } })
}

async function newSession(): Promise<string> {
  const { body } = await adminLogin()
  return body.token
}

describe('login', () => {
  test('answers a session token that says who one is and ends with logout', async () => {
    const login = await adminLogin()
    expect(login.status).toBe(200)
    expect(login.body.user.username).toBe('admin')
    expect(login.body.expiresAt).toBe(new Date(server.clock.now() + 12 * HOUR_MS).toISOString())
    const token = login.body.token as string

    const me = await call('GET', '/api/v1/me', { token })
    expect(me.status).toBe(200)
    expect(me.body.token).toMatchObject({ kind: 'session', state: 'active', via: 'api' })
    expect(me.body.rights).toMatchObject({ admin: true, roles: ['admin'], scopes: null })

    expect((await call('POST', '/api/v1/logout', { token })).status).toBe(204)
    expectProblem(await call('GET', '/api/v1/me', { token }), 401, 'unauthenticated')
  })

  test('gives every login a session of its own', async () => {
    const [one, two] = [await newSession(), await newSession()]
    expect(one).not.toBe(two)
    await call('POST', '/api/v1/logout', { token: one })
    expect(await isAlive(server, two)).toBe(true)
  })

  test.each([
    ['nothing', undefined],
    ['no password', { username: 'admin' }],
    ['an empty name', { username: '', password: 'x' }],
    ['an endless name', { username: 'a'.repeat(255), password: 'x' }],
    ['an endless password', { username: 'admin', password: 'x'.repeat(257) }],
    ['a number', { username: 'admin', password: 123_456 }],
    ['a list', [{ username: 'admin', password: 'x' }]],
    ['something besides', { username: 'admin', password: 'x', globalRole: 'ADMIN' }],
  ])('refuses %s with 400', async (_, body) => {
    expectProblem(await call('POST', '/api/v1/login', { token: null, body }), 400, 'invalid_input')
  })

  test('refuses a wrong password with 401', async () => {
    expectProblem(await adminLogin('certainly not it'), 401, 'login_failed')
  })

  test('takes no new password where none is due', async () => {
    const body = {
      username: 'admin',
      password: server.adminPassword,
      newPassword: 'other words too',
    }
    expectProblem(await call('POST', '/api/v1/login', { token: null, body }), 400, 'invalid_input')
  })
})

describe('a session', () => {
  test('ends after its lifetime, however busy', async () => {
    const token = await newSession()
    for (let hour = 0; hour < 12; hour += 0.5) {
      expect(await isAlive(server, token)).toBe(true)
      server.clock.advance(HOUR_MS / 2)
    }
    expect(await isAlive(server, token)).toBe(false)
  })

  test('ends when it stands idle, even across a restart', async () => {
    const token = await newSession()
    server.clock.advance(HOUR_MS - 1)
    expect(await isAlive(server, token)).toBe(true)
    await server.restart()
    server.clock.advance(HOUR_MS - 1)
    expect(await isAlive(server, token)).toBe(true)
    server.clock.advance(HOUR_MS)
    expect(await isAlive(server, token)).toBe(false)
  })

  test('is the only thing that logs out', async () => {
    expectProblem(await call('POST', '/api/v1/logout'), 400, 'invalid_input')
    expect(await isAlive(server, server.adminToken)).toBe(true)
  })
})

describe('changing the password', () => {
  const change = (token: string, currentPassword: string, newPassword: string) => {
    server.remember(newPassword)
    return call('POST', '/api/v1/me/password', { token, body: { currentPassword, newPassword } })
  }

  test('ends the other logins, keeps this one, and binds at once', async () => {
    const { id } = await server.makeUser({ username: 'alice' })
    const { session, password } = await logIn(server, { id, username: 'alice' })
    const login = (text: string) =>
      call('POST', '/api/v1/login', { token: null, body: { username: 'alice', password: text } })
    const other = (await login(password)).body.token as string
    const next = 'seven green umbrellas in a row'

    expect((await change(session, password, next)).status).toBe(204)
    expect(await isAlive(server, session)).toBe(true)
    expect(await isAlive(server, other)).toBe(false)
    expectProblem(await login(password), 401, 'login_failed')
    expect((await login(next)).status).toBe(200)
  })

  test('needs the current one', async () => {
    const refusal = await change(await newSession(), 'not the current one', 'a long new password')
    expectProblem(refusal, 401, 'login_failed')
  })

  test.each([
    ['too short', 'fourteen chars'],
    ['the username over and over', 'adminadminadminadmin'],
    ['well known', 'correcthorsebatterystaple'],
  ])('refuses one that is %s', async (_, weak) => {
    expectProblem(await change(await newSession(), server.adminPassword, weak), 400)
  })

  test('is for logins, not for tokens', async () => {
    const refusal = await change(server.adminToken, server.adminPassword, 'a long new password')
    expectProblem(refusal, 403, 'forbidden')
  })
})

describe('a one-time password', () => {
  const reset = (id: string, token?: string) =>
    call('POST', `/api/v1/users/${id}/one-time-password`, token === undefined ? {} : { token })
  const login = (body: Record<string, string>) =>
    call('POST', '/api/v1/login', { token: null, body: { username: 'bob', ...body } })
  const newPassword = 'an entirely different phrase'
  let bob: string

  beforeAll(async () => {
    bob = (await server.makeUser({ username: 'bob' })).id
    server.remember(newPassword)
  })

  async function oneTimePassword(): Promise<string> {
    const { body } = await reset(bob)
    server.remember(body.oneTimePassword)
    return body.oneTimePassword
  }

  test('works once, and only for replacing it', async () => {
    const password = await oneTimePassword()
    expectProblem(await login({ password }), 403, 'password_change_required')
    expectProblem(await login({ password, newPassword: password }), 400, 'invalid_input')
    expectProblem(await login({ password, newPassword: 'short' }), 400, 'invalid_input')
    const [one, two] = await Promise.all([
      login({ password, newPassword }),
      login({ password, newPassword }),
    ])
    expect([one.status, two.status].sort()).toEqual([200, 401])
    expectProblem(await login({ password, newPassword }), 401, 'login_failed')
    expect((await login({ password: newPassword })).status).toBe(200)
  })

  test('dies after a day', async () => {
    const password = await oneTimePassword()
    server.clock.advance(24 * HOUR_MS)
    expectProblem(await login({ password, newPassword }), 401, 'login_failed')
  })

  test('ends the logins of its user and replaces the password', async () => {
    const { session, password } = await logIn(server, { id: bob, username: 'bob' })
    await oneTimePassword()
    expect(await isAlive(server, session)).toBe(false)
    expectProblem(await login({ password }), 401, 'login_failed')
  })

  test('is for admins to give, and for people only', async () => {
    const { secret } = await makeToken(server, { ownerId: bob, accessLevel: 'FULL_ACCESS' })
    expectProblem(await reset(bob, secret), 403, 'forbidden')
    expectProblem(await reset('018bcfe5-6800-7000-8000-000000000000'), 404, 'not_found')
    const body = { username: 'robot', kind: 'service' }
    const service = await call('POST', '/api/v1/users', { body })
    expectProblem(await reset(service.body.id), 400, 'invalid_input')
  })
})
