import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Call, checkedCall } from '../support/openapi.ts'
import { EVERYTHING, logIn, makeGroup, makeRole, makeToken } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { startServer, type TestServer } from '../support/server.ts'

let server: TestServer
let call: Call
let alice: { id: string; token: string }
/** Whoever else holds an active token. */
let bob: { id: string; token: string }
/** Holds the role that may be told why. */
let verifier: { id: string; token: string }
let crew: string

beforeAll(async () => {
  server = await startServer()
  call = await checkedCall(server)
  await makeRole(server, 'deployer', ['deploy:read', 'deploy:write'])
  alice = await server.makeUser({ username: 'alice', roles: ['deployer'] })
  bob = await server.makeUser({ username: 'bob', accessLevel: 'READ_ONLY' })
  verifier = await server.makeUser({ username: 'judge', roles: ['verifier'] })
  crew = await makeGroup(server, 'crew', { [alice.id]: 'WRITE' })
})
afterAll(() => server.close())

const verify = (body: Record<string, unknown>, token = server.adminToken) =>
  call('POST', '/api/v1/tokens/verify', { token, body })
const outcome = async (body: Record<string, unknown>) => {
  const answer = await verify(body)
  expect(answer.status).toBe(200)
  return answer.body.active ? 'active' : answer.body.reason
}

test('an active token is described to whoever holds both it and a token', async () => {
  const { id, secret } = await makeToken(server, {
    ownerId: alice.id,
    name: 'ci',
    accessLevel: 'FULL_ACCESS',
    roles: ['deployer'],
    groups: [{ group: 'crew', mode: 'READ' }],
    scopes: ['deploy:read'],
    metadata: { pipeline: 7 },
  })
  const { status, body } = await verify({ token: secret }, bob.token)
  expect(status).toBe(200)
  expect(body).toEqual({
    active: true,
    tokenId: id,
    kind: 'api',
    name: 'ci',
    owner: { id: alice.id, username: 'alice' },
    accessLevel: 'FULL_ACCESS',
    admin: false,
    roles: ['deployer'],
    groups: [{ id: crew, name: 'crew', mode: 'READ' }],
    scopes: ['deploy:read'],
    expiresAt: '2030-04-01T00:00:00.000Z',
    metadata: { pipeline: 7 },
    audience: null,
  })
})

