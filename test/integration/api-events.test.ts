import { setTimeout as sleep } from 'node:timers/promises'
import { createClient, type Event } from '@mintmark/sdk'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { eventStreams } from '../../src/http/api/event-stream.ts'
import { DAY_MS, HOUR_MS, ORIGIN } from '../support/core.ts'
import { DATABASE } from '../support/database.ts'
import { EVERYTHING, makeGroup, makeToken, setPolicy } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { listen } from '../support/raw-socket.ts'
import { startServer, type TestServer } from '../support/server.ts'

let server: TestServer
let url: string

beforeAll(async () => {
  server = await startServer()
  url = `http://127.0.0.1:${await listen(server)}`
})
afterAll(() => server.close())

const events = async (query = '', token = server.adminToken): Promise<Event[]> =>
  (await server.call('GET', `/api/v1/events?${query}`, { token })).body.items
const typesOf = async (tokenId: string) =>
  (await events(`tokenId=${tokenId}`)).map(({ type }) => type).reverse()
const expiringIn = (ms: number) => ({ expiresAt: new Date(server.clock.now() + ms).toISOString() })
const notices = () => server.app.core.giveNotices()

test('every change of a token is an event, with its audit record, in one transaction', async () => {
  const { id } = await makeToken(server, { name: 'deploy' })
  const { body } = await server.call('POST', `/api/v1/tokens/${id}/rotate`)
  await server.call('POST', `/api/v1/tokens/${body.id}/quarantine`, { body: { reason: 'odd' } })
  await server.call('POST', `/api/v1/tokens/${body.id}/release`)
  await server.call('POST', `/api/v1/tokens/${body.id}/revoke`, { body: { reason: 'done' } })
  // It shares the family of its successor, and its end.
  expect(await typesOf(id)).toEqual(['token.created', 'token.revoked'])
  expect(await typesOf(body.id)).toEqual([
    'token.rotated',
    'token.quarantined',
    'token.released',
    'token.revoked',
  ])
  const [revoked] = await events(`tokenId=${body.id}&type=token.revoked`)
  expect(revoked).toMatchObject({
    data: {
      token: { id: body.id, name: 'deploy', kind: 'api' },
      actor: { username: 'admin' },
      details: { reason: 'done' },
    },
  })
  const [record] = (await server.call('GET', `/api/v1/audit?subjectId=${body.id}`)).body.items
  expect(String(record.sequence)).toBe(revoked?.id)
  const unblock = await server.database.block('insert', 'event')
  const failed = await server.call('POST', '/api/v1/tokens', { body: { name: 'untold' } })
  expect(failed.status).toBeGreaterThanOrEqual(500)
  await unblock()
  const { items } = (await server.call('GET', '/api/v1/tokens?text=untold')).body
  expect(items).toEqual([])
})

test('logins and access tokens come and go without a word', async () => {
  const [before] = await events('limit=1')
  await server.call('POST', '/api/v1/login', {
    token: null,
    body: { username: 'admin', password: server.adminPassword },
  })
  expect((await events('limit=1'))[0]?.id).toBe(before?.id)
})

test('what the policy refuses is told, though nothing else is left of it', async () => {
  await setPolicy(server, { maxTokenTtlSeconds: 86_400 })
  const alice = await server.makeUser({ username: 'refused' })
  await setPolicy(server, { usersMayCreateTokens: true })
  const body = { name: 'forever', ...expiringIn(2 * DAY_MS) }
  const asked = await server.call('POST', '/api/v1/tokens', { token: alice.token, body })
  expectProblem(asked, 403, 'beyond_policy')
  await setPolicy(server, { maxTokenTtlSeconds: null, usersMayCreateTokens: false })
  const [violation] = await events('type=token.policy_violated', alice.token)
  expect(violation).toMatchObject({
    data: { token: null, actor: { id: alice.id }, details: { rule: 'policy' } },
  })
})

test('admins see all events, others what happened to their own tokens', async () => {
  const alice = await server.makeUser({ username: 'alice' })
  const bob = await server.makeUser({ username: 'bob' })
  const mine = await makeToken(server, { ownerId: alice.id })
  const seen = await events('', alice.token)
  expect(seen.map(({ data }) => data.token?.id)).toContain(mine.id)
  expect(new Set(seen.map(({ data }) => data.token?.ownerId))).toEqual(new Set([alice.id]))
  expect(await events(`tokenId=${mine.id}`, bob.token)).toEqual([])
  const others = await server.call('GET', `/api/v1/events?ownerId=${alice.id}`, {
    token: bob.token,
  })
  expectProblem(others, 403, 'forbidden')
  expectProblem(await server.call('GET', '/api/v1/events?type=token.gone'), 400, 'invalid_input')
})

