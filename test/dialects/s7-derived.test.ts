import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startServer, type TestServer } from '../support/server.ts'

// Every resource server gets to see an access token, so what it can do must end with it.

let server: TestServer
let service: { id: string; secret: string; jwt: string; userId: string }
beforeAll(async () => {
  server = await startServer()
  await server.call('PATCH', '/api/v1/policy', { body: { usersMayCreateTokens: true } })
  await server.call('POST', '/api/v1/groups', { body: { name: 'g1' } })
  service = await makeService('billing')
})
afterAll(() => server.close())

async function makeService(tokenName: string) {
  const { body } = await server.call('POST', '/api/auth/v1/admin/refreshTokens', {
    body: { tokenName, groups: [{ groupId: 'g1', mode: 'WRITE' }] },
  })
  const { body: me } = await server.call('GET', '/api/v1/me', { token: body.accessToken.token })
  return {
    id: me.token.id as string,
    userId: me.user.id as string,
    secret: body.refreshToken.token as string,
    jwt: body.accessToken.token as string,
  }
}

describe('an access token', () => {
  it.each([
    [
      'open a session',
      'POST',
      '/v1/auth/tokens',
      { auth: { identity: { token: { uuid: 'JWT' } } } },
    ],
    ['mint a token', 'POST', '/api/v1/tokens', { name: 'minted' }],
    ['rotate the token behind it', 'POST', '/api/v1/tokens/ID/rotate', undefined],
    ['revoke the token behind it', 'POST', '/api/v1/tokens/self/revoke', undefined],
  ])('cannot %s', async (_, method, url, wish) => {
    const body = wish && JSON.parse(JSON.stringify(wish).replace('JWT', service.jwt))
    const answer = await server.call(method, url.replace('ID', service.id), {
      token: service.jwt,
      body,
    })
    expect(answer.status).toBe(403)
    expect(answer.text).toContain('Use the token itself')
    const alive = await server.call('GET', '/api/v1/me', { token: service.secret })
    expect(alive.status).toBe(200)
  })

  it('is verified with its own end, not that of the token behind it', async () => {
    const ask = (token: string) => server.call('POST', '/api/v1/tokens/verify', { body: { token } })
    const ends = async (token: string) => Date.parse((await ask(token)).body.expiresAt)
    expect((await ends(service.jwt)) - server.clock.now()).toBeLessThanOrEqual(600_000)
    expect((await ends(service.secret)) - server.clock.now()).toBeGreaterThan(86_400_000)
  })
})

describe('the account of a service token', () => {
  it('is named after the token', async () => {
    const { body } = await server.call('GET', `/api/v1/users/${service.userId}`)
    expect(body.username).toBe(`service:${service.id}`)
  })

  it('goes when the token is revoked', async () => {
    const other = await makeService('short-lived')
    const url = `/api/auth/v1/admin/refreshTokens/${other.id}`
    expect((await server.call('DELETE', url)).status).toBe(200)
    expect((await server.call('GET', `/api/v1/users/${other.userId}`)).status).toBe(404)
    expect((await server.call('DELETE', url)).status).toBe(200)
  })

  it('gets no group that its maker could not give', async () => {
    const limited = await server.call('POST', '/api/v1/tokens', {
      body: { name: 'no groups', accessLevel: 'FULL_ACCESS', roles: ['admin'], groups: [] },
    })
    const before = await server.call('GET', '/api/v1/users?kind=service')
    const answer = await server.call('POST', '/api/auth/v1/admin/refreshTokens', {
      token: limited.body.secret,
      body: { tokenName: 'wide', groups: [{ groupId: 'g1', mode: 'ADMIN' }] },
    })
    expect(answer.status).toBe(403)
    const after = await server.call('GET', '/api/v1/users?kind=service')
    expect(after.body.items).toEqual(before.body.items)
  })
})
