import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startServer, type TestServer } from '../support/server.ts'
import { makeServiceToken, type ServiceToken, s7Client } from './s7-client.ts'

let server: TestServer
let service: ServiceToken
let reader: { token: string }
let bob: { token: string }
const s7 = s7Client(() => server)

beforeAll(async () => {
  server = await startServer()
  const groups = [{ groupId: 'g1', mode: 'ADMIN' }]
  bob = await server.makeUser({ username: 'bob' })
  reader = await server.makeUser({
    username: 'reader',
    globalRole: 'ADMIN',
    accessLevel: 'READ_ONLY',
  })
  await s7('PUT', '/admin/users/bob', { body: { groups } })
  service = await makeServiceToken(s7, { tokenName: 'svc', groups })
})
afterAll(() => server.close())

const reads = () => [
  '/admin/users',
  '/admin/users/bob',
  '/admin/groups',
  '/admin/groups/g1',
  '/admin/refreshTokens',
  `/admin/refreshTokens/${service.tokenId}`,
]
const writes = (): [string, string, object?][] => [
  ['POST', '/admin/users', { userId: 'new', groups: [{ groupId: 'new' }] }],
  ['PUT', '/admin/users/bob', { globalRole: 'ADMIN' }],
  ['PUT', '/admin/users/bob', {}],
  ['PUT', '/admin/users/bob', { groups: [{ groupId: 'g2' }] }],
  ['DELETE', '/admin/users/bob'],
  ['POST', '/admin/groups', { groupId: 'new' }],
  ['PUT', '/admin/groups/g1', { groupId: 'g1', description: 'changed' }],
  ['PUT', '/admin/groups/g1', { groupId: 'g1', users: [{ userId: 'reader', mode: 'ADMIN' }] }],
  ['DELETE', '/admin/groups/g1'],
  ['POST', '/admin/refreshTokens', { tokenName: 'new' }],
  ['DELETE', `/admin/refreshTokens/${service.tokenId}`],
]
/** Everything that this API can show. */
const everything = async () =>
  Promise.all(
    ['/admin/users', '/admin/groups', '/admin/refreshTokens'].map(
      async (path) => (await s7('GET', path)).body,
    ),
  )

describe('administration', () => {
  it('answers 401 without a credential and changes nothing', async () => {
    const before = await everything()
    for (const path of reads()) {
      expect((await s7('GET', path, { token: null })).status).toBe(401)
    }
    for (const [method, path, body] of writes()) {
      const answer = await s7(method, path, { token: null, body })
      expect(answer.status).toBe(401)
      expect(answer.headers['www-authenticate']).toBe('Bearer')
    }
    expect(await everything()).toEqual(before)
  })

  it.each([
    ['a user who is no admin', () => bob.token],
    ['a service token', () => service.secret],
    ['an access token', () => service.jwt],
  ])('answers 403 to %s, for reading and for changing', async (_, token) => {
    const before = await everything()
    for (const path of reads()) {
      const answer = await s7('GET', path, { token: token() })
      expect([answer.status, answer.body.code]).toEqual([403, 403])
    }
    for (const [method, path, body] of writes()) {
      expect((await s7(method, path, { token: token(), body })).status).toBe(403)
    }
    expect(await everything()).toEqual(before)
  })

  it('lets a READ_ONLY admin look and change nothing', async () => {
    const before = await everything()
    for (const path of reads()) {
      expect((await s7('GET', path, { token: reader.token })).status).toBe(200)
    }
    for (const [method, path, body] of writes()) {
      const answer = await s7(method, path, { token: reader.token, body })
      expect(answer.status, `${method} ${path}`).toBe(403)
      expect(answer.body.message).toContain('READ_ONLY')
    }
    expect(await everything()).toEqual(before)
  })

  it('names the actor, the door and the token in the audit trail', async () => {
    await s7('POST', '/admin/groups', { body: { groupId: 'audited' } })
    const { items } = (await server.call('GET', '/api/v1/audit')).body
    expect(items[0]).toMatchObject({ action: 'group.created', actorName: 'admin', via: 's7' })
  })
})

describe('a path below the prefix that is none of ours', () => {
  it.each([
    ['GET', '/api/auth/v1/nothing', 404],
    ['GET', '/api/auth/v2/nothing', 404],
    ['GET', '/api/auth/v1', 404],
    ['PATCH', '/api/auth/v1/admin/users/admin', 404],
    ['GET', '/api/auth/v1/admin/users/admin/tokens', 404],
    ['DELETE', '/api/auth/v1/admin/users', 404],
    ['GET', '/api/auth/v1/ADMIN/users', 404],
    ['GET', '/api/auth/v1//admin/users', 404],
    ['GET', '/api/auth/v1/refresh', 404],
  ])('%s %s answers in the shape of this API', async (method, url, status) => {
    for (const token of [null, server.adminToken]) {
      const answer = await server.call(method, url, { token })
      expect(answer.status).toBe(status)
      expect(answer.headers['content-type']).toMatch(/^application\/json/)
      expect(Object.keys(answer.body).sort()).toEqual(['code', 'message'])
      expect(answer.body.code).toBe(status)
    }
  })
})

describe('health', () => {
  it('answers 200 without a body and without a credential', async () => {
    for (const path of ['/health/liveness', '/health/readiness']) {
      const answer = await s7('GET', path, { token: null })
      expect([answer.status, answer.text]).toEqual([200, ''])
    }
  })

  it('answers 503 as soon as the server is going down, while it still lives', async () => {
    const stopping = await startServer()
    try {
      const call = s7Client(() => stopping)
      stopping.app.health.draining = true
      const answer = await call('GET', '/health/readiness', { token: null })
      expect([answer.status, answer.body.code]).toEqual([503, 503])
      expect((await call('GET', '/health/liveness', { token: null })).status).toBe(200)
    } finally {
      await stopping.close()
    }
  })
})
