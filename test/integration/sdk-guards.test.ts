import { createServer, type RequestListener, request as rawRequest } from 'node:http'
import type { AddressInfo } from 'node:net'
import { serve } from '@hono/node-server'
import { getConnInfo } from '@hono/node-server/conninfo'
import {
  cachedVerifier,
  createClient,
  MintmarkError,
  offlineVerifier,
  type Verifier,
  verdictOf,
} from '@mintmark/sdk'
import { guard as expressGuard } from '@mintmark/sdk/express'
import { guard as fastifyGuard } from '@mintmark/sdk/fastify'
import { guard as honoGuard, type MintmarkVariables } from '@mintmark/sdk/hono'
import { guard as nextGuard } from '@mintmark/sdk/next'
import express from 'express'
import fastify from 'fastify'
import { type Context, Hono } from 'hono'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { makeGroup, makeRole, makeToken } from '../support/people.ts'
import { startServer, type TestServer } from '../support/server.ts'

const AUDIENCE = 'https://builds.example.com'
const NOBODY = `mm_api_${'0'.repeat(49)}`

/** A service with three guarded routes; each answers who is let in. */
interface Service {
  send(
    path: string,
    init?: { method?: string; headers?: Record<string, string> },
  ): Promise<Response>
  close(): Promise<void>
}

let server: TestServer
let issuer: string
/** READ_ONLY and bare; may build and change things, and is in the crew; the same, from 127.0.0.1 alone. */
let reader: string
let builder: string
let local: string
const failures: unknown[] = []
const onUnavailable = (error: unknown) => failures.push(error)

beforeAll(async () => {
  const port = 20_000 + Math.floor(Math.random() * 20_000)
  issuer = `http://127.0.0.1:${port}`
  const clock = { now: () => Date.now(), advance: () => undefined }
  server = await startServer({ MINTMARK_PUBLIC_URL: issuer }, { clock })
  await server.app.server.listen({ host: '127.0.0.1', port })
  await makeRole(server, 'builder', ['build', 'deploy'])
  const alice = await server.makeUser({ username: 'alice', roles: ['builder'] })
  await makeGroup(server, 'crew', { [alice.id]: 'WRITE' })
  const token = async (wish: object) =>
    (await makeToken(server, { ownerId: alice.id, expiresAt: null, ...wish })).secret
  const strong = {
    accessLevel: 'FULL_ACCESS',
    scopes: ['build'],
    roles: ['builder'],
    groups: [{ group: 'crew', mode: 'WRITE' }],
  }
  reader = await token({ scopes: ['build'] })
  builder = await token(strong)
  local = await token({ ...strong, allowedIps: ['127.0.0.0/8'] })
})
afterAll(() => server.close())

async function listening(listener: RequestListener): Promise<Service> {
  const http = createServer(listener)
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
  return serviceAt(http)
}

function serviceAt(http: {
  address(): AddressInfo | string | null
  close(done: () => void): unknown
}): Service {
  const { port } = http.address() as AddressInfo
  return {
    send: (path, init) => fetch(`http://127.0.0.1:${port}${path}`, init),
    close: () => new Promise((resolve) => http.close(() => resolve())),
  }
}

function onExpress(verifier: Verifier): Promise<Service> {
  const app = express()
  const answer = (request: express.Request, response: express.Response) => {
    expect(request.mintmark).toBe(verdictOf(request))
    response.json(request.mintmark?.owner.username)
  }
  app.get('/builds', expressGuard(verifier, { onUnavailable }), answer)
  app.post('/builds', expressGuard(verifier, { scopes: ['build'] }), answer)
  const group = ({ params }: { params: Readonly<Record<string, string | string[]>> }) =>
    String(params.team)
  app.get('/teams/:team', expressGuard(verifier, { group, mode: 'WRITE' }), answer)
  return listening(app)
}

