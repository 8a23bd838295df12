import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { AUDIT_ACTIONS } from '../../src/core/audit/event.ts'
import { type Call, checkedCall } from '../support/openapi.ts'
import { EVERYTHING, logIn, makeGroup, makeRole, makeToken, setPolicy } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { startServer, type TestServer } from '../support/server.ts'

interface Event {
  sequence: number
  at: string
  action: string
  subjectType: string
  subjectId: string
  actorId: string | null
  actorTokenId: string | null
  ip: string | null
  requestId: string | null
  via: string
  before: Record<string, unknown> | null
  after: Record<string, unknown> | null
}

let server: TestServer
let call: Call
let alice: { id: string; token: string }

beforeAll(async () => {
  server = await startServer()
  call = await checkedCall(server)
  alice = await server.makeUser({ username: 'alice' })
})
afterAll(() => server.close())

async function events(query = ''): Promise<Event[]> {
  const { status, body, text } = await call('GET', `/api/v1/audit?limit=1000&${query}`)
  expect(status, text).toBe(200)
  return body.items
}

/** What `act` adds to the trail, oldest first. */
async function added(act: () => Promise<unknown>): Promise<Event[]> {
  const last = (await events())[0]?.sequence ?? 0
  await act()
  return (await events()).filter(({ sequence }) => sequence > last).reverse()
}

test('every change leaves exactly one record that says who, what, when and from where', async () => {
  server.clock.advance(1000)
  const me = (await call('GET', '/api/v1/me')).body
  const options = { body: { name: 'recorded', description: 'before' } }
  const made = await added(() => call('POST', '/api/v1/tokens', options))
  expect(made).toMatchObject([
    {
      at: new Date(server.clock.now()).toISOString(),
      action: 'token.created',
      subjectType: 'token',
      actorId: me.user.id,
      actorName: 'admin',
      actorTokenId: me.token.id,
      ip: '127.0.0.1',
      via: 'api',
      before: null,
      after: { kind: 'api', name: 'recorded', accessLevel: 'READ_ONLY' },
    },
  ])
  const path = `/api/v1/tokens/${made[0]?.subjectId}`
  let requestId: unknown
  const changed = await added(async () => {
    const edit = { body: { description: 'after' } }
    requestId = (await call('PATCH', path, edit)).headers['x-request-id']
  })
  expect(changed).toMatchObject([
    { requestId, before: { description: 'before' }, after: { description: 'after' } },
  ])
})

test('each kind of change has its action', async () => {
  const { id: bob } = await server.makeUser({ username: 'bob' })
  const actions = async (act: () => Promise<unknown>) =>
    (await added(act)).map(({ action }) => action)
  const user = `/api/v1/users/${bob}`
  let group = ''
  let token = ''

  expect(await actions(() => makeRole(server, 'deployer'))).toEqual(['role.created'])
  expect(
    await actions(() => call('PATCH', '/api/v1/roles/deployer', { body: { scopes: ['a'] } })),
  ).toEqual(['role.updated'])
  expect(await actions(() => call('DELETE', '/api/v1/roles/deployer'))).toEqual(['role.deleted'])
  expect(
    await actions(async () => {
      group = await makeGroup(server, 'crew', { [bob]: 'READ' })
    }),
  ).toEqual(['group.created', 'membership.set'])
  expect(
    await actions(() => call('PATCH', `/api/v1/groups/${group}`, { body: { name: 'team' } })),
  ).toEqual(['group.updated'])
  expect(await actions(() => call('DELETE', `/api/v1/groups/${group}/members/${bob}`))).toEqual([
    'membership.removed',
  ])
  expect(await actions(() => call('DELETE', `/api/v1/groups/${group}`))).toEqual(['group.deleted'])
  expect(await actions(() => setPolicy(server, { lockoutAttempts: 3 }))).toEqual(['policy.updated'])
  expect(await actions(() => call('PATCH', user, { body: { displayName: 'B' } }))).toEqual([
    'user.updated',
  ])
  expect(await actions(() => logIn(server, { id: bob, username: 'bob' }))).toEqual([
    'user.password_reset',
    'user.password_changed',
    'session.opened',
  ])
  const wrong = { token: null, body: { username: 'bob', password: 'wrong' } }
  const wrongLogin = () => call('POST', '/api/v1/login', wrong)
  expect(await actions(wrongLogin)).toEqual(['login.failed'])
  expect(await actions(wrongLogin)).toEqual(['login.failed'])
  expect(await actions(wrongLogin)).toEqual(['login.locked'])
  expect(
    await actions(async () => {
      token = (await makeToken(server, { ownerId: bob })).id
      await call('POST', `/api/v1/tokens/${token}/rotate`, { body: { overlapSeconds: 0 } })
    }),
  ).toEqual(['token.created', 'token.rotated'])
  expect(await actions(() => call('PATCH', user, { body: { active: false } }))).toEqual([
    'session.closed',
    'user.updated',
  ])
  expect((await actions(() => call('DELETE', user))).at(-1)).toBe('user.deleted')
})

