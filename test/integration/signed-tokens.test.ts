import { generateKeyPairSync } from 'node:crypto'
import { cachedVerifier, createClient, type OfflineVerifier, offlineVerifier } from '@mintmark/sdk'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { nameOf } from '../../src/core/revocations/feed.ts'
import { encoded, partsOf, signed, signedWithSecret } from '../support/forged-jwt.ts'
import { EVERYTHING, makeGroup, makeRole, makeToken } from '../support/people.ts'
import { startServer, type TestServer } from '../support/server.ts'

const AUDIENCE = 'https://deploy.example.com'

let server: TestServer
let issuer: string
let alice: { id: string; token: string }
let crew: string
const open: { close(): void }[] = []

beforeAll(async () => {
  // Verifiers have clocks of their own.
  const port = 20_000 + Math.floor(Math.random() * 20_000)
  issuer = `http://127.0.0.1:${port}`
  const clock = { now: () => Date.now(), advance: () => undefined }
  server = await startServer({ MINTMARK_PUBLIC_URL: issuer }, { clock })
  await server.app.server.listen({ host: '127.0.0.1', port })
  await makeRole(server, 'builder', ['build', 'deploy'])
  alice = await server.makeUser({ username: 'alice', roles: ['builder'] })
  crew = await makeGroup(server, 'crew', { [alice.id]: 'WRITE' })
})
afterEach(() => {
  for (const each of open.splice(0)) each.close()
})
afterAll(() => server.close())

function verifier(options: Partial<Parameters<typeof offlineVerifier>[0]> = {}): OfflineVerifier {
  const made = offlineVerifier({ issuer, audience: AUDIENCE, ...options })
  open.push(made)
  return made
}

let count = 0
const parentOf = (body: Record<string, unknown> = {}) =>
  makeToken(server, { ...EVERYTHING, name: `parent ${count++}`, ownerId: alice.id, ...body })

const sign = (token: string, body: Record<string, unknown> = {}) =>
  server.call('POST', '/api/v1/tokens/self/jwt', { token, body: { audience: AUDIENCE, ...body } })

async function jwtOf(token: string, body: Record<string, unknown> = {}): Promise<string> {
  const answer = await sign(token, body)
  expect(answer.status, answer.text).toBe(200)
  server.remember(answer.body.jwt)
  return answer.body.jwt
}

