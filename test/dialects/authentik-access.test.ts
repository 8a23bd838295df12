import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { EVERYTHING, makeToken } from '../support/people.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { base, FAMILIES, type Stage, stage } from './authentik-stage.ts'
import { checked } from './checked.ts'

let server: TestServer
let at: Stage
const ak = checked(() => server, 'authentik')

beforeAll(async () => {
  server = await startServer()
  at = await stage(server)
})
afterAll(() => server.close())

const operations = FAMILIES.flatMap(({ path }) => [
  ['GET', `${base}/${path}/`],
  ['GET', `${base}/${path}/1/`],
  ['DELETE', `${base}/${path}/1/`],
  ['GET', `${base}/${path}/1/used_by/`],
])

describe.each(operations)('%s %s', (method, url) => {
  it.each([
    ['nothing', {}, 'Authentication credentials were not provided.'],
    ['an empty header', { authorization: ' ' }, 'Authentication credentials were not provided.'],
    ['a one-word header', { authorization: 'Bearer' }, 'Malformed header'],
    ['a bare token', { authorization: 'x'.repeat(40) }, 'Malformed header'],
    ['three words', { authorization: 'Bearer a b' }, 'Malformed header'],
    ['another scheme', { authorization: 'Basic YTpi' }, 'Unsupported authentication type'],
    ['an unknown token', { authorization: `Bearer ${'x'.repeat(40)}` }, 'Token invalid/expired'],
    ['garbage', { authorization: 'Bearer ,' }, 'Token invalid/expired'],
    ['a JWT of nobody', { authorization: 'Bearer eyJ.e30.x' }, 'Token invalid/expired'],
  ])('refuses %s with 403', async (_, headers, detail) => {
    const answer = await ak(method, url, { token: null, headers })
    expect(answer).toMatchObject({ status: 403, body: { detail } })
    expect(answer.headers['content-type']).toBe('application/json')
    expect(answer.headers['www-authenticate']).toBeUndefined()
  })
})

it('takes no token from query, cookie or another header', async () => {
  const token = server.adminToken
  const url = `${base}/refresh_tokens/`
  for (const [query, headers] of [
    [`?token=${token}`, {}],
    [`?access_token=${token}`, {}],
    ['', { cookie: `authentik_session=${token}; XMS_AUTH_TOKEN=${token}` }],
    ['', { 'xms-auth-token': token }],
  ] as [string, Record<string, string>][]) {
    expect((await ak('GET', url + query, { token: null, headers })).status).toBe(403)
  }
})

it('takes the scheme in any case, with spaces around', async () => {
  for (const scheme of ['bearer', 'BEARER', '  Bearer ']) {
    const headers = { authorization: `${scheme} ${server.adminToken} ` }
    expect((await ak('GET', `${base}/refresh_tokens/`, { token: null, headers })).status).toBe(200)
  }
})

describe('a token that has ended', () => {
  it.each(['revoked', 'expired', 'of a disabled user'])('%s opens nothing', async (how) => {
    const { id, token } = await server.makeUser({ username: `ended-${how.replaceAll(' ', '-')}` })
    const expiresAt = new Date(server.clock.now() + 60_000).toISOString()
    const held = await makeToken(server, { ownerId: id, ...EVERYTHING, expiresAt })
    const list = () => ak('GET', `${base}/refresh_tokens/`, { token: held.secret })
    expect((await list()).status).toBe(200)
    if (how === 'revoked') await server.call('POST', `/api/v1/tokens/${held.id}/revoke`)
    if (how === 'expired') server.clock.advance(60_001)
    if (how.includes('user')) {
      await server.call('PATCH', `/api/v1/users/${id}`, { body: { active: false } })
    }
    expect(await list()).toMatchObject({ status: 403, body: { detail: 'Token invalid/expired' } })
    expect(token).not.toBe(held.secret)
  })
})

describe('an OAuth access token', () => {
  const ask = (token: string) => ak('GET', `${base}/access_tokens/`, { token })

  it.each(['goauthentik.io/api', 'mintmark'])(
    'with the scope %s acts as its user',
    async (scope) => {
      const { pk, secret } = await at.give({ kind: 'oauth_access', scopes: ['openid', scope] })
      const answer = await ask(secret)
      expect(answer.status).toBe(200)
      expect(answer.body.results.map((each: { user: { pk: number } }) => each.user.pk)).toContain(
        at.alice.pk,
      )
      const url = `${base}/access_tokens/${pk}/`
      expect((await ak('DELETE', url, { token: secret })).status).toBe(204)
      expect((await ask(secret)).status).toBe(403)
    },
  )

  it('without it is refused with 403', async () => {
    const { secret } = await at.give({ kind: 'oauth_access', scopes: ['openid', 'profile'] })
    expect(await ask(secret)).toMatchObject({
      status: 403,
      body: { detail: 'Token invalid/expired' },
    })
  })

  it('of an administrator sees everything', async () => {
    const { body } = await server.call('GET', '/api/v1/me')
    const scopes = ['goauthentik.io/api']
    const { secret } = await at.give({ kind: 'oauth_access', ownerId: body.user.id, scopes })
    const theirs = await at.give({ kind: 'oauth_access', ownerId: at.bob.id })
    const answer = await ask(secret)
    expect(answer.body.results.map((each: { pk: number }) => each.pk)).toContain(theirs.pk)
  })

  it('is the only grant that opens anything', async () => {
    for (const kind of ['oauth_refresh', 'oauth_code'] as const) {
      const { secret } = await at.give({ kind, scopes: ['goauthentik.io/api'] })
      expect((await ask(secret)).status).toBe(403)
    }
  })
})