describe('a demand', () => {
  let limited: string
  let unlimited: string
  beforeAll(async () => {
    const ownerId = alice.id
    limited = (
      await makeToken(server, {
        ownerId,
        groups: [{ group: 'crew', mode: 'READ' }],
        scopes: ['deploy:read'],
        allowedIps: ['10.1.0.0/16', '2001:db8::/32'],
      })
    ).secret
    unlimited = (await makeToken(server, { ownerId, ...EVERYTHING })).secret
  })

  test('for a role', async () => {
    expect(await outcome({ token: unlimited, role: 'deployer' })).toBe('active')
    expect(await outcome({ token: unlimited, role: 'Deployer' })).toBe('role_missing')
    expect(await outcome({ token: unlimited, role: 'admin' })).toBe('role_missing')
    expect(await outcome({ token: server.adminToken, role: 'admin' })).toBe('active')
    expect(await outcome({ token: limited, ip: '10.1.0.1', role: 'deployer' })).toBe('role_missing')
  })

  test('for a scope', async () => {
    expect(await outcome({ token: unlimited, scope: 'deploy:write' })).toBe('active')
    expect(await outcome({ token: unlimited, scope: 'deploy:*' })).toBe('scope_missing')
    const ip = '10.1.0.1'
    expect(await outcome({ token: limited, ip, scope: 'deploy:read' })).toBe('active')
    expect(await outcome({ token: limited, ip, scope: 'deploy:write' })).toBe('scope_missing')
  })

  test('for a group and a mode, by name and by id', async () => {
    expect(await outcome({ token: unlimited, group: 'crew' })).toBe('active')
    expect(await outcome({ token: unlimited, group: crew, mode: 'WRITE' })).toBe('active')
    expect(await outcome({ token: unlimited, group: crew, mode: 'ADMIN' })).toBe('group_missing')
    expect(await outcome({ token: unlimited, group: 'Crew' })).toBe('group_missing')
    const ip = '10.1.0.1'
    expect(await outcome({ token: limited, ip, group: 'crew', mode: 'READ' })).toBe('active')
    expect(await outcome({ token: limited, ip, group: crew, mode: 'WRITE' })).toBe('group_missing')
  })

  test('of a client address, which a limited token always needs', async () => {
    expect(await outcome({ token: unlimited, ip: '203.0.113.9' })).toBe('active')
    for (const ip of ['10.1.255.255', '::ffff:10.1.0.1', '2001:db8::7', '2001:DB8:0::7']) {
      expect(await outcome({ token: limited, ip }), ip).toBe('active')
    }
    for (const ip of ['10.2.0.1', '::ffff:10.2.0.1', '2001:db9::7']) {
      expect(await outcome({ token: limited, ip }), ip).toBe('ip_not_allowed')
    }
    expect(await outcome({ token: limited })).toBe('ip_not_allowed')
    for (const ip of ['nonsense', '', '10.1.0.1 ', '10.1.0.0/16']) {
      const answer = await call('POST', '/api/v1/tokens/verify', { body: { token: limited, ip } })
      expectProblem(answer, 400, 'invalid_input')
    }
  })

  test('of a mode without a group is refused, rather than answered yes', async () => {
    const body = { token: unlimited, mode: 'ADMIN' }
    const answer = await call('POST', '/api/v1/tokens/verify', { body })
    expectProblem(answer, 400, 'invalid_input')
  })

  test('is bound to the address when the token is presented to us', async () => {
    expectProblem(await call('GET', '/api/v1/me', { token: limited }), 401, 'unauthenticated')
    const local = await makeToken(server, { ownerId: alice.id, allowedIps: ['127.0.0.1'] })
    expect((await call('GET', '/api/v1/me', { token: local.secret })).status).toBe(200)
  })
})

describe('why a token is refused', () => {
  /** Each reason with a token that is refused for it. */
  const refused: Record<string, () => Promise<Record<string, unknown>>> = {
    malformed: async () => ({ token: 'mm_api_too-short' }),
    unknown: async () => ({ token: '0123456789abcdef0123456789abcdef' }),
    revoked: async () => {
      const { id, secret } = await makeToken(server, { ownerId: alice.id })
      await call('DELETE', `/api/v1/tokens/${id}`)
      return { token: secret }
    },
    superseded: async () => {
      const { id, secret } = await makeToken(server, { ownerId: alice.id })
      await call('POST', `/api/v1/tokens/${id}/rotate`, { body: { overlapSeconds: 0 } })
      return { token: secret }
    },
    expired: async () => {
      const expiresAt = new Date(server.clock.now() + 1000).toISOString()
      const { secret } = await makeToken(server, { ownerId: alice.id, expiresAt })
      expect(await outcome({ token: secret })).toBe('active')
      server.clock.advance(1000)
      return { token: secret }
    },
    idle: async () => {
      const { session } = await logIn(server, { id: alice.id, username: 'alice' })
      server.clock.advance(3_600_000)
      return { token: session }
    },
    owner_disabled: async () => {
      const { id, token } = await server.makeUser({ username: `gone-${server.clock.now()}` })
      await call('PATCH', `/api/v1/users/${id}`, { body: { active: false } })
      return { token }
    },
    ip_not_allowed: async () => {
      const { secret } = await makeToken(server, { ownerId: alice.id, allowedIps: ['10.0.0.1'] })
      return { token: secret, ip: '10.0.0.2' }
    },
    role_missing: async () => ({ token: bob.token, role: 'deployer' }),
    scope_missing: async () => ({ token: bob.token, scope: 'deploy:read' }),
    group_missing: async () => ({ token: bob.token, group: 'crew' }),
  }

  test.each(Object.keys(refused))('%s: told to admins and verifiers only', async (reason) => {
    const question = (await refused[reason]?.()) ?? {}
    const stranger = (await server.makeUser({ username: `stranger-${reason}` })).token
    expect((await verify(question)).body).toEqual({ active: false, reason })
    expect((await verify(question, verifier.token)).body).toEqual({ active: false, reason })
    const bare = await verify(question, stranger)
    expect(bare.status).toBe(200)
    expect(bare.text).toBe('{"active":false}')
  })

  test('the owner may be told, too, and nobody about what is unknown', async () => {
    const revoked = (await refused.revoked?.()) ?? {}
    expect((await verify(revoked, alice.token)).body).toEqual({ active: false, reason: 'revoked' })
    for (const kind of ['malformed', 'unknown']) {
      const question = (await refused[kind]?.()) ?? {}
      expect((await verify(question, alice.token)).body).toEqual({ active: false })
    }
  })

  test('a limited token of an admin without the role admin is not told', async () => {
    const { secret } = await makeToken(server, { accessLevel: 'FULL_ACCESS' })
    expect((await verify({ token: 'nonsense' }, secret)).body).toEqual({ active: false })
  })
})

