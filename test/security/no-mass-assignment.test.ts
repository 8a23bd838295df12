import { afterAll, beforeAll, expect, test } from 'vitest'
import { makeClient } from '../support/clients.ts'
import type { OpenApi } from '../support/openapi.ts'
import { makeGroup, makeRole, makeToken } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { columns, snapshot } from '../support/tables.ts'

let server: TestServer
let ids: Record<string, string>

beforeAll(async () => {
  server = await startServer()
  const alice = await server.makeUser({ username: 'alice' })
  await makeRole(server, 'reader')
  const token = await makeToken(server, { ownerId: alice.id })
  ids = {
    users: alice.id,
    tokens: token.id,
    // A body is looked at before what it is about.
    webhooks: token.id,
    groups: await makeGroup(server, 'crew', { [alice.id]: 'READ' }),
    roles: 'reader',
    policy: 'a-rule',
    clients: (await makeClient(server)).id,
  }
})
afterAll(() => server.close())

const camelCase = (column: string) => column.replace(/_(\w)/g, (_, c: string) => c.toUpperCase())

/** Every column of the database and every property of the document, however it may be spelled. */
async function properties(): Promise<string[]> {
  const document = (await server.call('GET', '/api/openapi.json')).text
  const named = [...document.matchAll(/"(\w+)":\{"(?:type|anyOf|enum|description)"/g)]
  const stored = await columns(server)
  return [
    ...new Set([
      ...named.map(([, name]) => name ?? ''),
      ...stored,
      ...stored.map(camelCase),
      ...['isAdmin', 'admin', 'role', 'permissions', 'verified', 'rateLimitMax', 'maxUses'],
      ...['password', 'passwordHash', 'secret', 'userId', 'user', 'owner', 'creator', 'members'],
    ]),
  ].sort()
}

function realPath(template: string): string {
  const kind = template.split('/')[3] ?? ''
  return template.replace(/\{(id|name)\}/, ids[kind] ?? '').replace('{userId}', ids.users ?? '')
}

test('no body takes a member that it does not declare', async () => {
  const document = (await server.call('GET', '/api/openapi.json')).body as OpenApi
  const every = await properties()
  expect(every.length).toBeGreaterThan(100)
  const before = await snapshot(server)
  let asked = 0
  for (const [template, methods] of Object.entries(document.paths)) {
    for (const [method, { requestBody }] of Object.entries(methods)) {
      const schema = requestBody?.content['application/json']?.schema
      // A list is of GitHub's making, which may come to say more.
      if (schema === undefined || schema.type === 'array') continue
      const object = schema.properties === undefined ? schema.anyOf[0] : schema
      // Only members: a body without what it requires is refused whatever else it has.
      const required = Object.fromEntries(
        (object.required ?? []).map((name: string) => [name, name === 'mode' ? 'READ' : 'x']),
      )
      for (const name of every.filter((each) => object.properties[each] === undefined)) {
        const answer = await server.call(method.toUpperCase(), realPath(template), {
          body: { ...required, [name]: 'ADMIN' },
        })
        expectProblem(answer, 400, 'invalid_input')
        expect(answer.body.detail, template).toContain(`unknown member "${name}"`)
        asked++
      }
    }
  }
  expect(asked).toBeGreaterThan(1000)
  expect(await snapshot(server)).toEqual(before)
})

test('whose a token is cannot be changed by anybody, nor where a group belongs', async () => {
  const admin = (await server.call('GET', '/api/v1/me')).body.user.id
  const before = await snapshot(server)
  for (const [path, edit] of [
    [`tokens/${ids.tokens}`, { ownerId: admin }],
    [`tokens/${ids.tokens}`, { owner: { id: admin } }],
    [`tokens/${ids.tokens}`, { owner_id: admin }],
    [`groups/${ids.groups}`, { parentId: ids.groups }],
    [`users/${ids.users}`, { id: admin }],
    [`users/${ids.users}`, { username: 'admin' }],
    [`clients/${ids.clients}`, { clientId: 'another' }],
    [`clients/${ids.clients}`, { type: 'public' }],
    [`clients/${ids.clients}`, { serviceUserId: admin }],
  ] as const) {
    expectProblem(await server.call('PATCH', `/api/v1/${path}`, { body: edit }), 400)
  }
  const rotate = await server.call('POST', `/api/v1/tokens/${ids.tokens}/rotate`, {
    body: { ownerId: admin },
  })
  expectProblem(rotate, 400, 'invalid_input')
  expect(await snapshot(server)).toEqual(before)
})

test('a successor belongs to the same owner, whoever rotates', async () => {
  const { body } = await server.call('POST', `/api/v1/tokens/${ids.tokens}/rotate`)
  expect(body.owner.id).toBe(ids.users)
})
