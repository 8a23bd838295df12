import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { lockTable } from '../support/cut-off.ts'
import { EVERYTHING, makeGroup, makeToken } from '../support/people.ts'
import { listen } from '../support/raw-socket.ts'
import { type Answer, startServer, type TestServer } from '../support/server.ts'

// Three servers on one database. What takes something away is in force on all of them when it is answered.

const LEASE = { MINTMARK_NODE_LEASE: '5', MINTMARK_POLL_MS: '100' }
let servers: TestServer[]
let one: TestServer
let two: TestServer
let three: TestServer

beforeAll(async () => {
  one = await startServer(LEASE)
  two = await startServer(LEASE, { beside: one, clock: one.clock })
  three = await startServer(LEASE, { beside: one, clock: one.clock })
  servers = [one, two, three]
  await allCurrent()
})
afterAll(async () => {
  for (const server of [three, two, one]) await server.close()
})

/** Starting three of them may hold up all of them on a busy machine. */
const allCurrent = () =>
  vi.waitFor(
    () => expect(servers.map(({ app }) => app.core.isCurrent())).toEqual([true, true, true]),
    { timeout: 15_000 },
  )
const acknowledged = ({ headers }: Answer) => headers['mintmark-acknowledged']
const isActive = async (server: TestServer, token: string, query = '') =>
  (await server.call('POST', `/api/v1/tokens/verify${query}`, { body: { token } })).body.active

async function warmToken(ownerId?: string) {
  const owner = ownerId === undefined ? {} : { ownerId }
  const token = await makeToken(one, { ...EVERYTHING, ...owner })
  await remembered(token.secret)
  return token
}

/** Lets every node remember a token; that it was made must have gone round before, or it is forgotten again. */
async function remembered(secret: string) {
  for (const { app } of servers) await app.core.nodes.acknowledged('everything', 5000)
  for (const server of servers) expect(await isActive(server, secret)).toBe(true)
}

async function isDeadEverywhere(secret: string) {
  for (const server of servers) expect(await isActive(server, secret)).toBe(false)
}

