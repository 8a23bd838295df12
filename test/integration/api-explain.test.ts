import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type OauthSeed, seedServer } from '../support/oauth-seed.ts'
import { type Call, checkedCall } from '../support/openapi.ts'
import { EVERYTHING, makeGroup, makeRole, makeToken } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { snapshot } from '../support/tables.ts'

let server: TestServer
let call: Call
let seed: OauthSeed
let alice: { id: string; token: string }
let bob: { id: string; token: string }
/** Holds the role that may be told why, and no more. */
let verifier: { id: string; token: string }

beforeAll(async () => {
  server = await startServer()
  call = await checkedCall(server)
  seed = await seedServer(server)
  await makeRole(server, 'deployer', ['deploy:read', 'deploy:write'])
  alice = await server.makeUser({ username: 'alice', roles: ['deployer'] })
  bob = await server.makeUser({ username: 'bob', accessLevel: 'READ_ONLY' })
  verifier = await server.makeUser({ username: 'judge', roles: ['verifier'] })
  await makeGroup(server, 'crew', { [alice.id]: 'WRITE' })
})
afterAll(() => server.close())

type Body = Record<string, unknown>
const explain = (body: Body, token = server.adminToken) =>
  call('POST', '/api/v1/tokens/explain', { token, body })
const verify = (body: Body, token = server.adminToken) =>
  call('POST', '/api/v1/tokens/verify', { token, body })

interface Checked {
  check: string
  outcome: string
  detail: string
}
const outcomes = (checks: Checked[]) =>
  Object.fromEntries(checks.map(({ check, outcome }) => [check, outcome]))
const detailOf = (checks: Checked[], name: string) =>
  checks.find(({ check }) => check === name)?.detail

/** Which checks may be the reason. */
const REASONS: Record<string, string[]> = {
  malformed: ['format', 'checksum', 'signature', 'issuer', 'times'],
  unknown: ['known'],
  revoked: ['state'],
  superseded: ['state'],
  expired: ['expiry'],
  quarantined: ['quarantine'],
  idle: ['idle'],
  owner_disabled: ['owner'],
  ip_not_allowed: ['addresses'],
  wrong_audience: ['audience', 'claims'],
  proof_missing: ['proof'],
  role_missing: ['role'],
  scope_missing: ['scope'],
  group_missing: ['group'],
  wrong_kind: ['kind'],
}

/** Asks both in that order, and holds explain to verify. Returns the reason. */
async function asVerify(body: Body): Promise<string> {
  const { explanation, ...said } = (await explain(body)).body
  const { body: verdict } = await verify(body)
  expect(said).toEqual(verdict)
  const failed = explanation.checks.find(({ outcome }: Checked) => outcome === 'failed')
  if (verdict.active) expect(failed).toBeUndefined()
  else expect(REASONS[verdict.reason]).toContain(failed.check)
  for (const { detail } of explanation.checks) {
    expect(detail).toMatch(/^[A-Z].{10,}[.]$/)
    expect(detail).not.toMatch(/undefined|unknown time/)
  }
  return verdict.active ? 'active' : verdict.reason
}

test('an active token passes every check, and its owner hears what it could do', async () => {
  const { id, secret } = await makeToken(server, {
    ownerId: alice.id,
    name: 'ci',
    roles: ['deployer'],
    scopes: ['deploy:read'],
    groups: [{ group: 'crew', mode: 'READ' }],
    allowedIps: ['10.0.0.0/8'],
  })
  const question = { token: secret, role: 'deployer', group: 'crew', ip: '10.1.2.3' }
  const { status, body } = await explain(question, alice.token)
  expect(status).toBe(200)
  expect(body).toMatchObject({ active: true, tokenId: id, name: 'ci' })
  expect(outcomes(body.explanation.checks)).toEqual({
    format: 'passed',
    checksum: 'passed',
    known: 'passed',
    state: 'passed',
    expiry: 'passed',
    quarantine: 'passed',
    idle: 'skipped',
    owner: 'passed',
    addresses: 'passed',
    audience: 'skipped',
    policy: 'skipped',
    proof: 'skipped',
    role: 'passed',
    scope: 'skipped',
    rate: 'skipped',
    group: 'passed',
    claims: 'skipped',
    kind: 'passed',
  })
  expect(body.explanation).toMatchObject({
    token: { id, name: 'ci', familyId: id, parentId: null, client: null, useCount: 0 },
    rights: {
      accessLevel: 'READ_ONLY',
      admin: false,
      roles: ['deployer'],
      scopes: ['deploy:read'],
    },
    lost: [],
    end: { at: '2030-04-01T00:00:00.000Z', because: 'expiry' },
    grant: null,
  })
})

