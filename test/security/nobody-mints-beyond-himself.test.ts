import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { EVERYTHING, makeGroup, makeRole, makeToken, setPolicy } from '../support/people.ts'
import { startServer, type TestServer } from '../support/server.ts'

type Mode = 'READ' | 'WRITE' | 'ADMIN'
const MODES: Mode[] = ['READ', 'WRITE', 'ADMIN']

/** Rights as `POST /tokens/verify` describes them. */
interface Reach {
  accessLevel: string
  admin: boolean
  roles: string[]
  groups: { id: string; mode: Mode }[]
  scopes: string[] | null
  expiresAt: string | null
}

let server: TestServer
let alice: { id: string; token: string }

const SEED = 20_300_102
const TRIES = 300

beforeAll(async () => {
  server = await startServer()
  await makeRole(server, 'reader', ['read:a', 'read:b'])
  await makeRole(server, 'writer', ['write:a'])
  await makeRole(server, 'foreign', ['foreign'])
  alice = await server.makeUser({ username: 'alice', roles: ['reader', 'writer'] })
  await makeGroup(server, 'crew', { [alice.id]: 'WRITE' })
  await makeGroup(server, 'guild', { [alice.id]: 'ADMIN' })
  await makeGroup(server, 'others')
  await setPolicy(server, { usersMayCreateTokens: true })
})
afterAll(() => server.close())

const EPOCH_MS = Date.UTC(2030, 0, 1)
const listOf = (values: string[]) => fc.option(fc.subarray(values), { freq: 1 })
const groups = (names: string[]) =>
  fc.option(
    fc
      .subarray(names)
      .chain((chosen) =>
        fc.tuple(
          ...chosen.map((group) => fc.constantFrom(...MODES).map((mode) => ({ group, mode }))),
        ),
      ),
    { freq: 1 },
  )
const expiry = fc.constantFrom(
  undefined,
  null,
  ...[1, 10, 100, 1000].map((days) => new Date(EPOCH_MS + days * 86_400_000).toISOString()),
)
const ADDRESSES = ['10.0.0.0/8', '10.1.0.0/16', '10.1.2.3', '192.0.2.0/24', '2001:db8::/32']
const wildWish = fc.record({
  accessLevel: fc.constantFrom('READ_ONLY', 'FULL_ACCESS', 'FULL_ACCESS'),
  roles: listOf(['reader', 'writer', 'foreign', 'admin']),
  groups: groups(['crew', 'guild', 'others']),
  scopes: listOf(['read:a', 'read:b', 'write:a', 'foreign', 'read:*']),
  allowedIps: fc.option(fc.subarray(ADDRESSES), { freq: 2 }),
  expiresAt: expiry,
})
/** What the owner holds, so that most of it comes to be. */
const modestWish = fc.record({
  accessLevel: fc.constantFrom(
    'FULL_ACCESS',
    'FULL_ACCESS',
    'FULL_ACCESS',
    'FULL_ACCESS',
    'READ_ONLY',
  ),
  roles: listOf(['reader', 'writer']),
  groups: groups(['crew', 'guild']),
  scopes: listOf(['read:a', 'read:b', 'write:a']),
  allowedIps: fc.constantFrom(null, ['127.0.0.1', '10.0.0.0/8'], ['127.0.0.0/8', '10.1.0.0/16']),
  expiresAt: expiry,
})
const wish = fc.oneof({ weight: 3, arbitrary: modestWish }, { weight: 2, arbitrary: wildWish })

/** What a secret opens for a caller at `ip`; undefined: nothing. */
async function reach(secret: string, ip: string): Promise<Reach | undefined> {
  const { body } = await server.call('POST', '/api/v1/tokens/verify', {
    body: { token: secret, ip },
  })
  return body.active ? body : undefined
}

function expectWithin(child: Reach, creator: Reach): void {
  if (creator.accessLevel === 'READ_ONLY') expect(child.accessLevel).toBe('READ_ONLY')
  if (!creator.admin) expect(child.admin).toBe(false)
  expect(creator.roles).toEqual(expect.arrayContaining(child.roles))
  if (creator.scopes !== null)
    expect(creator.scopes).toEqual(expect.arrayContaining(child.scopes ?? ['all']))
  for (const { id, mode } of child.groups) {
    const held = creator.groups.find((group) => group.id === id)
    expect(MODES.indexOf(held?.mode ?? ('NONE' as Mode))).toBeGreaterThanOrEqual(
      MODES.indexOf(mode),
    )
  }
  if (creator.expiresAt !== null) {
    expect(child.expiresAt).not.toBeNull()
    expect(Date.parse(child.expiresAt ?? '')).toBeLessThanOrEqual(Date.parse(creator.expiresAt))
  }
}

let serial = 0
async function mint(body: Record<string, unknown>, token: string) {
  // JSON leaves out what is undefined.
  return server.call('POST', '/api/v1/tokens', { token, body: { ...body, name: `t${serial++}` } })
}

