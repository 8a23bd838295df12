import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Call, checkedCall } from '../support/openapi.ts'
import { EVERYTHING, makeGroup, makeToken } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { startServer, type TestServer } from '../support/server.ts'

let server: TestServer
let call: Call
let alice: { id: string; token: string }
let bob: { id: string; token: string }
let readOnly: string

beforeAll(async () => {
  server = await startServer()
  call = await checkedCall(server)
  alice = await server.makeUser({ username: 'alice' })
  bob = await server.makeUser({ username: 'bob' })
  const level = { accessLevel: 'READ_ONLY' }
  readOnly = (await makeToken(server, { ...EVERYTHING, ...level })).secret
})
afterAll(() => server.close())

const NOBODY = '018bcfe5-6800-7000-8000-000000000000'
const as = (token: string, body?: unknown) => (body === undefined ? { token } : { token, body })
const create = (body: unknown, token = server.adminToken) =>
  call('POST', '/api/v1/groups', as(token, body))
const setMember = (group: string, user: string, mode: unknown, token = server.adminToken) =>
  call('PUT', `/api/v1/groups/${group}/members/${user}`, as(token, { mode }))

describe('a group', () => {
  test('is created, read, renamed, described and deleted', async () => {
    const made = await create({ name: 'Ops', description: 'Operations' })
    expect(made.status).toBe(201)
    const path = `/api/v1/groups/${made.body.id}`
    expect(made.headers.location).toBe(path)
    expect(made.body).toMatchObject({ name: 'Ops', description: 'Operations', parentId: null })
    expect((await call('GET', path)).body).toEqual(made.body)

    server.clock.advance(1000)
    const updatedAt = new Date(server.clock.now()).toISOString()
    const renamed = await call('PATCH', path, { body: { name: 'Operations' } })
    expect(renamed.body).toEqual({ ...made.body, name: 'Operations', updatedAt })
    const described = await call('PATCH', path, { body: { description: '' } })
    expect(described.body).toMatchObject({ name: 'Operations', description: '' })

    expect((await call('DELETE', path)).status).toBe(204)
    expectProblem(await call('GET', path), 404, 'not_found')
    expectProblem(await call('DELETE', path), 404, 'not_found')
    expectProblem(await call('PATCH', path, { body: { name: 'x' } }), 404, 'not_found')
    const again = await create({ name: 'ops' })
    expect(again.status).toBe(201)
    expect(again.body.id).not.toBe(made.body.id)
  })

  test('has a parent that exists', async () => {
    const parentId = (await create({ name: 'parent' })).body.id
    expect((await create({ name: 'child', parentId })).body.parentId).toBe(parentId)
    expectProblem(await create({ name: 'orphan', parentId: NOBODY }), 404, 'not_found')
  })

  test.each([
    ['no body', undefined],
    ['no name', {}],
    ['an empty name', { name: '' }],
    ['an endless name', { name: 'g'.repeat(151) }],
    ['a name like an id', { name: NOBODY }],
    ['a parent by name', { name: 'g', parentId: 'parent' }],
    ['a parent of null', { name: 'g', parentId: null }],
    ['members', { name: 'g', members: [] }],
  ])('%s: 400', async (_, body) => {
    expectProblem(await create(body), 400, 'invalid_input')
  })

  test('has a name of its own, in any spelling', async () => {
    const { id } = (await create({ name: 'Straße' })).body
    await create({ name: 'other' })
    expectProblem(await create({ name: 'straße' }), 409, 'name_taken')
    const rename = await call('PATCH', `/api/v1/groups/${id}`, { body: { name: 'OTHER' } })
    expectProblem(rename, 409, 'name_taken')
  })

  test('is made and changed by admins that write', async () => {
    const { id } = (await create({ name: 'guarded' })).body
    for (const token of [alice.token, readOnly]) {
      const hidden = token === alice.token
      expectProblem(await create({ name: 'x' }, token), 403, 'forbidden')
      const edit = await call('PATCH', `/api/v1/groups/${id}`, as(token, { name: 'x' }))
      expectProblem(edit, hidden ? 404 : 403)
      expectProblem(await call('DELETE', `/api/v1/groups/${id}`, as(token)), hidden ? 404 : 403)
      expectProblem(await setMember(id, bob.id, 'READ', token), hidden ? 404 : 403)
    }
  })
})

