import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { startServer, type TestServer } from '../support/server.ts'
import { emptyOut, makeServiceToken, s7Client } from './s7-client.ts'

let server: TestServer
const s7 = s7Client(() => server)

beforeAll(async () => {
  server = await startServer()
})
afterEach(() => emptyOut(s7))
afterAll(() => server.close())

const user = (userId: string) => s7('GET', `/admin/users/${encodeURIComponent(userId)}`)

describe('POST /admin/users', () => {
  it('creates the user, the memberships and the groups that are missing', async () => {
    await s7('POST', '/admin/groups', { body: { groupId: 'old', description: 'kept' } })
    const groups = [
      { groupId: 'old', description: 'ignored', mode: 'WRITE' },
      { groupId: 'new', description: 'given', mode: 'ADMIN' },
      { groupId: 'plain' },
    ]
    const made = await s7('POST', '/admin/users', {
      body: { userId: 'alice', globalRole: 'ADMIN', groups },
    })
    expect(made.status).toBe(200)
    expect(made.body).toEqual({
      userId: 'alice',
      globalRole: 'ADMIN',
      groups: [
        { groupId: 'old', description: 'kept', mode: 'WRITE' },
        { groupId: 'new', description: 'given', mode: 'ADMIN' },
        { groupId: 'plain', mode: 'READ' },
      ],
    })
    expect((await user('alice')).body).toEqual(made.body)
  })

  it('takes the request of the reference client', async () => {
    const made = await s7('POST', '/admin/users', {
      rawBody:
        '{"userId": "u1", "globalRole": "ADMIN", "groups": [{"groupId": "g1", "description": "d", "mode": "READ"}]}',
    })
    expect(made.status).toBe(200)
  })

  it('makes a USER without groups when only the id is given', async () => {
    const made = await s7('POST', '/admin/users', { body: { userId: 'bob' } })
    expect(made.body).toEqual({ userId: 'bob', globalRole: 'USER', groups: [] })
  })

  it('answers 409 for a user that exists and creates none of the groups', async () => {
    await s7('POST', '/admin/users', { body: { userId: 'alice' } })
    const again = await s7('POST', '/admin/users', {
      body: { userId: 'alice', groups: [{ groupId: 'g' }] },
    })
    expect(again.status).toBe(409)
    expect(again.body.code).toBe(409)
    expect((await s7('GET', '/admin/groups/g')).status).toBe(404)
  })

  it('has one winner when two create the same user at once', async () => {
    const both = await Promise.all(
      [1, 2].map(() => s7('POST', '/admin/users', { body: { userId: 'alice' } })),
    )
    expect(both.map(({ status }) => status).sort()).toEqual([200, 409])
    expect((await user('alice')).status).toBe(200)
  })

  it.each([
    ['no id', {}],
    ['an empty id', { userId: '' }],
    ['a null', { userId: 'x', groups: null }],
    ['a number for the id', { userId: 5 }],
    ['a role that does not exist', { userId: 'x', globalRole: 'ROOT' }],
    ['a mode that does not exist', { userId: 'x', groups: [{ groupId: 'g', mode: 'OWNER' }] }],
    ['a group without id', { userId: 'x', groups: [{ mode: 'READ' }] }],
    ['a group listed twice', { userId: 'x', groups: [{ groupId: 'g' }, { groupId: 'G' }] }],
    ['a member that we do not know', { userId: 'x', isAdmin: true }],
    ['a control character', { userId: 'x\u0007' }],
  ])('answers 400 for %s and changes nothing', async (_, body) => {
    const before = await s7('GET', '/admin/users')
    const refused = await s7('POST', '/admin/users', { body })
    expect(refused.status).toBe(400)
    expect(refused.body.code).toBe(400)
    expect((await s7('GET', '/admin/users')).body).toEqual(before.body)
    expect((await s7('GET', '/admin/groups')).body).toEqual({ groups: [] })
  })

  it.each([
    ['broken JSON', '{"userId": "x"', 400],
    ['no body', '', 400],
    ['a huge body', JSON.stringify({ userId: 'x'.repeat(70_000) }), 413],
    ['a poisoned prototype', '{"userId": "x", "__proto__": {}}', 400],
  ])('refuses %s', async (_, rawBody, status) => {
    expect((await s7('POST', '/admin/users', { rawBody })).status).toBe(status)
  })

  it('answers 415 for another content type', async () => {
    const answer = await s7('POST', '/admin/users', {
      rawBody: '{"userId":"x"}',
      headers: { 'content-type': 'text/plain' },
    })
    expect(answer.status).toBe(415)
    expect(answer.body.code).toBe(415)
  })
})

describe('GET /admin/users', () => {
  it('lists everybody with memberships', async () => {
    await s7('POST', '/admin/users', { body: { userId: 'alice', groups: [{ groupId: 'g' }] } })
    const list = await s7('GET', '/admin/users')
    expect(list.status).toBe(200)
    expect(list.body.users).toEqual([
      { userId: 'admin', globalRole: 'ADMIN', groups: [] },
      { userId: 'alice', globalRole: 'USER', groups: [{ groupId: 'g', mode: 'READ' }] },
    ])
  })
})

