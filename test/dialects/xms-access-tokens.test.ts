import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startServer, type TestServer } from '../support/server.ts'
import { checked, letUsersCreateTokens } from './checked.ts'
import { as, type Cast, cast, create as createToken, freshName } from './xms-client.ts'

let server: TestServer
const xms = checked(() => server, 'xms')
const create = (token: string, wish?: { name?: string; roles?: string[] }) =>
  createToken({ server, xms }, token, wish)

let alice: Cast['alice']
let bob: Cast['bob']
let admin: string

beforeAll(async () => {
  server = await startServer()
  admin = server.adminToken
  ;({ alice, bob } = await cast(server))
  await letUsersCreateTokens(server)
})
afterAll(() => server.close())

async function serialOf(token: string): Promise<number> {
  return (await xms('GET', '/v1/access-tokens/', as(token))).body.access_tokens[0].user.id
}

describe('create', () => {
  it('answers 201 with the secret as 32 hex digits, and the token works at once', async () => {
    const body = { access_token: { description: 'd', name: 'ci', roles: ['admin'] } }
    const answer = await xms('POST', '/v1/access-tokens/', as(admin, body))
    expect(answer.status).toBe(201)
    const { uuid, ...token } = answer.body.access_token
    server.remember(uuid)
    expect(uuid).toMatch(/^[0-9a-f]{32}$/)
    expect(token).toEqual({
      id: expect.any(Number),
      name: 'ci',
      description: 'd',
      roles: ['admin'],
      create: new Date(server.clock.now()).toISOString(),
      update: new Date(server.clock.now()).toISOString(),
      used: false,
      user: { id: 1, name: 'admin' },
    })
    expect(await xms('GET', `/v1/access-tokens/${token.id}`, as(uuid))).toMatchObject({
      status: 200,
      body: { access_token: { ...token, used: true } },
    })
  })

  it('is also answered without the trailing slash, and ignores what it does not know', async () => {
    const body = { access_token: { name: freshName(), roles: ['builder'], id: 7, x: 1 }, y: [] }
    const answer = await xms('POST', '/v1/access-tokens', as(alice.token, body))
    expect(answer.status).toBe(201)
    server.remember(answer.body.access_token.uuid)
    expect(answer.body.access_token.id).not.toBe(7)
  })

  it.each([
    ['no body', undefined],
    ['an empty object', {}],
    ['null', { access_token: null }],
    ['no name', { access_token: { roles: ['builder'] } }],
    ['an empty name', { access_token: { name: '', roles: ['builder'] } }],
    ['a name that is too long', { access_token: { name: 'n'.repeat(256), roles: ['builder'] } }],
    ['an invisible name', { access_token: { name: 'a\u200bb', roles: ['builder'] } }],
    ['a numeric name', { access_token: { name: 5, roles: ['builder'] } }],
    ['no roles', { access_token: { name: 'x' } }],
    ['empty roles', { access_token: { name: 'x', roles: [] } }],
    ['a role as text', { access_token: { name: 'x', roles: 'builder' } }],
    ['an unknown role', { access_token: { name: 'x', roles: ['builder', 'emperor'] } }],
    ['a numeric description', { access_token: { name: 'x', roles: ['builder'], description: 1 } }],
  ])('refuses %s with 400', async (_, body) => {
    const answer = await xms('POST', '/v1/access-tokens/', as(alice.token, body))
    expect(answer).toMatchObject({
      status: 400,
      body: { code: 'InvalidParameter', message: expect.stringMatching(/./), details: '' },
    })
  })

  it('refuses broken JSON with 400 and other content types with 415', async () => {
    const url = '/v1/access-tokens/'
    const broken = await xms('POST', url, { ...as(alice.token), rawBody: '{"access_token":' })
    expect(broken.status).toBe(400)
    const headers = { 'xms-auth-token': alice.token, 'content-type': 'text/plain' }
    const text = await server.call('POST', url, { token: null, headers, rawBody: '{}' })
    expect(text).toMatchObject({ status: 415, body: { code: 'UnsupportedMediaType' } })
  })

  it('refuses a name that the owner has with 409, and frees it with the token', async () => {
    const { id, name } = await create(alice.token)
    const again = { access_token: { name: name.toUpperCase(), roles: ['builder'] } }
    const answer = await xms('POST', '/v1/access-tokens/', as(alice.token, again))
    expect(answer).toMatchObject({ status: 409, body: { code: 'DuplicateName' } })
    await create(bob.token, { name })
    await xms('DELETE', `/v1/access-tokens/${id}`, as(alice.token))
    await create(alice.token, { name })
  })

  it('gives nobody more than he has: another role, or a right of a limited token', async () => {
    const wish = (roles: string[]) => ({ access_token: { name: freshName(), roles } })
    const url = '/v1/access-tokens/'
    for (const role of ['painter', 'admin']) {
      const answer = await xms('POST', url, as(alice.token, wish([role])))
      expect(answer).toMatchObject({ status: 403, body: { code: 'RightsExceeded' } })
    }
    const limited = await create(bob.token, { roles: ['builder'] })
    expect((await xms('POST', url, as(limited.uuid, wish(['painter'])))).status).toBe(403)
    const child = await create(limited.uuid, { roles: ['builder'] })
    expect(child.user.name).toBe('bob')
    // An admin's token without the role admin is no admin.
    await server.call('PATCH', `/api/v1/users/${bob.id}`, { body: { globalRole: 'ADMIN' } })
    expect((await xms('GET', `${url}?all=true`, as(limited.uuid))).status).toBe(403)
    expect((await xms('GET', `${url}?all=true`, as(bob.token))).status).toBe(200)
    await server.call('PATCH', `/api/v1/users/${bob.id}`, { body: { globalRole: 'USER' } })
  })

  it('is refused where the policy keeps it to administrators', async () => {
    await letUsersCreateTokens(server, false)
    const body = { access_token: { name: freshName(), roles: ['builder'] } }
    const answer = await xms('POST', '/v1/access-tokens/', as(alice.token, body))
    expect(answer).toMatchObject({ status: 403, body: { code: 'Forbidden' } })
    await letUsersCreateTokens(server)
  })
})