describe('the list', () => {
  test('shows admins all groups, others their own', async () => {
    await makeGroup(server, 'list_a', { [alice.id]: 'READ' })
    await makeGroup(server, 'list-b')
    const names = async (query: string, token?: string) => {
      const { status, body } = await call('GET', `/api/v1/groups?${query}`, token ? { token } : {})
      expect(status).toBe(200)
      return body.items.map((group: { name: string }) => group.name).sort()
    }
    expect(await names('text=list')).toEqual(['list-b', 'list_a'])
    expect(await names('text=LIST_')).toEqual(['list_a'])
    expect(await names('text=list', readOnly)).toEqual(['list-b', 'list_a'])
    expect(await names('', alice.token)).toEqual(['list_a'])
    expect(await names('text=nothing', alice.token)).toEqual([])
    expectProblem(await call('GET', '/api/v1/groups?name=x'), 400, 'invalid_input')
    expectProblem(await call('GET', '/api/v1/groups/list_a'), 400, 'invalid_input')
  })
})

describe('members', () => {
  test('are added, given another mode and removed; it binds at once', async () => {
    const id = await makeGroup(server, 'binding')
    const modeOfBob = async () => {
      const { body } = await call('GET', '/api/v1/me', { token: bob.token })
      return body.rights.groups.find((group: { id: string }) => group.id === id)?.mode
    }
    expect(await modeOfBob()).toBeUndefined()
    expect((await setMember(id, bob.id, 'READ')).status).toBe(204)
    expect(await modeOfBob()).toBe('READ')
    expect((await setMember(id, bob.id, 'ADMIN')).status).toBe(204)
    expect(await modeOfBob()).toBe('ADMIN')
    expect((await setMember(id, bob.id, 'ADMIN')).status).toBe(204)
    expect((await call('GET', `/api/v1/groups/${id}/members`)).body).toEqual({
      items: [{ userId: bob.id, username: 'bob', mode: 'ADMIN' }],
    })
    const path = `/api/v1/groups/${id}/members/${bob.id}`
    expect((await call('DELETE', path)).status).toBe(204)
    expect(await modeOfBob()).toBeUndefined()
    expectProblem(await call('DELETE', path), 404, 'not_found')
  })

  test('lose the group with its deletion', async () => {
    const id = await makeGroup(server, 'short-lived', { [bob.id]: 'WRITE' })
    await call('DELETE', `/api/v1/groups/${id}`)
    const { body } = await call('GET', '/api/v1/me', { token: bob.token })
    expect(JSON.stringify(body)).not.toContain(id)
  })

  test('must exist, and so must mode and group', async () => {
    const id = await makeGroup(server, 'strict')
    expectProblem(await setMember(id, NOBODY, 'READ'), 404, 'not_found')
    expectProblem(await setMember(NOBODY, bob.id, 'READ'), 404, 'not_found')
    expectProblem(await setMember(id, 'bob', 'READ'), 400, 'invalid_input')
    for (const mode of ['read', 'OWNER', null, 1]) {
      expectProblem(await setMember(id, bob.id, mode), 400, 'invalid_input')
    }
    expectProblem(await call('PUT', `/api/v1/groups/${id}/members/${bob.id}`), 400)
    expectProblem(await call('GET', `/api/v1/groups/${NOBODY}/members`), 404, 'not_found')
    const list = await call('GET', `/api/v1/groups/${id}/members`, { token: alice.token })
    expectProblem(list, 404, 'not_found')
    const path = `/api/v1/groups/${id}/members/${NOBODY}`
    expectProblem(await call('DELETE', path), 404, 'not_found')
  })
})
