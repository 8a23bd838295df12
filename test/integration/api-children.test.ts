import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  EVERYTHING,
  isAlive,
  makeGroup,
  makeRole,
  makeToken,
  setPolicy,
} from '../support/people.ts'
import { startServer, type TestServer } from '../support/server.ts'

const HOUR_MS = 3_600_000

let server: TestServer
let alice: { id: string; token: string }
let crew: string

beforeAll(async () => {
  server = await startServer()
  await makeRole(server, 'builder', ['build', 'deploy'])
  alice = await server.makeUser({ username: 'alice', roles: ['builder'] })
  crew = await makeGroup(server, 'crew', { [alice.id]: 'WRITE' })
})
afterAll(() => server.close())

interface Made {
  id: string
  secret: string
}

let count = 0
async function parentOf(body: Record<string, unknown> = {}): Promise<Made> {
  const made = await makeToken(server, {
    ...EVERYTHING,
    name: `parent ${count++}`,
    ownerId: alice.id,
    ...body,
  })
  return { id: made.id, secret: made.secret }
}

const mint = (token: string, body: Record<string, unknown> = {}) =>
  server.call('POST', '/api/v1/tokens/self/children', { token, body })

async function child(token: string, body: Record<string, unknown> = {}): Promise<Made> {
  const answer = await mint(token, body)
  expect(answer.status, answer.text).toBe(201)
  return { id: answer.body.id, secret: answer.body.secret }
}

const verify = async (token: string, demand: Record<string, unknown> = {}) =>
  (await server.call('POST', '/api/v1/tokens/verify', { body: { token, ...demand } })).body

