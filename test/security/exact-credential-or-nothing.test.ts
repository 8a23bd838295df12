import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { logIn } from '../support/people.ts'
import { listen, oneAnswer, sendRaw } from '../support/raw-socket.ts'
import { startServer, type TestServer } from '../support/server.ts'

let server: TestServer
let secrets: Record<string, string>

beforeAll(async () => {
  server = await startServer()
  const alice = await server.makeUser({ username: 'alice' })
  const { session } = await logIn(server, { id: alice.id, username: 'alice' })
  const service = await server.call('POST', '/api/v1/tokens', {
    body: { name: 'service', kind: 'service', ownerId: alice.id },
  })
  server.remember(service.body.secret)
  secrets = {
    api: alice.token,
    session,
    service: service.body.secret,
    chosen: server.adminToken,
  }
})
afterAll(() => server.close())

const asBearer = (value: string) =>
  server.call('GET', '/api/v1/me', {
    token: null,
    headers: { authorization: `Bearer ${value}` },
  })

function mutations(secret: string): string[] {
  const wide = [...secret].map((c) => String.fromCodePoint((c.codePointAt(0) ?? 0) + 0xfee0))
  return [
    ...Array.from({ length: secret.length }, (_, i) => secret.slice(0, i)),
    ...Array.from({ length: secret.length }, (_, i) => secret.slice(i + 1)),
    ...['', ' ', '\t', '\0', '%20', '%00', '=', '==', '\u200b', '\ufeff', ',', '"', ';', '.', '/']
      .filter((affix) => affix !== '')
      .flatMap((affix) => [secret + affix, affix + secret]),
    `${secret} ${secret}`,
    `${secret},${secret}`,
    secret + secret,
    secret.toUpperCase(),
    secret.toLowerCase(),
    wide.join(''),
    `"${secret}"`,
    `Bearer ${secret}`,
    encodeURIComponent(`${secret} `),
    Buffer.from(secret).toString('base64'),
    Buffer.from(secret).toString('hex'),
    `${secret.slice(0, 10)}%${secret.slice(11)}`,
    `${secret.slice(0, 10)}_${secret.slice(11)}`,
  ].filter((text) => text !== secret)
}

test.each(['api', 'session', 'service', 'chosen'])(
  'a %s secret opens the door, and nothing like it does',
  async (kind) => {
    const secret = secrets[kind] ?? ''
    expect((await asBearer(secret)).status).toBe(200)
    const verified = await server.call('POST', '/api/v1/tokens/verify', { body: { token: secret } })
    expect(verified.body.active).toBe(true)
    for (const wrong of mutations(secret)) {
      // A header is bytes: what is beyond Latin-1 travels as UTF-8.
      const { status } = await asBearer(Buffer.from(wrong, 'utf8').toString('latin1'))
      expect(status, JSON.stringify(wrong)).toBe(401)
      const body = { token: wrong }
      const answer = await server.call('POST', '/api/v1/tokens/verify', { body })
      expect(answer.body.active ?? answer.status, JSON.stringify(wrong)).toBe(
        wrong === '' ? 400 : false,
      )
    }
  },
)

test('every single altered character is noticed', async () => {
  const secret = secrets.api ?? ''
  for (let i = 0; i < secret.length; i++) {
    const altered = secret[i] === 'a' ? 'b' : 'a'
    const { status } = await asBearer(secret.slice(0, i) + altered + secret.slice(i + 1))
    expect(status, `position ${i}`).toBe(401)
  }
})

test.each(['Basic', 'bearer:', 'Token', 'Bearer\t', 'BearerBearer', 'Digest', ''])(
  'the scheme "%s" carries nothing',
  async (scheme) => {
    const { status } = await server.call('GET', '/api/v1/me', {
      token: null,
      headers: { authorization: `${scheme} ${secrets.api}`.replace('\t ', '\t') },
    })
    expect(status).toBe(401)
  },
)

test('Basic with the token as user or password carries nothing', async () => {
  for (const pair of [`${secrets.api}:`, `:${secrets.api}`, `token:${secrets.api}`]) {
    const { status } = await server.call('GET', '/api/v1/me', {
      token: null,
      headers: { authorization: `Basic ${Buffer.from(pair).toString('base64')}` },
    })
    expect(status).toBe(401)
  }
})

describe('one credential per request', () => {
  let port: number
  beforeAll(async () => {
    port = await listen(server)
  })
  const get = (...headers: string[]) =>
    sendRaw(
      port,
      ['GET /api/v1/me HTTP/1.1', 'Host: x', ...headers, '', ''].join('\r\n'),
      oneAnswer,
    )

  test('one is enough', async () => {
    expect((await get(`Authorization: Bearer ${secrets.api}`)).statuses).toEqual([200])
  })

  test.each([
    ['two good ones', () => [secrets.api, secrets.session]],
    ['the same twice', () => [secrets.api, secrets.api]],
    ['a good one first', () => [secrets.api, 'wrong']],
    ['a good one last', () => ['wrong', secrets.api]],
    ['a good one in odd case', () => [secrets.api, '']],
  ] as const)('%s in two headers: 401', async (_, values) => {
    const [one, two] = values()
    const { statuses } = await get(`authorization: Bearer ${one}`, `AUTHORIZATION: Bearer ${two}`)
    expect(statuses).toEqual([401])
  })

  test('one header with two: 401', async () => {
    const { statuses } = await get(`Authorization: Bearer ${secrets.api}, Bearer ${secrets.api}`)
    expect(statuses).toEqual([401])
  })
})

describe('no secret is accepted in a URL outside XMS', () => {
  test.each([
    'access_token',
    'token',
    'api_key',
    'apikey',
    'key',
    'auth',
    'authorization',
    'bearer',
    'session',
    'xms-auth-token',
  ])('?%s=', async (parameter) => {
    const secret = encodeURIComponent(server.adminToken)
    for (const path of ['/api/v1/me', '/api/v1/tokens', '/api/auth/v1/userInfo', '/v1/tokens']) {
      const { status } = await server.call('GET', `${path}?${parameter}=${secret}`, { token: null })
      expect(status, path).toBe(401)
    }
  })

  test('in a cookie or a foreign header', async () => {
    for (const [name, value] of Object.entries({
      cookie: `token=${secrets.api}; session=${secrets.api}; XMS_AUTH_TOKEN=${secrets.api}`,
      'x-api-key': secrets.api ?? '',
      'x-auth-token': secrets.api ?? '',
      'xms-auth-token': secrets.api ?? '',
      'proxy-authorization': `Bearer ${secrets.api}`,
    })) {
      const answer = await server.call('GET', '/api/v1/me', {
        token: null,
        headers: { [name]: value },
      })
      expect(answer.status, name).toBe(401)
    }
  })
})
