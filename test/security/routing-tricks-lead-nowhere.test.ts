import { afterAll, beforeAll, expect, test } from 'vitest'
import { listen, sendRaw } from '../support/raw-socket.ts'
import { pathOf, type Route, startWithRoutes } from '../support/routes.ts'
import type { TestServer } from '../support/server.ts'
import { snapshot } from '../support/tables.ts'

let server: TestServer
let routes: Route[]
let port: number
let open: Set<string>

beforeAll(async () => {
  const started = await startWithRoutes()
  server = started.server
  port = await listen(server)
  const guarded: Route[] = []
  open = new Set()
  for (const route of started.routes) {
    const path = pathOf(route.url, () => '018bcfe5-6800-7000-8000-000000000000')
    const { status } = await server.call(route.method, path, { token: null })
    if (status === 401) guarded.push(route)
    else open.add(path)
  }
  routes = guarded
})
afterAll(() => server.close())

const REFUSALS = [400, 401, 404, 405, 415, 501]

function spellings(path: string): string[] {
  const segments = path.split('/').slice(1)
  const last = segments.at(-1) ?? ''
  const upTo = `/${segments.slice(0, -1).join('/')}`
  return [
    `/${path}`,
    `//${path}`,
    `${path}/`,
    `${path}//`,
    `${path};x=1`,
    `${path}%00`,
    `${path}%20`,
    `${path}.`,
    `${path}.json`,
    `${path}?`,
    `${path}#x`,
    `${path}/.`,
    `${path}/../${last}`,
    `/.${path}`,
    `/./${path.slice(1)}`,
    `/a/..${path}`,
    `/a/%2e%2e${path}`,
    `/health/live/../..${path}`,
    `/docs/static/../..${path}`,
    `/docs/static/..%2f..${path}`,
    `/%2f${path.slice(1)}`,
    `${upTo}%2f${last}`,
    `${upTo}%5c${last}`,
    `${upTo}\\${last}`,
    `${upTo}/%${last.charCodeAt(0).toString(16)}${last.slice(1)}`,
    path.toUpperCase(),
    path.replace('/api/', '/API/').replace('/v1/', '/V1/'),
    path.replace(/\/(?=[^/]*$)/, '//'),
    path.replace(/\/(?=[^/]*$)/, '/./'),
    path.replaceAll('/', '\\'),
    encodeURIComponent(path),
  ].filter((each) => each !== path)
}

test('no spelling of a guarded path is answered to an anonymous caller', async () => {
  expect(routes.length).toBeGreaterThan(40)
  for (const { method, url } of routes) {
    const path = pathOf(url, () => '1%2F1')
    for (const spelling of spellings(path)) {
      if (open.has(spelling.split(/[?#]/)[0] ?? '')) continue
      const { status } = await server.call(method, spelling, { token: null })
      expect(REFUSALS, `${method} ${spelling}: ${status}`).toContain(status)
    }
  }
})

test('no method but the registered ones is answered', async () => {
  const before = await snapshot(server)
  for (const url of new Set(routes.map((route) => route.url))) {
    const path = pathOf(url, () => '1')
    if (open.has(path)) continue
    for (const method of ['HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE', 'PROPFIND', 'QUERY']) {
      const { status } = await server.call(method, path, { token: null })
      expect(REFUSALS, `${method} ${path}: ${status}`).toContain(status)
    }
  }
  expect(await snapshot(server)).toEqual(before)
})

test('a method override is not believed', async () => {
  const { id } = await server.makeUser({ username: 'alice' })
  for (const name of ['x-http-method-override', 'x-http-method', 'x-method-override']) {
    for (const method of ['GET', 'POST']) {
      const path = `/api/v1/users/${id}`
      const anonymous = { token: null, headers: { [name]: 'DELETE' } }
      expect([401, 404]).toContain((await server.call(method, path, anonymous)).status)
      await server.call(method, `${path}?_method=DELETE`, { headers: { [name]: 'DELETE' } })
    }
  }
  expect((await server.call('GET', `/api/v1/users/${id}`)).status).toBe(200)
})

test('a forwarded or rewritten path is not believed', async () => {
  for (const name of ['x-original-url', 'x-rewrite-url', 'x-forwarded-uri', 'x-forwarded-prefix']) {
    const headers = { [name]: '/health/live' }
    expect((await server.call('GET', '/api/v1/me', { token: null, headers })).status).toBe(401)
    const inverse = { [name]: '/api/v1/me' }
    const live = await server.call('GET', '/health/live', { token: null, headers: inverse })
    expect(live.body).toEqual({ status: 'live' })
  }
})

test.each([
  'GET http://127.0.0.1/api/v1/me',
  'GET http://evil.example/api/v1/me',
  'GET HTTP://x/api/v1/tokens',
  'GET https://user@x/api/v1/me',
  'GET http://x//api/v1/me',
  'GET /api/v1/me?http://x/health/live',
  'GET /health/live/../../api/v1/me',
  'GET /health/live?/../../api/v1/me',
  'GET //127.0.0.1/api/v1/me',
  'get /api/v1/me',
  'GET /api/v1/me#/health/live',
  'POST http://x/api/v1/users',
  'OPTIONS *',
  'TRACE /api/v1/me',
  'CONNECT 127.0.0.1:80',
  'DELETE http://x/api/v1/users/018bcfe5-6800-7000-8000-000000000000',
])('"%s" on a raw socket', async (target) => {
  const bytes = `${target} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`
  const { statuses, text } = await sendRaw(port, bytes)
  // CONNECT is not answered at all: the connection just ends.
  if (target.startsWith('CONNECT')) expect(text).toBe('')
  else if (target.includes('live?')) expect(text).toContain('{"status":"live"}')
  else for (const status of statuses) expect(REFUSALS).toContain(status)
})