test('pages lead through all events, each once', async () => {
  const all = (await events('limit=1000')).map(({ id }) => id)
  const walked: string[] = []
  let cursor: string | null = ''
  while (cursor !== null) {
    const { body } = await server.call(
      'GET',
      `/api/v1/events?limit=3${cursor && `&cursor=${cursor}`}`,
    )
    walked.push(...body.items.map(({ id }: Event) => id))
    cursor = body.nextCursor
  }
  expect(walked).toEqual(all)
})

test('a token that ends is told of at each notice time and at its end, each once', async () => {
  await notices()
  const { id } = await makeToken(server, expiringIn(40 * DAY_MS))
  const short = await makeToken(server, expiringIn(3 * DAY_MS))
  const never = await makeToken(server, { expiresAt: null })
  const heard = async () =>
    (await events(`tokenId=${id}`))
      .filter(({ type }) => type !== 'token.created')
      .map(({ data, type }) => data.details.noticeSeconds ?? type)
      .reverse()
  await notices()
  expect(await heard()).toEqual([])
  server.clock.advance(10 * DAY_MS + 1000)
  await Promise.all([notices(), notices()])
  expect(await heard()).toEqual([30 * 86_400])
  await server.restart()
  url = `http://127.0.0.1:${await listen(server)}`
  await notices()
  expect(await heard()).toEqual([30 * 86_400])
  server.clock.advance(23 * DAY_MS)
  await notices()
  server.clock.advance(6 * DAY_MS)
  await notices()
  server.clock.advance(DAY_MS + 10_000)
  await notices()
  await notices()
  expect(await heard()).toEqual([30 * 86_400, 7 * 86_400, 86_400, 'token.expired'])
  // Younger than the longer notice times, and gone by: one notice, not three.
  expect(await typesOf(short.id)).toEqual(['token.created', 'token.expired'])
  expect(await typesOf(never.id)).toEqual(['token.created'])
})

test('after a standstill a token is told of once, at the time that it has reached', async () => {
  const { id } = await makeToken(server, expiringIn(50 * DAY_MS))
  await notices()
  server.clock.advance(49 * DAY_MS + 12 * HOUR_MS)
  await notices()
  const told = await events(`tokenId=${id}&type=token.expiring`)
  expect(told.map(({ data }) => data.details.noticeSeconds)).toEqual([86_400])
})

test('a token that the policy ends earlier is told of by that end, and not again by its own', async () => {
  const owner = await server.makeUser({ username: 'soon-over' })
  const group = await makeGroup(server, 'soon', { [owner.id]: 'READ' })
  const own = { ownerId: owner.id, ...expiringIn(60 * DAY_MS) }
  const { id } = await makeToken(server, own)
  const other = await makeToken(server, expiringIn(60 * DAY_MS))
  await notices()
  const body = { groups: [group], maxTtlSeconds: 20 * 86_400 }
  await server.call('PUT', '/api/v1/policy/rules/soon', { body })
  await notices()
  const endsAtMs = server.clock.now() + 20 * DAY_MS
  for (let day = 0; day < 61; day++) {
    server.clock.advance(DAY_MS)
    await notices()
    await notices()
  }
  const told = (await events(`tokenId=${id}&limit=100`)).filter(
    ({ type }) => type !== 'token.created',
  )
  expect(told.map(({ type }) => type).filter((type) => type === 'token.expired')).toHaveLength(1)
  expect(told.some(({ type }) => type === 'token.expiring')).toBe(true)
  for (const { data } of told) {
    expect(data.details.expiresAtMs).toBe(endsAtMs)
  }
  expect((await typesOf(other.id)).at(-1)).toBe('token.expired')
  await server.call('DELETE', '/api/v1/policy/rules/soon')
})

test('a rule of the policy wants notices of its own tokens alone', async () => {
  const rule = { kinds: ['service'], noticeSeconds: [2 * 86_400] }
  await server.call('PUT', '/api/v1/policy/rules/services', { body: rule })
  await notices()
  const service = await makeToken(server, { kind: 'service', ...expiringIn(5 * DAY_MS) })
  const api = await makeToken(server, expiringIn(5 * DAY_MS))
  server.clock.advance(3 * DAY_MS + 1000)
  await notices()
  expect(await typesOf(service.id)).toEqual(['token.created', 'token.expiring'])
  expect(await typesOf(api.id)).toEqual(['token.created'])
  await server.call('DELETE', '/api/v1/policy/rules/services')
})

