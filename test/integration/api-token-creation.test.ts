import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Call, checkedCall } from '../support/openapi.ts'
import { EVERYTHING, makeGroup, makeRole, makeToken, setPolicy } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { startServer, type TestServer } from '../support/server.ts'

let server: TestServer
let call: Call
let alice: { id: string; token: string }
let crew: string

beforeAll(async () => {
  server = await startServer()
  call = await checkedCall(server)
  await makeRole(server, 'deployer', ['deploy:read', 'deploy:write'])
  alice = await server.makeUser({ username: 'alice', roles: ['deployer'] })
  crew = await makeGroup(server, 'crew', { [alice.id]: 'WRITE' })
})
afterAll(() => server.close())

const DAY_MS = 86_400_000
const NOBODY = '018bcfe5-6800-7000-8000-000000000000'
const create = (body: unknown, token?: string) =>
  call('POST', '/api/v1/tokens', token === undefined ? { body } : { body, token })
const inDays = (days: number) => new Date(server.clock.now() + days * DAY_MS).toISOString()

describe('what is created', () => {
  test('is narrow unless more is asked for', async () => {
    const { status, body, headers } = await create({ name: 'narrow' })
    expect(status).toBe(201)
    expect(headers.location).toBe(`/api/v1/tokens/${body.id}`)
    expect(body).toMatchObject({
      kind: 'api',
      state: 'active',
      accessLevel: 'READ_ONLY',
      roles: [],
      groups: [],
      scopes: [],
      allowedIps: null,
      metadata: {},
      expiresAt: inDays(90),
      familyId: body.id,
    })
    expect(body.secret).toMatch(/^mm_api_[0-9A-Za-z]{49}$/)
    expect(body.preview).toBe(`mm_api_…${body.secret.slice(-4)}`)
    const { secret: _, ...rest } = body
    const read = await call('GET', `/api/v1/tokens/${body.id}`)
    expect(read.status).toBe(200)
    expect(read.body).toEqual(rest)
  })

  test('is all that was asked for', async () => {
    const ownerId = alice.id
    const wish = {
      kind: 'service',
      name: 'Nightly déploiement',
      description: 'Runs at night.\nIn two lines.',
      accessLevel: 'FULL_ACCESS',
      roles: ['deployer'],
      scopes: ['deploy:read'],
      allowedIps: ['10.0.0.0/8', '2001:db8::/32', '192.0.2.7'],
      expiresAt: inDays(3),
      metadata: { team: 'crew', nested: { list: [1, null, 'x'] }, 'line\nbreak': true, '': 0 },
    }
    const { status, body } = await create({
      ...wish,
      ownerId,
      groups: [{ group: 'crew', mode: 'READ' }],
    })
    expect(status).toBe(201)
    expect(body).toMatchObject({
      ...wish,
      owner: { id: ownerId, username: 'alice' },
      creator: { username: 'admin' },
      groups: [{ id: crew, name: 'crew', mode: 'READ' }],
      allowedIps: ['10.0.0.0/8', '2001:db8::/32', '192.0.2.7/32'],
    })
    expect(body.metadata).toEqual(wish.metadata)
    expect(body.secret).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-/)
  })

  test('names a group by id as well', async () => {
    const { body } = await create({
      ownerId: alice.id,
      name: 'by id',
      groups: [{ group: crew, mode: 'WRITE' }],
    })
    expect(body.groups).toEqual([{ id: crew, name: 'crew', mode: 'WRITE' }])
  })

  test('follows its owner where the wish says null', async () => {
    const { id, secret } = await makeToken(server, { ownerId: alice.id, ...EVERYTHING })
    const { body } = await call('GET', '/api/v1/me', { token: secret })
    expect(body.rights).toMatchObject({
      admin: false,
      roles: ['deployer'],
      groups: [{ id: crew, name: 'crew', mode: 'WRITE' }],
      scopes: ['deploy:read', 'deploy:write'],
    })
    expect((await call('GET', `/api/v1/tokens/${id}`)).body).toMatchObject({ roles: null })
  })

  test('never ends only where that was asked for', async () => {
    expect((await create({ name: 'endless', expiresAt: null })).body.expiresAt).toBeNull()
    await setPolicy(server, { maxTokenTtlSeconds: 86_400 })
    expect((await create({ name: 'bounded', expiresAt: null })).body.expiresAt).toBe(inDays(1))
    expectProblem(await create({ name: 'too long', expiresAt: inDays(2) }), 403, 'beyond_policy')
    await setPolicy(server, { maxTokenTtlSeconds: null })
  })
})