test.each([
  ['no token', {}],
  ['an empty token', { token: '' }],
  ['an endless token', { token: 'x'.repeat(15_001) }],
  ['a list of tokens', { token: ['a', 'b'] }],
  ['an unknown mode', { token: 'a', group: 'crew', mode: 'OWNER' }],
  ['an unknown demand', { token: 'a', admin: true }],
  ['a demand of null', { token: 'a', role: null }],
])('a question with %s is refused with 400', async (_, body) => {
  expectProblem(await verify(body), 400, 'invalid_input')
})

describe('a batch', () => {
  const batch = (questions: unknown, token = server.adminToken) =>
    call('POST', '/api/v1/tokens/verify:batch', { token, body: { questions } })

  test('is answered in order, each question as it would be alone', async () => {
    const { secret } = await makeToken(server, { ownerId: alice.id, ...EVERYTHING })
    const questions = [
      { token: secret, role: 'deployer' },
      'nonsense',
      { token: secret, role: 'nobody' },
      secret,
      bob.token,
      { token: bob.token, group: 'crew', mode: 'READ', ip: '10.1.0.1' },
    ]
    for (const asker of [server.adminToken, alice.token, bob.token, verifier.token]) {
      const { status, body } = await batch(questions, asker)
      expect(status).toBe(200)
      const alone = []
      for (const each of questions) {
        const question = typeof each === 'string' ? { token: each } : each
        alone.push((await verify(question, asker)).body)
      }
      expect(body).toEqual({ answers: alone })
    }
  })

  test('takes 100 questions', async () => {
    const { status, body } = await batch(Array(100).fill(bob.token))
    expect(status).toBe(200)
    expect(body.answers.map(({ active }: { active: boolean }) => active)).toEqual(
      Array(100).fill(true),
    )
  })

  test.each([
    ['of nothing', []],
    ['of 101 questions', Array(101).fill('x')],
    ['that is none', 'x'],
    ['with an empty secret', ['x', '']],
    ['with something else', ['x', 7]],
    ['with an unknown demand', ['x', { token: 'x', admin: true }]],
    ['with a mode without a group', ['x', { token: 'x', mode: 'READ' }]],
    ['with an address that is none', ['x', { token: 'x', ip: 'nowhere' }]],
  ])('%s is refused with 400', async (_, questions) => {
    expectProblem(await batch(questions), 400, 'invalid_input')
  })

  test('needs a credential', async () => {
    expectProblem(await batch(['x'], 'nonsense'), 401, 'unauthenticated')
  })
})

test('a dead token may not ask', async () => {
  const { id, secret } = await makeToken(server, {})
  await call('DELETE', `/api/v1/tokens/${id}`)
  expectProblem(await verify({ token: server.adminToken }, secret), 401, 'unauthenticated')
})
