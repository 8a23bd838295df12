import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startServer, type TestServer } from '../support/server.ts'
import { checked, givePassword } from './checked.ts'
import { anonymously, as } from './xms-client.ts'

let server: TestServer
const xms = checked(() => server, 'xms')
const withPassword = (user: unknown) => anonymously({ auth: { identity: { password: { user } } } })
const withToken = (uuid: string) => anonymously({ auth: { identity: { token: { uuid } } } })
const login = (auth: unknown) => xms('POST', '/v1/auth/tokens:login', anonymously({ auth }))
const status = async (url: string, token: string) =>
  (await server.call('GET', url, as(token))).status

let alice: { id: string; token: string }
let password: string

beforeAll(async () => {
  server = await startServer()
  await server.call('POST', '/api/v1/roles', { body: { name: 'builder' } })
  alice = await server.makeUser({ username: 'alice', roles: ['builder'] })
  await server.call('PATCH', `/api/v1/users/${alice.id}`, { body: { email: 'alice@example.com' } })
  password = await givePassword(server, alice.id)
})
afterAll(() => server.close())

describe('opening a session', () => {
  it('answers 201 with everything that clients read', async () => {
    const answer = await login({ name: 'alice', password })
    const now = new Date(server.clock.now()).toISOString()
    const expires = new Date(server.clock.now() + 12 * 3_600_000).toISOString()
    expect(answer.status).toBe(201)
    const { uuid } = answer.body.token
    server.remember(uuid)
    expect(uuid).toMatch(/^[0-9a-f]{32}$/)
    expect(answer.body).toEqual({
      token: {
        create: now,
        expires,
        roles: ['builder'],
        user: {
          id: 2,
          name: 'alice',
          email: 'alice@example.com',
          external_id: '',
          enabled: true,
          create: now,
          password_last_update: now,
          roles: ['builder'],
        },
        uuid,
        valid: true,
      },
    })
    expect(await status('/v1/access-tokens/', uuid)).toBe(200)
    expect(answer.headers['set-cookie']).toBeUndefined()
  })

  it('takes a password with a name, an email or an id', async () => {
    const users = [
      { name: 'alice', password },
      { name: ' ALICE ', password },
      { email: 'alice@example.com', password },
      { id: 2, password },
      // Zero values, as Go writes them.
      { name: '', email: '', id: 2, password },
    ]
    for (const user of users) {
      const answer = await xms('POST', '/v1/auth/tokens', withPassword(user))
      expect(answer.status).toBe(201)
      server.remember(answer.body.token.uuid)
      expect(answer.body.token.user.name).toBe('alice')
    }
  })

  it('answers one and the same 401 to whoever does not get in', async () => {
    await server.makeUser({ username: 'disabled' })
    const found = await server.call('GET', '/api/v1/users?username=disabled')
    const { id } = found.body.items[0]
    const disabledPassword = await givePassword(server, id)
    await server.call('PATCH', `/api/v1/users/${id}`, { body: { active: false } })
    const users = [
      { name: 'alice', password: 'wrong' },
      { name: 'nobody', password },
      { id: 2, password: 'wrong' },
      { id: 999_999, password },
      { id: -1, password },
      { email: 'nobody@example.com', password },
      { name: 'disabled', password: disabledPassword },
      { name: 'alice', password: '' },
    ]
    for (const user of users) {
      const answer = await xms('POST', '/v1/auth/tokens', withPassword(user))
      expect(answer).toMatchObject({ status: 401, body: { code: 'LoginFailed' } })
      expect(answer.body.message).toBe('The name or the password is wrong.')
    }
  })

  it.each([
    ['no body', undefined],
    ['no identity', { auth: {} }],
    ['an empty identity', { auth: { identity: {} } }],
    ['no user', { auth: { identity: { password: {} } } }],
    ['no name', { auth: { identity: { password: { user: { password: 'x' } } } } }],
    [
      'two names',
      { auth: { identity: { password: { user: { name: 'a', id: 2, password: 'x' } } } } },
    ],
    ['an id as text', { auth: { identity: { password: { user: { id: '2', password: 'x' } } } } }],
    ['a fraction', { auth: { identity: { password: { user: { id: 2.5, password: 'x' } } } } }],
    ['no password', { auth: { identity: { password: { user: { name: 'alice' } } } } }],
    ['a numeric token', { auth: { identity: { token: { uuid: 5 } } } }],
    [
      'two identities',
      {
        auth: {
          identity: { token: { uuid: 'x' }, password: { user: { name: 'a', password: 'x' } } },
        },
      },
    ],
  ])('refuses %s with 400', async (_, body) => {
    const answer = await xms('POST', '/v1/auth/tokens', anonymously(body))
    expect(answer).toMatchObject({ status: 400, body: { code: 'InvalidParameter' } })
  })

  it.each([
    ['no name', { password: 'x' }],
    ['no password', { name: 'alice' }],
    [
      'two passwords',
      { name: 'alice', password: 'x', encrypted_password: 'eA==', rsa_key_id: 'k' },
    ],
    ['an encrypted password without its key', { name: 'alice', encrypted_password: 'eA==' }],
    ['a numeric password', { name: 'alice', password: 5 }],
    ['a sign-in elsewhere', { platform: 'cas', extra: { ticket: 't' } }],
  ])('refuses a login form with %s with 400', async (_, auth) => {
    expect((await login(auth)).status).toBe(400)
  })

  it('tells whoever must replace the password how to do that', async () => {
    const bob = await server.makeUser({ username: 'bob' })
    const reset = await server.call('POST', `/api/v1/users/${bob.id}/one-time-password`)
    server.remember(reset.body.oneTimePassword)
    const answer = await login({ name: 'bob', password: reset.body.oneTimePassword })
    expect(answer).toMatchObject({ status: 401, body: { code: 'PasswordChangeRequired' } })
    expect(answer.body.message).toContain('/api/v1/login')
  })

  it('locks an account after too many wrong passwords, whatever it is called by', async () => {
    await server.makeUser({ username: 'mallory' })
    const found = await server.call('GET', '/api/v1/users?username=mallory')
    const { id } = found.body.items[0]
    const right = await givePassword(server, id)
    const { body } = await xms(
      'POST',
      '/v1/auth/tokens',
      withPassword({ name: 'mallory', password: right }),
    )
    server.remember(body.token.uuid)
    const serial = body.token.user.id
    for (let i = 0; i < 10; i++) {
      const user = i % 2 === 0 ? { name: 'mallory' } : { id: serial }
      await xms('POST', '/v1/auth/tokens', withPassword({ ...user, password: 'wrong' }))
    }
    for (const user of [{ name: 'MALLORY' }, { id: serial }]) {
      const answer = await xms(
        'POST',
        '/v1/auth/tokens',
        withPassword({ ...user, password: right }),
      )
      expect(answer).toMatchObject({ status: 429, body: { code: 'TooManyRequests' } })
      expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0)
    }
    expect((await login({ name: 'alice', password })).status).toBe(201)
  })
})

