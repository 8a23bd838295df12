import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type CallOptions, startServer, type TestServer } from '../support/server.ts'
import { checked, letUsersCreateTokens } from './checked.ts'

const UNKNOWN = 'f454d283-ca87-4a8a-bdbb-df212eca5353'

interface Listed {
  token_id: string
  user_id: string
  token_label: string
  created_at: string
}

let server: TestServer
const opal = checked(() => server, 'opal')

/** As the Python client lists and deletes: no content type, no Accept on DELETE. */
const listing = (token: string): CallOptions => ({ token, headers: { accept: 'application/json' } })
const list = (query = '', token = server.adminToken) =>
  opal('GET', `/v1/tokens${query}`, listing(token))
const remove = (id: string, token = server.adminToken) =>
  opal('DELETE', `/v1/tokens/${id}`, { token })

let alice: { id: string; token: string }
let bob: { id: string; token: string }
let readOnly: { id: string; token: string }

/** A new token of somebody; answers id and secret. */
async function create(name: string, wish: Record<string, unknown> = {}) {
  const body = { name, accessLevel: 'FULL_ACCESS', expiresAt: null, ...wish }
  const answer = await server.call('POST', '/api/v1/tokens', { body })
  expect(answer.status).toBe(201)
  server.remember(answer.body.secret)
  return { id: answer.body.id as string, secret: answer.body.secret as string }
}

const labels = (results: Listed[]) => results.map(({ token_label }) => token_label)

beforeAll(async () => {
  server = await startServer()
  alice = await server.makeUser({ username: 'alice' })
  bob = await server.makeUser({ username: 'bob' })
  readOnly = await server.makeUser({
    username: 'reader',
    globalRole: 'ADMIN',
    accessLevel: 'READ_ONLY',
  })
})
afterAll(() => server.close())

