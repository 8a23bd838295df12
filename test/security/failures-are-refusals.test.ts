import type { FastifyInstance } from 'fastify'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { expectProblem } from '../support/problem.ts'
import { startPrepared } from '../support/routes.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { snapshot } from '../support/tables.ts'

const SECRET_DETAIL = 'select * from token; /srv/secret/path.ts:7'

describe('what throws', () => {
  let server: TestServer
  /** The hook that throws at the next request. */
  let throwIn: string | undefined

  beforeAll(async () => {
    const broken = (where: string) => {
      if (throwIn !== where) return
      // Once: the refusal is serialized, too.
      throwIn = undefined
      throw new Error(SECRET_DETAIL)
    }
    server = await startPrepared((app) => {
      app.addHook('onRequest', async () => broken('onRequest'))
      app.addHook('preParsing', async (_, __, payload) => {
        broken('preParsing')
        return payload
      })
      app.addHook('preValidation', async () => broken('preValidation'))
      app.addHook('preHandler', async () => broken('preHandler'))
      app.addHook('preSerialization', async (_, __, payload) => {
        broken('preSerialization')
        return payload
      })
      // With the first route of the server's own, because then its error handler is in place.
      app.addHook('onRoute', ({ url, method }) => {
        if (url === '/health/live' && method === 'GET') addThrowingRoutes(app)
      })
    })
  })
  afterEach(() => {
    throwIn = undefined
  })
  afterAll(() => server.close())

  function addThrowingRoutes(app: FastifyInstance): void {
    const open = { config: { public: true } }
    app.get('/test/throws', open, async () => {
      throw new Error(SECRET_DETAIL)
    })
    app.get('/test/throws-a-string', open, async () => Promise.reject(SECRET_DETAIL))
    app.get('/test/throws-undefined', open, async () => Promise.reject(undefined))
    for (const statusCode of [200, 302, 503, 700]) {
      app.get(`/test/throws-status-${statusCode}`, open, async () => {
        throw Object.assign(new Error(SECRET_DETAIL), { statusCode })
      })
    }
    app.get('/test/throws-status-418', open, async () => {
      throw Object.assign(new Error(SECRET_DETAIL), { statusCode: 418 })
    })
    const schema = {
      response: { 200: { type: 'object', required: ['a'], properties: { a: { type: 'string' } } } },
    }
    app.get('/test/breaks-its-schema', { ...open, schema }, async () => ({}))
    app.get('/test/cannot-be-serialized', open, async () => {
      const loop: { self?: unknown } = {}
      loop.self = loop
      return loop
    })
  }

  test.each(['onRequest', 'preParsing', 'preValidation', 'preHandler', 'preSerialization'])(
    'in %s is a 500 that says nothing, is logged with its request id, and passes',
    async (hook) => {
      throwIn = hook
      const answer = await server.call('GET', '/api/v1/me')
      expectProblem(answer, 500, 'internal_error')
      expect(answer.text).not.toMatch(/select|secret|\.ts|Error:/)
      expect(answer.body.detail).toContain(answer.body.requestId)
      const logged = server.logLines().find((line) => line.includes(answer.body.requestId))
      expect(logged).toContain('"level":50')
      expect(server.logLines().join('')).toContain(SECRET_DETAIL)
      expect((await server.call('GET', '/api/v1/me')).status).toBe(200)
    },
  )

  test('before anything is stored stores nothing', async () => {
    for (const hook of ['onRequest', 'preParsing', 'preValidation', 'preHandler']) {
      throwIn = hook
      const before = await snapshot(server)
      expectProblem(await server.call('POST', '/api/v1/tokens', { body: { name: hook } }), 500)
      expect(await snapshot(server)).toEqual(before)
    }
  })

  test.each([
    'throws',
    'throws-a-string',
    'throws-undefined',
    'throws-status-200',
    'throws-status-302',
    'throws-status-503',
    'throws-status-700',
    'breaks-its-schema',
    'cannot-be-serialized',
  ])('in a handler is a 500: %s', async (path) => {
    const answer = await server.call('GET', `/test/${path}`, { token: null })
    expectProblem(answer, 500, 'internal_error')
    expect(answer.text).not.toMatch(/select|secret|\.ts/)
    expect((await server.call('GET', '/health/live', { token: null })).status).toBe(200)
  })

  test('with the status of a client error says nothing either', async () => {
    const { status, text } = await server.call('GET', '/test/throws-status-418', { token: null })
    expect(status).toBe(418)
    expect(text).not.toMatch(/select|secret|\.ts/)
  })

  test('is shown in the shape of the API that was asked', async () => {
    for (const path of ['/api/auth/v1/userInfo', '/v1/access-tokens', '/v1/tokens']) {
      throwIn = 'preHandler'
      const { status, text } = await server.call('GET', path)
      expect(status, path).toBeGreaterThanOrEqual(500)
      expect(text, path).not.toMatch(/select|secret|\.ts|about:blank/)
    }
  })
})

describe('a database that does not work', () => {
  let server: TestServer
  beforeAll(async () => {
    server = await startServer()
  })
  afterAll(() => server.close())

  test('refuses changes whose audit record cannot be written, and nothing of them stays', async () => {
    const unblock = await server.database.block('insert', 'audit')
    const before = await snapshot(server)
    const alice = { username: 'alice' }
    for (const [method, path, body] of [
      ['POST', '/users', alice],
      ['POST', '/tokens', { name: 'x' }],
      ['POST', '/groups', { name: 'x' }],
      ['POST', '/roles', { name: 'x' }],
      ['PATCH', '/policy', { lockoutAttempts: 3 }],
      ['POST', '/tokens/self/revoke', {}],
    ] as const) {
      const answer = await server.call(method, `/api/v1${path}`, { body })
      expect(answer.status, path).toBeGreaterThanOrEqual(500)
      expect(answer.headers['content-type']).toBe('application/problem+json')
      expect(answer.text).not.toMatch(/trigger|insert|audit|SQLITE|abort|full/i)
    }
    expect(await snapshot(server)).toEqual(before)
    await unblock()
    expect((await server.call('POST', '/api/v1/users', { body: alice })).status).toBe(201)
    // The cache forgot nothing and learnt nothing from what did not happen.
    expect((await server.call('GET', '/api/v1/policy')).body.lockoutAttempts).toBe(10)
  })

  test('lets nobody in whom it cannot look up', async () => {
    const { secret } = (await server.call('POST', '/api/v1/tokens', { body: { name: 'cold' } }))
      .body
    await server.restart()
    await server.database.tamper('alter table token rename to hidden')
    const answer = await server.call('GET', '/api/v1/me', { token: secret })
    expect(answer.status).toBeGreaterThanOrEqual(500)
    expect(answer.text).not.toMatch(/no such table|does not exist|SQLITE|select/i)
    await server.database.tamper('alter table hidden rename to token')
    expect((await server.call('GET', '/api/v1/me', { token: secret })).status).toBe(200)
  })
})
