import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startServer, type TestServer } from '../support/server.ts'
import { checked } from './checked.ts'
import { anonymously, as } from './xms-client.ts'

let server: TestServer
const xms = checked(() => server, 'xms')

let alice: { id: string; token: string }

beforeAll(async () => {
  server = await startServer()
  alice = await server.makeUser({ username: 'alice' })
})
afterAll(() => server.close())

describe('the security policy', () => {
  const url = '/v1/auth/security-policy'
  const change = (token: string, policy: unknown) =>
    xms('PATCH', url, as(token, { auth_security_policy: policy }))

  it('is shown to everybody with a credential', async () => {
    const answer = await xms('GET', url, as(alice.token))
    expect(answer).toMatchObject({ status: 200 })
    expect(answer.body).toEqual({
      auth_security_policy: {
        enabled: true,
        max_attempts: 10,
        freeze_duration: 900,
        password_lifetime: 0,
        expiration_time: 43_200,
        password_expiration_warning: false,
      },
    })
    expect((await xms('GET', url, anonymously())).status).toBe(401)
  })

  it('is changed by administrators, member by member, and binds at once', async () => {
    const wish = { max_attempts: 3, password_lifetime: 86_400, one_session_only: true }
    const answer = await change(server.adminToken, wish)
    expect(answer.status).toBe(200)
    expect(answer.body.auth_security_policy).toMatchObject({
      max_attempts: 3,
      password_lifetime: 86_400,
      freeze_duration: 900,
    })
    expect((await xms('GET', url, as(alice.token))).body).toEqual(answer.body)
    expect((await server.call('GET', '/api/v1/policy')).body).toMatchObject({
      lockoutAttempts: 3,
      passwordTtlSeconds: 86_400,
    })
    const back = await change(server.adminToken, { max_attempts: 10, password_lifetime: 0 })
    expect(back.body.auth_security_policy).toMatchObject({ max_attempts: 10, password_lifetime: 0 })
    expect((await server.call('GET', '/api/v1/policy')).body.passwordTtlSeconds).toBeNull()
  })

  it('refuses others (403), nobody (401) and nonsense (400), and stays as it was', async () => {
    const before = await xms('GET', url, as(alice.token))
    expect((await change(alice.token, { enabled: false })).status).toBe(403)
    const reader = await server.makeUser({
      username: 'reading-admin',
      globalRole: 'ADMIN',
      accessLevel: 'READ_ONLY',
    })
    expect((await change(reader.token, { enabled: false })).status).toBe(403)
    const body = { auth_security_policy: { enabled: false } }
    expect((await xms('PATCH', url, anonymously(body))).status).toBe(401)
    const nonsense = [
      { enabled: 'no' },
      { max_attempts: 0 },
      { max_attempts: 1.5 },
      { max_attempts: null },
      { password_lifetime: -1 },
      { expiration_time: 0 },
      { freeze_duration: 1e15 },
    ]
    for (const policy of nonsense) {
      expect((await change(server.adminToken, policy)).status).toBe(400)
    }
    expect((await xms('PATCH', url, as(server.adminToken, {}))).status).toBe(400)
    expect((await xms('GET', url, as(alice.token))).body).toEqual(before.body)
  })
})
