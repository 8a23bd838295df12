import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Call, checkedCall } from '../support/openapi.ts'
import {
  EVERYTHING,
  type HeldToken,
  isAlive,
  logIn,
  makeGroup,
  makeToken,
} from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { snapshot } from '../support/tables.ts'
import { insertTokens } from '../support/token-rows.ts'

let server: TestServer
let call: Call
let alice: { id: string; token: string }
let bob: { id: string; token: string }
let rotated: { id: string; successor: HeldToken }
let groupId: string
let client: { id: string; serviceUserId: string }
let grantId: string

const id = (n: number) => `01900000-0000-7100-8000-${String(n).padStart(12, '0')}`

beforeAll(async () => {
  server = await startServer()
  call = await checkedCall(server)
  alice = await server.makeUser({ username: 'alice' })
  bob = await server.makeUser({ username: 'bob' })
  const ownerId = alice.id
  groupId = await makeGroup(server, 'ops', { [alice.id]: 'ADMIN' })
  await makeToken(server, { ownerId, name: 'in ops', groups: [{ group: 'ops', mode: 'READ' }] })
  await makeToken(server, { ownerId, name: 'in none', groups: [] })
  const first = await makeToken(server, { ownerId, name: 'rotated', ...EVERYTHING, groups: [] })
  const next = await call('POST', `/api/v1/tokens/${first.id}/rotate`, {
    body: { overlapSeconds: 0 },
  })
  rotated = { id: first.id, successor: next.body }
  const gone = await makeToken(server, { ownerId, name: 'gone' })
  await call('POST', `/api/v1/tokens/${gone.id}/revoke`, { body: {} })
  const made = await call('POST', '/api/v1/clients', {
    body: {
      clientId: 'portal',
      name: 'Portal',
      type: 'confidential',
      grants: ['client_credentials'],
    },
  })
  expect(made.status, made.text).toBe(201)
  client = made.body
  grantId = id(500)
  await server.database.transaction(async (tx) => {
    const parent = plain(1, { ownerId: bob.id, kind: 'service', name: 'parent' })
    await insertTokens(tx, [
      parent,
      plain(2, { ownerId: bob.id, parentId: parent.id, kind: 'oauth_access' }),
      plain(3, { ownerId: bob.id, parentId: id(2), kind: 'oauth_access' }),
      plain(4, {
        ownerId: alice.id,
        clientId: client.id,
        familyId: grantId,
        kind: 'oauth_refresh',
      }),
      plain(5, { ownerId: alice.id, clientId: client.id, familyId: grantId, kind: 'oauth_access' }),
    ])
    const nowMs = server.clock.now()
    await tx
      .insertInto('grant')
      .values({
        id: grantId,
        user_id: alice.id,
        client_id: client.id,
        session_id: null,
        scopes: '[]',
        resources: '[]',
        engine_record: '',
        created_at_ms: nowMs,
        updated_at_ms: nowMs,
        expires_at_ms: nowMs + 1e9,
        revoked_at_ms: null,
      })
      .execute()
  })
  await call('GET', '/api/v1/me', { token: alice.token })
  await server.app.core.flushUsage()
})
afterAll(() => server.close())

function plain(n: number, wish: { ownerId: string } & Record<string, unknown>) {
  return {
    id: id(n),
    familyId: id(n),
    creatorId: wish.ownerId,
    kind: 'api',
    clientId: undefined,
    parentId: undefined,
    via: 'api',
    accessLevel: 'READ_ONLY',
    name: undefined,
    description: '',
    roles: [],
    scopes: [],
    groups: [],
    createdAtMs: server.clock.now(),
    usedAtMs: undefined,
    ip: undefined,
    expiresAtMs: undefined,
    revokedAtMs: undefined,
    supersededAtMs: undefined,
    ...wish,
  }
}

/** A dry run, which must change nothing. */
async function dry(method: string, path: string, options: Parameters<Call>[2] = {}) {
  const before = await snapshot(server)
  const answer = await call(method, `/api/v1${path}?dry_run=true`, options)
  expect(await snapshot(server)).toEqual(before)
  return answer
}

async function radius(method: string, path: string, options: Parameters<Call>[2] = {}) {
  const { status, body, text } = await dry(method, path, options)
  expect(status, text).toBe(200)
  return body
}

const names = (body: { tokens: { name: string | null }[] }) =>
  body.tokens.map(({ name }) => name ?? '-').sort()