describe('deleting', () => {
  it.each(FAMILIES)('$path of one’s own is everybody’s right', async ({ path, kind }) => {
    const { pk } = await at.give({ kind })
    const url = `${base}/${path}/${pk}/`
    expect((await ak('DELETE', url, { token: at.alice.token })).status).toBe(204)
  })

  it.each(FAMILIES)('$path is refused to READ_ONLY tokens', async ({ path, kind }) => {
    const own = { ...EVERYTHING, accessLevel: 'READ_ONLY', ownerId: at.alice.id }
    const readers = [
      await makeToken(server, { ...EVERYTHING, accessLevel: 'READ_ONLY' }),
      await makeToken(server, own),
    ]
    const { pk } = await at.give({ kind })
    for (const { secret } of readers) {
      const url = `${base}/${path}/${pk}/`
      expect(await ak('DELETE', url, { token: secret })).toMatchObject({
        status: 403,
        body: { detail: 'You do not have permission to perform this action.' },
      })
      expect((await ak('GET', url, { token: secret })).status).toBe(200)
    }
  })

  it('an administrator’s token without the admin role reaches only the own', async () => {
    const narrow = await makeToken(server, { ...EVERYTHING, roles: [] })
    const { pk } = await at.give({ kind: 'oauth_refresh' })
    const url = `${base}/refresh_tokens/${pk}/`
    expect((await ak('DELETE', url, { token: narrow.secret })).status).toBe(404)
    expect((await ak('GET', url)).status).toBe(200)
  })
})

describe('what there is no operation for', () => {
  const paths = (pk: number) =>
    FAMILIES.flatMap(({ path }) => [
      [`${base}/${path}/`, 'GET, HEAD, OPTIONS'],
      [`${base}/${path}/${pk}/`, 'GET, DELETE, HEAD, OPTIONS'],
      [`${base}/${path}/${pk}/used_by/`, 'GET, HEAD, OPTIONS'],
    ])

  it.each(['POST', 'PUT', 'PATCH', 'TRACE'])('%s is 405, and 403 for nobody', async (method) => {
    for (const [url = '', allow] of paths(1)) {
      const body = method === 'TRACE' ? {} : { body: { revoked: true } }
      const answer = await server.call(method, url, body)
      expect(answer).toMatchObject({
        status: 405,
        body: { detail: `Method "${method}" not allowed.` },
      })
      expect(answer.headers.allow).toBe(allow)
      expect(answer.headers['content-type']).toBe('application/json')
      expect((await server.call(method, url, { token: null })).status).toBe(403)
    }
  })

  it('DELETE of a list is 405', async () => {
    for (const { path } of FAMILIES) {
      expect((await server.call('DELETE', `${base}/${path}/`)).status).toBe(405)
      expect((await server.call('DELETE', `${base}/${path}/1/used_by/`)).status).toBe(405)
    }
  })

  it('OPTIONS describes the path', async () => {
    for (const [url = '', allow] of paths(1)) {
      const answer = await server.call('OPTIONS', url)
      expect(answer).toMatchObject({ status: 200, body: { renders: ['application/json'] } })
      expect(answer.headers.allow).toBe(allow)
      expect((await server.call('OPTIONS', url, { token: null })).status).toBe(403)
    }
  })

  it('HEAD is GET without its body', async () => {
    const { pk } = await at.give({ kind: 'oauth_code' })
    const url = `${base}/authorization_codes/${pk}/`
    const [get, head] = [await server.call('GET', url), await server.call('HEAD', url)]
    expect(head).toMatchObject({ status: 200, text: '' })
    for (const name of ['content-type', 'content-length']) {
      expect(head.headers[name]).toBe(get.headers[name])
    }
  })

  it.each([
    `${base}/refresh_tokens`,
    `${base}/refresh_tokens/1`,
    `${base}/refresh_tokens/1/used_by`,
    `${base}/refresh_tokens/1/used_by/2/`,
    `${base}/device_codes/`,
    `${base}/`,
    '/api/v3/core/tokens/',
    '/api/v3/',
    '/api/v3',
  ])('%s leads nowhere', async (url) => {
    for (const method of ['GET', 'DELETE', 'POST']) {
      const answer = await server.call(method, url)
      expect(answer).toMatchObject({ status: 404, body: { detail: 'Not found.' } })
      expect(answer.headers['content-type']).toBe('application/json')
    }
  })

  it('a path that does not decode is refused in shape', async () => {
    const answer = await server.call('GET', '/api/v3/oauth2/%ZZ/')
    expect(answer).toMatchObject({ status: 400, body: { detail: expect.any(String) } })
    expect(answer.headers['content-type']).toBe('application/json')
  })

  it('a body that is no JSON is 400, one of another type 415', async () => {
    const { pk } = await at.give({ kind: 'oauth_code' })
    const url = `${base}/authorization_codes/${pk}/`
    const bad = await server.call('DELETE', url, { rawBody: '{"a":' })
    expect(bad).toMatchObject({
      status: 400,
      body: { detail: expect.stringMatching(/^JSON parse error - /) },
    })
    const headers = { 'content-type': 'application/x-www-form-urlencoded' }
    const form = await server.call('DELETE', url, { rawBody: 'a=1', headers })
    expect(form).toMatchObject({
      status: 415,
      body: { detail: expect.stringMatching(/^Unsupported media type/) },
    })
    expect((await ak('GET', url)).status).toBe(200)
  })
})

it.each(['text/html', 'application/xml', 'nonsense', ''])(
  'answers JSON to Accept: %s',
  async (accept) => {
    const answer = await ak('GET', `${base}/refresh_tokens/`, { headers: { accept } })
    expect(answer.status).toBe(200)
  },
)