describe('list', () => {
  it('shows a token with everything that clients demand', async () => {
    const expiresAt = new Date(server.clock.now() + 86_400_000).toISOString()
    const made = await create('ci', { ownerId: alice.id, accessLevel: 'READ_ONLY', expiresAt })
    const admin = (await server.call('GET', '/api/v1/me')).body.user.id
    const expected = {
      token_id: made.id,
      created_at: new Date(server.clock.now()).toISOString(),
      token_label: 'ci',
      creator_user_id: admin,
      user_id: alice.id,
      last_used_at: null,
      access_level: 'READ_ONLY',
      expires_at: expiresAt,
    }
    const answer = await list(`?token_ids=${made.id}`)
    expect(answer.status).toBe(200)
    expect(answer.body).toEqual({ next: null, previous: null, results: [expected] })
    await server.call('GET', '/api/v1/me', { token: made.secret })
    const used = await list(`?token_ids=${made.id}`)
    expect(used.body.results[0].last_used_at).toBe(expected.created_at)
  })

  it('shows api tokens only, expired ones until they are deleted, revoked ones never', async () => {
    const service = await create('service', { kind: 'service' })
    const gone = await create('gone')
    const expiresAt = new Date(server.clock.now() + 1000).toISOString()
    const short = await create('short', { expiresAt })
    const rotated = await create('rotated')
    const rotation = await server.call('POST', `/api/v1/tokens/${rotated.id}/rotate`, {
      body: { overlapSeconds: 0 },
    })
    server.remember(rotation.body.secret)
    expect((await remove(gone.id)).status).toBe(200)
    server.clock.advance(2000)
    const { results } = (await list()).body
    const ids = results.map(({ token_id }: Listed) => token_id)
    expect(ids).toContain(short.id)
    expect(ids).toContain(rotation.body.id)
    for (const { id } of [service, gone, rotated]) expect(ids).not.toContain(id)
    expect((await remove(service.id)).status).toBe(404)
    expect((await remove(rotated.id)).status).toBe(404)
    expect((await remove(short.id)).status).toBe(200)
  })

  it('is for administrators, even about oneself', async () => {
    for (const query of ['', `?user_id=${alice.id}`]) {
      const answer = await list(query, alice.token)
      expect(answer).toMatchObject({ status: 403, body: { code: 403 } })
    }
    expect((await list('', readOnly.token)).status).toBe(200)
    const anonymous = await opal('GET', '/v1/tokens', { token: null })
    expect(anonymous).toMatchObject({ status: 401, body: { code: 401 } })
    expect(anonymous.headers['www-authenticate']).toBe('Bearer')
    expect((await list('', 'garbage')).status).toBe(401)
  })

  it('narrows by ids and user', async () => {
    const [one, two] = [await create('one'), await create('two', { ownerId: bob.id })]
    const both = `${one.id},${two.id}`
    const found = async (query: string) => labels((await list(query)).body.results).sort()
    expect(await found(`?token_ids=${both}`)).toEqual(['one', 'two'])
    expect(await found(`?token_ids=${one.id}&token_ids=${two.id}`)).toEqual(['one', 'two'])
    expect(await found(`?token_ids=${both}&user_id=${bob.id}`)).toEqual(['two'])
    expect(await found(`?user_id=${bob.id}`)).toEqual(['test', 'two'])
    expect(await found(`?token_ids=${both.toUpperCase()}`)).toEqual(['one', 'two'])
    expect(await found(`?token_ids=${UNKNOWN}`)).toEqual([])
    expect(await found(`?user_id=${UNKNOWN}`)).toEqual([])
    const everything = await list()
    expect((await list('?token_ids=')).body).toEqual(everything.body)
  })

  it('pages both ways, newest first, with null at the ends', async () => {
    for (let i = 0; i < 7; i++) {
      // Some at the same instant: the id decides between them.
      if (i % 3 === 0) server.clock.advance(1000)
      await create(`page-${i}`, { ownerId: bob.id })
    }
    const query = `?user_id=${bob.id}&page_size=3`
    const all: Listed[] = (await list(`?user_id=${bob.id}`)).body.results
    const order = [...all].sort(
      (a, b) => b.created_at.localeCompare(a.created_at) || b.token_id.localeCompare(a.token_id),
    )
    expect(all).toEqual(order)

    const pages = [(await list(query)).body]
    expect(pages[0].previous).toBeNull()
    while (pages.at(-1).next !== null) {
      pages.push((await list(`${query}&cursor=${pages.at(-1).next}`)).body)
    }
    expect(pages.flatMap(({ results }) => results)).toEqual(all)
    for (let i = pages.length - 1; i > 0; i--) {
      const back = (await list(`${query}&cursor=${pages[i].previous}`)).body
      expect(back.results).toEqual(pages[i - 1].results)
      expect(back.previous === null).toBe(i === 1)
    }
  })

  it('loses and repeats nothing while tokens come and go', async () => {
    const query = `?user_id=${bob.id}&page_size=4`
    const first = (await list(query)).body
    server.clock.advance(1000)
    await create('newcomer', { ownerId: bob.id })
    expect((await remove(first.results[3].token_id)).status).toBe(200)
    const second = (await list(`${query}&cursor=${first.next}`)).body
    const seen = [...first.results, ...second.results].map(({ token_id }) => token_id)
    expect(new Set(seen).size).toBe(seen.length)
    expect(labels(second.results)).not.toContain('newcomer')
  })

  it.each([
    'page_size=0',
    'page_size=-1',
    'page_size=1001',
    'page_size=1.5',
    'page_size=x',
    'page_size=',
    'page_size=1&page_size=2',
    'token_ids=x',
    `token_ids=${UNKNOWN},`,
    `token_ids=${UNKNOWN}x`,
    'user_id=x',
    'user_id=',
    'cursor=nonsense',
    'cursor=cD0yMDIxLTAxLTA2KzAzJTNBMjQlM0E1My40MzQzMjYlMkIwMCUzQTAw%3D%2B/',
    'token=secret-in-a-url',
    'access_token=secret-in-a-url',
  ])('refuses %s with 400', async (query) => {
    const answer = await list(`?${query}`)
    expect(answer).toMatchObject({ status: 400, body: { code: 400 } })
    expect(Object.keys(answer.body)).toEqual(['code', 'message'])
  })

  it('takes no cursor of another list', async () => {
    const ours = await server.call('GET', '/api/v1/tokens?limit=1')
    expect((await list(`?cursor=${ours.body.nextCursor}`)).status).toBe(400)
    expect((await list('?cursor=')).status).toBe(200)
    expect((await list('?page_size=1000')).status).toBe(200)
  })

  it.each(['text/html', 'application/xml', 'image/*;q=0', 'nonsense', ''])(
    'answers JSON to Accept: %s',
    async (accept) => {
      const token = server.adminToken
      const answer = await opal('GET', '/v1/tokens', { token, headers: { accept } })
      expect(answer.status).toBe(200)
      expect(
        (await opal('DELETE', `/v1/tokens/${UNKNOWN}`, { token, headers: { accept } })).status,
      ).toBe(404)
    },
  )
})

