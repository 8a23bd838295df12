import { afterAll, beforeAll, expect, test } from 'vitest'
import { makeToken } from '../support/people.ts'
import { isOauth, pathOf, type Route, startWithRoutes } from '../support/routes.ts'
import type { TestServer } from '../support/server.ts'

let server: TestServer
let routes: Route[]

beforeAll(async () => {
  const started = await startWithRoutes()
  server = started.server
  routes = started.routes.filter((route) => !route.url.startsWith('/docs') && !isOauth(route))
})
afterAll(() => server.close())

const NOBODY = '01b8dac5-b400-7000-8000-000000000000'

async function eachAnswer(
  headers: Record<string, string>,
  look: (answer: Awaited<ReturnType<TestServer['call']>>, where: string) => void,
) {
  const { secret } = await makeToken(server, { accessLevel: 'READ_ONLY', roles: ['admin'] })
  for (const { method, url } of routes) {
    for (const token of [null, secret]) {
      const path = pathOf(url, (name) => (name === 'id' && url.includes('(') ? '1' : NOBODY))
      const where = `${method} ${path}`
      if (where.endsWith('/self/revoke')) continue
      look(await server.call(method, path, { token, headers }), where)
    }
  }
}

test('no answer may be cached', async () => {
  await eachAnswer({}, ({ headers }, where) => {
    expect(headers['cache-control'], where).toBe('no-store')
    expect(headers.etag, where).toBeUndefined()
  })
})

test.each([
  'https://evil.example',
  'null',
  'http://127.0.0.1:8080',
  'http://127.0.0.1:8080.evil.example',
  'file://',
])('no other site may read an answer: Origin %s', async (origin) => {
  await eachAnswer({ origin }, ({ headers }, where) => {
    const cors = Object.keys(headers).filter((name) => name.startsWith('access-control-'))
    expect(cors, where).toEqual([])
  })
  for (const { url } of routes) {
    const { status } = await server.call(
      'OPTIONS',
      pathOf(url, () => '1'),
      {
        token: null,
        headers: { origin, 'access-control-request-method': 'DELETE' },
      },
    )
    // authentik says 403 to strangers.
    expect([400, 401, 403, 404], url).toContain(status)
  }
})

test('every answer has the headers that keep a browser from guessing', async () => {
  await eachAnswer({}, ({ headers }, where) => {
    expect(headers, where).toMatchObject({
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
      'content-security-policy': expect.stringContaining("default-src 'none'"),
      'cross-origin-resource-policy': 'same-origin',
    })
    for (const name of ['server', 'x-powered-by', 'via', 'set-cookie']) {
      expect(headers[name], where).toBeUndefined()
    }
  })
})

test('Host and its friends are in no answer', async () => {
  const lies = {
    host: 'evil.example',
    'x-forwarded-host': 'evil.example',
    'x-forwarded-proto': 'javascript',
    'x-forwarded-prefix': '/evil.example',
    forwarded: 'host=evil.example;proto=https',
    referer: 'https://evil.example/',
  }
  await eachAnswer(lies, ({ headers, text }, where) => {
    expect(JSON.stringify(headers) + text, where).not.toContain('evil.example')
  })
  for (const path of ['/docs', '/docs/', '/docs/static/index.html', '/docs/json']) {
    const { headers, text } = await server.call('GET', path, { headers: lies })
    expect(JSON.stringify(headers) + text, path).not.toContain('evil.example')
  }
})
