import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { makeClient, seedFamily, seedGrant } from '../support/clients.ts'
import { type Call, checkedCall } from '../support/openapi.ts'
import { EVERYTHING, isAlive, makeToken } from '../support/people.ts'
import { expectProblem, withoutRequestId } from '../support/problem.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { snapshot } from '../support/tables.ts'

let server: TestServer
let call: Call
let alice: { id: string; token: string }
let bob: { id: string; token: string }
let portal: { id: string; clientId: string }

beforeAll(async () => {
  server = await startServer()
  call = await checkedCall(server)
  alice = await server.makeUser({ username: 'alice' })
  bob = await server.makeUser({ username: 'bob' })
  portal = await makeClient(server, { name: 'portal', clientId: 'portal' })
})
afterAll(() => server.close())

const NOBODY = '01b8dac5-b400-7000-8000-ffffffffffff'
const give = (userId: string, wish: { clientId?: string; ttlMs?: number } = {}) =>
  seedFamily(server, { userId, clientId: portal.id, ...wish })
const list = async (query = '', token = server.adminToken) =>
  (await call('GET', `/api/v1/grants?limit=1000${query}`, { token })).body.items
const idsOf = async (query = '', token = server.adminToken): Promise<string[]> =>
  (await list(query, token)).map(({ id }: { id: string }) => id)
const withdraw = (id: string, token = server.adminToken) =>
  call('DELETE', `/api/v1/grants/${id}`, { token })
const recordsOf = async (id: string) =>
  (await call('GET', `/api/v1/audit?subjectId=${id}`)).body.items

describe('the list', () => {
  test('shows who let which client do what, and until when', async () => {
    const { id } = await give(alice.id)
    const [grant] = await list(`&userId=${alice.id}`)
    expect(grant).toEqual({
      id,
      user: { id: alice.id, username: 'alice' },
      client: { id: portal.id, clientId: 'portal', name: 'portal' },
      sessionId: null,
      scopes: ['openid'],
      resources: [],
      createdAt: '2030-01-01T00:00:00.000Z',
      updatedAt: '2030-01-01T00:00:00.000Z',
      expiresAt: '2030-01-01T01:00:00.000Z',
      revokedAt: null,
    })
  })

  test('holds one’s own, and everybody’s for administrators', async () => {
    const mine = (await give(alice.id)).id
    const his = (await give(bob.id)).id
    expect(await idsOf('', alice.token)).toContain(mine)
    expect(await idsOf('', alice.token)).not.toContain(his)
    expect(await idsOf(`&userId=${alice.id}`, alice.token)).toContain(mine)
    expect(await idsOf()).toEqual(expect.arrayContaining([mine, his]))
    expect(await idsOf(`&userId=${bob.id}`)).toEqual([his])
    for (const userId of [bob.id, NOBODY]) {
      const token = alice.token
      const answer = await call('GET', `/api/v1/grants?userId=${userId}`, { token })
      expectProblem(answer, 403, 'forbidden')
    }
  })

  test('goes by client, also for users, who learn nothing of others that way', async () => {
    const other = await makeClient(server)
    const his = (await give(bob.id, { clientId: other.id })).id
    expect(await idsOf(`&clientId=${other.id}`)).toEqual([his])
    expect(await idsOf(`&clientId=${other.id}`, bob.token)).toEqual([his])
    expect(await idsOf(`&clientId=${other.id}`, alice.token)).toEqual([])
    expect(await idsOf(`&clientId=${NOBODY}`)).toEqual([])
  })

  test('leaves out what was withdrawn or is over, unless all are asked for', async () => {
    const over = (await give(bob.id, { ttlMs: 1000 })).id
    const withdrawn = (await give(bob.id)).id
    await withdraw(withdrawn)
    server.clock.advance(1000)
    const live = await idsOf(`&userId=${bob.id}`)
    expect(live).not.toContain(over)
    expect(live).not.toContain(withdrawn)
    const all = await list(`&userId=${bob.id}&all=true`)
    const byId = new Map(all.map((grant: { id: string }) => [grant.id, grant]))
    expect(byId.get(over)).toMatchObject({ revokedAt: null })
    expect(byId.get(withdrawn)).toMatchObject({ revokedAt: expect.any(String) })
    expect(await idsOf(`&userId=${bob.id}&all=false`)).toEqual(live)
    expectProblem(await call('GET', '/api/v1/grants?all=1'), 400, 'invalid_input')
  })

  test('comes in pages', async () => {
    const carol = await server.makeUser({ username: 'carol' })
    const ids: string[] = []
    for (let i = 0; i < 5; i++) {
      server.clock.advance(1)
      ids.unshift((await give(carol.id)).id)
    }
    const seen: string[] = []
    let cursor = ''
    do {
      const url = `/api/v1/grants?limit=2${cursor && `&cursor=${cursor}`}`
      const { body } = await call('GET', url, { token: carol.token })
      seen.push(...body.items.map(({ id }: { id: string }) => id))
      cursor = body.nextCursor ?? ''
    } while (cursor !== '')
    expect(seen).toEqual(ids)
  })
})

