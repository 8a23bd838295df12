import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Call, checkedCall } from '../support/openapi.ts'
import {
  EVERYTHING,
  isAlive,
  logIn,
  makeGroup,
  makeRole,
  makeToken,
  setPolicy,
} from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { startServer, type TestServer } from '../support/server.ts'

let server: TestServer
let call: Call
let alice: { id: string; token: string }

beforeAll(async () => {
  server = await startServer()
  call = await checkedCall(server)
  await makeRole(server, 'deployer', ['deploy:read'])
  alice = await server.makeUser({ username: 'alice', roles: ['deployer'] })
  await makeGroup(server, 'crew', { [alice.id]: 'WRITE' })
})
afterAll(() => server.close())

const NOBODY = '018bcfe5-6800-7000-8000-000000000000'
const post = (path: string, body?: unknown, token = server.adminToken) =>
  call('POST', `/api/v1/tokens/${path}`, { token, ...(body === undefined ? {} : { body }) })
const patch = (id: string, body: unknown, token = server.adminToken) =>
  call('PATCH', `/api/v1/tokens/${id}`, { body, token })
const read = async (id: string) => (await call('GET', `/api/v1/tokens/${id}`)).body

describe('updating', () => {
  test('changes name, description and metadata, and nothing else', async () => {
    const { id } = await makeToken(server, { ownerId: alice.id, roles: ['deployer'] })
    const before = await read(id)
    server.clock.advance(1000)
    const edit = { name: 'renamed', description: 'now described', metadata: { a: 1 } }
    const { status, body } = await patch(id, edit)
    expect(status).toBe(200)
    expect(body).toEqual({
      ...before,
      ...edit,
      updatedAt: new Date(server.clock.now()).toISOString(),
    })
    expect(await read(id)).toEqual(body)
  })

  test('leaves out what is left out', async () => {
    const { id } = await makeToken(server, { name: 'kept', description: 'kept, too' })
    const { body } = await patch(id, { metadata: { b: 2 } })
    expect(body).toMatchObject({ name: 'kept', description: 'kept, too', metadata: { b: 2 } })
    expect((await patch(id, {})).status).toBe(200)
  })

  test.each([
    ['accessLevel', 'FULL_ACCESS'],
    ['roles', null],
    ['expiresAt', null],
    ['ownerId', NOBODY],
    ['state', 'active'],
    ['name', null],
    ['name', ''],
    ['metadata', null],
  ])('refuses %s = %j with 400', async (member, value) => {
    const { id } = await makeToken(server, {})
    const before = await read(id)
    expectProblem(await patch(id, { [member]: value }), 400, 'invalid_input')
    expect(await read(id)).toEqual(before)
  })

  test('refuses taken names, ended tokens, strangers and READ_ONLY', async () => {
    const { id } = await makeToken(server, { name: 'one' })
    await makeToken(server, { name: 'two' })
    expectProblem(await patch(id, { name: 'TWO' }), 409, 'name_taken')
    expectProblem(await patch(NOBODY, { name: 'x' }), 404, 'not_found')
    expectProblem(await patch(id, { name: 'x' }, alice.token), 404, 'not_found')
    const { secret } = await makeToken(server, { ...EVERYTHING, accessLevel: 'READ_ONLY' })
    expectProblem(await patch(id, { name: 'x' }, secret), 403, 'forbidden')
    await post(`${id}/revoke`)
    expectProblem(await patch(id, { name: 'x' }), 409, 'token_not_active')
  })
})

describe('rotating', () => {
  test('kills the old secret at once and keeps rights, name, end and family', async () => {
    const old = await makeToken(server, {
      ownerId: alice.id,
      name: 'rotating',
      accessLevel: 'FULL_ACCESS',
      roles: ['deployer'],
      groups: [{ group: 'crew', mode: 'READ' }],
      scopes: ['deploy:read'],
      metadata: { a: 1 },
      expiresAt: '2031-01-01T00:00:00.000Z',
    })
    const before = await read(old.id)
    expect(await isAlive(server, old.secret)).toBe(true)
    const { status, body } = await post(`${old.id}/rotate`, { overlapSeconds: 0 })
    expect(status).toBe(200)
    expect(await isAlive(server, old.secret)).toBe(false)
    expect(await isAlive(server, body.secret)).toBe(true)
    const same = ['kind', 'name', 'owner', 'accessLevel', 'roles', 'groups', 'scopes', 'familyId']
    for (const member of [...same, 'metadata', 'expiresAt']) {
      expect(body[member], member).toEqual(before[member])
    }
    expect(await read(old.id)).toMatchObject({ state: 'superseded', supersededBy: body.id })
    // The integer identifier that dialects show moves on to the successor, unseen here.
    expect(JSON.stringify(body)).not.toContain('serial')
  })

  test('takes a new end', async () => {
    const { id } = await makeToken(server, {})
    const expiresAt = '2032-01-01T00:00:00.000Z'
    const { body } = await post(`${id}/rotate`, { expiresAt })
    expect(body.expiresAt).toBe(expiresAt)
    expect((await post(`${body.id}/rotate`, { expiresAt: null })).body.expiresAt).toBeNull()
  })

  test('has one winner of twenty', async () => {
    const { id } = await makeToken(server, {})
    const answers = await Promise.all(Array.from({ length: 20 }, () => post(`${id}/rotate`)))
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
    for (const answer of answers) if (answer.status !== 200) expectProblem(answer, 409)
  })

  test('brings nothing back to life', async () => {
    const revoked = await makeToken(server, {})
    await post(`${revoked.id}/revoke`)
    const expired = await makeToken(server, {
      expiresAt: new Date(server.clock.now() + 1000).toISOString(),
    })
    server.clock.advance(1000)
    const superseded = await makeToken(server, {})
    await post(`${superseded.id}/rotate`, { overlapSeconds: 0 })
    for (const { id } of [revoked, expired, superseded]) {
      expectProblem(await post(`${id}/rotate`), 409, 'token_not_active')
    }
  })

  test('refuses sessions, strangers, READ_ONLY and bad bodies', async () => {
    const login = await logIn(server, { id: alice.id, username: 'alice' })
    const me = await call('GET', '/api/v1/me', { token: login.session })
    expectProblem(await post(`${me.body.token.id}/rotate`), 400, 'invalid_input')
    const { id } = await makeToken(server, {})
    expectProblem(await post(`${id}/rotate`, undefined, alice.token), 404, 'not_found')
    expectProblem(await post(`${NOBODY}/rotate`), 404, 'not_found')
    const { secret } = await makeToken(server, { ...EVERYTHING, accessLevel: 'READ_ONLY' })
    expectProblem(await post(`${id}/rotate`, undefined, secret), 403, 'forbidden')
    expectProblem(await post(`${id}/rotate`, { expiresAt: '2001-01-01T00:00:00Z' }), 400)
    expectProblem(await post(`${id}/rotate`, { accessLevel: 'FULL_ACCESS' }), 400)
  })
})