/** How long until a verifier says no, in milliseconds. */
async function msUntilRefused(check: () => Promise<{ active: boolean }>): Promise<number> {
  const startedMs = performance.now()
  while ((await check()).active) {
    if (performance.now() - startedMs > 15_000) throw new Error('It is still let in.')
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  return performance.now() - startedMs
}

describe('a signed token', () => {
  it('says what the token may do, narrowed, and is checked without the server', async () => {
    const parent = await parentOf()
    const child = await createClient({ url: issuer, token: parent.secret }).tokens.createChild()
    server.remember(child.secret)
    const jwt = await jwtOf(child.secret, {
      accessLevel: 'READ_ONLY',
      roles: [],
      scopes: ['build'],
      groups: [{ group: 'crew', mode: 'READ' }],
      ttlSeconds: 60,
    })
    const offline = verifier()
    expect(await offline.verify({ token: jwt })).toEqual({
      active: true,
      id: expect.any(String),
      tokenId: child.id,
      ancestors: [parent.id],
      owner: { id: alice.id, username: 'alice' },
      accessLevel: 'READ_ONLY',
      admin: false,
      roles: [],
      scopes: ['build'],
      groups: [{ id: crew, name: 'crew', mode: 'READ' }],
      expiresAt: expect.any(String),
    })
    const reason = async (demand: Omit<Parameters<OfflineVerifier['verify']>[0], 'token'>) => {
      const verdict = await offline.verify({ token: jwt, ...demand })
      return verdict.active ? 'active' : verdict.reason
    }
    expect(await reason({ scope: 'build', group: 'crew' })).toBe('active')
    expect(await reason({ scope: 'deploy' })).toBe('scope_missing')
    expect(await reason({ role: 'builder' })).toBe('role_missing')
    expect(await reason({ group: crew, mode: 'WRITE' })).toBe('group_missing')
    expect(
      await verifier({ audience: 'https://other.example.com' }).verify({ token: jwt }),
    ).toEqual({
      active: false,
      reason: 'wrong_audience',
    })
  })

  it('costs one use of the token that it is signed with', async () => {
    const parent = await parentOf()
    for (let i = 0; i < 3; i++) await jwtOf(parent.secret)
    await server.app.core.flushUsage()
    const { body } = await server.call('GET', `/api/v1/tokens/${parent.id}`)
    expect(body.useCount).toBe(3)
  })

  it('never has more, never lives longer, and signs nothing itself', async () => {
    const endsAt = new Date(Math.floor(Date.now() / 1000) * 1000 + 60_000).toISOString()
    const parent = await parentOf({ scopes: ['build'], expiresAt: endsAt })
    expect(await sign(parent.secret, { scopes: ['deploy'] })).toMatchObject({
      status: 403,
      body: { code: 'beyond_rights', detail: expect.stringContaining('the scope "deploy"') },
    })
    expect(await sign(parent.secret, { ttlSeconds: 901 })).toMatchObject({ status: 400 })
    expect((await sign(parent.secret, { ttlSeconds: 900 })).body.expiresAt).toBe(endsAt)
    const own = await jwtOf(parent.secret, { audience: issuer })
    for (const [method, path] of [
      ['POST', '/api/v1/tokens/self/jwt'],
      ['POST', '/api/v1/tokens/self/children'],
      ['POST', `/api/v1/tokens/${parent.id}/rotate`],
    ] as const) {
      const body = path.endsWith('jwt') ? { audience: AUDIENCE } : {}
      expect(await server.call(method, path, { token: own, body })).toMatchObject({ status: 403 })
    }
  })

  it('is for whom it was signed for: it opens our API only when that is us', async () => {
    const parent = await parentOf({ scopes: ['build', 'deploy'] })
    const theirs = await jwtOf(parent.secret)
    const ours = await jwtOf(parent.secret, { audience: issuer, scopes: ['build'] })
    const me = (token: string) => server.call('GET', '/api/v1/me', { token })
    expect((await me(theirs)).status).toBe(401)
    expect((await me(ours)).status).toBe(200)
    const verify = async (body: Record<string, unknown>) =>
      (await server.call('POST', '/api/v1/tokens/verify', { body })).body
    expect(await verify({ token: theirs })).toMatchObject({ active: false })
    expect(await verify({ token: theirs, audience: AUDIENCE, scope: 'deploy' })).toMatchObject({
      active: true,
      tokenId: parent.id,
    })
    expect(await verify({ token: ours, scope: 'deploy' })).toMatchObject({
      reason: 'scope_missing',
    })
    const explained = await server.call('POST', '/api/v1/tokens/explain', {
      body: { token: ours, scope: 'deploy' },
    })
    expect(explained.body).toMatchObject({ active: false, reason: 'scope_missing' })
    const introspected = await server.call('POST', '/oauth2/introspect', {
      rawBody: `token=${theirs}`,
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
    })
    expect(introspected.body).toMatchObject({ active: true, aud: AUDIENCE, sub: alice.id })
  })

  it('within what was signed makes nothing wider with it', async () => {
    const admin = await makeToken(server, { ...EVERYTHING, name: `admin ${count++}` })
    const jwt = await jwtOf(admin.secret, { audience: issuer, roles: ['admin'], scopes: [] })
    const made = await server.call('POST', '/api/v1/tokens', {
      token: jwt,
      body: { name: 'wider', kind: 'service', scopes: ['build'] },
    })
    expect(made).toMatchObject({ status: 403, body: { code: 'beyond_rights' } })
  })

  it('is refused when it is forged', async () => {
    const parent = await parentOf()
    const jwt = await jwtOf(parent.secret)
    const { header, claims } = partsOf(jwt)
    const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const [head, body, signature = ''] = jwt.split('.')
    const jwks = await (await fetch(`${issuer}/.well-known/mintmark/jwks.json`)).text()
    const statement = await (await fetch(`${issuer}/api/v1/revocations`)).text()
    const resigned = (changes: object, more: object = {}) =>
      signed(
        { header: { ...header, ...more }, claims: { ...claims, ...changes } },
        { key: stranger.privateKey, alg: 'ES256' },
      )
    const forged = [
      `${encoded({ ...header, alg: 'none' })}.${body}.`,
      `${encoded({ ...header, alg: 'none' })}.${body}.${signature}`,
      signedWithSecret({ header, claims }, { secret: jwks, alg: 'HS256' }),
      resigned({}),
      resigned({}, { kid: 'unknown' }),
      resigned({}, { jwk: stranger.publicKey.export({ format: 'jwk' }) }),
      `${head}.${encoded({ ...claims, admin: true })}.${signature}`,
      `${encoded({ ...header, typ: 'at+jwt' })}.${body}.${signature}`,
      `${jwt}=`,
      `${jwt}.x`,
      jwt.slice(0, -1),
      statement,
      'x',
      '',
    ]
    const offline = verifier()
    expect(await offline.verify({ token: jwt })).toMatchObject({ active: true })
    for (const each of forged) {
      expect(await offline.verify({ token: each }), each).toEqual({
        active: false,
        reason: 'malformed',
      })
      if (each === '') continue
      const verify = { body: { token: each, audience: AUDIENCE } }
      expect((await server.call('POST', '/api/v1/tokens/verify', verify)).body.active).toBe(false)
    }
  })

  it('ends at its end, at our own doors, too', async () => {
    const jwt = await jwtOf((await parentOf()).secret, { ttlSeconds: 2 })
    const ask = () =>
      server.call('POST', '/api/v1/tokens/verify', { body: { token: jwt, audience: AUDIENCE } })
    const { body } = await ask()
    expect(body.active).toBe(true)
    await new Promise((resolve) => setTimeout(resolve, Date.parse(body.expiresAt) - Date.now()))
    expect((await ask()).body.active).toBe(false)
  })

  it('of a token for some addresses is for those, too', async () => {
    const parent = await parentOf({ allowedIps: ['127.0.0.0/8', '2001:db8::/32'] })
    const jwt = await jwtOf(parent.secret)
    const offline = verifier()
    const isGood = async (ip?: string) =>
      (await offline.verify({ token: jwt, ...(ip === undefined ? {} : { ip }) })).active
    expect(await isGood('127.0.0.1')).toBe(true)
    expect(await isGood('::ffff:127.0.0.1')).toBe(true)
    expect(await isGood('2001:db8::1')).toBe(true)
    expect(await isGood('10.0.0.1')).toBe(false)
    expect(await isGood('2001:db9::1')).toBe(false)
    expect(await isGood('nonsense')).toBe(false)
    expect(await isGood()).toBe(false)
  })

  it('for fewer addresses than its token is for those alone, at our own doors, too', async () => {
    const parent = await parentOf()
    const elsewhere = { audience: issuer, allowedIps: ['192.0.2.0/24'] }
    const here = { audience: issuer, allowedIps: ['127.0.0.0/8'] }
    const [far, near] = [await jwtOf(parent.secret, elsewhere), await jwtOf(parent.secret, here)]
    const me = (token: string) => server.call('GET', '/api/v1/me', { token })
    expect((await me(near)).status).toBe(200)
    expect((await me(far)).status).toBe(401)
    for (const path of ['/api/v1/tokens/verify', '/api/v1/tokens/explain']) {
      const ask = (ip: string) => server.call('POST', path, { body: { token: far, ip } })
      expect((await ask('192.0.2.1')).body).toMatchObject({ active: true })
      const refused = { active: false, reason: 'ip_not_allowed' }
      expect((await ask('127.0.0.1')).body).toMatchObject(refused)
    }
  })
})

describe('offline, within seconds', () => {
  it('a token dies with the one it was signed for, and with all that one comes from', async () => {
    const parent = await parentOf()
    const child = await createClient({ url: issuer, token: parent.secret }).tokens.createChild()
    server.remember(child.secret)
    const [ofParent, ofChild] = [await jwtOf(parent.secret), await jwtOf(child.secret)]
    const other = await jwtOf((await parentOf()).secret)
    const offline = verifier()
    for (const jwt of [ofParent, ofChild, other]) {
      expect(await offline.verify({ token: jwt })).toMatchObject({ active: true })
    }
    await server.call('DELETE', `/api/v1/tokens/${parent.id}`)
    expect(await msUntilRefused(() => offline.verify({ token: ofChild }))).toBeLessThan(5000)
    expect(await offline.verify({ token: ofParent })).toEqual({ active: false, reason: 'revoked' })
    expect(await offline.verify({ token: other })).toMatchObject({ active: true })
    // Whoever starts only now knows it from the first statement.
    expect(await verifier().verify({ token: ofChild })).toEqual({
      active: false,
      reason: 'revoked',
    })
  })

  it.each([
    ['the owner is disabled', (id: string) => ['PATCH', `/users/${id}`, { active: false }]],
    ['the owner loses a role', (id: string) => ['PATCH', `/users/${id}`, { roles: [] }]],
    ['the owner leaves a group', (id: string) => ['DELETE', `/groups/${crew}/members/${id}`]],
    ['a role changes', () => ['PATCH', '/roles/builder', { scopes: ['build', 'deploy', 'x'] }]],
    ['the policy changes', () => ['PATCH', '/policy', { lockoutAttempts: 9 }]],
    ['a group changes', () => ['PATCH', `/groups/${crew}`, { description: 'changed' }]],
  ] as const)('it dies when %s; one signed afterwards does not', async (_, change) => {
    const bob = await server.makeUser({ username: `bob ${count++}`, roles: ['builder'] })
    const member = `/api/v1/groups/${crew}/members/${bob.id}`
    await server.call('PUT', member, { body: { mode: 'READ' } })
    const jwt = await jwtOf(bob.token)
    const offline = verifier()
    expect(await offline.verify({ token: jwt })).toMatchObject({ active: true })
    const [method, path, body] = change(bob.id) as [string, string, unknown?]
    const done = await server.call(method, `/api/v1${path}`, body === undefined ? {} : { body })
    expect(done.status, done.text).toBeLessThan(300)
    expect(await msUntilRefused(() => offline.verify({ token: jwt }))).toBeLessThan(5000)
    const again = await sign(bob.token)
    if (again.status === 401) return
    server.remember(again.body.jwt)
    expect(await offline.verify({ token: again.body.jwt })).toMatchObject({ active: true })
  })

  it('nobody is let in when the feed falls silent, and again when it is back', async () => {
    const jwt = await jwtOf((await parentOf()).secret)
    let isCut = false
    const cutFetch: typeof fetch = (input, init) =>
      isCut ? Promise.reject(new TypeError('cut')) : fetch(input, init)
    const offline = verifier({ fetch: cutFetch, maxStaleSeconds: 1 })
    expect(await offline.verify({ token: jwt })).toMatchObject({ active: true })
    isCut = true
    await msUntilRefused(() => offline.verify({ token: jwt }))
    expect(await offline.verify({ token: jwt })).toEqual({ active: false, reason: 'stale' })
    isCut = false
    await expect
      .poll(async () => (await offline.verify({ token: jwt })).active, { timeout: 10_000 })
      .toBe(true)
    // An old statement served again is no news.
    const old = await (await fetch(`${issuer}/api/v1/revocations`)).text()
    const replay: typeof fetch = async (input, init) =>
      String(input).includes('/revocations') ? new Response(old) : fetch(input, init)
    const fooled = verifier({ fetch: replay, maxStaleSeconds: 1, clockToleranceSeconds: 0 })
    await new Promise((resolve) => setTimeout(resolve, 1100))
    expect(await fooled.verify({ token: jwt })).toEqual({ active: false, reason: 'stale' })
  })

  it('an older statement takes back nothing, and makes nobody believe for longer', async () => {
    const parent = await parentOf()
    const jwt = await jwtOf(parent.secret)
    const read = async () => (await fetch(`${issuer}/api/v1/revocations`)).text()
    let replayed: string | undefined
    const replay: typeof fetch = async (input, init) =>
      replayed !== undefined && String(input).includes('/revocations')
        ? new Response(replayed)
        : fetch(input, init)
    const before = await read()
    const offline = verifier({ fetch: replay })
    expect(await offline.verify({ token: jwt })).toMatchObject({ active: true })
    await server.call('DELETE', `/api/v1/tokens/${parent.id}`)
    await msUntilRefused(() => offline.verify({ token: jwt }))
    replayed = before
    // Ten rounds of questions.
    for (const untilMs = performance.now() + 3000; performance.now() < untilMs; ) {
      expect(await offline.verify({ token: jwt })).toEqual({ active: false, reason: 'revoked' })
      await new Promise((resolve) => setTimeout(resolve, 50))
    }

    const other = await jwtOf((await parentOf()).secret)
    replayed = await read()
    const readMs = performance.now()
    const fooled = verifier({ fetch: replay, maxStaleSeconds: 2, clockToleranceSeconds: 0 })
    let believedMs = 0
    await msUntilRefused(async () => {
      const verdict = await fooled.verify({ token: other })
      if (verdict.active) believedMs = performance.now() - readMs
      return verdict
    })
    expect(believedMs).toBeGreaterThan(0)
    expect(believedMs).toBeLessThan(3000)
  })

  it('a new key is taken up', async () => {
    const parent = await parentOf()
    const before = await jwtOf(parent.secret)
    const offline = verifier()
    expect(await offline.verify({ token: before })).toMatchObject({ active: true })
    const rotated = await server.call('POST', '/api/v1/keys/rotate', { body: { purpose: 'jwt' } })
    expect(rotated.status).toBe(200)
    const after = await jwtOf(parent.secret)
    await expect
      .poll(async () => (await offline.verify({ token: after })).active, { timeout: 15_000 })
      .toBe(true)
    expect(await offline.verify({ token: before })).toMatchObject({ active: true })
  })
})

describe('a cached verdict', () => {
  it('is had without asking, until the token or one that it comes from ends', async () => {
    const parent = await parentOf()
    const child = await createClient({ url: issuer, token: parent.secret }).tokens.createChild()
    server.remember(child.secret)
    let asked = 0
    const counting: typeof fetch = (input, init) => {
      if (String(input).endsWith('/verify')) asked++
      return fetch(input, init)
    }
    const client = createClient({ url: issuer, token: server.adminToken, fetch: counting })
    const cached = cachedVerifier({ issuer, client })
    open.push(cached)
    const question = { token: child.secret, scope: 'build' }
    const asksFor = async () => {
      const before = asked
      expect(await cached.verify(question)).toMatchObject({ active: true })
      return asked - before
    }
    // Once what other nodes may not have heard of yet is behind it.
    await expect.poll(asksFor, { timeout: 10_000, interval: 100 }).toBe(0)
    for (let i = 0; i < 10; i++) expect(await asksFor()).toBe(0)
    await server.call('DELETE', `/api/v1/tokens/${parent.id}`)
    expect(await msUntilRefused(() => cached.verify(question))).toBeLessThan(5000)
    expect(await cached.verify({ token: server.adminToken })).toMatchObject({ active: true })
  })

  it('is not kept for longer than the feed remembers that it ended', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const jwk = { ...publicKey.export({ format: 'jwk' }), kid: 'short' }
    const header = { alg: 'ES256', typ: 'revocations+jwt', kid: 'short' }
    const { id, secret } = await parentOf()
    let position = 10
    let ended: Record<string, number> = {}
    // As a server would say it that remembers for a second.
    const shortMemory: typeof fetch = async (input) => {
      if (String(input).includes('jwks.json')) return Response.json({ keys: [jwk] })
      const facts = { iss: issuer, as_of: Date.now(), next: `${position}.x`, full: position === 10 }
      const claims = { ...facts, keep: 1, ended, everything: 0 }
      return new Response(signed({ header, claims }, { key: privateKey, alg: 'ES256' }))
    }
    const client = createClient({ url: issuer, token: server.adminToken })
    const cached = cachedVerifier({ issuer, client, fetch: shortMemory, ttlSeconds: 3600 })
    open.push(cached)
    await cached.verify({ token: secret })
    await new Promise((resolve) => setTimeout(resolve, 600))
    expect(await cached.verify({ token: secret })).toMatchObject({ active: true })
    await server.call('DELETE', `/api/v1/tokens/${id}`)
    position = 11
    ended = { [nameOf(id)]: 11 }
    await new Promise((resolve) => setTimeout(resolve, 600))
    ended = {}
    await new Promise((resolve) => setTimeout(resolve, 2000))
    expect(await cached.verify({ token: secret })).toMatchObject({ active: false })
  })
})
