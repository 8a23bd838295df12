import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { startServer, type TestServer } from '../support/server.ts'
import { emptyOut, s7Client } from './s7-client.ts'

let server: TestServer
const s7 = s7Client(() => server)

beforeAll(async () => {
  server = await startServer()
})
afterEach(() => emptyOut(s7))
afterAll(() => server.close())

const group = (groupId: string) => s7('GET', `/admin/groups/${encodeURIComponent(groupId)}`)

describe('POST /admin/groups', () => {
  it('creates an empty group', async () => {
    const made = await s7('POST', '/admin/groups', {
      rawBody: '{"groupId": "g1", "description": "d"}',
    })
    expect(made.status).toBe(200)
    expect(made.body).toEqual({ groupId: 'g1', description: 'd', users: [] })
    expect((await group('g1')).body).toEqual(made.body)
  })

  it('leaves out a description that is empty', async () => {
    const made = await s7('POST', '/admin/groups', { body: { groupId: 'g1' } })
    expect(made.body).toEqual({ groupId: 'g1', users: [] })
  })

  it('answers 409 for a group that exists', async () => {
    await s7('POST', '/admin/groups', { body: { groupId: 'g1', description: 'first' } })
    const again = await s7('POST', '/admin/groups', { body: { groupId: 'g1' } })
    expect(again.status).toBe(409)
    expect((await group('g1')).body.description).toBe('first')
  })

  it.each([
    ['no id', {}],
    ['an empty id', { groupId: '' }],
    ['a null description', { groupId: 'g', description: null }],
    ['members', { groupId: 'g', users: [] }],
    ['an invisible character', { groupId: 'g\u200b' }],
    ['a description that cannot be stored', { groupId: 'g', description: 'a\u0000b' }],
  ])('answers 400 for %s', async (_, body) => {
    expect((await s7('POST', '/admin/groups', { body })).status).toBe(400)
    expect((await s7('GET', '/admin/groups')).body).toEqual({ groups: [] })
  })
})

describe('GET /admin/groups', () => {
  it('lists every group with its members', async () => {
    await s7('POST', '/admin/users', {
      body: { userId: 'alice', groups: [{ groupId: 'g1', mode: 'ADMIN' }, { groupId: 'g2' }] },
    })
    const list = await s7('GET', '/admin/groups')
    expect(list.status).toBe(200)
    expect(list.body.groups).toEqual([
      { groupId: 'g1', users: [{ userId: 'alice', mode: 'ADMIN' }] },
      { groupId: 'g2', users: [{ userId: 'alice', mode: 'READ' }] },
    ])
  })
})

describe('GET /admin/groups/{groupId}', () => {
  it('finds an id with every kind of character, as the reference client encodes it', async () => {
    await s7('POST', '/admin/groups', { body: { groupId: 'a b/ü:x' } })
    const found = await s7('GET', '/admin/groups/a%20b%2F%C3%BC%3Ax')
    expect(found.status).toBe(200)
    expect(found.body.groupId).toBe('a b/ü:x')
  })

  it('answers 404 for none', async () => {
    expect((await group('nothing')).body).toEqual({ code: 404, message: 'There is no such group.' })
  })
})

describe('PUT /admin/groups/{groupId}', () => {
  beforeEach(async () => {
    for (const userId of ['alice', 'bob']) {
      await s7('POST', '/admin/users', { body: { userId, groups: [{ groupId: 'g1' }] } })
    }
    await s7('POST', '/admin/users', { body: { userId: 'newcomer' } })
  })

  it('sets the description, adds and re-ranks the listed members, keeps the others', async () => {
    const users = [
      { userId: 'bob', mode: 'ADMIN' },
      { userId: 'newcomer', mode: 'WRITE' },
    ]
    const put = await s7('PUT', '/admin/groups/g1', {
      body: { groupId: 'g1', description: 'd', users },
    })
    expect(put.status).toBe(200)
    expect(put.body).toEqual({
      groupId: 'g1',
      description: 'd',
      users: [{ userId: 'alice', mode: 'READ' }, ...users],
    })
    expect((await group('g1')).body).toEqual(put.body)
  })

  it('keeps a description that is left out, and takes an empty one away', async () => {
    const put = (body: object) =>
      s7('PUT', '/admin/groups/g1', { body: { groupId: 'g1', ...body } })
    await put({ description: 'd' })
    expect((await put({ users: [] })).body.description).toBe('d')
    expect((await put({ description: '' })).body).not.toHaveProperty('description')
  })

  it('takes the request of the reference client, without a mode too', async () => {
    const put = await s7('PUT', '/admin/groups/g1', {
      rawBody: '{"groupId": "g1", "description": "d", "users": [{"userId": "newcomer"}]}',
    })
    expect(put.body.users).toContainEqual({ userId: 'newcomer', mode: 'READ' })
  })

  it.each([
    ['another id in the body', { groupId: 'g2' }],
    ['no id in the body', { description: 'd' }],
    ['a member without id', { groupId: 'g1', users: [{ mode: 'READ' }] }],
  ])('answers 400 for %s', async (_, body) => {
    const before = await group('g1')
    expect((await s7('PUT', '/admin/groups/g1', { body })).status).toBe(400)
    expect((await group('g1')).body).toEqual(before.body)
  })

  it('answers 404 for an unknown user and then changes nothing at all', async () => {
    const before = await group('g1')
    const users = [{ userId: 'newcomer' }, { userId: 'nobody' }]
    const put = await s7('PUT', '/admin/groups/g1', {
      body: { groupId: 'g1', description: 'lost', users },
    })
    expect(put.status).toBe(404)
    expect((await group('g1')).body).toEqual(before.body)
  })

  it('answers 404 for an unknown group and does not create it', async () => {
    expect((await s7('PUT', '/admin/groups/no', { body: { groupId: 'no' } })).status).toBe(404)
    expect((await group('no')).status).toBe(404)
  })
})

describe('DELETE /admin/groups/{groupId}', () => {
  it('answers 200 without a body; the group and its memberships are gone', async () => {
    await s7('POST', '/admin/users', { body: { userId: 'alice', groups: [{ groupId: 'g1' }] } })
    const gone = await s7('DELETE', '/admin/groups/g1')
    expect([gone.status, gone.text]).toEqual([200, ''])
    expect((await group('g1')).status).toBe(404)
    expect((await s7('GET', '/admin/users/alice')).body.groups).toEqual([])
    expect((await s7('DELETE', '/admin/groups/g1')).status).toBe(404)
  })
})