test('more tokens than fit a batch are all told of', async () => {
  await setPolicy(server, { noticeSeconds: [3600] })
  await notices()
  const ends = expiringIn(2 * HOUR_MS)
  const ids: string[] = []
  for (let i = 0; i < 210; i++) ids.push((await makeToken(server, ends)).id)
  server.clock.advance(HOUR_MS + 1000)
  expect(await notices()).toBe(210)
  expect(await notices()).toBe(0)
  server.clock.advance(HOUR_MS + 10_000)
  expect(await notices()).toBe(210)
  await setPolicy(server, { noticeSeconds: [2_592_000, 604_800, 86_400] })
  for (const wrong of [[1.5], [0], [-5], Array(11).fill(3600)]) {
    const answer = await server.call('PATCH', '/api/v1/policy', { body: { noticeSeconds: wrong } })
    expect(answer.status, JSON.stringify(wrong)).toBe(400)
  }
})

test('what ends when is a figure', async () => {
  let text = ''
  const refresh = async () => {
    await server.app.refreshFigures()
    text = (await server.call('GET', '/metrics')).text
  }
  const figure = (within: string) =>
    Number(
      new RegExp(`mintmark_tokens_expiring\\{kind="api",within="${within}"\\} (\\d+)`).exec(
        text,
      )?.[1] ?? 0,
    )
  await refresh()
  const before = { day: figure('1d'), month: figure('30d') }
  await makeToken(server, expiringIn(12 * HOUR_MS))
  await makeToken(server, expiringIn(20 * DAY_MS))
  await refresh()
  expect(figure('1d')).toBe(before.day + 1)
  expect(figure('30d')).toBe(before.month + 2)
  expect(text).toContain('mintmark_webhook_deliveries{state="dead"} 0')
})

/** Collects events until `count` are there, and stops listening. */
async function heardBy(
  stream: AsyncGenerator<Event>,
  count: number,
  meanwhile: () => Promise<unknown>,
): Promise<Event[]> {
  const heard: Event[] = []
  const listening = (async () => {
    for await (const event of stream) {
      heard.push(event)
      if (heard.length === count) return
    }
  })()
  await sleep(200)
  await meanwhile()
  await listening
  return heard
}

const client = (token = server.adminToken) => createClient({ url, token })

test('a stream tells what happens from now on, or from where it was left', async () => {
  const [before] = await events('limit=1')
  const live = await heardBy(client().events.follow(), 2, async () => {
    await makeToken(server, { name: 'one' })
    await makeToken(server, { name: 'two' })
  })
  expect(live.map(({ data }) => data.token?.name)).toEqual(['one', 'two'])
  const resumed = await heardBy(
    client().events.follow({ lastEventId: before?.id ?? '' }),
    2,
    async () => undefined,
  )
  expect(resumed).toEqual(live)
  const rest = await heardBy(
    client().events.follow({ lastEventId: live[0]?.id ?? '', types: ['token.created'] }),
    1,
    async () => undefined,
  )
  expect(rest).toEqual([live[1]])
})

test('a stream goes on from now when it was left beyond the newest event', async () => {
  const heard = await heardBy(client().events.follow({ lastEventId: '999999999' }), 1, () =>
    makeToken(server, { name: 'after a restore' }),
  )
  expect(heard.map(({ data }) => data.token?.name)).toEqual(['after a restore'])
})

test('a stream tells a user of the own tokens alone', async () => {
  const alice = await server.makeUser({ username: 'streaming' })
  const heard = await heardBy(client(alice.token).events.follow(), 1, async () => {
    await makeToken(server, { name: 'not hers' })
    await makeToken(server, { name: 'hers', ownerId: alice.id })
  })
  expect(heard.map(({ data }) => data.token?.name)).toEqual(['hers'])
})

test('a stream ends with the credential that it was opened with', async () => {
  const alice = await server.makeUser({ username: 'leaving' })
  const listener = await makeToken(server, { ...EVERYTHING, ownerId: alice.id })
  const stream = client(listener.secret).events.follow()
  const ended = (async () => {
    for await (const { type, data } of stream) {
      if (data.token?.id === listener.id && type === 'token.revoked') return 'heard'
    }
    return 'ended'
  })()
  await sleep(300)
  await server.call('POST', `/api/v1/tokens/${listener.id}/revoke`)
  expect(await ended).toBe('ended')
})

