import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createClient } from './client.ts'
import { MintmarkError } from './error.ts'

const problem = { code: 'not_found', detail: 'There is no such token.', requestId: 'r-1' }

/** A platform whose fetch gives these answers in turn; the last one for ever. */
function answering(...answers: (Response | Error)[]) {
  const requests: Request[] = []
  const fetch: typeof globalThis.fetch = async (url, init) => {
    requests.push(new Request(url, init))
    const answer = answers[Math.min(requests.length, answers.length) - 1]
    if (!(answer instanceof Response)) throw answer
    return answer.clone()
  }
  return { fetch, requests }
}

const json = (body: unknown, init: ResponseInit = {}) => Response.json(body, init)
const refused = (status: number, headers: Record<string, string> = {}) =>
  json({ code: 'unavailable', detail: 'Later.' }, { status, headers })
const url = 'http://tokens.test/base/'

/** The failure of a call, while time runs on by itself. */
async function failureOf(call: Promise<unknown>): Promise<MintmarkError> {
  const error = call.then(
    () => expect.unreachable(),
    (cause: unknown) => cause,
  )
  await vi.runAllTimersAsync()
  const failure = await error
  if (!(failure instanceof MintmarkError)) throw failure
  return failure
}

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

it('sends the token and JSON below the path of the url', async () => {
  const { fetch, requests } = answering(json({ active: false }))
  const client = createClient({ url, token: 'abc', fetch })
  expect(await client.tokens.verify({ token: 'x' })).toEqual({ active: false })
  const [request] = requests
  expect(request?.url).toBe('http://tokens.test/base/api/v1/tokens/verify')
  expect(request?.headers.get('authorization')).toBe('Bearer abc')
  expect(request?.redirect).toBe('error')
  expect(await request?.json()).toEqual({ token: 'x' })
})

it('asks about several tokens at once', async () => {
  const answers = [{ active: false, reason: 'unknown' }, { active: false }]
  const { fetch, requests } = answering(json({ answers }))
  const questions = ['x', { token: 'y', scope: 'deploy' }]
  const client = createClient({ url, token: 'abc', fetch })
  expect(await client.tokens.verifyBatch(questions)).toEqual(answers)
  expect(requests[0]?.url).toBe('http://tokens.test/base/api/v1/tokens/verify:batch')
  expect(await requests[0]?.json()).toEqual({ questions })
})

it('tells what the problem document tells, and does not ask again', async () => {
  const { fetch, requests } = answering(json(problem, { status: 404 }))
  const error = await failureOf(createClient({ url, fetch }).tokens.get('a'))
  expect(error).toMatchObject({ status: 404, ...problem, message: problem.detail })
  expect(requests).toHaveLength(1)
})

it('asks again when the answer got lost or the server is busy', async () => {
  const answers = [new TypeError('reset'), refused(503), refused(429), json({ id: 'a' })]
  const { fetch, requests } = answering(...answers)
  const call = createClient({ url, fetch }).tokens.get('a')
  await vi.runAllTimersAsync()
  expect(await call).toEqual({ id: 'a' })
  expect(requests).toHaveLength(4)
})

it('gives up after four tries', async () => {
  const { fetch, requests } = answering(new TypeError('reset'))
  const error = await failureOf(createClient({ url, fetch }).users.list())
  expect(error).toMatchObject({ status: 0, code: 'network_failed' })
  expect(requests).toHaveLength(4)
})

it('waits as long as Retry-After says, but not beyond its own time limit', async () => {
  const patient = answering(refused(429, { 'retry-after': '5' }), json({ items: [] }))
  const call = createClient({ url, fetch: patient.fetch }).roles.list()
  await vi.advanceTimersByTimeAsync(4900)
  expect(patient.requests).toHaveLength(1)
  await vi.advanceTimersByTimeAsync(400)
  expect(await call).toEqual([])

  const hasty = answering(refused(429, { 'retry-after': '900' }))
  const error = await failureOf(createClient({ url, fetch: hasty.fetch }).roles.list())
  expect(error).toMatchObject({ status: 429, retryAfterSeconds: 900 })
  expect(hasty.requests).toHaveLength(1)
})

it('understands a date in Retry-After', async () => {
  const date = new Date(Date.now() + 7000).toUTCString()
  const { fetch, requests } = answering(refused(503, { 'retry-after': date }), json({ items: [] }))
  const call = createClient({ url, fetch }).roles.list()
  await vi.advanceTimersByTimeAsync(5900)
  expect(requests).toHaveLength(1)
  await vi.advanceTimersByTimeAsync(1400)
  expect(await call).toEqual([])
})

it('asks again when a proxy cannot reach the server, but only what may be repeated', async () => {
  const { fetch, requests } = answering(refused(502), refused(504), json({ id: 'a' }))
  const call = createClient({ url, fetch }).tokens.get('a')
  await vi.runAllTimersAsync()
  expect(await call).toEqual({ id: 'a' })
  expect(requests).toHaveLength(3)
  const gone = answering(refused(502))
  await failureOf(createClient({ url, fetch: gone.fetch }).users.create({ username: 'bob' }))
  expect(gone.requests).toHaveLength(1)
})

