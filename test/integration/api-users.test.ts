import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Call, checkedCall } from '../support/openapi.ts'
import { EVERYTHING, isAlive, makeGroup, makeRole, makeToken } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { startServer, type TestServer } from '../support/server.ts'

let server: TestServer
let call: Call
let alice: { id: string; token: string }
let readOnly: string

beforeAll(async () => {
  server = await startServer()
  call = await checkedCall(server)
  await makeRole(server, 'deployer')
  alice = await server.makeUser({ username: 'alice', roles: ['deployer'] })
  await makeGroup(server, 'crew', { [alice.id]: 'ADMIN' })
  const level = { accessLevel: 'READ_ONLY' }
  readOnly = (await makeToken(server, { ...EVERYTHING, ...level })).secret
})
afterAll(() => server.close())

const NOBODY = '018bcfe5-6800-7000-8000-000000000000'
const as = (token: string, body?: unknown) => (body === undefined ? { token } : { token, body })
const create = (body: unknown, token = server.adminToken) =>
  call('POST', '/api/v1/users', as(token, body))
const patch = (id: string, body: unknown, token = server.adminToken) =>
  call('PATCH', `/api/v1/users/${id}`, as(token, body))

describe('creating', () => {
  test('takes what is given, and sensible defaults', async () => {
    const plain = await create({ username: 'plain' })
    expect(plain.status).toBe(201)
    expect(plain.headers.location).toBe(`/api/v1/users/${plain.body.id}`)
    expect(plain.body).toMatchObject({
      kind: 'person',
      globalRole: 'USER',
      active: true,
      email: null,
      hasPassword: false,
      roles: [],
      groups: [],
    })
    const wish = {
      username: 'Ünal Öz',
      displayName: 'Ünal',
      email: 'unal@example.org',
      kind: 'service',
      globalRole: 'ADMIN',
      active: false,
      attributes: { room: 7, 'line\nbreak': [true] },
      roles: ['deployer'],
    }
    const full = await create(wish)
    expect(full.status).toBe(201)
    expect(full.body).toMatchObject(wish)
    expect(full.body.attributes).toEqual(wish.attributes)
    expect((await call('GET', `/api/v1/users/${full.body.id}`)).body).toEqual(full.body)
  })

  test.each([
    ['no body', undefined],
    ['no name', {}],
    ['an empty name', { username: '' }],
    ['a name with a space at its end', { username: 'bob ' }],
    ['a name like an id', { username: NOBODY }],
    ['an endless name', { username: 'b'.repeat(151) }],
    ['an email without @', { username: 'b', email: 'bob' }],
    ['an email of null', { username: 'b', email: null }],
    ['an unknown kind', { username: 'b', kind: 'robot' }],
    ['a role that there is not', { username: 'b', roles: ['nope'] }],
    ['the role admin', { username: 'b', roles: ['admin'] }],
    ['active as text', { username: 'b', active: 'true' }],
    ['attributes as text', { username: 'b', attributes: '{}' }],
    ['a password', { username: 'b', password: 'x' }],
    ['an id', { username: 'b', id: NOBODY }],
  ])('%s: 400', async (_, body) => {
    expectProblem(await create(body), 400, 'invalid_input')
  })

  test('a name or email that is taken, in any spelling: 409', async () => {
    await create({ username: 'taken', email: 'taken@example.org' })
    expectProblem(await create({ username: 'TAKEN' }), 409, 'name_taken')
    expectProblem(await create({ username: 'ｔａｋｅｎ' }), 409, 'name_taken')
    const email = 'Taken@Example.org'
    expectProblem(await create({ username: 'other', email }), 409, 'name_taken')
  })
})