describe('an answer waits until all nodes know', () => {
  it('when a token is revoked, and says so in body and header', async () => {
    const { id, secret } = await warmToken()
    const answer = await one.call('POST', `/api/v1/tokens/${id}/revoke`)
    await isDeadEverywhere(secret)
    expect(answer.body).toMatchObject({ revoked: [id], acknowledged: 3, nodes: 3 })
    expect(acknowledged(answer)).toBe('3/3')
  })

  it('when a token is deleted, rotated, or throws itself away', async () => {
    const [first, second, third] = [await warmToken(), await warmToken(), await warmToken()]
    expect((await one.call('DELETE', `/api/v1/tokens/${first.id}`)).body.acknowledged).toBe(3)
    const rotated = await two.call('POST', `/api/v1/tokens/${second.id}/rotate`, {
      body: { overlapSeconds: 0 },
    })
    expect(acknowledged(rotated)).toBe('3/3')
    const self = await three.call('POST', '/api/v1/tokens/self/revoke', { token: third.secret })
    expect(self.body.acknowledged).toBe(3)
    for (const { secret } of [first, second, third]) await isDeadEverywhere(secret)
  })

  it('when a bulk action is over, also for a node that hears late', async () => {
    const slow = await startServer(
      { ...LEASE, MINTMARK_POLL_MS: '1000', MINTMARK_DATABASE_NOTICES: 'false' },
      { beside: one, clock: one.clock },
    )
    try {
      const { id, secret } = await warmToken()
      await slow.app.core.nodes.acknowledged('everything', 5000)
      expect(await isActive(slow, secret)).toBe(true)
      const name = (await one.call('GET', `/api/v1/tokens/${id}`)).body.name
      const body = { action: 'revoke', q: `name:${name}` }
      let job = await one.call('POST', '/api/v1/tokens:bulk', { body })
      expect(job.status, job.text).toBe(202)
      while (job.body.finishedAt === null)
        job = await two.call('GET', `/api/v1/jobs/${job.body.id}`)
      expect(job.body).toMatchObject({ state: 'done', changed: 1 })
      expect(await isActive(slow, secret)).toBe(false)
      await isDeadEverywhere(secret)
    } finally {
      await slow.close()
    }
  })

  it('when a user is disabled, demoted, deleted, or leaves a group', async () => {
    const bob = await one.makeUser({ username: 'bob', globalRole: 'ADMIN' })
    const group = await makeGroup(one, 'crew', { [bob.id]: 'WRITE' })
    const { secret } = await warmToken(bob.id)
    const left = await one.call('DELETE', `/api/v1/groups/${group}/members/${bob.id}`)
    expect(acknowledged(left)).toBe('3/3')
    const patched = (body: object) => one.call('PATCH', `/api/v1/users/${bob.id}`, { body })
    const demoted = await patched({ globalRole: 'USER' })
    expect(acknowledged(demoted)).toBe('3/3')
    expect(acknowledged(await patched({ active: false }))).toBe('3/3')
    await isDeadEverywhere(secret)
    expect(acknowledged(await one.call('DELETE', `/api/v1/users/${bob.id}`))).toBe('3/3')
  })

  it('when the policy or a key changes', async () => {
    const body = { lockoutAttempts: 7 }
    expect(acknowledged(await one.call('PATCH', '/api/v1/policy', { body }))).toBe('3/3')
    for (const server of servers) expect(server.app.core.policy().lockoutAttempts).toBe(7)
    const rotated = await one.call('POST', '/api/v1/keys/rotate', { body: { purpose: 'pepper' } })
    expect(acknowledged(rotated)).toBe('3/3')
  })

  it('in every dialect, without a word about it', async () => {
    const { id, secret } = await warmToken()
    const answer = await one.call('DELETE', `/v1/tokens/${id}`)
    await isDeadEverywhere(secret)
    expect(answer.status).toBe(200)
    expect(acknowledged(answer)).toBeUndefined()
  })

  it('but not when something is only made, or the caller would rather not', async () => {
    expect(
      acknowledged(await one.call('POST', '/api/v1/tokens', { body: { name: 'new' } })),
    ).toBeUndefined()
    const { id, secret } = await warmToken()
    const answer = await one.call('POST', `/api/v1/tokens/${id}/revoke?wait=none`)
    expect(answer.body).toMatchObject({ acknowledged: 1, nodes: 3 })
    await vi.waitFor(() => isDeadEverywhere(secret), { timeout: 2000, interval: 20 })
    const wrong = await one.call('POST', `/api/v1/tokens/${id}/revoke?wait=maybe`)
    expect(wrong.status).toBe(400)
  })

  it('and tells in its figures how long that took', async () => {
    const { text } = await one.call('GET', '/metrics')
    expect(text).toMatch(/^mintmark_nodes 3$/m)
    expect(text).toMatch(/^mintmark_change_acknowledged_seconds_count [1-9]/m)
    expect(text).toMatch(/^mintmark_change_applied_seconds_count\{node="unknown"\} [1-9]/m)
    expect(text).toMatch(/^mintmark_lease_left_seconds [0-4]\.\d+$/m)
    expect(text).toMatch(/^mintmark_change_lag \d+$/m)
  })
})

