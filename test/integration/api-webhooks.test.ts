import { createServer } from 'node:http'
import { createServer as createTcpServer } from 'node:net'
import { Webhook } from 'standardwebhooks'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS } from '../support/core.ts'
import { makeToken } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { type Receiver, startReceiver, TO_LOOPBACK } from '../support/receiver.ts'
import { startServer, type TestServer } from '../support/server.ts'

let server: TestServer
let receiver: Receiver

beforeAll(async () => {
  server = await startServer(TO_LOOPBACK)
})
afterAll(() => server.close())
beforeEach(async () => {
  receiver = await startReceiver()
})
afterEach(async () => {
  for (const { id } of (await server.call('GET', '/api/v1/webhooks')).body.items) {
    await server.call('DELETE', `/api/v1/webhooks/${id}`)
  }
  await receiver.close()
})

async function makeWebhook(wish: Record<string, unknown> = {}) {
  const made = await server.call('POST', '/api/v1/webhooks', {
    body: { url: receiver.url, ...wish },
  })
  expect(made.status, made.text).toBe(201)
  server.remember(made.body.secret)
  return made.body as { id: string; secret: string }
}

const deliver = () => server.app.core.deliverer.run()
const types = () => receiver.received.map(({ json }) => json.type)
const list = async (query = '') => (await server.call('GET', `/api/v1/deliveries?${query}`)).body
const show = async (id: string) => (await server.call('GET', `/api/v1/webhooks/${id}`)).body

/** What the published library makes of a message; its clock cannot be moved, so ours is. */
function verified({ body, headers }: Receiver['received'][number], secret: string): unknown {
  const nowMs = Date.now()
  const stamp = Number(headers['webhook-timestamp']) * 1000
  const real = Date.now
  Date.now = () => stamp
  try {
    return new Webhook(secret).verify(body, headers as Record<string, string>)
  } finally {
    Date.now = real
    expect(Date.now()).toBeGreaterThanOrEqual(nowMs)
  }
}

