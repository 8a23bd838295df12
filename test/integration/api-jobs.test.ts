import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { makeClient } from '../support/clients.ts'
import { type Call, checkedCall } from '../support/openapi.ts'
import { EVERYTHING, isAlive, makeGroup, makeToken, setPolicy } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { snapshot } from '../support/tables.ts'

let server: TestServer
let call: Call
let alice: { id: string; token: string }
let bob: { id: string; token: string }

beforeAll(async () => {
  server = await startServer()
  call = await checkedCall(server)
  await setPolicy(server, { usersMayCreateTokens: true })
  alice = await server.makeUser({ username: 'alice' })
  bob = await server.makeUser({ username: 'bob' })
})
afterAll(() => server.close())

const bulk = (body: Record<string, unknown>, options: Parameters<Call>[2] = {}) =>
  call('POST', '/api/v1/tokens:bulk', { body: { action: 'revoke', ...body }, ...options })

/** A job once it is over. */
async function ended(id: string, token = server.adminToken) {
  for (;;) {
    const { status, body, text } = await call('GET', `/api/v1/jobs/${id}`, { token })
    expect(status, text).toBe(200)
    if (body.finishedAt !== null) return body
    await sleep(20)
  }
}

async function done(body: Record<string, unknown>, options: Parameters<Call>[2] = {}) {
  const answer = await bulk(body, options)
  expect(answer.status, answer.text).toBe(202)
  expect(answer.headers.location).toBe(`/api/v1/jobs/${answer.body.id}`)
  return ended(answer.body.id, options.token ?? server.adminToken)
}

const auditOf = async (action: string) =>
  (await call('GET', `/api/v1/audit?action=${action}&limit=1000`)).body.items

describe('a bulk revocation', () => {
  test('revokes what the query selects, and only that', async () => {
    const doomed = []
    for (let i = 0; i < 25; i++) {
      doomed.push(await makeToken(server, { name: `doomed ${i}`, ...EVERYTHING }))
    }
    const spared = await makeToken(server, { name: 'spared', ...EVERYTHING })
    const job = await done({ q: 'name~doomed', reason: 'spring cleaning' })
    expect(job).toMatchObject({
      state: 'done',
      action: 'revoke',
      q: 'name~doomed',
      reason: 'spring cleaning',
      total: 25,
      done: 25,
      changed: 25,
      skipped: 0,
      problem: null,
      secondsLeft: null,
    })
    for (const { secret } of doomed) expect(await isAlive(server, secret)).toBe(false)
    expect(await isAlive(server, spared.secret)).toBe(true)
    const revoked = await call('GET', `/api/v1/tokens/${doomed[0]?.id}`)
    expect(revoked.body.revokeReason).toBe('spring cleaning')
    const [created] = await auditOf('job.created')
    expect(created).toMatchObject({ subjectType: 'job', subjectId: job.id })
    expect(created.after).toEqual({
      action: 'revoke',
      query: 'name~doomed',
      reason: 'spring cleaning',
    })
    const [finished] = await auditOf('job.finished')
    expect(finished).toMatchObject({
      subjectId: job.id,
      via: 'system',
      after: { state: 'done', total: 25, changed: 25 },
    })
    const each = (await auditOf('token.revoked')).filter(
      (event: { after: { reason: string } }) => event.after.reason === 'spring cleaning',
    )
    expect(each).toHaveLength(25)
    expect(each[0].actorTokenId).toBe(created.actorTokenId)
    expect(await server.database.query('select * from bulk_job_token')).toEqual([])
  })

  test('leaves alone the token that asks, and what is made later', async () => {
    const mine = await makeToken(server, { name: 'own one', ownerId: alice.id, ...EVERYTHING })
    const job = await done({ q: 'owner:alice name~own' }, { token: alice.token })
    expect(job).toMatchObject({ total: 1, changed: 1 })
    expect(await isAlive(server, mine.secret)).toBe(false)
    const all = await done({ q: 'owner:alice' }, { token: alice.token })
    expect(all).toMatchObject({ total: 0, changed: 0, state: 'done' })
    expect(await isAlive(server, alice.token)).toBe(true)
  })

  test('counts what had ended meanwhile as skipped, and a family once', async () => {
    const first = await makeToken(server, { name: 'rotated', ...EVERYTHING })
    const next = await call('POST', `/api/v1/tokens/${first.id}/rotate`, { body: {} })
    const job = await done({ q: 'name:rotated' })
    expect(job).toMatchObject({ total: 2, done: 2, changed: 2, skipped: 0 })
    expect(await isAlive(server, next.body.secret)).toBe(false)
  })

  test('of a key is repeated with the same answer, and made once', async () => {
    const headers = { 'idempotency-key': 'bulk-once-1' }
    const first = await bulk({ q: 'name:nothing' }, { headers })
    const again = await bulk({ q: 'name:nothing' }, { headers })
    expect(again.body.id).toBe(first.body.id)
    expect(again.headers['idempotency-replayed']).toBe('true')
    expectProblem(await bulk({ q: 'name:other' }, { headers }), 422, 'idempotency_mismatch')
    await ended(first.body.id)
  })

  test('says what is wrong with it', async () => {
    const wrong = await bulk({ q: 'owner:alice state:dead' })
    expectProblem(wrong, 400, 'invalid_input')
    expect(wrong.body.column).toBe(19)
    const later = new Date(server.clock.now() + 1000).toISOString()
    const past = new Date(server.clock.now()).toISOString()
    for (const body of [
      { q: '' },
      { q: ' sort:name' },
      {},
      { q: 'kind:api', action: 'delete' },
      { q: 'kind:api', expiresAt: later },
      { q: 'kind:api', action: 'set_expiry' },
      { q: 'kind:api', action: 'set_expiry', expiresAt: past },
      { q: 'kind:api', more: true },
      { q: 'kind:api', reason: 'x'.repeat(501) },
    ]) {
      expectProblem(await bulk(body), 400)
    }
  })
})

