import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { makeClient, seedFamily } from '../support/clients.ts'
import { EVERYTHING, makeGroup, makeToken, setPolicy } from '../support/people.ts'
import { withoutRequestId } from '../support/problem.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { snapshot } from '../support/tables.ts'

let server: TestServer
let alice: { id: string; token: string }
let bob: { id: string; token: string }
let bobsToken: string
let bobsGroup: string
let bobsGrant: string
let client: { id: string; clientId: string }

beforeAll(async () => {
  server = await startServer()
  alice = await server.makeUser({ username: 'alice' })
  bob = await server.makeUser({ username: 'bob' })
  await makeGroup(server, 'crew-of-alice', { [alice.id]: 'ADMIN' })
  bobsGroup = await makeGroup(server, 'crew-of-bob', { [bob.id]: 'ADMIN' })
  bobsToken = (await makeToken(server, { ownerId: bob.id, name: 'of-bob' })).id
  client = await makeClient(server, { clientId: 'portal' })
  bobsGrant = (await seedFamily(server, { userId: bob.id, clientId: client.id })).id
  await setPolicy(server, { usersMayCreateTokens: true })
})
afterAll(() => server.close())

const NOBODY = '01b8dac5-b400-7000-8000-000000000000'

/** Requests about one object, with the id of it left open. */
const requests: [string, (id: string) => string, unknown?][] = [
  ['GET', (id) => `/api/v1/tokens/${id}`],
  ['PATCH', (id) => `/api/v1/tokens/${id}`, { name: 'mine' }],
  ['POST', (id) => `/api/v1/tokens/${id}/rotate`],
  ['POST', (id) => `/api/v1/tokens/${id}/revoke`, { reason: 'mine' }],
  ['DELETE', (id) => `/api/v1/tokens/${id}`],
  ['POST', () => '/api/v1/tokens/explain', 'TOKEN'],
  ['GET', (id) => `/api/v1/users/${id}`],
  ['PATCH', (id) => `/api/v1/users/${id}`, { active: false }],
  ['DELETE', (id) => `/api/v1/users/${id}`],
  ['POST', (id) => `/api/v1/users/${id}/one-time-password`],
  ['GET', (id) => `/api/v1/groups/${id}`],
  ['PATCH', (id) => `/api/v1/groups/${id}`, { description: 'mine' }],
  ['DELETE', (id) => `/api/v1/groups/${id}`],
  ['GET', (id) => `/api/v1/groups/${id}/members`],
  ['GET', (id) => `/api/v1/clients/${id}`],
  ['PATCH', (id) => `/api/v1/clients/${id}`, { active: false }],
  ['POST', (id) => `/api/v1/clients/${id}/secret`],
  ['DELETE', (id) => `/api/v1/clients/${id}`],
  ['DELETE', (id) => `/api/v1/grants/${id}`],
  ['GET', (id) => `/api/v1/grants?userId=${id}`],
  ['GET', (id) => `/api/v1/grants?clientId=${id}`],
  ['GET', (id) => `/api/v1/tokens?clientId=${id}`],
  ['POST', () => '/api/v1/tokens', 'OWNER'],
  ['GET', (id) => `/api/v1/tokens?ownerId=${id}`],
  ['GET', (id) => `/api/v1/tokens?creatorId=${id}`],
  ['GET', (id) => `/api/v1/tokens?group=${id}`],
  ['GET', (id) => `/api/v1/tokens?q=owner:${id}`],
  ['GET', (id) => `/api/v1/tokens?q=id:${id}`],
  ['GET', (id) => `/api/v1/tokens?q=group:${id}%20or%20client:${id}`],
  ['GET', (id) => `/api/v1/tokens/count?q=creator:${id}`],
  ['GET', (id) => `/api/v1/tokens/stats?by=owner&q=owner:${id}`],
]

function send([method, path, body]: (typeof requests)[number], id: string) {
  const sent =
    body === 'OWNER' ? { name: 'for them', ownerId: id } : body === 'TOKEN' ? { tokenId: id } : body
  const options = { token: alice.token, ...(sent === undefined ? {} : { body: sent }) }
  return server.call(method, path(id), options)
}

test.each(requests)(
  '%s %s says the same for what is not mine as for nothing',
  async (...request) => {
    const before = await snapshot(server)
    const nothing = withoutRequestId(await send(request, NOBODY))
    for (const id of [bobsToken, bob.id, bobsGroup, bobsGrant, client.id]) {
      expect(withoutRequestId(await send(request, id))).toEqual(nothing)
    }
    expect(await snapshot(server)).toEqual(before)
  },
)

test('a group by name is as unknown as its id', async () => {
  const token = alice.token
  const ask = async (group: string) =>
    withoutRequestId(await server.call('GET', `/api/v1/tokens?group=${group}`, { token }))
  expect(await ask('crew-of-bob')).toEqual(await ask('no-such-crew'))
})