async function onFastify(verifier: Verifier): Promise<Service> {
  const app = fastify()
  const answer = async (request: object) => JSON.stringify(verdictOf(request).owner.username)
  app.get('/builds', { onRequest: fastifyGuard(verifier, { onUnavailable }) }, answer)
  app.post('/builds', { onRequest: fastifyGuard(verifier, { scopes: ['build'] }) }, answer)
  const ofTeam = fastifyGuard(verifier, {
    group: ({ params }) => (params as { team: string }).team,
    mode: 'WRITE',
  })
  app.get('/teams/:team', { onRequest: ofTeam }, answer)
  await app.listen({ host: '127.0.0.1', port: 0 })
  return { ...serviceAt(app.server), close: () => app.close() }
}

async function onHono(verifier: Verifier): Promise<Service> {
  const ip = (c: Context) => getConnInfo(c).remote.address
  const app = new Hono<{ Variables: MintmarkVariables }>()
  app.get('/builds', honoGuard(verifier, { ip, onUnavailable }), (c) =>
    c.json(c.get('mintmark').owner.username),
  )
  app.post('/builds', honoGuard(verifier, { ip, scopes: ['build'] }), (c) =>
    c.json(c.get('mintmark').owner.username),
  )
  app.get(
    '/teams/:team',
    honoGuard(verifier, { group: (c: Context) => c.req.param('team'), mode: 'WRITE' }),
    (c) => c.json(c.get('mintmark').owner.username),
  )
  return new Promise((resolve) => {
    const http = serve({ fetch: app.fetch, hostname: '127.0.0.1', port: 0 }, () =>
      resolve(serviceAt(http)),
    )
  })
}

/** A route handler of Next.js is a function of a Request, so no Next.js is needed. */
async function onNext(verifier: Verifier): Promise<Service> {
  interface Context {
    params: Promise<{ team?: string }>
  }
  const ip = () => '127.0.0.1'
  const answer = (_: Request, { owner }: { owner: { username: string } }) =>
    Response.json(owner.username)
  const team = (request: Request) => new URL(request.url).pathname.split('/')[2]
  const routes: Record<string, (request: Request, context: Context) => Promise<Response>> = {
    'GET /builds': nextGuard(verifier, { ip, onUnavailable }, answer),
    'POST /builds': nextGuard(verifier, { ip, scopes: ['build'] }, answer),
    'GET /teams': nextGuard(verifier, { group: team, mode: 'WRITE' }, answer),
  }
  return {
    async send(path, init) {
      const request = new Request(`https://builds.example.com${path}`, init)
      const [, first] = new URL(request.url).pathname.split('/')
      const route = routes[`${request.method} /${first}`]
      return route?.(request, { params: Promise.resolve({}) }) ?? new Response(null)
    },
    async close() {},
  }
}

const frameworks = [
  ['Express', onExpress],
  ['Fastify', onFastify],
  ['Hono', onHono],
  ['Next.js', onNext],
] as const

const bearer = (token: string) => ({ headers: { authorization: `Bearer ${token}` } })
const online = (fetch?: typeof globalThis.fetch): Verifier =>
  createClient({
    url: issuer,
    token: server.adminToken,
    timeoutMs: 5000,
    ...(fetch === undefined ? {} : { fetch }),
  }).tokens

