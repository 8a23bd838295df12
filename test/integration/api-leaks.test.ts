import { createHash, generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readGithubKeys } from '../../src/core/leaks/github.ts'
import { makeClient, seedFamily } from '../support/clients.ts'
import { DAY_MS } from '../support/core.ts'
import { EVERYTHING, isAlive, makeRole, makeToken, setPolicy } from '../support/people.ts'
import { expectProblem, withoutRequestId } from '../support/problem.ts'
import { startServer, type TestServer } from '../support/server.ts'

const github = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const KEY_ID = 'f'.repeat(64)
const KEYS = JSON.stringify({
  public_keys: [
    {
      key_identifier: KEY_ID,
      key: github.publicKey.export({ type: 'spki', format: 'pem' }),
      is_current: true,
    },
  ],
})

let server: TestServer
let alice: { id: string; token: string }
let scanner: { id: string; token: string }

beforeAll(async () => {
  server = await startServer({ MINTMARK_GITHUB_KEYS: KEYS })
  await makeRole(server, 'leak-reporter')
  alice = await server.makeUser({ username: 'alice' })
  scanner = await server.makeUser({ username: 'scanner', roles: ['leak-reporter'] })
})
afterAll(() => server.close())

const report = (body: Record<string, unknown>, token = server.adminToken) =>
  server.call('POST', '/api/v1/leaks', { token, body })
const show = async (id: string) => (await server.call('GET', `/api/v1/tokens/${id}`)).body
const verdict = async (token: string, by = server.adminToken) =>
  (await server.call('POST', '/api/v1/tokens/verify', { token: by, body: { token } })).body
const eventsOf = async (id: string) =>
  (await server.call('GET', `/api/v1/events?tokenId=${id}`)).body.items.map(
    ({ type, data }: { type: string; data: { details: unknown } }) => [type, data.details],
  )
const hers = () => makeToken(server, { ...EVERYTHING, ownerId: alice.id })

describe('a reported secret', () => {
  test('is quarantined at once unless the policy says else', async () => {
    const { id, secret } = await hers()
    expect((await verdict(secret)).active).toBe(true)
    const url = 'https://code.example.com/alice/app/blob/main/.env'
    const answer = await report({ secrets: [secret, 'nothing'], source: 'nightly scan', url })
    expect(answer.body).toEqual({
      received: 2,
      outcomes: [
        { tokenId: id, action: 'quarantine' },
        { tokenId: null, action: 'none' },
      ],
    })
    expect(await verdict(secret)).toEqual({ active: false, reason: 'quarantined' })
    expect(await isAlive(server, secret)).toBe(false)
    expect(await show(id)).toMatchObject({
      state: 'quarantined',
      quarantinedBy: null,
      quarantineReason: `leaked: nightly scan, ${url}`,
    })
    expect((await eventsOf(id)).slice(0, 2)).toEqual([
      ['token.quarantined', { reason: `leaked: nightly scan, ${url}` }],
      ['token.leaked', { source: 'nightly scan', url, action: 'quarantine' }],
    ])
    // Scanners come by every night.
    expect(
      (await report({ secrets: [secret], source: 'nightly scan', url })).body.outcomes,
    ).toEqual([{ tokenId: id, action: 'none' }])
    expect(await eventsOf(id)).toHaveLength(3)
  })

  test('is revoked, or only told of, as the policy says', async () => {
    await setPolicy(server, { leakAction: 'revoke' })
    const revoked = await hers()
    await report({ secrets: [revoked.secret] })
    expect(await verdict(revoked.secret)).toEqual({ active: false, reason: 'revoked' })
    await setPolicy(server, { leakAction: 'notify' })
    const told = await hers()
    await report({ secrets: [told.secret] })
    expect((await verdict(told.secret)).active).toBe(true)
    expect((await eventsOf(told.id))[0]?.[0]).toBe('token.leaked')
    await setPolicy(server, { leakAction: 'quarantine' })
    expect(
      (await server.call('PATCH', '/api/v1/policy', { body: { leakAction: 'burn' } })).status,
    ).toBe(400)
  })

  test('is found in every form that secrets have', async () => {
    const service = await makeToken(server, { ownerId: alice.id, kind: 'service' })
    const jwt = await server.call('POST', '/api/auth/v1/refresh', { token: service.secret })
    const xms = await server.call('POST', '/v1/access-tokens/', {
      token: null,
      headers: { 'xms-auth-token': server.adminToken },
      body: { access_token: { name: 'hex', roles: ['admin'] } },
    })
    const hex = xms.body.access_token.uuid as string
    const s7 = await server.call('POST', '/api/auth/v1/admin/refreshTokens', {
      body: { tokenName: 'billing', groups: [] },
    })
    // As its own system spelled it.
    const foreign = `glpat!${randomBytes(10).toString('hex')}`
    const row = { row: 1, name: 'foreign', owner: 'alice', secret: foreign }
    await server.call('POST', '/api/v1/imports', { body: { importId: 'leaks', rows: [row] } })
    for (const secret of [hex, jwt.body.token, s7.body.refreshToken.token, foreign]) {
      server.remember(secret)
      const { body } = await report({ secrets: [secret] })
      expect(body.outcomes[0], secret.slice(0, 3)).toMatchObject({ action: 'quarantine' })
    }
    // The service token behind the access token is refused, and with it all others made of it.
    expect((await verdict(service.secret)).active).toBe(false)
    expect((await verdict(hex)).active).toBe(false)
  })

  test('of a token that is over is told and needs nothing done', async () => {
    const { id, secret } = await hers()
    await server.call('POST', `/api/v1/tokens/${id}/revoke`)
    expect((await report({ secrets: [secret] })).body.outcomes).toEqual([
      { tokenId: id, action: 'none' },
    ])
    expect((await eventsOf(id))[0]?.[0]).toBe('token.leaked')
  })
})

