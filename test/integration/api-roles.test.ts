import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Call, checkedCall } from '../support/openapi.ts'
import { EVERYTHING, makeRole, makeToken } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { startServer, type TestServer } from '../support/server.ts'

let server: TestServer
let call: Call

beforeAll(async () => {
  server = await startServer()
  call = await checkedCall(server)
})
afterAll(() => server.close())

const as = (token: string, body?: unknown) => (body === undefined ? { token } : { token, body })
const create = (body: unknown, token = server.adminToken) =>
  call('POST', '/api/v1/roles', as(token, body))
const rightsOf = async (token: string) => (await call('GET', '/api/v1/me', { token })).body.rights

test('a role is defined, changed and deleted, and the list begins with admin', async () => {
  const role = { name: 'reader', description: 'Reads', scopes: ['read:a', 'read:b'] }
  const made = await create({ ...role, scopes: ['read:a', 'read:b', 'read:a'] })
  expect(made.status).toBe(201)
  expect(made.body).toEqual(role)
  const changed = await call('PATCH', '/api/v1/roles/reader', { body: { scopes: ['read:a'] } })
  expect(changed.body).toEqual({ ...role, scopes: ['read:a'] })
  const names = async () =>
    (await call('GET', '/api/v1/roles')).body.items.map((each: { name: string }) => each.name)
  expect(await names()).toEqual(['admin', 'reader', 'verifier'])
  expect((await call('DELETE', '/api/v1/roles/reader')).status).toBe(204)
  expect(await names()).toEqual(['admin', 'verifier'])
  for (const method of ['PATCH', 'DELETE']) {
    const options = method === 'PATCH' ? { body: {} } : {}
    expectProblem(await call(method, '/api/v1/roles/reader', options), 404, 'not_found')
  }
})

test('what a role loses is gone from every token at once, and does not come back by name', async () => {
  await makeRole(server, 'temp', ['temp:one', 'temp:two'])
  const alice = await server.makeUser({ username: 'alice', roles: ['temp'] })
  const wish = { roles: ['temp'], scopes: ['temp:one', 'temp:two'] }
  const limited = await makeToken(server, { ownerId: alice.id, ...wish })
  for (const token of [alice.token, limited.secret]) {
    expect(await rightsOf(token)).toMatchObject({
      roles: ['temp'],
      scopes: ['temp:one', 'temp:two'],
    })
  }
  await call('PATCH', '/api/v1/roles/temp', { body: { scopes: ['temp:two'] } })
  for (const token of [alice.token, limited.secret]) {
    expect(await rightsOf(token)).toMatchObject({ roles: ['temp'], scopes: ['temp:two'] })
  }
  await call('DELETE', '/api/v1/roles/temp')
  await makeRole(server, 'temp', ['temp:one'])
  for (const token of [alice.token, limited.secret]) {
    expect(await rightsOf(token)).toMatchObject({ roles: [], scopes: [] })
  }
})

describe('refusals', () => {
  test.each([
    ['no name', {}],
    ['an empty name', { name: '' }],
    ['upper case', { name: 'Reader' }],
    ['a space', { name: 'a b' }],
    ['a wildcard', { name: '*' }],
    ['an endless name', { name: 'r'.repeat(64) }],
    ['the name admin', { name: 'admin' }],
    ['a scope with a space', { name: 'r', scopes: ['a b'] }],
    ['the scope *', { name: 'r', scopes: ['*'] }],
    ['scopes as text', { name: 'r', scopes: 'a' }],
    ['something undeclared', { name: 'r', users: [] }],
  ])('%s: 400', async (_, body) => {
    expectProblem(await create(body), 400, 'invalid_input')
  })

  test('a taken name: 409; the built-in role: 404', async () => {
    expectProblem(await create({ name: 'verifier' }), 409, 'name_taken')
    const body = { scopes: ['all'] }
    expectProblem(await call('PATCH', '/api/v1/roles/admin', { body }), 404, 'not_found')
    expectProblem(await call('DELETE', '/api/v1/roles/admin'), 404, 'not_found')
    const rename = await call('PATCH', '/api/v1/roles/verifier', { body: { name: 'judge' } })
    expectProblem(rename, 400, 'invalid_input')
  })

  test('whoever is not an admin that writes: 403, though all may look', async () => {
    const bob = await server.makeUser({ username: 'bob' })
    const { secret } = await makeToken(server, { ...EVERYTHING, accessLevel: 'READ_ONLY' })
    for (const token of [bob.token, secret]) {
      expect((await call('GET', '/api/v1/roles', { token })).status).toBe(200)
      expectProblem(await create({ name: 'r' }, token), 403, 'forbidden')
      const path = '/api/v1/roles/verifier'
      expectProblem(await call('PATCH', path, as(token, { scopes: ['x'] })), 403, 'forbidden')
      expectProblem(await call('DELETE', path, { token }), 403, 'forbidden')
    }
  })
})
