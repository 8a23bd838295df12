import { afterAll, beforeAll, expect, it } from 'vitest'
import { startServer, type TestServer } from '../support/server.ts'
import { checked } from './checked.ts'

let server: TestServer
const xms = checked(() => server, 'xms')

/** Secrets of two access tokens of the same admin. */
let secret: string
let other: string

async function makeSecret(name: string): Promise<string> {
  const body = { access_token: { name, roles: ['admin'] } }
  const answer = await xms('POST', '/v1/access-tokens/', { body })
  server.remember(answer.body.access_token.uuid)
  return answer.body.access_token.uuid
}

interface Channels {
  header?: string
  query?: string
  cookie?: string
  bearer?: string
  headers?: Record<string, string>
}

/** GETs a token with the credential where the client at hand puts it. */
async function statusWith({ header, query, cookie, bearer, headers }: Channels): Promise<number> {
  const url = query === undefined ? '/v1/access-tokens/1' : `/v1/access-tokens/1?token=${query}`
  const answer = await xms('GET', url, {
    token: bearer ?? null,
    headers: {
      'content-type': 'application/json',
      ...(header === undefined ? {} : { 'xms-auth-token': header }),
      ...(cookie === undefined ? {} : { cookie: `XMS_AUTH_TOKEN=${cookie}` }),
      ...headers,
    },
  })
  return answer.status
}

beforeAll(async () => {
  server = await startServer()
  secret = await makeSecret('one')
  other = await makeSecret('other')
})
afterAll(() => server.close())

it('takes the credential from the header, the query, the cookie and Authorization', async () => {
  const ways: Channels[] = [
    { header: secret },
    { header: `Bearer ${secret}` },
    { query: secret },
    { cookie: secret },
    { cookie: `${secret}; theme=dark` },
    { bearer: secret },
    // The official Go client.
    { header: secret, query: secret },
    { header: secret, query: secret, cookie: secret, bearer: secret },
    { header: server.adminToken },
  ]
  for (const way of ways) expect(await statusWith(way)).toBe(200)
})

it('refuses different credentials, whichever of them are good', async () => {
  const ways: Channels[] = [
    { header: secret, query: other },
    { header: secret, query: '' },
    { header: 'x', query: secret },
    { header: secret, cookie: other },
    { query: secret, cookie: other },
    { header: secret, bearer: other },
    { header: `${secret}, ${secret}` },
    { query: `${secret}&token=${secret}` },
    { cookie: `${secret}; XMS_AUTH_TOKEN=${secret}` },
    { header: secret, headers: { authorization: 'Basic eDp5' } },
  ]
  for (const way of ways) expect(await statusWith(way)).toBe(401)
})

it('refuses everything that is not exactly a credential', async () => {
  const spellings = [
    '',
    'Bearer',
    'Bearer ',
    secret.toUpperCase(),
    secret.slice(1),
    `${secret}0`,
    ` ${secret}`.replace(' ', '\u00a0'),
    `Bearer Bearer ${secret}`,
    `${secret}%00`,
    '[object Object]',
  ]
  for (const header of spellings) {
    expect(await statusWith({ header })).toBe(401)
    expect(await statusWith({ query: encodeURIComponent(header) })).toBe(401)
  }
  expect(await statusWith({})).toBe(401)
})

it('refuses a cookie that a browser was made to send by another site', async () => {
  const sent = (headers: Record<string, string>, more: Channels = {}) =>
    statusWith({ cookie: secret, ...more, headers })
  expect(await sent({ 'sec-fetch-site': 'same-origin' })).toBe(200)
  expect(await sent({ 'sec-fetch-site': 'none' })).toBe(200)
  expect(await sent({ host: 'tokens.example', origin: 'http://tokens.example' })).toBe(200)
  expect(await sent({ 'sec-fetch-site': 'cross-site' })).toBe(401)
  expect(await sent({ 'sec-fetch-site': 'same-site' })).toBe(401)
  expect(await sent({ host: 'tokens.example', origin: 'https://evil.example' })).toBe(401)
  expect(await sent({ origin: 'null' })).toBe(401)
  // A header cannot be sent without being meant.
  expect(await sent({ 'sec-fetch-site': 'cross-site' }, { header: secret })).toBe(200)
})

it('never logs the query', async () => {
  await xms('GET', `/v1/access-tokens/?token=${secret}&all=true`, { token: null })
  await xms('POST', `/v1/access-tokens:validate?subject_access_token=${other}&token=${secret}`, {
    token: null,
  })
  await xms('GET', '/v1/access-tokens/?token=what-somebody-mistyped', { token: null })
  await server.call('GET', `/v1/access-tokens/nowhere?token=${secret}`, { token: null })
  const log = server.logLines().join('')
  for (const text of [secret, other, 'what-somebody-mistyped', '?token', 'subject_access_token']) {
    expect(log).not.toContain(text)
  }
  expect(log).toContain('"route":"/v1/access-tokens::validate"')
})

it('takes nothing from the query where the operator switched that off', async () => {
  const strict = await startServer({ MINTMARK_XMS_QUERY_TOKEN: 'false' })
  const token = strict.adminToken
  const call = checked(() => strict, 'xms')
  const url = '/v1/access-tokens/1'
  const query = `${url}?token=${encodeURIComponent(token)}`
  const inHeader = { token: null, headers: { 'xms-auth-token': token } }
  expect((await call('GET', url, inHeader)).status).toBe(200)
  const refusals = [await call('GET', query, { token: null }), await call('GET', query, inHeader)]
  for (const refusal of refusals) {
    expect(refusal.status).toBe(401)
    expect(refusal.body.message).toContain('Xms-Auth-Token')
  }
  await strict.close()
})