describe('delete', () => {
  it('answers 200 with nothing at all, and the token stops working at once', async () => {
    const { id, secret } = await create('doomed', { ownerId: alice.id })
    expect((await server.call('GET', '/api/v1/me', { token: secret })).status).toBe(200)
    const answer = await remove(id)
    expect(answer).toMatchObject({ status: 200, text: '' })
    expect(answer.headers['content-length']).toBe('0')
    expect(answer.headers['content-type']).toBeUndefined()
    expect((await server.call('GET', '/api/v1/me', { token: secret })).status).toBe(401)
    expect(await remove(id)).toMatchObject({ status: 404, body: { code: 404 } })
  })

  it('takes a JSON content type without a body, and an id in any case', async () => {
    const { id } = await create('typed')
    const headers = { 'content-type': 'application/json', accept: '*/*' }
    const answer = await opal('DELETE', `/v1/tokens/${id.toUpperCase()}`, { headers })
    expect(answer.status).toBe(200)
  })

  it('has one winner of two', async () => {
    const { id } = await create('twice')
    const answers = await Promise.all([remove(id), remove(id)])
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 404])
  })

  it('refuses nobody (401), a malformed id (400) and an unknown one (404)', async () => {
    const anonymous = await opal('DELETE', `/v1/tokens/${UNKNOWN}`, { token: null })
    expect(anonymous.status).toBe(401)
    for (const id of ['x', '5', '%00', `${UNKNOWN}0`]) expect((await remove(id)).status).toBe(400)
    expect((await remove(UNKNOWN)).status).toBe(404)
  })

  it('is for owners only where the policy lets users create tokens', async () => {
    const { id } = await create('own', { ownerId: alice.id })
    expect((await remove(id, alice.token)).status).toBe(403)
    await letUsersCreateTokens(server)
    expect((await remove(id, alice.token)).status).toBe(200)
    await letUsersCreateTokens(server, false)
  })

  it('does not tell the tokens of others from those that are not there', async () => {
    await letUsersCreateTokens(server)
    const { id, secret } = await create('foreign', { ownerId: bob.id })
    const foreign = await remove(id, alice.token)
    const unknown = await remove(UNKNOWN, alice.token)
    expect(foreign.status).toBe(404)
    expect(foreign.body).toEqual(unknown.body)
    // Whose token it acts as decides, not who made it.
    expect((await server.call('GET', '/api/v1/me', { token: secret })).status).toBe(200)
    expect((await remove(id, bob.token)).status).toBe(200)
    await letUsersCreateTokens(server, false)
  })

  it('is refused to READ_ONLY tokens, even of administrators and of the owner', async () => {
    await letUsersCreateTokens(server)
    const { id, secret } = await create('kept', { ownerId: bob.id, accessLevel: 'READ_ONLY' })
    for (const token of [readOnly.token, secret]) {
      expect(await remove(id, token)).toMatchObject({ status: 403, body: { code: 403 } })
    }
    expect((await server.call('GET', '/api/v1/me', { token: secret })).status).toBe(200)
    await letUsersCreateTokens(server, false)
  })

  it('may delete the token that it uses; the following call is refused', async () => {
    await letUsersCreateTokens(server)
    const { id, secret } = await create('suicidal', { ownerId: bob.id })
    expect((await remove(id, secret)).status).toBe(200)
    expect((await remove(id, secret)).status).toBe(401)
    await letUsersCreateTokens(server, false)
  })
})