test.each(['/api/v1/tokens', '/api/v1/tokens/self/children', '/api/v1/tokens/self/jwt'])(
  'nobody learns of a group by asking for rights in it: %s',
  async (path) => {
    const wish = path.endsWith('jwt')
      ? { audience: 'https://a.example.com' }
      : { name: `nosy ${path}` }
    const ask = async (group: string) => {
      const body = { ...wish, groups: [{ group, mode: 'READ' }] }
      const answer = await server.call('POST', path, { token: alice.token, body })
      const text = answer.text.replace(group, '')
      return { status: answer.status, rest: withoutRequestId({ ...answer, text }) }
    }
    expect(await ask('crew-of-bob')).toEqual(await ask('no-such-one'))
    expect((await ask('crew-of-alice')).status).toBeLessThan(300)
  },
)

test('the policy names no group to whoever may not see it', async () => {
  const rule = { groups: ['crew-of-alice', 'crew-of-bob'], idleSeconds: 86_400 }
  expect((await server.call('PUT', '/api/v1/policy/rules/crews', { body: rule })).status).toBe(200)
  const groups = async (token: string) =>
    (await server.call('GET', '/api/v1/policy', { token })).body.tokenRules[0].groups
  expect(await groups(server.adminToken)).toEqual(rule.groups)
  expect(await groups(alice.token)).toEqual(['crew-of-alice', bobsGroup])
  await server.call('DELETE', '/api/v1/policy/rules/crews')
})

test('a client id is as unknown as none', async () => {
  const token = alice.token
  const ask = async (method: string, id: string) =>
    withoutRequestId(await server.call(method, `/api/v1/clients/${id}`, { token }))
  for (const method of ['GET', 'DELETE']) {
    expect(await ask(method, 'portal')).toEqual(await ask(method, 'no-such-client'))
  }
})

test('a username is as unknown as nobody', async () => {
  const token = alice.token
  const ask = async (name: string) =>
    withoutRequestId(await server.call('GET', `/api/v1/users?username=${name}`, { token }))
  expect(await ask('bob')).toEqual(await ask('nobody'))
  expect(await ask('admin')).toEqual(await ask('nobody'))
})

describe('the ADMIN of a group, about the members of another', () => {
  const ask = async (method: 'PUT' | 'DELETE', group: string, user: string) => {
    const body = method === 'PUT' ? { body: { mode: 'READ' } } : {}
    const url = `/api/v1/groups/${group}/members/${user}`
    return withoutRequestId(await server.call(method, url, { token: alice.token, ...body }))
  }
  const groupOfAlice = async () => {
    const { body } = await server.call('GET', '/api/v1/groups', { token: alice.token })
    return body.items[0].id as string
  }

  test('is told the same for a stranger as for nobody', async () => {
    const mine = await groupOfAlice()
    expect(await ask('DELETE', mine, bob.id)).toEqual(await ask('DELETE', mine, NOBODY))
    for (const method of ['PUT', 'DELETE'] as const) {
      expect(await ask(method, bobsGroup, bob.id)).toEqual(await ask(method, NOBODY, NOBODY))
    }
  })

  test('cannot find out who exists by adding people', async () => {
    const mine = await groupOfAlice()
    expect(await ask('PUT', mine, bob.id)).toEqual(await ask('PUT', mine, NOBODY))
  })

  test("cannot name another's group when minting", async () => {
    const mint = (group: string) =>
      server.call('POST', '/api/v1/tokens', {
        token: alice.token,
        body: { name: 'x', groups: [{ group, mode: 'READ' }] },
      })
    for (const group of [bobsGroup, NOBODY]) {
      const { status, body } = await mint(group)
      expect([status, body.code]).toEqual([403, 'beyond_rights'])
    }
  })
})

describe('lists', () => {
  test.each([
    ['/api/v1/tokens', '?text=bob', '?text=%25', '?text=', '?q=owner:bob', '?q=-owner:alice'],
    ['/api/v1/groups', '?text=bob', '?text=%25', '?text='],
    ['/api/v1/grants', '?all=true', '?all=false'],
  ])('%s holds nothing of others', async (path, ...queries) => {
    for (const query of ['', '?limit=1000', ...queries]) {
      const { body, text } = await server.call('GET', path + query, { token: alice.token })
      expect(body.items).toBeDefined()
      expect(text).not.toContain(bob.id)
      expect(text).not.toContain(bobsGroup)
      expect(text).not.toContain(bobsToken)
      expect(text).not.toContain(bobsGrant)
    }
  })

  test('a cursor of somebody else is none', async () => {
    const { body } = await server.call('GET', '/api/v1/tokens?limit=1')
    const next = await server.call('GET', `/api/v1/tokens?cursor=${body.nextCursor}`, {
      token: alice.token,
    })
    expect(next.status).toBe(400)
    expect(next.text).not.toContain(bob.id)
  })

  test('users, clients and the audit trail are for administrators', async () => {
    for (const path of ['/api/v1/users', '/api/v1/clients', '/api/v1/audit']) {
      const { status } = await server.call('GET', path, { token: alice.token })
      expect(status).toBe(403)
    }
  })

  test('a token without its groups does not see them either', async () => {
    const { secret } = await makeToken(server, { ownerId: alice.id, ...EVERYTHING, groups: [] })
    const { body } = await server.call('GET', '/api/v1/groups', { token: secret })
    expect(body.items).toEqual([])
  })
})