describe('a dry run', () => {
  test('of a revocation counts the family, and what the token makes', async () => {
    const family = await radius('POST', `/tokens/${rotated.id}/revoke`)
    expect(family).toMatchObject({ effect: 'revoked', total: 2, children: 1 })
    expect(family.states).toEqual([
      { value: 'active', count: 1 },
      { value: 'superseded', count: 1 },
    ])
    const tree = await radius('DELETE', `/tokens/${id(1)}`)
    expect(tree).toMatchObject({ total: 3, children: 2, ownerCount: 1 })
    expect(tree.kinds).toEqual([
      { value: 'oauth_access', count: 2 },
      { value: 'service', count: 1 },
    ])
    const leaf = await radius('DELETE', `/tokens/${id(3)}`)
    expect(leaf).toMatchObject({ total: 1, children: 0 })
    const own = await radius('POST', '/tokens/self/revoke', { token: alice.token })
    expect(own).toMatchObject({ total: 1, owners: [{ username: 'alice', count: 1 }] })
  })

  test('tells who uses the tokens, and from where', async () => {
    const { use, callers, callerCount, vias } = await radius('POST', '/tokens/self/revoke', {
      token: alice.token,
    })
    expect(use).toEqual({
      lastAt: new Date(server.clock.now()).toISOString(),
      lastHour: 1,
      lastDay: 1,
      last30Days: 1,
      never: 0,
    })
    expect(callerCount).toBe(1)
    expect(callers).toEqual([{ ip: '127.0.0.1', count: 1, lastUsedAt: use.lastAt }])
    expect(vias).toEqual([{ value: 'api', count: 1 }])
  })

  test('is what the real thing then does', async () => {
    const before = await radius('DELETE', `/tokens/${rotated.id}`)
    const { body } = await call('DELETE', `/api/v1/tokens/${rotated.id}`)
    const told = before.tokens.map((token: { id: string }) => token.id)
    expect(told.sort()).toEqual(body.revoked.sort())
    expect(await radius('DELETE', `/tokens/${rotated.id}`)).toMatchObject({ total: 0, tokens: [] })
  })

  test('of deleting a user is about all they have, of disabling too', async () => {
    const deleted = await radius('DELETE', `/users/${alice.id}`)
    expect(deleted.effect).toBe('revoked')
    expect(names(deleted)).toEqual(['-', '-', 'in none', 'in ops', 'test'])
    const disabled = await radius('PATCH', `/users/${alice.id}`, { body: { active: false } })
    expect(disabled).toMatchObject({ effect: 'refused', total: 5 })
    expect(await isAlive(server, alice.token)).toBe(true)
    expectProblem(
      await dry('PATCH', `/users/${alice.id}`, { body: { active: false, displayName: 'x' } }),
      400,
    )
  })

  test('of deleting a group is about those whose tokens reach it', async () => {
    const body = await radius('DELETE', `/groups/${groupId}`)
    expect(body.effect).toBe('narrowed')
    expect(names(body)).toEqual(['in ops', 'test'])
  })

  test('of ending a client or a grant is about what the client was given', async () => {
    for (const options of [{}, { body: { active: false } }]) {
      const method = 'body' in options ? 'PATCH' : 'DELETE'
      const body = await radius(method, '/clients/portal', options)
      expect(body).toMatchObject({ effect: 'revoked', total: 2 })
    }
    const grant = await radius('DELETE', `/grants/${grantId}`, { token: alice.token })
    expect(grant.tokens.map((token: { id: string }) => token.id).sort()).toEqual([id(4), id(5)])
  })

  test('is refused as the real thing is', async () => {
    const token = bob.token
    const nobody = '01900000-0000-7000-8000-000000000000'
    expectProblem(await dry('DELETE', `/tokens/${rotated.id}`, { token }), 404)
    expectProblem(await dry('DELETE', `/users/${alice.id}`, { token }), 404)
    expectProblem(await dry('DELETE', `/users/${bob.id}`, { token }), 403, 'forbidden')
    expectProblem(await dry('DELETE', `/groups/${groupId}`, { token }), 404)
    expectProblem(await dry('DELETE', '/clients/portal', { token }), 403, 'forbidden')
    expectProblem(await dry('DELETE', `/grants/${grantId}`, { token }), 404)
    expectProblem(await dry('DELETE', `/users/${nobody}`), 404)
    expectProblem(await dry('DELETE', `/users/${client.serviceUserId}`), 409, 'conflict')
    const me = (await call('GET', '/api/v1/me')).body.user.id
    expectProblem(await dry('DELETE', `/users/${me}`), 409, 'last_admin')
    expectProblem(await call('DELETE', `/api/v1/users/${bob.id}?dry_run=yes`), 400)
  })

  test('of a user with logins counts them', async () => {
    await logIn(server, { id: bob.id, username: 'bob' })
    const { kinds } = await radius('DELETE', `/users/${bob.id}`)
    expect(kinds).toContainEqual({ value: 'session', count: 1 })
  })
})