test('what is told goes on after the first failure', async () => {
  const expiresAt = new Date(server.clock.now() + 1000).toISOString()
  const { secret } = await makeToken(server, { ownerId: alice.id, expiresAt })
  server.clock.advance(1000)
  const { body } = await explain({ token: secret, scope: 'deploy:read' })
  expect(body).toMatchObject({ active: false, reason: 'expired' })
  const { checks } = body.explanation
  expect(outcomes(checks)).toMatchObject({ expiry: 'failed', scope: 'failed', owner: 'passed' })
  expect(detailOf(checks, 'scope')).toContain('the token does not carry it')
})

test('what the owner lost is named with the reason', async () => {
  const carol = await server.makeUser({ username: 'carol', roles: ['deployer'] })
  const group = await makeGroup(server, 'night-crew', { [carol.id]: 'WRITE' })
  const { secret } = await makeToken(server, {
    ownerId: carol.id,
    roles: ['deployer'],
    scopes: ['deploy:read'],
    groups: [{ group: 'night-crew', mode: 'WRITE' }],
  })
  await call('PATCH', `/api/v1/users/${carol.id}`, { body: { roles: [] } })
  await call('PUT', `/api/v1/groups/${group}/members/${carol.id}`, { body: { mode: 'READ' } })
  const { body } = await explain({ token: secret, scope: 'deploy:read' })
  expect(body.explanation.rights).toMatchObject({ roles: [], scopes: [] })
  const lost = body.explanation.lost.map(({ what, name, detail }: Body) => [what, name, detail])
  expect(lost).toEqual([
    ['role', 'deployer', expect.stringContaining('carol does not hold the role "deployer"')],
    ['scope', 'deploy:read', expect.stringContaining('it comes with the role "deployer"')],
    ['group', 'night-crew', expect.stringContaining('has only READ')],
  ])
  expect(detailOf(body.explanation.checks, 'scope')).toContain('No role of its owner carol')
})

test('when it ends is told with the reason: use, the token behind it, or nothing', async () => {
  const { body } = await call('POST', '/v1/auth/tokens', {
    token: null,
    body: { auth: { identity: { token: { uuid: alice.token } } } },
  })
  server.remember(body.token.uuid)
  const idleAt = new Date(server.clock.now() + 3_600_000).toISOString()
  const session = await explain({ token: body.token.uuid }, alice.token)
  expect(session.body.explanation).toMatchObject({
    end: { at: idleAt, because: 'idle' },
    token: { kind: 'session', parentId: expect.any(String) },
  })
  const endless = await makeToken(server, { ownerId: alice.id, expiresAt: null })
  const { explanation } = (await explain({ tokenId: endless.id })).body
  expect(explanation.end).toEqual({ at: null, because: null })
  expect(outcomes(explanation.checks)).toMatchObject({ format: 'skipped', known: 'passed' })
})

