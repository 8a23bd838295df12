import { afterAll, beforeAll, expect, test } from 'vitest'
import { pathOf, type Route, startWithRoutes } from '../support/routes.ts'
import type { TestServer } from '../support/server.ts'
import { snapshot } from '../support/tables.ts'

/**
 * Every route that answers without a credential, and why. A route that is not in here must say 401;
 * adding one is a decision that a reviewer sees.
 */
const OPEN: Record<string, string[]> = {
  'probes and figures': ['GET /health/live', 'GET /health/ready', 'GET /metrics'],
  'the reference': [
    'GET /api/openapi.json',
    'GET /docs',
    'GET /docs/',
    'GET /docs/json',
    'GET /docs/yaml',
    'GET /docs/static/*',
    'GET /docs/static/index.html',
    'GET /docs/static/swagger-initializer.js',
    'GET /docs/static/theme/ours.css',
  ],
  'doors that take a password or a token in their body': [
    'POST /api/v1/login',
    'POST /v1/auth/tokens',
    'POST /v1/auth/tokens::login',
    'POST /v1/auth/rsa-keys',
  ],
  'what services check signed tokens with': [
    'GET /.well-known/mintmark/jwks.json',
    'GET /api/v1/revocations',
  ],
  'what clients and browsers ask an OpenID provider': [
    'GET /.well-known/openid-configuration',
    'GET /.well-known/oauth-authorization-server',
    'GET /oauth2/jwks',
    'GET /oauth2/authorize',
    'POST /oauth2/authorize',
    'GET /oauth2/authorize/:uid',
    'POST /oauth2/token',
    'GET /oauth2/userinfo',
    'POST /oauth2/userinfo',
    'POST /oauth2/par',
    'POST /oauth2/device',
    'GET /oauth2/session/end',
    'POST /oauth2/session/end',
    'GET /oauth2/session/end/success',
    'POST /oauth2/session/end/confirm',
    'GET /device',
    'POST /device',
    'GET /device/:uid',
    'GET /oauth2/interaction/:uid',
    'POST /oauth2/interaction/:uid',
    'GET /',
    'GET /account/grants',
    'POST /account/grants',
    'POST /account/login',
    ...['introspect', 'revoke'].flatMap((door) =>
      ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'].map((method) => `${method} /oauth2/${door}`),
    ),
    ...['token', 'userinfo', 'par', 'device', 'jwks', 'revoke'].map(
      (door) => `OPTIONS /oauth2/${door}`,
    ),
    'OPTIONS /.well-known/openid-configuration',
    'OPTIONS /.well-known/oauth-authorization-server',
  ],
  'what S7 clients call before they have a token': ['v1', 'v2'].flatMap((version) =>
    [
      'GET /health/liveness',
      'GET /health/readiness',
      'GET /publicKey',
      'POST /refresh',
      'POST /login',
      'GET /login',
      'GET /loginGoogle',
      'GET /authGoogle',
      'GET /authSso',
    ].map((route) => route.replace('/', `/api/auth/${version}/`)),
  ),
}

let server: TestServer
let routes: Route[]
let victim: string

beforeAll(async () => {
  const started = await startWithRoutes()
  server = started.server
  routes = started.routes
  victim = (await server.makeUser({ username: 'victim', globalRole: 'ADMIN' })).id
})
afterAll(() => server.close())

const open = new Set(Object.values(OPEN).flat())
const isOpen = ({ method, url }: Route) => open.has(`${method === 'HEAD' ? 'GET' : method} ${url}`)

test('every route but the listed ones says 401, whatever is sent', async () => {
  const guarded = routes.filter((route) => !isOpen(route))
  expect(guarded.length).toBeGreaterThan(40)
  const before = await snapshot(server)
  const bodies = [
    undefined,
    {},
    { userId: victim },
    { userId: victim, username: 'victim', user: { id: victim }, ownerId: victim },
    { auth: { identity: { password: { user: { name: 'victim', password: 'x' } } } } },
    { name: 'x', token: server.adminToken, access_token: server.adminToken },
  ]
  // A parameter with a pattern is a number; anything else there is no such path.
  const paths = (url: string) =>
    (url.includes('(') ? ['1'] : ['1', victim]).map((value) => pathOf(url, () => value))
  for (const { method, url } of guarded) {
    for (const path of paths(url)) {
      for (const body of bodies) {
        const options = { token: null, ...(body === undefined ? {} : { body }) }
        const { status, headers } = await server.call(method, path, options)
        // authentik's clients know a 403 that names no scheme.
        const isAuthentik = url.startsWith('/api/v3/')
        const refusal = isAuthentik ? 403 : 401
        expect(status, `${method} ${path} ${JSON.stringify(body)}`).toBe(refusal)
        if (isAuthentik) expect(headers['www-authenticate'], path).toBeUndefined()
        else expect(headers['www-authenticate'], path).toMatch(/^Bearer/)
      }
    }
  }
  expect(await snapshot(server)).toEqual(before)
})

test('the list names only routes that there are', () => {
  const there = new Set(routes.map(({ method, url }) => `${method.replace('HEAD', 'GET')} ${url}`))
  expect([...open].filter((route) => !there.has(route))).toEqual([])
})

test('an open route shows nothing of anybody', async () => {
  for (const { method, url } of routes.filter(isOpen)) {
    if (method !== 'GET' || url.startsWith('/docs/static')) continue
    const { text } = await server.call('GET', url, { token: null })
    expect(text.includes(victim) || text.includes('victim'), url).toBe(false)
  }
})