describe('setting an expiry', () => {
  test('brings the end forward and never puts it off', async () => {
    const inMs = (ms: number) => new Date(server.clock.now() + ms).toISOString()
    const endless = await makeToken(server, { name: 'e endless', ...EVERYTHING, expiresAt: null })
    const soon = await makeToken(server, { name: 'e soon', ...EVERYTHING, expiresAt: inMs(60_000) })
    expect(await isAlive(server, endless.secret)).toBe(true)
    const job = await done({ action: 'set_expiry', q: 'name~"e "', expiresAt: inMs(3_600_000) })
    expect(job).toMatchObject({ total: 2, changed: 1, skipped: 1 })
    const ends = async (id: string) => (await call('GET', `/api/v1/tokens/${id}`)).body.expiresAt
    expect(await ends(endless.id)).toBe(inMs(3_600_000))
    expect(await ends(soon.id)).toBe(inMs(60_000))
    // The cached verdict follows.
    server.clock.advance(3_600_000)
    expect(await isAlive(server, endless.secret)).toBe(false)
  })
})

test('setting an expiry reaches what was exchanged for the token', async () => {
  const grant = 'urn:ietf:params:oauth:grant-type:token-exchange'
  const wish = { grants: [grant], scopes: ['mintmark'], accessTokenTtl: 'hours=1' }
  const client = await makeClient(server, wish)
  server.remember(client.secret ?? '')
  const parent = await makeToken(server, { ...EVERYTHING, name: 'exchanged' })
  const made = await call('POST', '/api/v1/tokens/self/children', {
    token: parent.secret,
    body: {},
  })
  const access = []
  for (const subject of [parent.secret, made.body.secret as string]) {
    const { body } = await server.call('POST', '/oauth2/token', {
      token: null,
      headers: {
        authorization: `Basic ${btoa(`${client.clientId}:${client.secret}`)}`,
        'content-type': 'application/x-www-form-urlencoded',
      },
      rawBody: new URLSearchParams({
        grant_type: grant,
        subject_token: subject,
        subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
        scope: 'mintmark',
      }).toString(),
    })
    access.push(body.access_token as string)
    server.remember(body.access_token)
  }
  for (const token of access) expect(await isAlive(server, token)).toBe(true)
  const expiresAt = new Date(server.clock.now() + 60_000).toISOString()
  const job = await done({ action: 'set_expiry', q: `id:${parent.id}`, expiresAt })
  expect(job).toMatchObject({ total: 1, changed: 3, skipped: 0 })
  server.clock.advance(60_000)
  for (const token of [parent.secret, made.body.secret, ...access]) {
    expect(await isAlive(server, token)).toBe(false)
  }
})