describe('withdrawing', () => {
  test('kills every token that came of the grant, and no other', async () => {
    const { id, refresh, access } = await give(alice.id)
    const other = await give(alice.id)
    expect(await isAlive(server, access.secret)).toBe(true)
    const { status, body } = await withdraw(id, alice.token)
    expect(status).toBe(200)
    expect(body.revoked.sort()).toEqual([refresh.token.id, access.token.id].sort())
    expect(await isAlive(server, access.secret)).toBe(false)
    expect(await isAlive(server, other.access.secret)).toBe(true)
    const shown = await call('GET', `/api/v1/tokens/${refresh.token.id}`)
    expect(shown.body).toMatchObject({ state: 'revoked', revokeReason: 'grant withdrawn' })
    expect(await recordsOf(id)).toMatchObject([
      { action: 'grant.withdrawn', subjectType: 'grant', actorName: 'alice' },
    ])
    expect(await recordsOf(refresh.token.id)).toMatchObject([{ action: 'token.revoked' }])
  })

  test('again changes nothing and leaves no record', async () => {
    const { id } = await give(alice.id)
    await withdraw(id)
    const before = await snapshot(server)
    const again = await withdraw(id)
    expect([again.status, again.body]).toEqual([200, { revoked: [], acknowledged: 1, nodes: 1 }])
    expect(await snapshot(server)).toEqual(before)
  })

  test('what is over already, with no token left, changes nothing either', async () => {
    const wish = { userId: alice.id, clientId: portal.id, ttlMs: 1000 }
    const id = await seedGrant(server, { id: '01b8dac5-b400-7000-8000-eeeeeeeeeeee', ...wish })
    server.clock.advance(1000)
    const before = await snapshot(server)
    expect((await withdraw(id)).body).toEqual({ revoked: [], acknowledged: 1, nodes: 1 })
    expect(await snapshot(server)).toEqual(before)
  })

  test('reaches tokens that outlive their grant', async () => {
    const { id, access } = await give(alice.id, { ttlMs: 1000 })
    server.clock.advance(1000)
    expect(await isAlive(server, access.secret)).toBe(true)
    expect((await withdraw(id)).body.revoked).toHaveLength(2)
    expect(await isAlive(server, access.secret)).toBe(false)
    expect(await recordsOf(id)).toMatchObject([{ action: 'grant.withdrawn' }])
  })

  test('twenty times at once is withdrawn once', async () => {
    const { id } = await give(alice.id)
    const answers = await Promise.all(Array.from({ length: 20 }, () => withdraw(id)))
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
    expect(answers.filter(({ body }) => body.revoked.length > 0)).toHaveLength(1)
    expect(await recordsOf(id)).toHaveLength(1)
  })

  test('is for the user and for administrators; for others the grant is not there', async () => {
    const { id, access } = await give(alice.id)
    const nothing = withoutRequestId(await withdraw(NOBODY, bob.token))
    expect(withoutRequestId(await withdraw(id, bob.token))).toEqual(nothing)
    expectProblem(await withdraw(NOBODY), 404, 'not_found')
    expectProblem(await withdraw('portal'), 400, 'invalid_input')
    for (const by of [
      await makeToken(server, { ...EVERYTHING, accessLevel: 'READ_ONLY', ownerId: alice.id }),
      await makeToken(server, { ...EVERYTHING, accessLevel: 'READ_ONLY' }),
    ]) {
      expectProblem(await withdraw(id, by.secret), 403, 'forbidden')
    }
    expect(await isAlive(server, access.secret)).toBe(true)
    expect((await withdraw(id)).status).toBe(200)
    expect(await isAlive(server, access.secret)).toBe(false)
  })

  test('happens by itself when the user is deleted', async () => {
    const dave = await server.makeUser({ username: 'dave' })
    const { id, access } = await give(dave.id)
    await call('DELETE', `/api/v1/users/${dave.id}`)
    expect(await isAlive(server, access.secret)).toBe(false)
    expect(await idsOf()).not.toContain(id)
    const [grant] = await list(`&userId=${dave.id}&all=true`)
    expect(grant).toMatchObject({
      id,
      user: { id: dave.id, username: null },
      revokedAt: expect.any(String),
    })
    expect(await recordsOf(id)).toMatchObject([{ action: 'grant.withdrawn' }])
  })
})
