import { afterEach, describe, expect, test } from 'vitest'
import { makeToken } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { startServer, type TestServer } from '../support/server.ts'

let server: TestServer
afterEach(() => server.close())

const PROXY = '10.0.0.7'
const behindProxy = () =>
  startServer({ MINTMARK_TRUSTED_PROXIES: '10.0.0.0/24', MINTMARK_LOGIN_RATE_LIMIT: '2' })

/** The address that the audit trail has for a change made from `peer` with these headers. */
async function addressSeen(peer: string, headers: Record<string, string>): Promise<string> {
  const { statusCode, headers: answered } = await server.app.server.inject({
    method: 'PATCH',
    url: '/api/v1/policy',
    remoteAddress: peer,
    headers: { authorization: `Bearer ${server.adminToken}`, ...headers },
    payload: {},
  })
  expect(statusCode).toBe(200)
  const { body } = await server.call('GET', '/api/v1/audit?limit=1')
  expect(body.items[0].requestId).toBe(answered['x-request-id'])
  return body.items[0].ip
}

const forwarded = (value: string) => ({ 'x-forwarded-for': value })

describe('X-Forwarded-For', () => {
  test('is not believed by default, from anybody', async () => {
    server = await startServer()
    for (const peer of ['192.0.2.1', '127.0.0.1', PROXY]) {
      expect(await addressSeen(peer, forwarded('1.2.3.4'))).toBe(peer)
      expect(await addressSeen(peer, { forwarded: 'for=1.2.3.4' })).toBe(peer)
      expect(await addressSeen(peer, { 'x-real-ip': '1.2.3.4' })).toBe(peer)
    }
  })

  test('is believed from the configured proxies only, and only as far as they vouch', async () => {
    server = await behindProxy()
    expect(await addressSeen('192.0.2.1', forwarded('1.2.3.4'))).toBe('192.0.2.1')
    expect(await addressSeen(PROXY, forwarded('1.2.3.4'))).toBe('1.2.3.4')
    expect(await addressSeen(PROXY, forwarded('2001:db8::9'))).toBe('2001:db8::9')
    // What the client itself put in front is not what the proxy saw.
    expect(await addressSeen(PROXY, forwarded('127.0.0.1, 1.2.3.4'))).toBe('1.2.3.4')
    expect(await addressSeen(PROXY, forwarded('1.2.3.4, 10.0.0.8'))).toBe('1.2.3.4')
    expect(await addressSeen(`::ffff:${PROXY}`, forwarded('1.2.3.4'))).toBe('1.2.3.4')
    const many = Array.from({ length: 2000 }, () => '127.0.0.1').join(',')
    expect(await addressSeen(PROXY, forwarded(`${many},1.2.3.4`))).toBe('1.2.3.4')
  })

  test.each([
    'a',
    '',
    ',',
    'unknown',
    '1.2.3.4:5678',
    '999.1.1.1',
    "' or 1=1",
    '<script>',
    '1.2.3',
  ])('"%s" is no address: the peer itself counts', async (value) => {
    server = await behindProxy()
    expect(await addressSeen(PROXY, forwarded(value))).toBe(PROXY)
  })
})

test('a token limited to addresses is not opened by a forged one', async () => {
  server = await behindProxy()
  const { secret } = await makeToken(server, { allowedIps: ['10.9.0.0/16'] })
  const status = async (peer: string, headers: Record<string, string>) => {
    const { statusCode } = await server.app.server.inject({
      method: 'GET',
      url: '/api/v1/me',
      remoteAddress: peer,
      headers: { authorization: `Bearer ${secret}`, ...headers },
    })
    return statusCode
  }
  expect(await status('10.9.1.1', {})).toBe(200)
  expect(await status('::ffff:10.9.1.1', {})).toBe(200)
  expect(await status(PROXY, forwarded('10.9.1.1'))).toBe(200)
  expect(await status('192.0.2.1', forwarded('10.9.1.1'))).toBe(401)
  expect(await status(PROXY, forwarded('10.9.1.1, 192.0.2.1'))).toBe(401)
  expect(await status(PROXY, forwarded('nonsense'))).toBe(401)
  expect(await status('192.0.2.1', { forwarded: 'for=10.9.1.1' })).toBe(401)
})

test('the limit of logins per address counts the real one, and says when to come back', async () => {
  server = await behindProxy()
  const login = async (peer: string, headers: Record<string, string> = {}) => {
    const answer = await server.app.server.inject({
      method: 'POST',
      url: '/api/v1/login',
      remoteAddress: peer,
      headers,
      payload: { username: 'nobody', password: 'wrong' },
    })
    return {
      status: answer.statusCode,
      headers: answer.headers,
      text: answer.body,
      body: answer.json(),
    }
  }
  for (let i = 0; i < 2; i++) {
    expect((await login('192.0.2.1', forwarded(`203.0.113.${i}`))).status).toBe(401)
  }
  expectProblem(await login('192.0.2.1', forwarded('203.0.113.9')), 429, 'too_many_requests')
  expect((await login('192.0.2.2')).status).toBe(401)
  for (let i = 0; i < 2; i++) expect((await login(PROXY, forwarded('5.6.7.8'))).status).toBe(401)
  expect((await login(PROXY, forwarded('5.6.7.8'))).status).toBe(429)
  expect((await login(PROXY, forwarded('5.6.7.9'))).status).toBe(401)
})