describe('whoever reports', () => {
  test('the same place again holds after a release; without a place it is news each day', async () => {
    const { id, secret } = await hers()
    const url = 'https://git.example.com/web/app.env'
    for (const wish of [{ url }, {}]) {
      await report({ secrets: [secret], ...wish })
      expect(await show(id)).toMatchObject({ state: 'quarantined' })
      await server.call('POST', `/api/v1/tokens/${id}/release`)
      server.clock.advance(2 * DAY_MS)
      const { body } = await report({ secrets: [secret], ...wish })
      expect(body.outcomes[0].action).toBe('url' in wish ? 'none' : 'quarantine')
    }
  })

  test('needs the role or to be an admin, and without being one hears nothing', async () => {
    const { secret } = await hers()
    expectProblem(await report({ secrets: [secret] }, alice.token), 403, 'forbidden')
    expect((await verdict(secret)).active).toBe(true)
    const known = await report({ secrets: [secret] }, scanner.token)
    const unknown = await report({ secrets: [`${secret.slice(0, -1)}x`] }, scanner.token)
    expect(known.body).toEqual({ received: 1 })
    expect(withoutRequestId(known)).toEqual(withoutRequestId(unknown))
    expect((await verdict(secret)).active).toBe(false)
  })

  test('sends at most a hundred secrets', async () => {
    const secrets = Array.from({ length: 101 }, (_, i) => `secret ${i}`)
    expectProblem(await report({ secrets }), 400, 'invalid_input')
    expectProblem(await report({ secrets: [] }), 400, 'invalid_input')
  })
})