it('answers so many logins a minute to one address', async () => {
  const slow = await startServer({ MINTMARK_LOGIN_RATE_LIMIT: '2' })
  const call = checked(() => slow, 'xms')
  const body = { auth: { name: 'nobody', password: 'wrong' } }
  const statuses = []
  for (let i = 0; i < 3; i++) {
    statuses.push((await call('POST', '/v1/auth/tokens:login', anonymously(body))).status)
  }
  expect(statuses).toEqual([401, 401, 429])
  await slow.close()
})

describe('a session from a token', () => {
  it('stands for the token: same limits, and it dies with it', async () => {
    const wish = { access_token: { name: 'narrow', roles: ['admin'] } }
    const made = await xms('POST', '/v1/access-tokens/', as(server.adminToken, wish))
    const { id, uuid } = made.body.access_token
    server.remember(uuid)
    const answer = await xms('POST', '/v1/auth/tokens', withToken(uuid))
    expect(answer).toMatchObject({ status: 201, body: { token: { roles: ['admin'] } } })
    const session = answer.body.token.uuid
    server.remember(session)
    expect(await status('/v1/access-tokens/', session)).toBe(200)
    await xms('DELETE', `/v1/access-tokens/${id}`, as(server.adminToken))
    expect(await status('/v1/access-tokens/', session)).toBe(401)
    expect((await xms('POST', '/v1/auth/tokens', withToken(uuid))).status).toBe(401)
  })

  it('is refused for a READ_ONLY token, and for what is no token', async () => {
    const { token } = await server.makeUser({ username: 'reader', accessLevel: 'READ_ONLY' })
    const answer = await xms('POST', '/v1/auth/tokens', withToken(token))
    expect(answer).toMatchObject({ status: 403, body: { code: 'Forbidden' } })
    for (const uuid of ['', 'garbage', '0'.repeat(32)]) {
      const refusal = await xms('POST', '/v1/auth/tokens', withToken(uuid))
      expect(refusal).toMatchObject({ status: 401, body: { code: 'Unauthorized' } })
    }
  })
})

describe('logout', () => {
  const logout = (token: string) => xms('POST', '/v1/auth/tokens:logout', as(token))

  it('closes the presented session with 204, once', async () => {
    const { body } = await login({ name: 'alice', password })
    const { uuid } = body.token
    server.remember(uuid)
    expect(await logout(uuid)).toMatchObject({ status: 204, text: '' })
    expect(await logout(uuid)).toMatchObject({ status: 401, body: { code: 'Unauthorized' } })
    expect(await status('/v1/access-tokens/', uuid)).toBe(401)
  })

  it('refuses an access token with 400 and nobody with 401', async () => {
    expect((await logout(alice.token)).status).toBe(400)
    expect(await status('/v1/access-tokens/', alice.token)).toBe(200)
    expect((await xms('POST', '/v1/auth/tokens:logout', anonymously())).status).toBe(401)
  })

  it('ends sessions of themselves after their lifetime', async () => {
    const { body } = await login({ name: 'alice', password })
    server.remember(body.token.uuid)
    server.clock.advance(12 * 3_600_000)
    expect(await status('/v1/access-tokens/', body.token.uuid)).toBe(401)
  })
})