test(`${TRIES} random requests: what is minted reaches no further than what minted it`, async () => {
  const outcomes: Record<number, number> = {}
  await fc.assert(
    fc.asyncProperty(modestWish, wish, async (creating, asking) => {
      const made = await mint({ ...creating, ownerId: alice.id }, server.adminToken)
      if (made.status !== 201) return
      const creator = made.body.secret as string
      const answer = await mint(asking, creator)
      outcomes[answer.status] = (outcomes[answer.status] ?? 0) + 1
      expect([201, 403]).toContain(answer.status)
      if (answer.status !== 201) return
      for (const ip of ['127.0.0.1', '10.1.2.3', '10.200.0.1', '192.0.2.9', '2001:db8::1']) {
        const child = await reach(answer.body.secret, ip)
        if (child === undefined) continue
        const parent = await reach(creator, ip)
        if (parent === undefined)
          throw new Error(`The child may be used from ${ip}, its creator not`)
        expectWithin(child, parent)
      }
    }),
    { seed: SEED, numRuns: TRIES },
  )
  // Both outcomes were really tried.
  expect(outcomes[201]).toBeGreaterThan(TRIES / 10)
  expect(outcomes[403]).toBeGreaterThan(TRIES / 10)
})

describe('the holder of a limited token of an administrator', () => {
  test.each([
    ['without the role admin', { roles: [] }],
    ['that is READ_ONLY', { accessLevel: 'READ_ONLY' }],
  ])('%s manages nothing', async (_, limits) => {
    const { secret } = await makeToken(server, { ...EVERYTHING, ...limits })
    for (const [method, path, body] of [
      ['POST', '/users', { username: 'evil', globalRole: 'ADMIN' }],
      ['PATCH', `/users/${alice.id}`, { globalRole: 'ADMIN' }],
      ['POST', `/users/${alice.id}/one-time-password`, undefined],
      ['POST', '/roles', { name: 'evil', scopes: ['read:a'] }],
      ['PATCH', '/policy', { lockoutEnabled: false }],
      ['POST', '/tokens', { name: 'x', ownerId: alice.id }],
      ['GET', '/audit', undefined],
    ] as const) {
      const options = { token: secret, ...(body === undefined ? {} : { body }) }
      const { status } = await server.call(method, `/api/v1${path}`, options)
      if (method === 'GET' && 'accessLevel' in limits) expect(status).toBe(200)
      else expect([403, 404], `${method} ${path}`).toContain(status)
    }
  })
})

test('rotating gives nobody the secret of a stronger token', async () => {
  const strong = await makeToken(server, { ownerId: alice.id, ...EVERYTHING })
  for (const limits of [
    { roles: ['reader'] },
    { scopes: [] },
    { groups: [] },
    { allowedIps: ['127.0.0.1'] },
  ]) {
    const weak = await makeToken(server, { ownerId: alice.id, ...EVERYTHING, ...limits })
    const answer = await server.call('POST', `/api/v1/tokens/${strong.id}/rotate`, {
      token: weak.secret,
    })
    expect([answer.status, answer.body.code]).toEqual([403, 'beyond_rights'])
  }
})

test('rotating does not outlive the token that rotates', async () => {
  const soon = new Date(server.clock.now() + 60_000).toISOString()
  const short = await makeToken(server, { ownerId: alice.id, ...EVERYTHING, expiresAt: soon })
  const { id } = await makeToken(server, { ownerId: alice.id, ...EVERYTHING })
  const asked = await server.call('POST', `/api/v1/tokens/${id}/rotate`, {
    token: short.secret,
    body: { expiresAt: '2031-01-01T00:00:00Z' },
  })
  expect(asked.status).toBe(403)
  const { body } = await server.call('POST', `/api/v1/tokens/${id}/rotate`, { token: short.secret })
  expect(body.expiresAt).toBe(soon)
})

test('a token with limits neither appoints an administrator nor brings a disabled one back', async () => {
  const zoe = await server.makeUser({ username: 'zoe', globalRole: 'ADMIN' })
  const edit = (body: Record<string, unknown>, token = server.adminToken) =>
    server.call('PATCH', `/api/v1/users/${zoe.id}`, { token, body })
  const limited = await makeToken(server, { ...EVERYTHING, allowedIps: ['127.0.0.1'] })
  expect((await edit({ active: false }, limited.secret)).status).toBe(200)
  for (const body of [{ active: true }, { active: true, displayName: 'Zoe' }]) {
    expect((await edit(body, limited.secret)).status).toBe(403)
  }
  expect((await edit({ displayName: 'Zoe' }, limited.secret)).status).toBe(200)
  expect((await edit({ active: true })).status).toBe(200)
  expect((await edit({ globalRole: 'USER', active: false }, limited.secret)).status).toBe(200)
  expect((await edit({ active: true }, limited.secret)).status).toBe(200)
  expect((await edit({ globalRole: 'ADMIN' }, limited.secret)).status).toBe(403)
})