describe('get', () => {
  it('never shows the secret, and hides what the caller may not see', async () => {
    const { id, uuid } = await create(alice.token)
    const url = `/v1/access-tokens/${id}`
    const mine = await xms('GET', url, as(alice.token))
    expect(mine.status).toBe(200)
    expect(mine.text).not.toContain(uuid)
    expect((await xms('GET', url, as(admin))).body).toEqual(mine.body)
    const foreign = await xms('GET', url, as(bob.token))
    const unknown = await xms('GET', '/v1/access-tokens/999999', as(bob.token))
    expect(foreign).toMatchObject({ status: 404, body: { code: 'NotFound' } })
    expect(foreign.body).toEqual(unknown.body)
  })

  it('shows api tokens of every API, and no other kind', async () => {
    const service = await server.call('POST', '/api/v1/tokens', {
      body: { kind: 'service', name: 'svc', expiresAt: null, roles: null },
    })
    server.remember(service.body.secret)
    const all = await xms('GET', '/v1/access-tokens/?all=true', as(admin))
    const shown = all.body.access_tokens.map(({ name }: { name: string }) => name)
    expect(shown).toContain('bootstrap')
    expect(shown).not.toContain('svc')
    const validation = `/v1/access-tokens:validate?subject_access_token=${service.body.secret}`
    expect((await xms('POST', validation, as(admin))).status).toBe(403)
  })

  it.each(['0', '00', '9007199254740993', '99999999999999999999999'])(
    'answers 404 for the id %s',
    async (id) => {
      expect((await xms('GET', `/v1/access-tokens/${id}`, as(admin))).status).toBe(404)
    },
  )

  it('takes no other spelling of an id for a token', async () => {
    for (const id of ['abc', '5x', '-1', '1.0', '5:regenerate', '1/']) {
      const answer = await server.call('GET', `/v1/access-tokens/${id}`, as(admin))
      expect(answer.status).toBe(404)
    }
  })
})