describe('what is refused', () => {
  test.each([
    ['no body', undefined],
    ['no name', {}],
    ['an empty name', { name: '' }],
    ['a name of spaces', { name: '  ' }],
    ['an endless name', { name: 'n'.repeat(256) }],
    ['an unknown kind', { name: 'x', kind: 'session' }],
    ['an unknown access level', { name: 'x', accessLevel: 'ADMIN' }],
    ['an access level of null', { name: 'x', accessLevel: null }],
    ['roles as text', { name: 'x', roles: 'deployer' }],
    ['groups as ids', { name: 'x', groups: ['crew'] }],
    ['an unknown mode', { name: 'x', groups: [{ group: 'crew', mode: 'OWNER' }] }],
    ['an unknown group', { name: 'x', groups: [{ group: 'nowhere', mode: 'READ' }] }],
    ['an address that is none', { name: 'x', allowedIps: ['10.0.0.0/33'] }],
    ['an expiry in the past', { name: 'x', expiresAt: '2029-12-31T23:59:59Z' }],
    ['an expiry in 101 years', { name: 'x', expiresAt: '2131-01-01T00:00:00Z' }],
    ['a day that does not exist', { name: 'x', expiresAt: '2031-02-30T00:00:00Z' }],
    ['a date without a time', { name: 'x', expiresAt: '2031-02-01' }],
    ['a number as expiry', { name: 'x', expiresAt: 1_900_000_000 }],
    ['an owner by name', { name: 'x', ownerId: 'alice' }],
    ['metadata as a list', { name: 'x', metadata: [] }],
    ['too much metadata', { name: 'x', metadata: { text: 'x'.repeat(17_000) } }],
    ['something undeclared', { name: 'x', secret: 'mine' }],
  ])('%s: 400', async (_, body) => {
    expectProblem(await create(body), 400, 'invalid_input')
  })

  test('an owner that does not exist: 404', async () => {
    expectProblem(await create({ name: 'x', ownerId: NOBODY }), 404, 'not_found')
  })

  test('a disabled owner: 409', async () => {
    const body = { username: 'gone', active: false }
    const { id } = (await call('POST', '/api/v1/users', { body })).body
    expectProblem(await create({ name: 'x', ownerId: id }), 409, 'conflict')
  })

  test('a name that the owner uses, in any case: 409, until it is free again', async () => {
    const first = await create({ name: 'Robot' })
    expect(first.status).toBe(201)
    expectProblem(await create({ name: 'rOBOT' }), 409, 'name_taken')
    expect((await create({ name: 'robot', ownerId: alice.id })).status).toBe(201)
    await call('DELETE', `/api/v1/tokens/${first.body.id}`)
    expect((await create({ name: 'rOBOT' })).status).toBe(201)
  })

  test('more than the owner holds: 403', async () => {
    for (const wish of [
      { roles: ['admin'] },
      { roles: ['verifier'] },
      { roles: ['no-such-role'] },
      { scopes: ['deploy:all'] },
      { groups: [{ group: 'crew', mode: 'ADMIN' }] },
      { groups: [{ group: NOBODY, mode: 'READ' }] },
    ]) {
      expectProblem(await create({ name: 'x', ownerId: alice.id, ...wish }), 403, 'beyond_rights')
    }
  })

  test('anybody but admins, until the policy lets users create API tokens of their own', async () => {
    expectProblem(await create({ name: 'own' }, alice.token), 403, 'forbidden')
    await setPolicy(server, { usersMayCreateTokens: true })
    const own = await create({ name: 'own', accessLevel: 'FULL_ACCESS' }, alice.token)
    expect(own.status).toBe(201)
    expect(own.body.owner.id).toBe(alice.id)
    const admin = (await call('GET', '/api/v1/me')).body.user.id
    for (const wish of [{ ownerId: admin }, { ownerId: NOBODY }, { kind: 'service' }]) {
      expectProblem(await create({ name: 'x', ...wish }, alice.token), 403, 'forbidden')
    }
  })

  test('a READ_ONLY token of an admin: 403', async () => {
    const { secret } = await makeToken(server, { ...EVERYTHING, accessLevel: 'READ_ONLY' })
    expectProblem(await create({ name: 'x' }, secret), 403, 'forbidden')
  })

  test('reading a token that is not there, or is not one: 404 and 400', async () => {
    expectProblem(await call('GET', `/api/v1/tokens/${NOBODY}`), 404, 'not_found')
    expectProblem(await call('GET', '/api/v1/tokens/7'), 400, 'invalid_input')
  })
})