test('a stream ends at once when the policy takes its credential away', async () => {
  const lena = await server.makeUser({ username: 'lena' })
  const group = await makeGroup(server, 'listeners', { [lena.id]: 'READ' })
  const made = await makeToken(server, { ownerId: lena.id, ...expiringIn(3 * DAY_MS) })
  server.clock.advance(2 * DAY_MS)
  const { core } = server.app
  const verdict = await core.verifier.verify(made.secret)
  if (!verdict.active) throw new Error(verdict.reason)
  const caller = { principal: verdict.principal, origin: ORIGIN }
  const stream = eventStreams(core, () => false).open({
    caller,
    filter: {},
    afterId: await core.read.lastEventId(),
    signal: new AbortController().signal,
  })
  await stream.next()
  const end = stream.next()
  // Until it waits for news.
  await new Promise((resolve) => setTimeout(resolve, 200))
  const beganMs = performance.now()
  const rule = { groups: [group], maxTtlSeconds: 86_400 }
  const ruled = await server.call('PUT', '/api/v1/policy/rules/listeners', { body: rule })
  expect(ruled.status, ruled.text).toBe(200)
  expect((await end).done).toBe(true)
  expect(performance.now() - beganMs).toBeLessThan(5000)
  await server.call('DELETE', '/api/v1/policy/rules/listeners')
})

test('streams are bounded, say what they want, and are refused like everything else', async () => {
  const bare = await server.call('GET', '/api/v1/events/stream')
  expectProblem(bare, 400, 'invalid_input')
  const accept = 'text/event-stream'
  const ask = (headers: Record<string, string>) =>
    server.call('GET', '/api/v1/events/stream', { headers: { accept, ...headers } })
  expectProblem(await ask({ 'last-event-id': 'x' }), 400, 'invalid_input')
  const anonymous = await server.call('GET', '/api/v1/events/stream', {
    token: null,
    headers: { accept },
  })
  expectProblem(anonymous, 401, 'unauthenticated')
  const alice = await server.makeUser({ username: 'greedy' })
  const open = new AbortController()
  const headers = { accept, authorization: `Bearer ${alice.token}` }
  const connect = () =>
    fetch(`${url}/api/v1/events/stream`, { headers, signal: open.signal }).then(
      ({ status, headers }) => ({ status, type: headers.get('content-type') }),
    )
  const first = await Promise.all(Array.from({ length: 20 }, connect))
  expect(new Set(first.map(({ status }) => status))).toEqual(new Set([200]))
  expect(first[0]?.type).toMatch(/^text\/event-stream/)
  expect((await connect()).status).toBe(429)
  open.abort()
  await expect.poll(async () => (await fetchStatus(headers)) === 200, { timeout: 5000 }).toBe(true)
})

test('a stream that nobody ever read from is closed with its connection', async () => {
  const { core } = server.app
  const verdict = await core.verifier.verify(server.adminToken)
  if (!verdict.active) throw new Error(verdict.reason)
  const caller = { principal: verdict.principal, origin: ORIGIN }
  const streams = eventStreams(core, () => false)
  const open = (signal: AbortSignal) => streams.open({ caller, filter: {}, afterId: 0, signal })
  const gone = new AbortController()
  for (let i = 0; i < 20; i++) open(gone.signal)
  expect(() => open(gone.signal)).toThrow('Too many event streams')
  gone.abort()
  for (let i = 0; i < 30; i++) open(gone.signal)
})

async function fetchStatus(headers: Record<string, string>): Promise<number> {
  const once = new AbortController()
  const { status } = await fetch(`${url}/api/v1/events/stream`, { headers, signal: once.signal })
  once.abort()
  return status
}

test.runIf(DATABASE === 'postgres')('a stream tells what other nodes did, too', async () => {
  const other = await startServer({}, { beside: server, clock: server.clock })
  const heard = await heardBy(client().events.follow(), 1, async () => {
    await makeToken(other, { name: 'over there' })
  })
  expect(heard[0]?.data.token?.name).toBe('over there')
  await other.close()
})

test('old events go, their audit records stay', async () => {
  const { id } = await makeToken(server, {})
  server.clock.advance(31 * DAY_MS)
  await server.app.core.purge()
  expect(await events(`tokenId=${id}&type=token.created`)).toEqual([])
  const { items } = (await server.call('GET', `/api/v1/audit?subjectId=${id}`)).body
  expect(items.map(({ action }: { action: string }) => action)).toContain('token.created')
})

test('a stream ends when the server shuts down', async () => {
  const stream = client().events.follow()
  const ended = (async () => {
    for await (const _ of stream);
    return 'ended'
  })()
  await sleep(200)
  await server.restart()
  expect(await ended).toBe('ended')
})