describe('who hears what', () => {
  /** Of bob's, each with the reason that admins hear. */
  const questions: Record<string, () => Promise<Body>> = {
    malformed: async () => ({ token: 'mm_api_too-short' }),
    unknown: async () => ({ token: '0123456789abcdef0123456789abcdef' }),
    revoked: async () => {
      const { id, secret } = await makeToken(server, { ownerId: bob.id })
      await call('DELETE', `/api/v1/tokens/${id}`)
      return { token: secret }
    },
    scope_missing: async () => ({ token: bob.token, scope: 'deploy:read' }),
    owner_disabled: async () => {
      const { id, token } = await server.makeUser({ username: `gone-${Math.random()}` })
      await call('DELETE', `/api/v1/users/${id}`)
      return { token }
    },
    active: async () => ({ token: bob.token }),
  }

  test.each(Object.keys(questions))(
    '%s: strangers and verifiers hear what verify says, and nothing more',
    async (reason) => {
      const question = (await questions[reason]?.()) ?? {}
      expect(await asVerify(question)).toBe(reason)
      for (const asker of [alice.token, verifier.token]) {
        const { text } = await explain(question, asker)
        expect(JSON.parse(text)).toEqual((await verify(question, asker)).body)
        expect(text).not.toContain('explanation')
      }
      if (reason !== 'active') {
        expect((await explain(question, alice.token)).text).toBe('{"active":false}')
      }
    },
  )

  test('the owner hears everything with any token, READ_ONLY or not, and with that very one', async () => {
    const narrow = await makeToken(server, { ownerId: alice.id })
    const { body } = await explain({ token: narrow.secret, role: 'deployer' }, narrow.secret)
    expect(body).toMatchObject({ active: false, reason: 'role_missing' })
    expect(outcomes(body.explanation.checks)).toMatchObject({ role: 'failed', kind: 'passed' })
    expect(detailOf(body.explanation.checks, 'role')).toContain('Its owner holds the role')
    expect((await explain({ tokenId: narrow.id }, alice.token)).body.active).toBe(true)
  })

  test('a token by its id is for those who may read it', async () => {
    const { id } = await makeToken(server, { ownerId: alice.id })
    const nobody = '01b8dac5-b400-7000-8000-000000000000'
    for (const tokenId of [id, nobody]) {
      expectProblem(await explain({ tokenId }, bob.token), 404, 'not_found')
      expectProblem(await explain({ tokenId }, verifier.token), 404, 'not_found')
    }
    expectProblem(await explain({ tokenId: nobody }), 404, 'not_found')
  })
})

test('it counts as no use, writes nothing and puts off no idle end', async () => {
  const { id, secret } = await makeToken(server, { ownerId: bob.id })
  await server.database.tamper(`update token set idle_seconds = 60 where id = '${id}'`)
  server.app.core.verifier.clear()
  await server.app.core.flushUsage()
  // The asker's own use is written later.
  const others = () => server.database.query(`select * from token where owner_id = '${bob.id}'`)
  const before = { others: await others(), audit: (await snapshot(server)).audit }
  for (let i = 0; i < 3; i++) {
    const { body } = await explain({ token: secret })
    expect(body).toMatchObject({ active: true, explanation: { end: { because: 'idle' } } })
    server.clock.advance(20_000)
  }
  await server.app.core.flushUsage()
  expect({ others: await others(), audit: (await snapshot(server)).audit }).toEqual(before)
  expect(await asVerify({ token: secret })).toBe('idle')
})

test.each([
  ['neither a secret nor an id', {}],
  ['both', { token: 'x', tokenId: '01b8dac5-b400-7000-8000-000000000000' }],
  ['an id that is none', { tokenId: 'x' }],
  ['a mode without a group', { token: 'x', mode: 'READ' }],
  ['an address that is none', { token: 'x', ip: 'here' }],
  ['an unknown demand', { token: 'x', admin: true }],
])('a question with %s is refused with 400', async (_, body) => {
  expectProblem(await explain(body), 400, 'invalid_input')
})