describe('list', () => {
  it('shows own tokens by id, with their number in X-Total-Count and nothing beside the list', async () => {
    const answer = await xms('GET', '/v1/access-tokens/', as(alice.token))
    expect(answer.status).toBe(200)
    expect(Object.keys(answer.body)).toEqual(['access_tokens'])
    const tokens: { id: number; user: { name: string } }[] = answer.body.access_tokens
    expect(new Set(tokens.map(({ user }) => user.name))).toEqual(new Set(['alice']))
    const ids = tokens.map(({ id }) => id)
    expect(ids).toEqual([...ids].sort((a, b) => a - b))
    expect(answer.headers['x-total-count']).toBe(String(ids.length))
    expect((await xms('GET', '/v1/access-tokens', as(alice.token))).body).toEqual(answer.body)
    // `null` roles ("all that the owner has") have no word on this wire.
    expect(answer.body.access_tokens[0]).toMatchObject({ name: 'test', roles: [] })
  })

  it.each(['True', 'true', '1', 't', 'T', 'TRUE'])('takes all=%s for everybody', async (all) => {
    const answer = await xms('GET', `/v1/access-tokens/?all=${all}`, as(admin))
    const owners = answer.body.access_tokens.map((token: { user: { name: string } }) => token.user)
    expect(new Set(owners.map(({ name }: { name: string }) => name)).size).toBeGreaterThan(2)
  })

  it.each(['False', 'false', '0', 'f'])('takes all=%s for own tokens', async (all) => {
    const answer = await xms('GET', `/v1/access-tokens/?all=${all}`, as(alice.token))
    expect(answer.status).toBe(200)
    const mine = await xms('GET', '/v1/access-tokens/', as(alice.token))
    expect(answer.body).toEqual(mine.body)
  })

  it('pages with limit and offset', async () => {
    const all = (await xms('GET', '/v1/access-tokens/?all=true', as(admin))).body.access_tokens
    const url = '/v1/access-tokens/?limit=2&offset=1&all=True'
    const page = await xms('GET', url, as(admin))
    expect(page.body.access_tokens).toEqual(all.slice(1, 3))
    expect(page.headers['x-total-count']).toBe(String(all.length))
    const beyond = await xms('GET', '/v1/access-tokens/?offset=100000', as(admin))
    expect(beyond.body.access_tokens).toEqual([])
    const capped = await xms('GET', '/v1/access-tokens/?limit=1000000', as(admin))
    expect(capped.status).toBe(200)
  })

  it('narrows by user and role', async () => {
    const url = '/v1/access-tokens/?limit=10&offset=0&all=True'
    const owner = await serialOf(bob.token)
    const bobs = await xms('GET', `${url}&user_id=${owner}`, as(admin))
    const names = bobs.body.access_tokens.map(
      (token: { user: { name: string } }) => token.user.name,
    )
    expect(new Set(names)).toEqual(new Set(['bob']))
    const admins = await xms('GET', '/v1/access-tokens/?role=admin', as(admin))
    expect(admins.body.access_tokens).toMatchObject([{ name: 'ci', roles: ['admin'] }])
    for (const unknown of ['&role=emperor', '&user_id=999999', '&user_id=-1']) {
      const answer = await xms('GET', url + unknown, as(admin))
      expect(answer).toMatchObject({ status: 200, body: { access_tokens: [] } })
      expect(answer.headers['x-total-count']).toBe('0')
    }
  })

  it('shows nobody but an administrator the tokens of others', async () => {
    const self = await serialOf(alice.token)
    const other = await serialOf(bob.token)
    const status = async (query: string) =>
      (await xms('GET', `/v1/access-tokens/?${query}`, as(alice.token))).status
    expect(await status(`user_id=${self}`)).toBe(200)
    expect(await status(`user_id=${other}`)).toBe(403)
    // Whether there is such a user makes no difference.
    expect(await status('user_id=999999')).toBe(403)
    expect(await status('all=true')).toBe(403)
    expect(await status(`all=true&user_id=${self}`)).toBe(403)
  })

  it.each([
    'limit=0',
    'limit=-1',
    'limit=1.5',
    'limit=x',
    'limit=',
    'limit=1&limit=2',
    'limit=99999999999999999999',
    'offset=-1',
    'offset=1e3',
    'user_id=x',
    'user_id=1.5',
    'all=yes',
    'all=',
    'all=true&all=true',
    'role=a&role=b',
  ])('refuses %s with 400', async (query) => {
    const answer = await xms('GET', `/v1/access-tokens/?${query}`, as(admin))
    expect(answer).toMatchObject({ status: 400, body: { code: 'InvalidParameter' } })
  })
})