describe('a webhook', () => {
  test('hears of what happens from now on, signed as Standard Webhooks has it', async () => {
    await makeToken(server, {})
    const { secret } = await makeWebhook()
    const { id, secret: held } = await makeToken(server, { name: 'night build' })
    await server.call('POST', `/api/v1/tokens/${id}/revoke`, { body: { reason: 'found in a log' } })
    await deliver()
    expect(types().sort()).toEqual(['token.created', 'token.revoked'])
    const revoked = receiver.received.find(({ json }) => json.type === 'token.revoked')
    expect(revoked?.json).toMatchObject({
      type: 'token.revoked',
      timestamp: new Date(server.clock.now()).toISOString(),
      data: {
        token: {
          id,
          kind: 'api',
          name: 'night build',
          preview: expect.stringMatching(/^mm_api_…/),
        },
        actor: { username: 'admin' },
        details: { reason: 'found in a log' },
      },
    })
    for (const message of receiver.received) {
      expect(message.body).not.toContain(held)
      expect(message.headers['webhook-id']).toMatch(/^evt_\d+_\d{13}$/)
      expect(message.headers['content-type']).toBe('application/json')
      expect(verified(message, secret)).toEqual(message.json)
      expect(() => verified(message, `whsec_${Buffer.alloc(32).toString('base64')}`)).toThrow()
    }
    receiver.received.length = 0
    await deliver()
    expect(types()).toEqual([])
  })

  test('hears only of the types that it asked for, and nothing while it is disabled', async () => {
    const { id } = await makeWebhook({ types: ['token.revoked'] })
    const first = await makeToken(server, {})
    await server.call('POST', `/api/v1/tokens/${first.id}/revoke`)
    await deliver()
    expect(types()).toEqual(['token.revoked'])
    await server.call('PATCH', `/api/v1/webhooks/${id}`, { body: { state: 'disabled' } })
    const second = await makeToken(server, {})
    await server.call('POST', `/api/v1/tokens/${second.id}/revoke`)
    await deliver()
    await server.call('PATCH', `/api/v1/webhooks/${id}`, {
      body: { state: 'enabled', types: null },
    })
    await deliver()
    expect(types()).toEqual(['token.revoked'])
    await makeToken(server, {})
    await deliver()
    expect(types()).toEqual(['token.revoked', 'token.created'])
  })

  test('shows its secret once, and keeps it sealed', async () => {
    const { id, secret } = await makeWebhook()
    expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/)
    for (const path of ['/api/v1/webhooks', `/api/v1/webhooks/${id}`, '/api/v1/audit']) {
      expect((await server.call('GET', path)).text).not.toContain(secret)
    }
    const loot = await server.database.loot()
    expect(loot.includes(secret)).toBe(false)
    expect(loot.includes(secret.slice('whsec_'.length))).toBe(false)
  })

  test('signs with both secrets while one is being replaced, then with the new one alone', async () => {
    const { id, secret: old } = await makeWebhook()
    const body = { overlapSeconds: 3600 }
    const rotated = await server.call('POST', `/api/v1/webhooks/${id}/secret`, { body })
    const next = rotated.body.secret as string
    await makeToken(server, {})
    await deliver()
    const [during] = receiver.received
    expect(verified(during as never, old)).toEqual(during?.json)
    expect(verified(during as never, next)).toEqual(during?.json)
    server.clock.advance(HOUR_MS)
    await makeToken(server, {})
    await deliver()
    const after = receiver.received.at(-1)
    expect(verified(after as never, next)).toEqual(after?.json)
    expect(() => verified(after as never, old)).toThrow()
  })

  test('makes one secret for one Idempotency-Key', async () => {
    const options = {
      body: { url: receiver.url },
      headers: { 'idempotency-key': 'webhook-once' },
    }
    const [one, two] = [
      await server.call('POST', '/api/v1/webhooks', options),
      await server.call('POST', '/api/v1/webhooks', options),
    ]
    expect(two.body).toEqual(one.body)
    expect(two.headers['idempotency-replayed']).toBe('true')
  })

  test('can be tried out', async () => {
    const { id, secret } = await makeWebhook()
    const test = await server.call('POST', `/api/v1/webhooks/${id}/test`)
    expect(test.body).toMatchObject({ number: 1, status: 204, error: null })
    expect(receiver.received[0]?.json).toMatchObject({ type: 'webhook.test' })
    expect(verified(receiver.received[0] as never, secret)).toBeTruthy()
    receiver.answerWith(500)
    const failed = await server.call('POST', `/api/v1/webhooks/${id}/test`)
    expect(failed.body).toMatchObject({ status: 500, error: 'The receiver answered 500.' })
    expect((await list()).items).toEqual([])
  })
})