it('a question may ask the database itself', async () => {
  const { id, secret } = await warmToken()
  // Behind the back of every node, as if its notice and its poll were still on their way.
  await one.database.tamper(
    `update token set revoked_at_ms = 1, revoke_reason = '' where id = '${id}'`,
  )
  expect(await isActive(two, secret)).toBe(true)
  expect(await isActive(two, secret, '?consistency=strong')).toBe(false)
  const body = { questions: [secret] }
  const batch = await two.call('POST', '/api/v1/tokens/verify:batch?consistency=strong', { body })
  expect(batch.body.answers).toEqual([{ active: false, reason: 'revoked' }])
  const introspected = await three.call('POST', '/oauth2/introspect?consistency=strong', {
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    rawBody: `token=${secret}`,
  })
  expect(introspected.body).toEqual({ active: false })
  // Its owner is remembered apart from it.
  const carol = await one.makeUser({ username: 'carol' })
  await remembered(carol.token)
  await one.database.tamper(`update "user" set active = 0 where id = '${carol.id}'`)
  expect(await isActive(two, carol.token)).toBe(true)
  expect(await isActive(two, carol.token, '?consistency=strong')).toBe(false)
})

it('nodes are listed for administrators alone', async () => {
  await two.app.core.nodes.announce({ address: 'http://two.example.com' })
  const { body } = await one.call('GET', '/api/v1/nodes')
  expect(body.items).toHaveLength(3)
  expect(body.items.filter(({ self }: { self: boolean }) => self)).toHaveLength(1)
  expect(body.items).toContainEqual(
    expect.objectContaining({ address: 'http://two.example.com', state: 'live', leaseSeconds: 5 }),
  )
  const { token } = await one.makeUser({ username: 'alice' })
  expect((await one.call('GET', '/api/v1/nodes', { token })).status).toBe(403)
})

describe('a node without the database', () => {
  it('answers 503 at every door once its lease is over, and never a stale yes', async () => {
    const { id, secret } = await warmToken()
    const port = await listen(two)
    const form = { 'content-type': 'application/x-www-form-urlencoded' }
    const unlock = await lockTable(one.database, 'counter')
    try {
      await vi.waitFor(() => expect(two.app.core.isCurrent()).toBe(false), { timeout: 15_000 })
      const doors: [string, string, Parameters<TestServer['call']>[2]?][] = [
        ['POST', '/api/v1/tokens/verify', { body: { token: secret } }],
        ['POST', '/api/v1/tokens/verify:batch', { body: { questions: [secret] } }],
        ['GET', '/api/v1/tokens/self', { token: secret }],
        ['POST', '/oauth2/introspect', { headers: form, rawBody: `token=${secret}` }],
        ['POST', '/oauth2/token', { headers: form, rawBody: 'grant_type=client_credentials' }],
        ['GET', '/v1/tokens', {}],
        ['GET', '/v1/access-tokens/', { token: null, headers: { 'xms-auth-token': secret } }],
        ['GET', '/api/auth/v1/userinfo', {}],
        ['GET', '/api/v3/oauth2/access_tokens/', {}],
      ]
      for (const [method, path, options] of doors) {
        const { status, headers, text } = await two.call(method, path, options)
        expect({ path, status, retryAfter: headers['retry-after'] }).toEqual({
          path,
          status: 503,
          retryAfter: '1',
        })
        expect(text).not.toContain('"active":true')
      }
      const lane = await fetch(`http://127.0.0.1:${port}/api/v1/tokens/verify`, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${one.adminToken}`,
          'content-type': 'application/json',
        },
        body: JSON.stringify({ token: secret }),
      })
      expect(lane.status).toBe(503)
      expect((await two.call('GET', '/health/live', { token: null })).status).toBe(200)
      expect((await two.call('GET', '/health/ready', { token: null })).status).toBe(503)
      expect((await two.call('GET', '/metrics', { token: null })).text).toMatch(
        /^mintmark_lease_left_seconds 0$/m,
      )
    } finally {
      await unlock()
    }
    await allCurrent()
    expect(await isActive(two, secret)).toBe(true)
    const revoked = await one.call('DELETE', `/api/v1/tokens/${id}`)
    expect(revoked.body).toMatchObject({ revoked: [id], acknowledged: 3, nodes: 3 })
    expect(await isActive(two, secret)).toBe(false)
  })
})
