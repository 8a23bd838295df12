import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Call, checkedCall } from '../support/openapi.ts'
import { EVERYTHING, isAlive, makeToken } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { startServer, type TestServer } from '../support/server.ts'

let server: TestServer
let call: Call

beforeAll(async () => {
  server = await startServer()
  call = await checkedCall(server)
})
afterAll(() => server.close())

const send = (
  path: string,
  key: string,
  { body, token }: { body?: unknown; token?: string } = {},
) =>
  call('POST', `/api/v1/tokens${path}`, {
    token: token ?? server.adminToken,
    headers: { 'idempotency-key': key },
    ...(body === undefined ? {} : { body }),
  })
const countOf = async (text: string) =>
  (await call('GET', `/api/v1/tokens?text=${text}`)).body.items.length

describe.each([
  ['create', 201, async () => ({ path: '', body: { name: `created-${server.clock.now()}` } })],
  [
    'rotate',
    200,
    async () => ({ path: `/${(await makeToken(server, {})).id}/rotate`, body: undefined }),
  ],
] as const)('%s', (verb, status, request) => {
  test('twenty identical requests at once make one token, and all get its secret', async () => {
    const { path, body } = await request()
    const ask = async () => {
      for (;;) {
        const answer = await send(path, `parallel-${verb}`, { body })
        // Too many at once for a slow machine: nothing was done, and whoever asked asks again.
        if (answer.status !== 503) return answer
      }
    }
    const answers = await Promise.all(Array.from({ length: 20 }, ask))
    expect(new Set(answers.map((answer) => answer.status))).toEqual(new Set([status]))
    expect(new Set(answers.map((answer) => answer.text)).size).toBe(1)
    const replays = answers.filter(({ headers }) => headers['idempotency-replayed'] === 'true')
    expect(replays).toHaveLength(19)
    const made = answers[0]?.body
    expect(await isAlive(server, made.secret)).toBe(true)
    expect(await countOf(made.name)).toBe(verb === 'create' ? 1 : 2)
  })

  test('a retry gets the first answer again for a day, also after a restart', async () => {
    server.clock.advance(1)
    const { path, body } = await request()
    const first = await send(path, `retried-${verb}`, { body })
    await server.restart()
    server.clock.advance(86_400_000 - 1)
    const again = await send(path, `retried-${verb}`, { body })
    expect(again.status).toBe(status)
    expect(again.body).toEqual(first.body)
    server.clock.advance(1)
    const late = await send(path, `retried-${verb}`, { body })
    // A name that is taken, or a token that was rotated: the work is tried anew.
    expectProblem(late, 409)
  })
})

test('one key does not stand for two requests', async () => {
  const first = await send('', 'two-requests', { body: { name: 'first' } })
  const other = await send('', 'two-requests', { body: { name: 'other' } })
  expectProblem(other, 422, 'idempotency_mismatch')
  const rotation = await send(`/${first.body.id}/rotate`, 'two-requests')
  expectProblem(rotation, 422, 'idempotency_mismatch')
  expect(await isAlive(server, first.body.secret)).toBe(true)
})

test('a key belongs to the token that used it', async () => {
  const { secret } = await makeToken(server, { ...EVERYTHING })
  const mine = await send('', 'same-key-1', { body: { name: 'mine' } })
  const theirs = await send('', 'same-key-1', { body: { name: 'theirs' }, token: secret })
  expect([mine.status, theirs.status]).toEqual([201, 201])
  expect(theirs.body.id).not.toBe(mine.body.id)
})

test('an access token is not given what the token behind it was', async () => {
  const service = await makeToken(server, { ...EVERYTHING, kind: 'service' })
  server.remember(service.secret)
  const refreshed = await server.call('POST', '/api/auth/v1/refresh', { token: service.secret })
  const jwt = refreshed.body.token as string
  server.remember(jwt)
  const body = { name: 'made by the token' }
  expect((await send('', 'guessable-key', { body, token: service.secret })).status).toBe(201)
  expectProblem(await send('', 'guessable-key', { body, token: jwt }), 403, 'forbidden')
})

test('a request that nests too deeply is refused with a key as it is without', async () => {
  const rawBody = `{"name":"deep","metadata":${'{"a":'.repeat(8000)}1${'}'.repeat(8000)}}`
  for (const headers of [{}, { 'idempotency-key': 'deep-request' }] as Record<string, string>[]) {
    expectProblem(await server.call('POST', '/api/v1/tokens', { rawBody, headers }), 400)
  }
})

test('a refusal is not kept', async () => {
  const body = { name: 'taken for now' }
  const { id } = await makeToken(server, body)
  expectProblem(await send('', 'after-refusal', { body }), 409, 'name_taken')
  await call('DELETE', `/api/v1/tokens/${id}`)
  expect((await send('', 'after-refusal', { body })).status).toBe(201)
})

test.each(['short', 'with space', 'x'.repeat(256), 'ümlaut-key'])(
  'the key "%s" is refused with 400, and nothing is made',
  async (key) => {
    const latin1 = Buffer.from(key, 'utf8').toString('latin1')
    const refusal = await send('', latin1, { body: { name: `key-${key.length}` } })
    expectProblem(refusal, 400, 'invalid_input')
    expect(await countOf(`key-${key.length}`)).toBe(0)
  },
)