describe('a delivery that fails', () => {
  test('is tried again for more than a day with growing pauses, and then kept as dead', async () => {
    const { id } = await makeWebhook()
    receiver.answerWith(503)
    await makeToken(server, {})
    await deliver()
    expect(receiver.received).toHaveLength(1)
    const pauses: number[] = []
    for (let attempt = 2; attempt <= 8; attempt++) {
      const { items } = await list(`webhookId=${id}`)
      const waitMs = Date.parse(items[0].nextAttemptAt) - server.clock.now()
      pauses.push(waitMs)
      server.clock.advance(waitMs - 1)
      await deliver()
      expect(receiver.received).toHaveLength(attempt - 1)
      server.clock.advance(1)
      await deliver()
      expect(receiver.received).toHaveLength(attempt)
    }
    const total = pauses.reduce((sum, each) => sum + each, 0)
    expect(total).toBeGreaterThan(DAY_MS)
    expect(total).toBeLessThan(1.5 * DAY_MS)
    expect(pauses[0]).toBeGreaterThanOrEqual(5 * SECOND_MS)
    expect(pauses).toEqual(pauses.toSorted((a, b) => a - b).map((each) => expect.closeTo(each, -8)))
    const { items } = await list('state=dead')
    expect(items).toHaveLength(1)
    expect(items[0]).toMatchObject({ state: 'dead', attempts: 8, status: 503, nextAttemptAt: null })
    const ids = new Set(receiver.received.map(({ headers }) => headers['webhook-id']))
    expect(ids.size).toBe(1)
    const shown = await server.call('GET', `/api/v1/deliveries/${items[0].id}`)
    expect(shown.body.log).toHaveLength(8)
    expect(shown.body.log[7]).toMatchObject({ number: 8, status: 503 })

    receiver.answerWith(200)
    const again = await server.call('POST', `/api/v1/deliveries/${items[0].id}/redeliver`)
    expect(again.body.state).toBe('pending')
    expectProblem(
      await server.call('POST', `/api/v1/deliveries/${items[0].id}/redeliver`),
      409,
      'conflict',
    )
    await deliver()
    expect((await list(`webhookId=${id}`)).items[0]).toMatchObject({
      state: 'delivered',
      attempts: 9,
    })
  })

  test('a webhook to which nothing gets through for three days is paused, and goes on where it stopped', async () => {
    const { id } = await makeWebhook({ types: ['token.created'] })
    receiver.answerWith(500)
    for (let day = 0; day <= 3; day++) {
      await makeToken(server, {})
      await deliver()
      expect((await show(id)).failingSince).not.toBeNull()
      server.clock.advance(DAY_MS)
    }
    await deliver()
    const paused = await show(id)
    expect(paused).toMatchObject({
      state: 'paused',
      pausedBecause: expect.stringContaining('The receiver answered 500.'),
    })
    const count = receiver.received.length
    server.clock.advance(DAY_MS)
    await deliver()
    expect(receiver.received).toHaveLength(count)
    receiver.answerWith(200)
    await server.call('PATCH', `/api/v1/webhooks/${id}`, { body: { state: 'enabled' } })
    await deliver()
    expect(receiver.received.length).toBeGreaterThan(count)
    expect(await show(id)).toMatchObject({ state: 'enabled', failingSince: null })
  })

  test('410 Gone pauses at once', async () => {
    const { id } = await makeWebhook()
    receiver.answerWith(410)
    await makeToken(server, {})
    await deliver()
    expect(await show(id)).toMatchObject({ state: 'paused' })
  })

  test('a redirect is not followed', async () => {
    const { id } = await makeWebhook()
    receiver.answerWith(302, { location: `${receiver.url}/elsewhere` })
    await makeToken(server, {})
    await deliver()
    expect(receiver.received.map(({ path }) => path)).toEqual(['/hook'])
    expect((await list(`webhookId=${id}`)).items[0]).toMatchObject({
      state: 'pending',
      status: 302,
    })
  })

  test('a receiver that is silent or gone is an error like any other', async () => {
    const silent = createServer()
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
    const { port } = silent.address() as { port: number }
    const { id } = await makeWebhook({ url: `http://127.0.0.1:${port}/` })
    const late = await server.call('POST', `/api/v1/webhooks/${id}/test`)
    expect(late.body).toMatchObject({ status: null, error: 'No answer within 5 seconds.' })
    silent.closeAllConnections()
    await new Promise((resolve) => silent.close(resolve))
    await server.call('PATCH', `/api/v1/webhooks/${id}`, {
      body: { url: 'http://127.0.0.1:1234/' },
    })
    const gone = await server.call('POST', `/api/v1/webhooks/${id}/test`)
    expect(gone.body.error).toBe('Nothing listens there (ECONNREFUSED).')
  })

  test('a receiver that would rather talk something else is an error, and holds nobody up', async () => {
    const { id } = await makeWebhook()
    receiver.answerWith(101, { upgrade: 'websocket', connection: 'upgrade' })
    const other = await server.call('POST', `/api/v1/webhooks/${id}/test`)
    expect(other.body).toMatchObject({ status: null })
    expect(other.body.error).toContain('ended without an answer')
  })

  test('an answer whose end is that of the connection is as good as any', async () => {
    const plain = createTcpServer((socket) => {
      socket.on('error', () => undefined)
      socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nfine'))
    })
    await new Promise<void>((resolve) => plain.listen(0, '127.0.0.1', resolve))
    const { port } = plain.address() as { port: number }
    const { id } = await makeWebhook({ url: `http://127.0.0.1:${port}/` })
    const { body } = await server.call('POST', `/api/v1/webhooks/${id}/test`)
    expect(body).toMatchObject({ status: 200, error: null })
    await new Promise((resolve) => plain.close(resolve))
  })

  test('what a node took and never finished is tried by another after a minute', async () => {
    const { id } = await makeWebhook()
    await makeToken(server, {})
    receiver.answerWith(500)
    await deliver()
    const nextAtMs = server.clock.now() + MINUTE_MS
    await server.database.tamper(
      `update delivery set next_at_ms = ${nextAtMs} where webhook_id = '${id}'`,
    )
    receiver.answerWith(200)
    await deliver()
    expect(receiver.received).toHaveLength(1)
    server.clock.advance(MINUTE_MS)
    await deliver()
    expect(receiver.received).toHaveLength(2)
  })
})