describe('reading', () => {
  test('is for admins, and for oneself', async () => {
    const self = await call('GET', `/api/v1/users/${alice.id}`, as(alice.token))
    expect(self.status).toBe(200)
    expect(self.body).toMatchObject({ roles: ['deployer'], groups: [{ mode: 'ADMIN' }] })
    expect((await call('GET', `/api/v1/users/${alice.id}`, as(readOnly))).status).toBe(200)
    expectProblem(await call('GET', `/api/v1/users/${NOBODY}`), 404, 'not_found')
    expectProblem(await call('GET', '/api/v1/users/alice'), 400, 'invalid_input')
  })

  test('lists with filters', async () => {
    await create({ username: 'list_one', displayName: '50% off', email: 'one@list.example' })
    await create({ username: 'list-two', kind: 'service', active: false })
    await create({ username: 'list-root', globalRole: 'ADMIN' })
    const names = async (query: string) => {
      const { status, body } = await call('GET', `/api/v1/users?${query}`)
      expect(status).toBe(200)
      return body.items.map((user: { username: string }) => user.username).sort()
    }
    expect(await names('text=list')).toEqual(['list-root', 'list-two', 'list_one'])
    expect(await names('text=LIST_')).toEqual(['list_one'])
    expect(await names('text=50%25')).toEqual(['list_one'])
    expect(await names('text=%40list')).toEqual(['list_one'])
    expect(await names('text=list&active=false')).toEqual(['list-two'])
    expect(await names('text=list&kind=service')).toEqual(['list-two'])
    expect(await names('text=list&globalRole=ADMIN')).toEqual(['list-root'])
    expect(await names('username=LIST-two')).toEqual(['list-two'])
    expectProblem(await call('GET', '/api/v1/users?username=nobody'), 404, 'not_found')
    for (const query of ['active=1', 'kind=robot', 'limit=0', 'order=name']) {
      expectProblem(await call('GET', `/api/v1/users?${query}`), 400, 'invalid_input')
    }
    expectProblem(await call('GET', '/api/v1/users', as(alice.token)), 403, 'forbidden')
  })
})

describe('changing', () => {
  test('touches what is named and nothing else', async () => {
    const { body: before } = await create({ username: 'changing', email: 'changing@example.org' })
    server.clock.advance(1000)
    const updatedAt = new Date(server.clock.now()).toISOString()
    const edit = { displayName: 'Changed', attributes: { a: 1 }, roles: ['deployer'] }
    expect((await patch(before.id, edit)).body).toEqual({ ...before, ...edit, updatedAt })
    const cleared = await patch(before.id, { email: null, roles: [] })
    expect(cleared.body).toMatchObject({ email: null, roles: [], displayName: 'Changed' })
    expect((await patch(before.id, {})).status).toBe(200)
  })

  test.each([
    ['the username', { username: 'x' }],
    ['the kind', { kind: 'service' }],
    ['a password', { password: 'x' }],
    ['a role of null', { globalRole: null }],
    ['an unknown role', { roles: ['nope'] }],
    ['active as a number', { active: 0 }],
  ])('refuses %s with 400', async (_, edit) => {
    expectProblem(await patch(alice.id, edit), 400, 'invalid_input')
  })

  test('refuses a taken email, strangers, and whoever is not an admin that writes', async () => {
    await create({ username: 'mailed', email: 'mailed@example.org' })
    expectProblem(await patch(alice.id, { email: 'MAILED@example.org' }), 409, 'name_taken')
    expectProblem(await patch(NOBODY, { active: false }), 404, 'not_found')
    expectProblem(await patch(alice.id, { globalRole: 'ADMIN' }, alice.token), 403, 'forbidden')
    expectProblem(await patch(alice.id, { active: false }, readOnly), 403, 'forbidden')
    expectProblem(await create({ username: 'x' }, alice.token), 403, 'forbidden')
    expectProblem(await create({ username: 'x' }, readOnly), 403, 'forbidden')
  })
})

describe('deleting', () => {
  const remove = (id: string, token = server.adminToken) =>
    call('DELETE', `/api/v1/users/${id}`, as(token))

  test('ends everything of the user, frees the name and never reuses the id', async () => {
    const first = await server.makeUser({ username: 'reborn', roles: ['deployer'] })
    await makeGroup(server, 'reborn-group', { [first.id]: 'ADMIN' })
    expect((await remove(first.id)).status).toBe(204)
    expect(await isAlive(server, first.token)).toBe(false)
    expectProblem(await call('GET', `/api/v1/users/${first.id}`), 404, 'not_found')
    expectProblem(await remove(first.id), 404, 'not_found')

    const second = await create({ username: 'reborn' })
    expect(second.body.id).not.toBe(first.id)
    expect(second.body).toMatchObject({ roles: [], groups: [] })
    const tokens = await call('GET', `/api/v1/tokens?ownerId=${first.id}`)
    expect(tokens.body.items).toMatchObject([
      { state: 'revoked', revokeReason: 'user deleted', owner: { id: first.id, username: null } },
    ])
  })

  test('is for admins that write', async () => {
    expectProblem(await remove(alice.id, alice.token), 403, 'forbidden')
    expectProblem(await remove(alice.id, readOnly), 403, 'forbidden')
    expectProblem(await remove('alice'), 400, 'invalid_input')
  })
})