describe('who may', () => {
  test('somebody who is no admin reaches own tokens alone', async () => {
    const foreign = await makeToken(server, { name: 'shared name', ownerId: bob.id, ...EVERYTHING })
    const own = await makeToken(server, { name: 'shared name', ownerId: alice.id, ...EVERYTHING })
    for (const q of ['name:"shared name"', 'owner:bob', '-owner:nobody name:"shared name"']) {
      const dry = await bulk({ q, dry_run: true }, { token: alice.token })
      expect(dry.status).toBe(200)
      expect(dry.text).not.toContain(foreign.id)
      await done({ q }, { token: alice.token })
    }
    expect(await isAlive(server, foreign.secret)).toBe(true)
    expect(await isAlive(server, own.secret)).toBe(false)
  })

  test('nobody with READ_ONLY, and nobody without a token', async () => {
    const { secret } = await makeToken(server, { ...EVERYTHING, accessLevel: 'READ_ONLY' })
    expectProblem(await bulk({ q: 'kind:api' }, { token: secret }), 403, 'forbidden')
    expectProblem(await bulk({ q: 'kind:api', dry_run: true }, { token: secret }), 403, 'forbidden')
    expectProblem(await bulk({ q: 'kind:api' }, { token: null }), 401)
    const { body } = await bulk({ q: 'name:nothing' })
    const cancel = await call('POST', `/api/v1/jobs/${body.id}/cancel`, { token: secret })
    expectProblem(cancel, 403, 'forbidden')
    await ended(body.id)
  })

  test('not where the policy keeps users from changing tokens', async () => {
    const own = await makeToken(server, { name: 'kept', ownerId: alice.id, ...EVERYTHING })
    await setPolicy(server, { usersMayCreateTokens: false })
    const job = await done({ q: 'name:kept' }, { token: alice.token })
    await setPolicy(server, { usersMayCreateTokens: true })
    expect(job).toMatchObject({ total: 1, changed: 0, skipped: 1 })
    expect(await isAlive(server, own.secret)).toBe(true)
  })

  test('nor with more than a rule leaves the token that asks', async () => {
    const carol = await server.makeUser({ username: 'carol', globalRole: 'ADMIN' })
    const crew = await makeGroup(server, 'crew', { [carol.id]: 'READ' })
    const spared = await makeToken(server, { name: 'of carol', ownerId: carol.id, ...EVERYTHING })
    await setPolicy(server, {
      usersMayCreateTokens: false,
      tokenRules: [{ name: 'no admins', groups: [crew], roles: [] }],
    })
    const job = await done({ q: 'name:"of carol"' }, { token: carol.token })
    await setPolicy(server, { usersMayCreateTokens: true, tokenRules: [] })
    expect(job).toMatchObject({ total: 1, changed: 0, skipped: 1 })
    expect(await isAlive(server, spared.secret)).toBe(true)
  })

  test('jobs of others do not exist for somebody who is no admin', async () => {
    const { body } = await bulk({ q: 'name:nothing' }, { token: bob.token })
    const see = (token: string) => call('GET', `/api/v1/jobs/${body.id}`, { token })
    expectProblem(await see(alice.token), 404, 'not_found')
    const cancel = await call('POST', `/api/v1/jobs/${body.id}/cancel`, { token: alice.token })
    expectProblem(cancel, 404, 'not_found')
    expect((await see(server.adminToken)).status).toBe(200)
    const ids = async (token: string) =>
      (await call('GET', '/api/v1/jobs', { token })).body.items.map(({ id }: { id: string }) => id)
    expect(await ids(alice.token)).not.toContain(body.id)
    expect(await ids(bob.token)).toContain(body.id)
    expect(await ids(server.adminToken)).toContain(body.id)
    await ended(body.id)
  })

  test('a job ends when its token is revoked before it began', async () => {
    const { id, secret } = await makeToken(server, { ...EVERYTHING, ownerId: alice.id })
    const kept = await makeToken(server, { name: 'outlives', ownerId: alice.id, ...EVERYTHING })
    const { body } = await bulk({ q: 'name:outlives' }, { token: secret })
    await call('POST', `/api/v1/tokens/${id}/revoke`, { body: {} })
    const job = await ended(body.id)
    // Whichever came first.
    expect(['failed', 'done']).toContain(job.state)
    expect(await isAlive(server, kept.secret)).toBe(job.state === 'failed')
  })
})

test('jobs are listed in pages, and cancelled ones change nothing more', async () => {
  const { body } = await bulk({ q: 'name:nothing' })
  await ended(body.id)
  const cancelled = await call('POST', `/api/v1/jobs/${body.id}/cancel`)
  expect(cancelled.body.state).toBe('done')
  const page = await call('GET', '/api/v1/jobs?limit=1')
  expect(page.body.items).toHaveLength(1)
  const next = await call('GET', `/api/v1/jobs?limit=1&cursor=${page.body.nextCursor}`)
  expect(next.body.items[0].id).not.toBe(page.body.items[0].id)
  expect((await call('GET', '/api/v1/jobs?open=true')).body.items).toEqual([])
  expectProblem(await call('GET', '/api/v1/jobs/01900000-0000-7000-8000-000000000000'), 404)
})

test('a dry run tells what would be hit and changes nothing', async () => {
  const before = await snapshot(server)
  const { status, body } = await bulk({ q: 'owner:bob', dry_run: true })
  expect(status).toBe(200)
  expect(body).toMatchObject({
    effect: 'revoked',
    owners: [{ id: bob.id, username: 'bob' }],
    ownerCount: 1,
  })
  expect(body.total).toBe(body.tokens.length)
  expect(await snapshot(server)).toEqual(before)
})