describe('quarantine', () => {
  const quarantine = (id: string, token = server.adminToken) =>
    server.call('POST', `/api/v1/tokens/${id}/quarantine`, { token, body: { reason: 'odd' } })
  const release = (id: string, token = server.adminToken) =>
    server.call('POST', `/api/v1/tokens/${id}/release`, { token })

  test('can be taken back, with everything that it reached', async () => {
    const { id, secret } = await hers()
    const session = await server.call('POST', '/v1/auth/tokens', {
      token: null,
      body: {
        auth: { identity: { token: { uuid: secret } } },
      },
    })
    const opened = session.body?.token?.uuid as string | undefined
    if (opened !== undefined) server.remember(opened)
    const { body } = await quarantine(id)
    expect(body.tokens).toContain(id)
    expect((await verdict(secret)).reason).toBe('quarantined')
    if (opened !== undefined) {
      expect(body.tokens).toHaveLength(2)
      expect((await verdict(opened)).active).toBe(false)
    }
    expect((await quarantine(id)).body).toEqual({ tokens: [] })
    expect((await release(id)).body.tokens.sort()).toEqual(body.tokens.sort())
    expect((await verdict(secret)).active).toBe(true)
    expect(await show(id)).toMatchObject({ state: 'active', quarantinedAt: null })
    expectProblem(await release(id), 409, 'conflict')
  })

  test('an owner may begin it, and end only what the owner began', async () => {
    const { id } = await hers()
    const bob = await server.makeUser({ username: 'bob' })
    expectProblem(await quarantine(id, bob.token), 404, 'not_found')
    expect((await quarantine(id, alice.token)).status).toBe(200)
    expect((await release(id, alice.token)).status).toBe(200)
    await quarantine(id)
    expectProblem(await release(id, alice.token), 403, 'forbidden')
    expect((await release(id)).status).toBe(200)
  })

  test('becomes that of an administrator or a report that stops the token as well', async () => {
    const { id, secret } = await hers()
    const url = 'https://paste.example.com/late'
    for (const stop of [
      () => quarantine(id),
      () => server.call('POST', '/api/v1/leaks', { body: { secrets: [secret], url } }),
    ]) {
      expect((await quarantine(id, alice.token)).body.tokens).toContain(id)
      expect((await stop()).status).toBe(200)
      expect((await quarantine(id, alice.token)).body).toEqual({ tokens: [] })
      expectProblem(await release(id, alice.token), 403, 'forbidden')
      expect((await release(id)).body.tokens).toContain(id)
    }
  })

  test('of a child by an administrator outlasts that of its parent by their owner', async () => {
    const parent = await hers()
    const made = await server.call('POST', '/api/v1/tokens/self/children', {
      token: parent.secret,
      body: {},
    })
    const child = made.body as { id: string; secret: string }
    expect((await quarantine(parent.id, alice.token)).body.tokens).toContain(child.id)
    expect((await quarantine(child.id)).body.tokens).toEqual([child.id])
    expect((await release(parent.id, alice.token)).body.tokens).not.toContain(child.id)
    expect((await verdict(parent.secret)).active).toBe(true)
    expect((await verdict(child.secret)).reason).toBe('quarantined')
  })

  test('of a refresh token reaches what came of its grant', async () => {
    const client = await makeClient(server)
    const { refresh, access } = await seedFamily(server, { userId: alice.id, clientId: client.id })
    const others = await seedFamily(server, { userId: alice.id, clientId: client.id })
    const { body } = await quarantine(refresh.token.id)
    expect(body.tokens.sort()).toEqual([refresh.token.id, access.token.id].sort())
    expect((await verdict(access.secret)).reason).toBe('quarantined')
    expect((await verdict(others.access.secret)).active).toBe(true)
    expect((await release(refresh.token.id)).body.tokens).toHaveLength(2)
    expect((await verdict(access.secret)).active).toBe(true)
  })

  test('is a state in lists, queries, counts and figures, and no way around it', async () => {
    const { id, secret } = await hers()
    await quarantine(id)
    const ask = async (q: string) =>
      (
        await server.call('GET', `/api/v1/tokens?limit=1000&q=${encodeURIComponent(q)}`)
      ).body.items.map((token: { id: string }) => token.id)
    expect(await ask('state:quarantined')).toContain(id)
    expect(await ask('state:active')).not.toContain(id)
    expect(await ask('state:active sort:expires')).not.toContain(id)
    expect(await ask('state:active,quarantined sort:expires owner:alice')).toContain(id)
    expect(await ask('not state:quarantined owner:alice')).not.toContain(id)
    const stats = await server.call('GET', '/api/v1/tokens/stats?by=state')
    const figure = stats.body.figures.find(
      ({ value }: { value: string }) => value === 'quarantined',
    )
    expect(figure.count).toBe((await ask('state:quarantined')).length)
    const listed = await server.call('GET', '/api/v1/tokens?state=quarantined&limit=1000')
    expect(listed.body.items.map((token: { id: string }) => token.id)).toContain(id)
    const rotated = await server.call('POST', `/api/v1/tokens/${id}/rotate`, { token: alice.token })
    expect([403, 409]).toContain(rotated.status)
    expectProblem(await server.call('POST', `/api/v1/tokens/${id}/rotate`), 409, 'token_not_active')
    const explained = await server.call('POST', '/api/v1/tokens/explain', {
      body: { token: secret },
    })
    expect(explained.body.reason).toBe('quarantined')
    const failed = explained.body.explanation.checks.find(
      ({ outcome }: { outcome: string }) => outcome === 'failed',
    )
    expect(failed).toMatchObject({ check: 'quarantine', detail: expect.stringContaining('odd') })
    await server.call('POST', `/api/v1/tokens/${id}/revoke`)
    expect(await show(id)).toMatchObject({ state: 'revoked' })
    expectProblem(await release(id), 409, 'conflict')
    expectProblem(await quarantine(id), 409, 'token_not_active')
  })

  test('each use raises an alarm, but not again and again', async () => {
    const { id, secret } = await hers()
    await quarantine(id)
    for (let i = 0; i < 5; i++) await isAlive(server, secret)
    await server.app.core.flushUsage()
    const alarms = async () =>
      (await eventsOf(id)).filter(([type]: [string]) => type === 'token.quarantine_used')
    expect(await alarms()).toEqual([['token.quarantine_used', { attempts: 5, ip: '127.0.0.1' }]])
    await isAlive(server, secret)
    await isAlive(server, secret)
    await server.app.core.flushUsage()
    expect(await alarms()).toHaveLength(1)
    server.clock.advance(300_000)
    await server.app.core.flushUsage()
    expect((await alarms())[0]).toEqual(['token.quarantine_used', { attempts: 2, ip: '127.0.0.1' }])
  })

  test('survives a restart', async () => {
    const { id, secret } = await hers()
    await quarantine(id)
    await server.restart()
    expect((await verdict(secret)).reason).toBe('quarantined')
    await release(id)
    expect((await verdict(secret)).active).toBe(true)
  })
})