it('repeats what makes something only under an idempotency key', async () => {
  const { fetch, requests } = answering(new TypeError('reset'))
  const { tokens } = createClient({ url, fetch })
  await failureOf(tokens.create({ name: 'a' }))
  expect(requests).toHaveLength(1)
  await failureOf(tokens.rotate('a', {}, { idempotencyKey: 'one-rotation' }))
  expect(requests).toHaveLength(5)
  expect(requests.slice(1).map((each) => each.headers.get('idempotency-key'))).toEqual(
    Array(4).fill('one-rotation'),
  )
})

it('an id cannot lead to another resource', async () => {
  const { fetch, requests } = answering(json({}))
  const client = createClient({ url, fetch })
  await client.roles.update('a/../b?c', {})
  expect(requests[0]?.url).toBe('http://tokens.test/base/api/v1/roles/a%2F..%2Fb%3Fc')
  for (const id of ['', '.', '..']) expect(() => client.users.get(id)).toThrow(MintmarkError)
})

it('stops when it is aborted, also between two tries', async () => {
  const { fetch, requests } = answering(refused(503, { 'retry-after': '20' }))
  const aborter = new AbortController()
  const call = createClient({ url, fetch }).policy.get({ signal: aborter.signal })
  await vi.advanceTimersByTimeAsync(10)
  aborter.abort()
  expect(await failureOf(call)).toMatchObject({ status: 0, code: 'aborted' })
  expect(requests).toHaveLength(1)
})

it('ends a call that takes too long', async () => {
  vi.useRealTimers()
  const fetch: typeof globalThis.fetch = (_, init) =>
    new Promise((_, reject) => {
      init?.signal?.addEventListener('abort', () => reject(init.signal?.reason))
    })
  const call = createClient({ url, fetch, timeoutMs: 20 }).policy.get()
  await expect(call).rejects.toMatchObject({ status: 0, code: 'timeout' })
})

it('says so when something else than Mintmark answers', async () => {
  const page = new Response('<h1>Welcome</h1>', { status: 200 })
  const { fetch } = answering(page)
  const error = await failureOf(createClient({ url, fetch }).policy.get())
  expect(error).toMatchObject({ status: 200, code: 'unexpected_answer' })
})

it('refuses an address or a token that cannot be one, without repeating the token', () => {
  for (const bad of ['', 'tokens.test', 'ftp://tokens.test', 'http://a:b@tokens.test']) {
    expect(() => createClient({ url: bad })).toThrow(MintmarkError)
  }
  expect(() => createClient({ url, token: 'mm_api_x\n' })).toThrow(/line break/)
  expect(() => createClient({ url, token: 'mm_api_x\n' })).not.toThrow(/mm_api/)
})

describe('wait', () => {
  const revoked = { revoked: ['a'], acknowledged: 1, nodes: 3 }
  const told = () => json(revoked, { headers: { 'mintmark-acknowledged': '1/3' } })

  it('goes with every change, said once or with the call, and with nothing else', async () => {
    const { fetch, requests } = answering(told())
    const mintmark = createClient({ url, token: 'abc', fetch, changes: { wait: 'none' } })
    await mintmark.tokens.revoke('a')
    await mintmark.users.update('u', { active: false }, { wait: 'all' })
    await mintmark.groups.removeMember('g', 'u')
    await mintmark.clients.replaceSecret('c', { idempotencyKey: '12345678' })
    await mintmark.policy.removeRule('ci')
    await mintmark.tokens.get('a')
    await mintmark.tokens.revokeDryRun('a')
    await mintmark.tokens.bulkDryRun({ action: 'revoke', q: 'state:active' })
    await mintmark.tokens.verify({ token: 'x' })
    await mintmark.tokens.explain({ token: 'x' })
    await mintmark.tokens.sign({ audience: 'https://builds.example.com' })
    await mintmark.session.login({ username: 'alice', password: 'x' })
    await mintmark.leaks.report({ secrets: [] } as never)
    const waits = requests.map(({ url }) => new URL(url).searchParams.get('wait'))
    expect(waits.slice(0, 5)).toEqual(['none', 'all', 'none', 'none', 'none'])
    expect(waits.slice(5).filter((wait) => wait !== null)).toEqual([])
    expect(waits).toHaveLength(13)
  })

  it('tells who has acknowledged, also where the answer has no body', async () => {
    const headers = { 'mintmark-acknowledged': '2/3' }
    const { fetch } = answering(new Response(null, { status: 204, headers }), told())
    const heard: unknown[] = []
    const mintmark = createClient({
      url,
      fetch,
      changes: { onAcknowledged: (found) => heard.push(found) },
    })
    await mintmark.users.delete('u')
    await mintmark.tokens.revoke('a', {}, { onAcknowledged: (found) => heard.push('mine', found) })
    expect(heard).toEqual([{ acknowledged: 2, nodes: 3 }, 'mine', { acknowledged: 1, nodes: 3 }])
  })

  it('does not take a mistake of the listener for one of the network', async () => {
    const { fetch, requests } = answering(told())
    const onAcknowledged = () => {
      throw new RangeError('mine')
    }
    const call = createClient({ url, fetch }).tokens.revoke('a', {}, { onAcknowledged })
    await expect(call).rejects.toThrow(RangeError)
    expect(requests).toHaveLength(1)
  })
})
