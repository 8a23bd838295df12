import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { EVERYTHING, makeGroup, makeRole, makeToken, setPolicy } from '../support/people.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { snapshot } from '../support/tables.ts'

let server: TestServer
/** ADMIN of the crew, and nothing else. */
let alice: { id: string; token: string }
let bob: { id: string; token: string }
let outsider: string
let root: { id: string; token: string }
let crew: string
let others: string

beforeAll(async () => {
  server = await startServer()
  await makeRole(server, 'deployer', ['deploy'])
  alice = await server.makeUser({ username: 'alice' })
  bob = await server.makeUser({ username: 'bob' })
  root = await server.makeUser({ username: 'root', globalRole: 'ADMIN' })
  outsider = (await server.makeUser({ username: 'outsider' })).id
  crew = await makeGroup(server, 'crew', {
    [alice.id]: 'ADMIN',
    [bob.id]: 'READ',
    [root.id]: 'READ',
  })
  others = await makeGroup(server, 'others', { [outsider]: 'READ' })
  await setPolicy(server, { usersMayCreateTokens: true })
})
afterAll(() => server.close())

const asAlice = (method: string, path: string, body?: unknown, token = alice.token) =>
  server.call(method, `/api/v1${path}`, { token, ...(body === undefined ? {} : { body }) })

test('she ranks and removes members, and describes the group', async () => {
  const path = `/groups/${crew}/members/${bob.id}`
  expect((await asAlice('PUT', path, { mode: 'WRITE' })).status).toBe(204)
  expect((await asAlice('PATCH', `/groups/${crew}`, { description: 'ours' })).status).toBe(200)
  expect((await asAlice('DELETE', path)).status).toBe(204)
  await server.call('PUT', `/api/v1${path}`, { body: { mode: 'READ' } })
})

describe('she cannot', () => {
  const attempts: [string, string, () => [string, unknown?]][] = [
    [
      'make herself an administrator',
      'PATCH',
      () => [`/users/${alice.id}`, { globalRole: 'ADMIN' }],
    ],
    ['give herself a role', 'PATCH', () => [`/users/${alice.id}`, { roles: ['deployer'] }]],
    [
      'make a member an administrator',
      'PATCH',
      () => [`/users/${bob.id}`, { globalRole: 'ADMIN' }],
    ],
    ['disable a member', 'PATCH', () => [`/users/${bob.id}`, { active: false }]],
    ['delete a member', 'DELETE', () => [`/users/${bob.id}`]],
    ['reset the password of a member', 'POST', () => [`/users/${bob.id}/one-time-password`]],
    [
      'reset the password of an administrator in her group',
      'POST',
      () => [`/users/${root.id}/one-time-password`],
    ],
    ['mint for a member', 'POST', () => ['/tokens', { name: 'x', ownerId: bob.id }]],
    ['mint for an administrator', 'POST', () => ['/tokens', { name: 'x', ownerId: root.id }]],
    ['mint a service token', 'POST', () => ['/tokens', { name: 'x', kind: 'service' }]],
    [
      'bring in an outsider',
      'PUT',
      () => [`/groups/${crew}/members/${outsider}`, { mode: 'READ' }],
    ],
    [
      'rank an administrator',
      'PUT',
      () => [`/groups/${crew}/members/${root.id}`, { mode: 'ADMIN' }],
    ],
    ['remove an administrator', 'DELETE', () => [`/groups/${crew}/members/${root.id}`]],
    ['rename the group', 'PATCH', () => [`/groups/${crew}`, { name: 'mine' }]],
    ['delete the group', 'DELETE', () => [`/groups/${crew}`]],
    ['make a group', 'POST', () => ['/groups', { name: 'mine' }]],
    ['make a subgroup', 'POST', () => ['/groups', { name: 'mine', parentId: crew }]],
    ['see another group', 'GET', () => [`/groups/${others}`]],
    [
      'join another group',
      'PUT',
      () => [`/groups/${others}/members/${alice.id}`, { mode: 'ADMIN' }],
    ],
    ['empty another group', 'DELETE', () => [`/groups/${others}/members/${outsider}`]],
    ['make a role', 'POST', () => ['/roles', { name: 'mine', scopes: ['deploy'] }]],
    ['change a role', 'PATCH', () => ['/roles/deployer', { scopes: ['all'] }]],
    ['change the policy', 'PATCH', () => ['/policy', { lockoutEnabled: false }]],
    ['read the audit trail', 'GET', () => ['/audit']],
    ['list users', 'GET', () => ['/users']],
  ]

  test.each(attempts)('%s', async (_, method, request) => {
    const before = await snapshot(server)
    const [path, body] = request()
    const { status } = await asAlice(method, path, body)
    expect([403, 404]).toContain(status)
    expect(await snapshot(server)).toEqual(before)
  })
})

test('the same holds on the other wires', async () => {
  const before = await snapshot(server)
  for (const [method, path, body] of [
    ['GET', '/api/auth/v1/admin/users', undefined],
    ['POST', '/api/auth/v1/admin/users', { userId: 'evil', globalRole: 'ADMIN' }],
    ['PUT', '/api/auth/v1/admin/users/alice', { userId: 'alice', globalRole: 'ADMIN' }],
    ['POST', '/api/auth/v1/admin/refreshTokens', { tokenName: 'x' }],
    ['PUT', '/api/auth/v1/admin/groups/crew', { groupId: 'crew', users: [] }],
    ['DELETE', '/api/auth/v1/admin/groups/crew', undefined],
    ['PATCH', '/v1/auth/security-policy', { auth_security_policy: { enabled: false } }],
    ['POST', '/v1/access-tokens', { access_token: { name: 'x', roles: ['admin'] } }],
    ['GET', '/v1/tokens', undefined],
  ] as const) {
    const options = { token: alice.token, ...(body === undefined ? {} : { body }) }
    const { status, text } = await server.call(method, path, options)
    expect([401, 403, 404], `${method} ${path}: ${text}`).toContain(status)
  }
  expect(await snapshot(server)).toEqual(before)
})

test('a token that carries less of the group does less in it', async () => {
  const weak = async (mode: string) =>
    (
      await makeToken(server, {
        ownerId: alice.id,
        ...EVERYTHING,
        groups: [{ group: 'crew', mode }],
      })
    ).secret
  const path = `/groups/${crew}/members/${bob.id}`
  for (const mode of ['READ', 'WRITE']) {
    expect((await asAlice('PUT', path, { mode: 'WRITE' }, await weak(mode))).status).toBe(403)
  }
  expect((await asAlice('PUT', path, { mode: 'WRITE' }, await weak('ADMIN'))).status).toBe(204)
})