describe('GitHub’s secret scanning', () => {
  const signed = (body: string, key = github.privateKey) =>
    sign('sha256', Buffer.from(body), key).toString('base64')
  const send = (rawBody: string, headers: Record<string, string>) =>
    server.call('POST', '/api/v1/leaks/github', { token: null, rawBody, headers })
  const genuine = (rawBody: string) => ({
    'github-public-key-identifier': KEY_ID,
    'github-public-key-signature': signed(rawBody),
  })

  test('reports with its signature and hears which were real', async () => {
    const { id, secret } = await hers()
    const url = 'https://github.com/octocat/Hello-World/blob/main/foo.txt'
    const match = (token: string) => ({ token, type: 'mintmark_token', url, source: 'content' })
    // Spaces that parsing and writing again would lose.
    const body = JSON.stringify([match(secret), match('some_token')], null, 3)
    const answer = await send(body, genuine(body))
    const hash = (text: string) => createHash('sha256').update(text).digest('hex')
    expect(answer.body).toEqual([
      { token_hash: hash(secret), token_type: 'mintmark_token', label: 'true_positive' },
      { token_hash: hash('some_token'), token_type: 'mintmark_token', label: 'false_positive' },
    ])
    expect(await show(id)).toMatchObject({ state: 'quarantined' })
    expect((await eventsOf(id)).at(-2)).toEqual([
      'token.leaked',
      { source: 'github content', url, action: 'quarantine' },
    ])
    server.clock.advance(DAY_MS)
    const again = await send(body, genuine(body))
    expect(again.body[0].label).toBe('true_positive')
  })

  test('does not stop again what was released, however late the same report comes', async () => {
    const { id, secret } = await hers()
    const report = (wish: object) =>
      JSON.stringify([
        { token: secret, type: 't', source: 'content', url: 'https://x.example.com/1', ...wish },
      ])
    const release = () => server.call('POST', `/api/v1/tokens/${id}/release`)
    for (const wish of [{}, { url: '' }, { url: 'https://x.example.com/2' }]) {
      const body = report(wish)
      expect((await send(body, genuine(body))).body[0].label).toBe('true_positive')
      expect(await show(id)).toMatchObject({ state: 'quarantined' })
      expect((await release()).status).toBe(200)
      const told = (await eventsOf(id)).length
      server.clock.advance(2 * DAY_MS)
      const again = await send(body, genuine(body))
      expect(again.body[0].label).toBe('true_positive')
      expect(await show(id)).toMatchObject({ state: 'active' })
      expect(await eventsOf(id)).toHaveLength(told)
    }
    await server.restart()
    const body = report({})
    await send(body, genuine(body))
    expect(await show(id)).toMatchObject({ state: 'active' })
  })

  test('is refused without its signature, whatever was sent', async () => {
    const { secret } = await hers()
    const body = JSON.stringify([{ token: secret, type: 't', url: '', source: 'commit' }])
    const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
    const forged: Record<string, string>[] = [
      {},
      { 'github-public-key-identifier': KEY_ID },
      { ...genuine(body), 'github-public-key-identifier': 'unknown' },
      { ...genuine(body), 'github-public-key-signature': signed(body, stranger) },
      { ...genuine(body), 'github-public-key-signature': 'bm90IGEgc2lnbmF0dXJl' },
      { ...genuine(body), 'github-public-key-signature': signed(`${body} `) },
    ]
    for (const headers of forged) {
      expectProblem(await send(body, headers), 401, 'unauthenticated')
    }
    expectProblem(await send('{"not":"a list"}', {}), 401, 'unauthenticated')
    expect((await verdict(secret)).active).toBe(true)
    const wrong = '{"not":"a list"}'
    expectProblem(await send(wrong, genuine(wrong)), 400, 'invalid_input')
  })

  test('the keys are read as GitHub publishes them, and its own example fits', async () => {
    const key = `-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEsz9ugWDj5jK5ELBK42ynytbo38gP
HzZFI03Exwz8Lh/tCfL3YxwMdLjB+bMznsanlhK0RwcGP3IDb34kQDIo3Q==
-----END PUBLIC KEY-----`
    const id = 'f9525bf080f75b3506ca1ead061add62b8633a346606dc5fe544e29231c6ee0d'
    const example = await startServer({
      MINTMARK_GITHUB_KEYS: JSON.stringify({ public_keys: [{ key_identifier: id, key }] }),
    })
    const answer = await example.call('POST', '/api/v1/leaks/github', {
      token: null,
      rawBody:
        '[{"token":"some_token","type":"some_type","url":"some_url","source":"some_source"}]',
      headers: {
        'github-public-key-identifier': id,
        'github-public-key-signature':
          'MEUCIFLZzeK++IhS+y276SRk2Pe5LfDrfvTXu6iwKKcFGCrvAiEAhHN2kDOhy2I6eGkOFmxNkOJ+L2y8oQ9A2T9GGJo6WJY=',
      },
    })
    expect(answer.body).toMatchObject([{ token_type: 'some_type', label: 'false_positive' }])
    await example.close()
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey
    const entry = { key_identifier: 'x', key: rsa.export({ type: 'spki', format: 'pem' }) }
    for (const text of ['', '{}', '{"public_keys":[]}', '{"public_keys":[{}]}']) {
      expect(() => readGithubKeys(text), text).toThrow(/\.$/)
    }
    expect(() => readGithubKeys(JSON.stringify({ public_keys: [entry] }))).toThrow(/P-256/)
  })
})