describe('where a webhook may lead', () => {
  test.each([
    'ftp://example.com/',
    'file:///etc/passwd',
    'gopher://example.com/',
    'https://user:password@example.com/',
    'https://example.com:25/',
    'https://10.0.0.1/',
    'https://169.254.169.254/latest/meta-data',
    'https://[::1]/',
    'https://[::ffff:10.0.0.1]/',
    'https://[fd00:ec2::254]/',
    'https://0.0.0.0/',
    'https://167772161/',
    'https://0x0a.1/',
    'https://example.com/#fragment',
    'example.com',
  ])('%s is refused', async (url) => {
    const answer = await server.call('POST', '/api/v1/webhooks', { body: { url } })
    expectProblem(answer, 400, 'invalid_input')
  })

  test('a name that leads into a private network is refused when it is resolved', async () => {
    const strict = await startServer({ MINTMARK_WEBHOOK_HTTP: 'true' })
    const { port } = receiver.server.address() as { port: number }
    const made = await strict.call('POST', '/api/v1/webhooks', {
      body: { url: `http://localhost:${port}/` },
    })
    strict.remember(made.body.secret)
    const test = await strict.call('POST', `/api/v1/webhooks/${made.body.id}/test`)
    expect(test.body.error).toBe('The name leads into a private network.')
    expect(receiver.received).toEqual([])
    await strict.close()
  })

  test('plain http needs the setting', async () => {
    const strict = await startServer()
    const made = await strict.call('POST', '/api/v1/webhooks', {
      body: { url: 'http://hooks.example.com/' },
    })
    expectProblem(made, 400, 'invalid_input')
    await strict.close()
  })
})

test('webhooks are for admins alone, and READ_ONLY ones only look', async () => {
  const { id } = await makeWebhook()
  await makeToken(server, {})
  await deliver()
  const alice = await server.makeUser({ username: `alice ${server.clock.now()}` })
  const reader = await makeToken(server, { accessLevel: 'READ_ONLY', roles: ['admin'] })
  const [delivery] = (await list()).items
  const reads = ['/api/v1/webhooks', `/api/v1/webhooks/${id}`, '/api/v1/deliveries']
  for (const path of [...reads, `/api/v1/deliveries/${delivery.id}`]) {
    expectProblem(await server.call('GET', path, { token: alice.token }), 403, 'forbidden')
    expect((await server.call('GET', path, { token: reader.secret })).status).toBe(200)
  }
  const writes = [
    ['POST', '/api/v1/webhooks', { url: receiver.url }],
    ['PATCH', `/api/v1/webhooks/${id}`, { state: 'disabled' }],
    ['POST', `/api/v1/webhooks/${id}/secret`, undefined],
    ['POST', `/api/v1/webhooks/${id}/test`, undefined],
    ['POST', `/api/v1/deliveries/${delivery.id}/redeliver`, undefined],
    ['DELETE', `/api/v1/webhooks/${id}`, undefined],
  ] as const
  for (const [method, path, body] of writes) {
    for (const token of [alice.token, reader.secret]) {
      expectProblem(await server.call(method, path, { token, body }), 403, 'forbidden')
    }
  }
  const nobody = '01b8dac5-b400-7000-8000-000000000000'
  expectProblem(await server.call('GET', `/api/v1/webhooks/${nobody}`), 404, 'not_found')
  expectProblem(await server.call('GET', `/api/v1/deliveries/${nobody}`), 404, 'not_found')
})