describe('GET /admin/users/{userId}', () => {
  it.each(['a b/ü:x', 'me@example.com', '50%25', 'a%2Fb', '100%', 'ü?#&;=+', 'a..b'])(
    'finds %s, percent-encoded as a whole',
    async (userId) => {
      await s7('POST', '/admin/users', { body: { userId } })
      const found = await user(userId)
      expect(found.status).toBe(200)
      expect(found.body.userId).toBe(userId)
    },
  )

  it('takes the path of the reference client', async () => {
    await s7('POST', '/admin/users', { body: { userId: 'me@example.com' } })
    expect((await s7('GET', '/admin/users/me%40example.com')).status).toBe(200)
  })

  it('answers 404 for nobody', async () => {
    const answer = await user('nobody')
    expect(answer.status).toBe(404)
    expect(answer.body).toEqual({ code: 404, message: 'There is no such user.' })
  })
})

describe('PUT /admin/users/{userId}', () => {
  beforeEach(async () => {
    const groups = [
      { groupId: 'a', mode: 'READ' },
      { groupId: 'b', mode: 'ADMIN' },
    ]
    await s7('POST', '/admin/users', { body: { userId: 'alice', globalRole: 'ADMIN', groups } })
  })

  it('replaces the memberships that are listed', async () => {
    const groups = [
      { groupId: 'b', mode: 'WRITE' },
      { groupId: 'c', description: 'new', mode: 'READ' },
    ]
    const put = await s7('PUT', '/admin/users/alice', { body: { globalRole: 'USER', groups } })
    expect(put.status).toBe(200)
    expect(put.body).toEqual({ userId: 'alice', globalRole: 'USER', groups })
    expect((await user('alice')).body).toEqual(put.body)
  })

  it('clears them with an empty list, as the reference client sends it', async () => {
    const put = await s7('PUT', '/admin/users/alice', {
      rawBody: '{"userId": "alice", "globalRole": "USER", "groups": []}',
    })
    expect(put.body).toEqual({ userId: 'alice', globalRole: 'USER', groups: [] })
  })

  it('keeps role and memberships that are left out', async () => {
    const before = await user('alice')
    const put = await s7('PUT', '/admin/users/alice', { body: {} })
    expect(put.status).toBe(200)
    expect(put.body).toEqual(before.body)
  })

  it('changes the user in the path, never another one', async () => {
    await s7('POST', '/admin/users', { body: { userId: 'bob' } })
    const put = await s7('PUT', '/admin/users/alice', {
      body: { userId: 'bob', globalRole: 'ADMIN' },
    })
    expect(put.status).toBe(400)
    expect((await user('bob')).body.globalRole).toBe('USER')
  })

  it('answers 404 for nobody', async () => {
    expect((await s7('PUT', '/admin/users/nobody', { body: {} })).status).toBe(404)
  })

  it('answers 400 and changes nothing when one group is not valid', async () => {
    const before = await user('alice')
    const groups = [{ groupId: 'z' }, { groupId: 'bad\u0000' }]
    const put = await s7('PUT', '/admin/users/alice', { body: { globalRole: 'USER', groups } })
    expect(put.status).toBe(400)
    expect((await user('alice')).body).toEqual(before.body)
    expect((await s7('GET', '/admin/groups/z')).status).toBe(404)
  })

  it('answers 409 rather than demoting the last active admin', async () => {
    await s7('PUT', '/admin/users/alice', { body: { globalRole: 'USER' } })
    const put = await s7('PUT', '/admin/users/admin', { body: { globalRole: 'USER' } })
    expect(put.status).toBe(409)
    expect((await user('admin')).body.globalRole).toBe('ADMIN')
  })
})

describe('DELETE /admin/users/{userId}', () => {
  it('answers 200 without a body and the user is gone', async () => {
    await s7('POST', '/admin/users', { body: { userId: 'alice', groups: [{ groupId: 'g' }] } })
    const gone = await s7('DELETE', '/admin/users/alice')
    expect([gone.status, gone.text]).toEqual([200, ''])
    expect((await user('alice')).status).toBe(404)
    expect((await s7('GET', '/admin/groups/g')).body.users).toEqual([])
    expect((await s7('DELETE', '/admin/users/alice')).status).toBe(404)
  })

  it('kills the tokens of the user', async () => {
    const { secret, jwt } = await makeServiceToken(s7, { tokenName: 'svc' })
    const { userId } = (await s7('GET', '/userInfo', { token: jwt })).body
    expect((await s7('DELETE', `/admin/users/${encodeURIComponent(userId)}`)).status).toBe(200)
    expect((await s7('POST', '/refresh', { token: secret })).status).toBe(401)
    expect((await s7('GET', '/userInfo', { token: jwt })).status).toBe(401)
  })

  it('answers 409 for the last active admin', async () => {
    expect((await s7('DELETE', '/admin/users/admin')).status).toBe(409)
  })
})