test('a signed access token is explained by its signature, its times and the token behind it', async () => {
  const made = await call('POST', '/api/auth/v1/admin/refreshTokens', {
    body: { tokenName: 'svc' },
  })
  const jwt: string = made.body.accessToken.token
  server.remember(jwt)
  server.remember(made.body.refreshToken.token)
  const { body } = await explain({ token: jwt })
  expect(body.active).toBe(true)
  expect(outcomes(body.explanation.checks)).toMatchObject({
    format: 'passed',
    signature: 'passed',
    issuer: 'skipped',
    times: 'passed',
    known: 'passed',
    claims: 'skipped',
  })
  expect(body.explanation.end.because).toBe('access_token')
  expect(await asVerify({ token: jwt })).toBe('active')

  const [head, claims, signature = ''] = jwt.split('.')
  const forged = `${head}.${claims}.${signature.startsWith('A') ? 'B' : 'A'}${signature.slice(1)}`
  expect(await asVerify({ token: forged })).toBe('malformed')
  const failed = (await explain({ token: forged })).body.explanation
  expect(outcomes(failed.checks)).toMatchObject({
    signature: 'failed',
    times: 'skipped',
    known: 'skipped',
  })
  expect(failed.token).toBeNull()
  expect(await asVerify({ token: `${head}.e30.${signature}` })).toBe('malformed')
  expect(await asVerify({ token: 'eyJ.x.y' })).toBe('malformed')

  server.clock.advance(3_600_000)
  expect(await asVerify({ token: jwt })).toBe('malformed')
  const over = (await explain({ token: jwt })).body.explanation
  expect(outcomes(over.checks)).toMatchObject({
    signature: 'passed',
    times: 'failed',
    known: 'passed',
  })
  expect(detailOf(over.checks, 'times')).toContain('Get a new access token')
  expect((await explain({ token: jwt }, alice.token)).text).toBe('{"active":false}')
})