describe('a child', () => {
  it('has what its parent has unless it asks for less, and needs no right to create tokens', async () => {
    const parent = await parentOf({
      roles: [],
      scopes: ['build', 'deploy'],
      groups: [{ group: 'crew', mode: 'WRITE' }],
      expiresAt: new Date(server.clock.now() + HOUR_MS).toISOString(),
    })
    const same = (await mint(parent.secret)).body
    expect(same).toMatchObject({
      kind: 'api',
      parentId: parent.id,
      owner: { id: alice.id },
      accessLevel: 'FULL_ACCESS',
      roles: [],
      scopes: ['build', 'deploy'],
      groups: [{ id: crew, mode: 'WRITE' }],
      expiresAt: new Date(server.clock.now() + HOUR_MS).toISOString(),
    })
    const less = await child(same.secret, {
      name: 'less',
      accessLevel: 'READ_ONLY',
      scopes: ['build'],
      groups: [{ group: 'crew', mode: 'READ' }],
    })
    expect(await verify(less.secret)).toMatchObject({
      active: true,
      accessLevel: 'READ_ONLY',
      scopes: ['build'],
      groups: [{ id: crew, mode: 'READ' }],
      ancestors: [same.id, parent.id],
    })
    expect(await verify(less.secret, { scope: 'deploy' })).toMatchObject({ active: false })
    const trail = await server.call('GET', `/api/v1/audit?subjectId=${less.id}`)
    expect(trail.body.items).toMatchObject([
      { action: 'token.created', actorTokenId: same.id, after: { parentId: same.id } },
    ])
  })

  it.each([
    ['the scope "deploy"', { scopes: ['build', 'deploy'] }],
    ['the role "builder"', { roles: ['builder'] }],
    ['the mode ADMIN in group', { groups: [{ group: 'crew', mode: 'ADMIN' }] }],
    ['the client address 0.0.0.0/0', { allowedIps: ['0.0.0.0/0'] }],
    ['an end later than its own', { expiresAt: '2031-01-01T00:00:00Z' }],
  ])('never has more: %s', async (what, body) => {
    const parent = await parentOf({
      roles: [],
      scopes: ['build'],
      groups: [{ group: 'crew', mode: 'WRITE' }],
      allowedIps: ['127.0.0.0/8'],
      expiresAt: '2030-06-01T00:00:00Z',
    })
    const refused = await mint(parent.secret, body)
    expect(refused).toMatchObject({ status: 403, body: { code: 'beyond_rights' } })
    expect(refused.body.detail).toContain(what)
  })

  it('is not minted by a READ_ONLY token, a login, or where the policy says no', async () => {
    const reader = await parentOf({ accessLevel: 'READ_ONLY' })
    expect(await mint(reader.secret)).toMatchObject({ status: 403 })
    const parent = await parentOf()
    await setPolicy(server, { tokensMayMintChildren: false })
    expect(await mint(parent.secret)).toMatchObject({ status: 403, body: { code: 'forbidden' } })
    await setPolicy(server, { tokensMayMintChildren: true })
    await child(parent.secret)
  })

  it('has a name of its own beside its siblings, also while its parent is being rotated', async () => {
    const parent = await parentOf()
    await child(parent.secret, { name: 'build 7' })
    const rotated = await server.call('POST', `/api/v1/tokens/${parent.id}/rotate`)
    expect(rotated.status, rotated.text).toBe(200)
    expect(await mint(parent.secret, { name: 'build 7' })).toMatchObject({
      status: 409,
      body: { code: 'name_taken' },
    })
    await child(parent.secret, { name: 'build 8' })
    expect((await mint(parent.secret, { name: 'Build 8' })).status).toBe(409)
    // Who has taken over the new secret begins anew, with the names that are on their way out.
    await child(rotated.body.secret, { name: 'build 7' })
    expect((await mint(rotated.body.secret, { name: 'build 7' })).status).toBe(409)
    await child(rotated.body.secret, { name: 'build 9' })
    expect((await mint(parent.secret, { name: 'build 9' })).status).toBe(409)
  })

  it('is made once per Idempotency-Key', async () => {
    const parent = await parentOf()
    const ask = () =>
      server.call('POST', '/api/v1/tokens/self/children', {
        token: parent.secret,
        body: { name: 'once' },
        headers: { 'idempotency-key': 'a-child-for-once' },
      })
    const first = await ask()
    const again = await ask()
    expect(again.body).toEqual(first.body)
    expect(again.headers['idempotency-replayed']).toBe('true')
  })

  it('is at most five steps from the first, which has a hundred live ones at most', async () => {
    let token = await parentOf()
    const root = token
    for (let depth = 1; depth <= 5; depth++) token = await child(token.secret)
    expect(await mint(token.secret)).toMatchObject({ status: 409, body: { code: 'conflict' } })
    for (let i = 1; i < 100; i++) await child(root.secret)
    expect(await mint(root.secret)).toMatchObject({ status: 409, body: { code: 'conflict' } })
    // No more of them while the parent is being rotated.
    await server.call('POST', `/api/v1/tokens/${root.id}/rotate`, { body: {} })
    expect(await mint(root.secret)).toMatchObject({ status: 409, body: { code: 'conflict' } })
  })

  it('ends for standing idle like its parent, also when it is rotated', async () => {
    const parent = await parentOf()
    await server.database.tamper(`update token set idle_seconds = 60 where id = '${parent.id}'`)
    server.app.core.verifier.clear()
    const { id } = await child(parent.secret)
    const next = await server.call('POST', `/api/v1/tokens/${id}/rotate`, { body: {} })
    expect(await verify(next.body.secret)).toMatchObject({ active: true })
    server.clock.advance(59_000)
    expect(await isAlive(server, parent.secret)).toBe(true)
    server.clock.advance(1000)
    expect(await verify(next.body.secret)).toMatchObject({ active: false, reason: 'idle' })
  })
})