describe('revoking', () => {
  test('reaches the whole family, keeps the first reason, and changes nothing twice', async () => {
    const { id } = await makeToken(server, { ownerId: alice.id })
    const successor = (await post(`${id}/rotate`)).body
    expect(await isAlive(server, successor.secret)).toBe(true)
    const { status, body } = await post(`${id}/revoke`, { reason: 'found in a log' })
    expect(status).toBe(200)
    expect(body.revoked.sort()).toEqual([id, successor.id].sort())
    expect(await isAlive(server, successor.secret)).toBe(false)
    const revoked = await read(successor.id)
    expect(revoked).toMatchObject({ state: 'revoked', revokeReason: 'found in a log' })

    server.clock.advance(1000)
    const again = await post(`${id}/revoke`, { reason: 'another reason' })
    expect(again.body).toEqual({ revoked: [], acknowledged: 1, nodes: 1 })
    expect(await read(successor.id)).toEqual(revoked)
  })

  test('works with DELETE, and without a reason', async () => {
    const { id, secret } = await makeToken(server, {})
    const { status, body } = await call('DELETE', `/api/v1/tokens/${id}`)
    expect(status).toBe(200)
    expect(body).toEqual({ revoked: [id], acknowledged: 1, nodes: 1 })
    expect(await isAlive(server, secret)).toBe(false)
    expect((await call('DELETE', `/api/v1/tokens/${id}`)).body).toEqual({
      revoked: [],
      acknowledged: 1,
      nodes: 1,
    })
    expect((await read(id)).revokeReason).toBe('')
  })

  test('is for admins, and for owners where the policy lets them', async () => {
    const { id } = await makeToken(server, { ownerId: alice.id })
    expectProblem(await post(`${id}/revoke`, {}, alice.token), 403, 'forbidden')
    await setPolicy(server, { usersMayCreateTokens: true })
    expect((await post(`${id}/revoke`, {}, alice.token)).status).toBe(200)
    const foreign = await makeToken(server, {})
    for (const method of ['POST', 'DELETE']) {
      const path = method === 'POST' ? `${foreign.id}/revoke` : foreign.id
      const options = { token: alice.token }
      expectProblem(await call(method, `/api/v1/tokens/${path}`, options), 404, 'not_found')
    }
  })

  test('refuses a reason that is too long or none', async () => {
    const { id } = await makeToken(server, {})
    for (const reason of ['x'.repeat(501), 7, null]) {
      expectProblem(await post(`${id}/revoke`, { reason }), 400, 'invalid_input')
    }
    expectProblem(await post('7/revoke'), 400, 'invalid_input')
    expectProblem(await post(`${NOBODY}/revoke`), 404, 'not_found')
    expectProblem(await call('DELETE', `/api/v1/tokens/${NOBODY}`), 404, 'not_found')
  })
})

describe('a token about itself', () => {
  test('can be looked at and thrown away by its holder, READ_ONLY or not', async () => {
    for (const accessLevel of ['READ_ONLY', 'FULL_ACCESS']) {
      const { id, secret } = await makeToken(server, { ownerId: alice.id, accessLevel })
      const self = await call('GET', '/api/v1/tokens/self', { token: secret })
      expect(self.status).toBe(200)
      expect(self.body).toMatchObject({ id, accessLevel, state: 'active' })
      const gone = await post('self/revoke', { reason: 'done' }, secret)
      expect(gone.status).toBe(200)
      expect(gone.body).toEqual({ revoked: [id], acknowledged: 1, nodes: 1 })
      expect(await read(id)).toMatchObject({ revokeReason: 'done', revokedBy: alice.id })
      expectProblem(await post('self/revoke', {}, secret), 401, 'unauthenticated')
    }
  })

  test('cannot be renamed or rotated by the word self', async () => {
    expectProblem(await patch('self', { name: 'x' }), 400, 'invalid_input')
    expectProblem(await post('self/rotate'), 400, 'invalid_input')
  })
})

test('uses are counted and dated', async () => {
  const { id, secret } = await makeToken(server, { ownerId: alice.id })
  await isAlive(server, secret)
  server.clock.advance(5000)
  await isAlive(server, secret)
  const used = { useCount: 2, lastUsedAt: new Date(server.clock.now()).toISOString() }
  expect(await read(id)).toMatchObject({ ...used, lastUsedIp: '127.0.0.1' })
  await server.app.core.flushUsage()
  expect(await read(id)).toMatchObject(used)
})