describe('over random tokens, owners and demands', () => {
  const maybe = <T>(value: T) => fc.constantFrom(null, null, value)
  const rarely = <T>(value: T) => fc.constantFrom(...Array(11).fill(null), value)
  const kinds = [
    'api',
    'service',
    'session',
    'oauth_code',
    'oauth_access',
    'oauth_refresh',
  ] as const
  const cases = fc.record({
    kind: fc.constantFrom(...kinds),
    revoked: rarely(1),
    superseded: rarely(1),
    expiresInMs: fc.constantFrom(null, null, null, null, 0, 1, 3_600_000),
    idleSeconds: fc.constantFrom(null, null, null, 1, 3600),
    idleForMs: fc.constantFrom(0, 999, 1000, 3_600_000),
    roles: fc.constantFrom(null, [], ['deployer']),
    scopes: fc.constantFrom(null, [], ['deploy:read'], ['openid']),
    allowedIps: fc.constantFrom(null, null, ['10.0.0.0/8']),
    audience: maybe('https://api.example.com'),
    boundKey: maybe('thumbprint'),
    owner: fc.record({
      isDisabled: rarely(true),
      isDeleted: rarely(true),
      holdsRole: fc.boolean(),
      isMember: fc.boolean(),
    }),
    isTypo: rarely(true),
    demand: fc.record(
      {
        role: fc.constantFrom('deployer', 'admin'),
        scope: fc.constantFrom('deploy:read', 'openid'),
        group: fc.constant('day-crew'),
        ip: fc.constantFrom('10.0.0.1', '192.0.2.1'),
        audience: fc.constantFrom('https://api.example.com', 'https://other.example.com'),
        boundKey: fc.constantFrom('thumbprint', 'other'),
      },
      { requiredKeys: [] },
    ),
  })
  type Case = typeof cases extends fc.Arbitrary<infer C> ? C : never
  /** Few cases by the dice are of a live token that holds what is demanded. */
  const LIVE: Case = {
    kind: 'api',
    revoked: null,
    superseded: null,
    expiresInMs: null,
    idleSeconds: null,
    idleForMs: 0,
    roles: null,
    scopes: null,
    allowedIps: null,
    audience: null,
    boundKey: null,
    owner: { isDisabled: null, isDeleted: null, holdsRole: false, isMember: false },
    isTypo: null,
    demand: {},
  }

  const sqlOf = (value: string | number | null) =>
    typeof value === 'string' ? `'${value}'` : String(value)

  async function arrange(
    { owner, ...each }: Case,
    { id, ownerId, groupId }: { id: string; ownerId: string; groupId: string },
  ): Promise<void> {
    const nowMs = server.clock.now()
    const isOauth = each.kind.startsWith('oauth_')
    const set: Record<string, string | number | null> = {
      revoked_at_ms: each.revoked,
      superseded_at_ms: each.superseded,
      expires_at_ms: each.expiresInMs === null ? null : nowMs + each.expiresInMs,
      idle_seconds: each.idleSeconds,
      last_used_at_ms: nowMs - each.idleForMs,
      roles: each.roles && JSON.stringify(each.roles),
      scopes: each.scopes && JSON.stringify(each.scopes),
      allowed_ips: each.allowedIps && JSON.stringify(each.allowedIps),
      audience: isOauth ? each.audience : null,
      bound_key: isOauth ? each.boundKey : null,
    }
    const sets = Object.entries(set).map(([name, value]) => `${name} = ${sqlOf(value)}`)
    await server.database.tamper(
      `update token set ${sets.join(', ')} where id = '${id}';
       update "user" set active = ${owner.isDisabled ? 0 : 1},
         deleted_at_ms = ${owner.isDeleted ? nowMs : null} where id = '${ownerId}';
       delete from user_role where user_id = '${ownerId}';
       delete from membership where user_id = '${ownerId}';
       ${owner.holdsRole ? `insert into user_role (user_id, role) values ('${ownerId}', 'deployer');` : ''}
       ${
         owner.isMember
           ? `insert into membership (user_id, group_id, mode, created_at_ms) values ('${ownerId}', '${groupId}', 'READ', 0);`
           : ''
       }`,
    )
  }

  test('the first check that fails is what verify says, and active is what it says', async () => {
    const pool = new Map<string, { id: string; secret: string }>()
    const { id: ownerId, token } = await server.makeUser({ username: 'random' })
    const groupId = await makeGroup(server, 'day-crew')
    const client = await seed.client()
    for (const kind of kinds) {
      if (kind.startsWith('oauth_')) {
        const seeded = await seed.token({ kind: kind as 'oauth_code', ownerId, client })
        pool.set(kind, { id: seeded.token.id, secret: seeded.secret })
        server.remember(seeded.secret)
      } else if (kind === 'session') {
        const { body } = await call('POST', '/v1/auth/tokens', {
          token: null,
          body: { auth: { identity: { token: { uuid: token } } } },
        })
        server.remember(body.token.uuid)
        const [row] = await server.database.query(
          "select id from token where kind = 'session' order by id desc",
        )
        pool.set(kind, { id: String(row?.id), secret: body.token.uuid })
      } else {
        pool.set(kind, await makeToken(server, { ownerId, kind, ...EVERYTHING }))
      }
    }
    const heard = new Set<string>()
    await fc.assert(
      fc.asyncProperty(cases, async (each) => {
        const { id = '', secret = '' } = pool.get(each.kind) ?? {}
        await server.app.core.flushUsage()
        await arrange(each, { id, ownerId, groupId })
        server.app.core.verifier.clear()
        const presented = each.isTypo ? `${secret.slice(0, -1)}~` : secret
        const reason = await asVerify({ token: presented, ...each.demand })
        heard.add(reason)
        // What is cached by now is explained no otherwise.
        expect(await asVerify({ token: presented, ...each.demand })).toBe(reason)
      }),
      { numRuns: 250, examples: [[LIVE]] },
    )
    // Or the property would be held by whoever refuses everything early.
    expect(heard.size).toBeGreaterThan(9)
    expect(heard).toContain('active')
  }, 60_000)
})