describe.each(frameworks)('a guard on %s', (_, start) => {
  let service: Service
  beforeAll(async () => {
    service = await start(online())
  })
  afterAll(() => service.close())

  it('lets in who may, and says who it is', async () => {
    for (const init of [bearer(reader), bearer(builder), bearer(local)]) {
      const answer = await service.send('/builds', init)
      expect(answer.status).toBe(200)
      expect(await answer.json()).toBe('alice')
    }
    const built = await service.send('/builds', { method: 'POST', ...bearer(builder) })
    expect(built.status).toBe(200)
    expect((await service.send('/teams/crew', bearer(builder))).status).toBe(200)
  })

  it('asks for a token where there is none: 401 without an error', async () => {
    for (const headers of [{}, { authorization: 'Basic YWxpY2U6eA==' }] as Record<
      string,
      string
    >[]) {
      const answer = await service.send('/builds', { headers })
      expect(answer.status).toBe(401)
      expect(answer.headers.get('www-authenticate')).toBe('Bearer realm="api"')
      expect(answer.headers.get('content-type')).toBe('application/problem+json; charset=utf-8')
      expect(answer.headers.get('cache-control')).toBe('no-store')
      expect(await answer.json()).toMatchObject({ status: 401, code: 'unauthenticated' })
    }
    // A token in the URL is none.
    expect((await service.send(`/builds?access_token=${builder}`)).status).toBe(401)
  })

  it('refuses a token that is not good, without saying why or repeating it: 401', async () => {
    for (const token of [NOBODY, 'x', 'two parts', 'y'.repeat(15_001)]) {
      const answer = await service.send('/builds', bearer(token))
      expect(answer.status).toBe(401)
      const challenge = answer.headers.get('www-authenticate')
      expect(challenge).toContain('realm="api", error="invalid_token"')
      const body = await answer.text()
      expect(JSON.parse(body)).toMatchObject({ code: 'invalid_token' })
      if (token.length > 1) expect(`${challenge}${body}`).not.toContain(token)
    }
  })

  it('takes one credential and no more: 400', async () => {
    const answer = await service.send(`/builds?access_token=${NOBODY}`, bearer(builder))
    expect(answer.status).toBe(400)
    expect(answer.headers.get('www-authenticate')).toContain('error="invalid_request"')
    const joined = { headers: { authorization: `Bearer ${builder}, Bearer ${NOBODY}` } }
    expect((await service.send('/builds', joined)).status).toBe(400)
  })

  it('tells who holds too little what it takes: 403', async () => {
    // READ_ONLY, though it has the scope.
    const answer = await service.send('/builds', { method: 'POST', ...bearer(reader) })
    expect(answer.status).toBe(403)
    expect(answer.headers.get('www-authenticate')).toMatch(
      /^Bearer realm="api", error="insufficient_scope", .*, scope="build"$/,
    )
    expect(await answer.json()).toMatchObject({ code: 'insufficient_scope' })
    expect((await service.send('/teams/crew', bearer(reader))).status).toBe(403)
    expect((await service.send('/teams/other', bearer(builder))).status).toBe(403)
  })

  it('lets nobody in while the server cannot be asked: 503', async () => {
    const cut = await start(online(() => Promise.reject(new TypeError('cut'))))
    failures.length = 0
    const answer = await cut.send('/builds', bearer(builder))
    expect(answer.status).toBe(503)
    expect(answer.headers.get('retry-after')).toBe('1')
    expect(await answer.json()).toMatchObject({ code: 'unavailable' })
    expect(failures).toEqual([expect.any(MintmarkError)])
    expect(String(failures[0])).not.toContain(builder)
    const stranger = await start(createClient({ url: issuer, token: NOBODY }).tokens)
    expect((await stranger.send('/builds', bearer(builder))).status).toBe(503)
    await Promise.all([cut.close(), stranger.close()])
  })
})

it.each([
  ['Express', onExpress],
  ['Fastify', onFastify],
  ['Hono', onHono],
] as const)('%s: two Authorization headers are two credentials', async (_, start) => {
  const service = await start(online())
  const { url } = await service.send('/builds')
  const status = await new Promise((resolve, reject) => {
    const headers = ['authorization', `Bearer ${builder}`, 'authorization', `Bearer ${NOBODY}`]
    const { host } = new URL(url)
    rawRequest(url, { headers: ['host', host, ...headers] }, (response) => {
      response.resume()
      resolve(response.statusCode)
    })
      .on('error', reject)
      .end()
  })
  expect(status).toBe(400)
  await service.close()
})

it('an address that is not known, or none at all, does not help a token limited to addresses', async () => {
  for (const ip of [() => undefined, () => 'unknown', () => '', () => '10.0.0.1']) {
    const handler = nextGuard(online(), { ip }, () => new Response('in'))
    const request = new Request('https://builds.example.com/', bearer(local))
    expect((await handler(request, undefined)).status).toBe(401)
  }
})