test('a refused or repeated request leaves none', async () => {
  const { id } = await makeToken(server, { ownerId: alice.id, name: 'once' })
  await call('DELETE', `/api/v1/tokens/${id}`)
  const none = await added(async () => {
    await call('DELETE', `/api/v1/tokens/${id}`)
    await call('DELETE', `/api/v1/tokens/${id}`, { token: alice.token })
    await call('POST', '/api/v1/tokens', { body: {} })
    await call('POST', '/api/v1/users', { body: { username: 'alice' } })
    await call('PATCH', '/api/v1/policy', { token: alice.token, body: { lockoutSeconds: 1 } })
    await call('GET', '/api/v1/users')
  })
  expect(none).toEqual([])
})

test('numbers have no gaps, and hashes differ', async () => {
  const all = await events()
  const numbers = all.map(({ sequence }) => sequence)
  expect(numbers).toEqual(numbers.map((_, i) => numbers.length - i))
  const { body } = await call('GET', '/api/v1/audit?limit=1000')
  expect(new Set(body.items.map(({ hash }: { hash: string }) => hash)).size).toBe(all.length)
})

describe('filters', () => {
  test('by actor, action, subject and time', async () => {
    const all = await events()
    const { id } = await makeToken(server, { ownerId: alice.id, name: 'filtered' })
    expect(await events(`subjectId=${id}`)).toMatchObject([{ action: 'token.created' }])
    const roles = await events('subjectType=role')
    expect(roles).toEqual(all.filter(({ subjectType }) => subjectType === 'role'))
    const created = await events('action=user.created')
    expect(created).toEqual(all.filter(({ action }) => action === 'user.created'))
    expect(await events(`actorId=${alice.id}`)).toEqual([])

    server.clock.advance(60_000)
    const from = new Date(server.clock.now()).toISOString()
    await makeToken(server, { name: 'later' })
    server.clock.advance(1)
    const to = new Date(server.clock.now()).toISOString()
    await makeToken(server, { name: 'latest' })
    expect(await events(`from=${from}&to=${to}`)).toMatchObject([{ after: { name: 'later' } }])
    expect((await events(`from=${from}`)).length).toBe(2)
  })

  test.each([
    'action=token.stolen',
    'subjectType=session',
    'actorId=alice',
    'from=yesterday',
    'from=2031-02-30T00:00:00Z',
    `subjectId=${'x'.repeat(101)}`,
    'limit=0',
    'actor=alice',
  ])('?%s: 400', async (query) => {
    expectProblem(await call('GET', `/api/v1/audit?${query}`), 400, 'invalid_input')
  })

  test('every action can be asked for', async () => {
    for (const action of AUDIT_ACTIONS) await events(`action=${action}`)
  })
})

test('it is for admins, READ_ONLY or not, and nobody changes it', async () => {
  const { secret } = await makeToken(server, { ...EVERYTHING, accessLevel: 'READ_ONLY' })
  expect((await call('GET', '/api/v1/audit', { token: secret })).status).toBe(200)
  const refusal = await call('GET', '/api/v1/audit', { token: alice.token })
  expectProblem(refusal, 403, 'forbidden')
  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE']) {
    expectProblem(await call(method, '/api/v1/audit', { body: {} }), 404, 'route_not_found')
    expectProblem(await call(method, '/api/v1/audit/1', { body: {} }), 404, 'route_not_found')
  }
})