describe('with its parent a child', () => {
  it('is revoked, at once, with all that comes from it', async () => {
    const parent = await parentOf()
    const middle = await child(parent.secret)
    const last = await child(middle.secret)
    for (const { secret } of [parent, middle, last])
      expect(await isAlive(server, secret)).toBe(true)
    const { body } = await server.call('POST', `/api/v1/tokens/${parent.id}/revoke`, { body: {} })
    expect(body.revoked.toSorted()).toEqual([parent.id, middle.id, last.id].toSorted())
    for (const { secret } of [parent, middle, last]) {
      expect(await isAlive(server, secret)).toBe(false)
    }
  })

  it('ends, also when the parent’s end comes nearer later', async () => {
    const parent = await parentOf({
      expiresAt: new Date(server.clock.now() + 2 * HOUR_MS).toISOString(),
    })
    const { id, secret } = await child(parent.secret)
    expect(await isAlive(server, secret)).toBe(true)
    const endMs = server.clock.now() + HOUR_MS
    await server.database.tamper(
      `update token set expires_at_ms = ${endMs} where id = '${parent.id}'`,
    )
    server.app.core.verifier.clear()
    expect(await verify(secret)).toMatchObject({ expiresAt: new Date(endMs).toISOString() })
    server.clock.advance(HOUR_MS)
    expect(await verify(secret)).toMatchObject({ active: false, reason: 'expired' })
    expect((await server.call('GET', `/api/v1/tokens/${id}`)).status).toBe(200)
  })

  it('loses what the parent loses', async () => {
    const parent = await parentOf({ scopes: ['build', 'deploy'], allowedIps: ['127.0.0.0/8'] })
    const { secret } = await child(parent.secret)
    expect(await verify(secret, { scope: 'deploy', ip: '127.0.0.1' })).toMatchObject({
      active: true,
    })
    await server.database.tamper(
      `update token set scopes = '["build"]', allowed_ips = '["127.0.0.2/32"]', access_level = 'READ_ONLY' where id = '${parent.id}'`,
    )
    // Told of the parent alone, as every node is.
    const rename = { body: { description: 'narrower' } }
    expect(await server.call('PATCH', `/api/v1/tokens/${parent.id}`, rename)).toMatchObject({
      status: 200,
    })
    expect(await verify(secret, { ip: '127.0.0.1' })).toMatchObject({ reason: 'ip_not_allowed' })
    expect(await verify(secret, { ip: '127.0.0.2' })).toMatchObject({
      accessLevel: 'READ_ONLY',
      scopes: ['build'],
    })
  })

  it('dies by rotation, and a rotated child stays its child', async () => {
    await setPolicy(server, { usersMayCreateTokens: true })
    const endsAtMs = server.clock.now() + HOUR_MS
    const made = await parentOf({ expiresAt: new Date(endsAtMs).toISOString() })
    const parent = { ...made, endsAtMs }
    const first = await child(parent.secret)
    const rotated = await server.call('POST', `/api/v1/tokens/${first.id}/rotate`, {
      body: { expiresAt: null },
    })
    expect(rotated.body).toMatchObject({ parentId: parent.id })
    // Never is as long as the parent.
    expect(Date.parse(rotated.body.expiresAt)).toBe(parent.endsAtMs)
    expect(await isAlive(server, rotated.body.secret)).toBe(true)
    const atOnce = { overlapSeconds: 0 }
    await server.call('POST', `/api/v1/tokens/${parent.id}/rotate`, { body: atOnce })
    expect(await isAlive(server, rotated.body.secret)).toBe(false)
    await setPolicy(server, { usersMayCreateTokens: false })
  })

  it('dies with its owner’s account', async () => {
    const bob = await server.makeUser({ username: 'bob' })
    const { secret } = await child(bob.token)
    await server.call('PATCH', `/api/v1/users/${bob.id}`, { body: { active: false } })
    expect(await isAlive(server, secret)).toBe(false)
  })
})

describe('a tree', () => {
  it('shows where a token comes from and what comes from it, to those who may see it', async () => {
    const parent = await parentOf()
    const middle = await child(parent.secret)
    const [one, two] = [await child(middle.secret), await child(middle.secret)]
    const tree = await server.call('GET', `/api/v1/tokens/${middle.id}/tree`, {
      token: alice.token,
    })
    expect(tree.status).toBe(200)
    const ids = (tokens: { id: string }[]) => tokens.map(({ id }) => id)
    expect(ids(tree.body.ancestors)).toEqual([parent.id])
    expect(tree.body.token.id).toBe(middle.id)
    expect(ids(tree.body.descendants).toSorted()).toEqual([one.id, two.id].toSorted())
    expect(tree.body.more).toBe(false)
    const mallory = await server.makeUser({ username: 'mallory' })
    const foreign = { token: mallory.token }
    expect((await server.call('GET', `/api/v1/tokens/${middle.id}/tree`, foreign)).status).toBe(404)
    const found = await server.call('GET', `/api/v1/tokens?q=parent:${middle.id}`)
    expect(ids(found.body.items).toSorted()).toEqual([one.id, two.id].toSorted())
  })
})