describe('the same guard, with a verifier that', () => {
  it('remembers: lets in and refuses the revoked', async () => {
    const client = createClient({ url: issuer, token: server.adminToken })
    const verifier = cachedVerifier({ issuer, client })
    const service = await onHono(verifier)
    const { id, secret } = await makeToken(server, { scopes: ['build'] })
    expect((await service.send('/builds', bearer(secret))).status).toBe(200)
    await client.tokens.revoke(id)
    await expect
      .poll(async () => (await service.send('/builds', bearer(secret))).status, { timeout: 10_000 })
      .toBe(401)
    verifier.close()
    await service.close()
  })

  it('remembers, but never hears of revocations: asks each time, and keeps nobody waiting', async () => {
    const client = createClient({ url: issuer, token: server.adminToken })
    const deaf = cachedVerifier({ issuer: 'http://127.0.0.1:1', client })
    const service = await onHono(deaf)
    const { id, secret } = await makeToken(server, { scopes: ['build'] })
    const startedMs = performance.now()
    for (let i = 0; i < 3; i++) {
      expect((await service.send('/builds', bearer(secret))).status).toBe(200)
    }
    expect(performance.now() - startedMs).toBeLessThan(9_000)
    await client.tokens.revoke(id)
    expect((await service.send('/builds', bearer(secret))).status).toBe(401)
    deaf.close()
    await service.close()
  })

  it('asks nobody: lets in, refuses what is for another, and all when the feed is silent', async () => {
    const sign = async (audience: string) => {
      const { jwt } = await createClient({ url: issuer, token: builder }).tokens.sign({ audience })
      server.remember(jwt)
      return jwt
    }
    const jwt = await sign(AUDIENCE)
    const verifier = offlineVerifier({ issuer, audience: AUDIENCE, maxStaleSeconds: 1 })
    const service = await onExpress(verifier)
    const built = { method: 'POST', ...bearer(jwt) }
    expect((await service.send('/builds', built)).status).toBe(200)
    const other = bearer(await sign('https://other.example.com'))
    expect((await service.send('/builds', other)).status).toBe(401)
    expect(await verifier.verify({ token: jwt, audience: 'https://x.example.com' })).toMatchObject({
      reason: 'wrong_audience',
    })
    verifier.close()
    failures.length = 0
    const answer = await service.send('/builds', bearer(jwt))
    expect(answer.status).toBe(503)
    expect(answer.headers.get('retry-after')).toBe('1')
    expect(failures).toMatchObject([{ code: 'stale' }])
    await service.close()
  })
})

it('a token used more often than the policy allows has to wait: 429', async () => {
  const bob = await server.makeUser({ username: 'bob' })
  await makeGroup(server, 'hasty', { [bob.id]: 'READ' })
  const rate = { requests: 1, windowSeconds: 60 }
  const tokenRules = [{ name: 'slow', groups: ['hasty'], rate }]
  const changed = await server.call('PATCH', '/api/v1/policy', { body: { tokenRules } })
  expect(changed.status, changed.text).toBe(200)
  const handler = nextGuard(online(), {}, () => new Response('in'))
  const ask = () =>
    handler(new Request('https://builds.example.com/', bearer(bob.token)), undefined)
  expect((await ask()).status).toBe(200)
  const answer = await ask()
  expect(answer.status).toBe(429)
  const seconds = Number(answer.headers.get('retry-after'))
  expect(seconds).toBeGreaterThan(1)
  expect(seconds).toBeLessThanOrEqual(60)
  expect(await answer.json()).toMatchObject({ code: 'too_many_requests' })
})

it('options that say less than was meant make no guard', () => {
  const odd: object[] = [
    { scope: 'build' },
    { scopes: 'build' },
    { scopes: undefined },
    { scopes: ['a "quoted" one'] },
    { roles: [''] },
    { group: undefined },
    { group: '' },
    { mode: 'WRITE' },
    { group: 'crew', mode: 'OWNER' },
    { accessLevel: 'READONLY' },
    { realm: 'a"b' },
  ]
  for (const options of odd) {
    expect(() => expressGuard(online(), options), JSON.stringify(options)).toThrow(MintmarkError)
  }
})

it('a request that no guard has let in has no verdict', () => {
  expect(() => verdictOf({})).toThrow(expect.objectContaining({ code: 'unguarded' }))
})

it('a group that the request does not name is none that it reaches', async () => {
  const handler = nextGuard(online(), { group: () => undefined }, () => new Response('in'))
  const request = new Request('https://builds.example.com/', bearer(builder))
  expect((await handler(request, undefined)).status).toBe(403)
})
