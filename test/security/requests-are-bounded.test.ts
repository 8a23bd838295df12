import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { expectProblem } from '../support/problem.ts'
import { listen, oneAnswer, sendRaw } from '../support/raw-socket.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { snapshot } from '../support/tables.ts'

let server: TestServer
let port: number

beforeAll(async () => {
  server = await startServer()
  port = await listen(server)
})
afterAll(() => server.close())

const KIB = 1024
const post = (rawBody: string, headers: Record<string, string> = {}) =>
  server.call('POST', '/api/v1/tokens', { rawBody, headers })

describe('size', () => {
  test('a body of 64 KiB is read, one byte more is not', async () => {
    const fill = (length: number) => `{"name":"${'x'.repeat(length - 11)}"}`
    expectProblem(await post(fill(64 * KIB)), 400, 'invalid_input')
    expectProblem(await post(fill(64 * KIB + 1)), 413, 'payload_too_large')
  })

  test('a big body is refused by its announcement, and the connection ends', async () => {
    const head = `POST /api/v1/tokens HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${server.adminToken}\r\nContent-Type: application/json\r\n`
    const announced = `${head}Content-Length: ${100 * KIB * KIB}\r\n\r\n{"name":`
    const { statuses, text, closed } = await sendRaw(port, announced)
    expect(statuses).toEqual([413])
    expect(text).toContain('application/problem+json')
    expect(closed).toBe(true)
  })

  test('the body of an import is read for those alone who may import', async () => {
    const { token } = await server.makeUser({ username: 'alice' })
    const head = `POST /api/v1/imports HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\nContent-Type: application/json\r\n`
    const announced = `${head}Content-Length: ${10 * KIB * KIB}\r\n\r\n{"rows":`
    const { statuses } = await sendRaw(port, announced, oneAnswer)
    expect(statuses).toEqual([403])
  })

  test('a big body in chunks is cut off', async () => {
    const chunk = `4000\r\n${'x'.repeat(0x4000)}\r\n`
    const bytes = `POST /api/v1/tokens HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${server.adminToken}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n${chunk.repeat(20)}`
    const { statuses } = await sendRaw(port, bytes)
    expect(statuses).toEqual([413])
  })

  test('headers beyond 16 KiB: 431 in our shape, and the connection ends', async () => {
    const bytes = `GET /api/v1/me HTTP/1.1\r\nHost: x\r\nX-Big: ${'x'.repeat(17 * KIB)}\r\n\r\n`
    const { statuses, text, closed } = await sendRaw(port, bytes)
    expect(statuses).toEqual([431])
    expect(JSON.parse(text.slice(text.indexOf('{')))).toMatchObject({
      status: 431,
      title: 'Request Header Fields Too Large',
      code: 'invalid_input',
      requestId: expect.any(String),
    })
    expect(closed).toBe(true)
  })

  test('an endless address or parameter leads nowhere', async () => {
    const bytes = `GET /api/v1/${'x'.repeat(17 * KIB)} HTTP/1.1\r\nHost: x\r\n\r\n`
    expect((await sendRaw(port, bytes)).statuses).toEqual([431])
    for (const path of [
      `/api/v1/tokens/${'a'.repeat(8000)}`,
      `/api/v1/roles/${'a'.repeat(1100)}`,
      `/api/v1/tokens?text=${'a'.repeat(8000)}`,
      `/api/v1/tokens?${'a&'.repeat(4000)}`,
    ]) {
      expect([400, 404, 414]).toContain((await server.call('GET', path)).status)
    }
  })

  test('a compressed body is not unpacked', async () => {
    const bomb = gzipSync('x'.repeat(10 * KIB * KIB)).toString('latin1')
    for (const encoding of ['gzip', 'deflate', 'br']) {
      const answer = await post(bomb.slice(0, 60 * KIB), { 'content-encoding': encoding })
      expectProblem(answer, 400, 'invalid_input')
    }
  })
})

describe('time', () => {
  test('a request has 30 seconds, its headers 10; both are enforced by the runtime', () => {
    const { requestTimeout, headersTimeout } = server.app.server.server
    expect(requestTimeout).toBe(30_000)
    expect(headersTimeout).toBe(10_000)
  })

  test('requests that never end do not hold up others', async () => {
    const head = `POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{`
    const stalled = Array.from({ length: 100 }, () => sendRaw(port, head))
    const live = 'GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n'
    const started = performance.now()
    for (let i = 0; i < 20; i++) {
      expect((await sendRaw(port, live, oneAnswer)).statuses).toEqual([200])
    }
    expect(performance.now() - started).toBeLessThan(5000)
    for (const { statuses } of await Promise.all(stalled)) expect(statuses).toEqual([])
  })
})

describe('JSON', () => {
  const deep = (open: string, close: string) => open.repeat(30_000) + close.repeat(30_000)
  const bodies: Record<string, string> = {
    'deep lists': deep('[', ']'),
    'deep lists that never end': '['.repeat(60_000),
    'deep lists in metadata': `{"name":"x","metadata":{"a":${deep('[', ']')}}}`,
    'deep objects in metadata': `{"name":"x","metadata":${'{"a":'.repeat(9000)}1${'}'.repeat(9000)}}`,
    'lists somewhat deep in metadata': `{"name":"x","metadata":{"a":${'['.repeat(3000)}${']'.repeat(3000)}}}`,
    'many members': `{${Array.from({ length: 6000 }, (_, i) => `"k${i}":1`).join()}}`,
    'many elements': `{"name":"x","scopes":[${'"a",'.repeat(15_000)}"a"]}`,
    'a long string': `{"name":"${'x'.repeat(60_000)}"}`,
    'a long number': `{"name":${'9'.repeat(60_000)}}`,
    'a text cut short': '{"name":"x',
    'two values': '{"name":"x"}{"name":"y"}',
    'not JSON': 'name=x',
    'a comment': '/* */{"name":"x"}',
    'single quotes': "{'name':'x'}",
    'not a number': '{"name":NaN}',
    'nothing but space': '   ',
    'a control character': '{"name":"a\u0001b"}',
  }

  test.each(Object.keys(bodies))('%s: 400, quickly, and nothing changed', async (name) => {
    const before = await snapshot(server)
    const started = performance.now()
    expectProblem(await post(bodies[name] ?? ''), 400, 'invalid_input')
    expect(performance.now() - started).toBeLessThan(1000)
    expect(await snapshot(server)).toEqual(before)
  })

  test('of a repeated member the last counts, everywhere alike', async () => {
    const { body } = await post('{"name":"first","name":"last"}')
    expect(body.name).toBe('last')
    expectProblem(await post('{"name":"ok","name":7}'), 400, 'invalid_input')
    const smuggled =
      '{"name":"smuggled","accessLevel":"READ_ONLY","\\u0061ccessLevel":"FULL_ACCESS"}'
    expect((await post(smuggled)).body.accessLevel).toBe('FULL_ACCESS')
  })

  test('a byte order mark is skipped', async () => {
    expect((await post('\ufeff{"name":"with mark"}')).status).toBe(201)
  })
})

describe('polluting the prototype', () => {
  const clean = () => expect(Object.getOwnPropertyNames(Object.prototype)).toEqual(untouched)
  const untouched = Object.getOwnPropertyNames(Object.prototype)

  test.each([
    '{"__proto__":{"polluted":1},"name":"x"}',
    '{"name":"x","metadata":{"__proto__":{"polluted":1}}}',
    '{"name":"x","metadata":{"a":[{"\\u005f_proto__":{"polluted":1}}]}}',
    '{"name":"x","metadata":{"constructor":{"prototype":{"polluted":1}}}}',
    '{"name":"x","constructor":{"prototype":{"polluted":1}}}',
    '{"name":"x","prototype":{"polluted":1}}',
  ])('%s: 400', async (body) => {
    expectProblem(await post(body), 400, 'invalid_input')
    clean()
  })

  test('by a query, a header, a cookie or a path', async () => {
    for (const query of [
      '__proto__[x]=1',
      '__proto__.x=1',
      'constructor[prototype][x]=1',
      '__proto__=1',
    ]) {
      expectProblem(await server.call('GET', `/api/v1/tokens?${query}`), 400, 'invalid_input')
    }
    const headers = { cookie: '__proto__=1; constructor=1', 'x-__proto__': '1' }
    expect((await server.call('GET', '/api/v1/me', { headers })).status).toBe(200)
    for (const path of [
      '/api/v1/roles/__proto__',
      '/api/v1/__proto__',
      '/api/v1/roles/constructor',
    ]) {
      expect((await server.call('PATCH', path, { body: {} })).status).toBe(404)
    }
    clean()
  })

  test('names of built-ins are ordinary names', async () => {
    for (const name of ['constructor', 'tostring', 'hasownproperty', 'valueof']) {
      const made = await server.call('POST', '/api/v1/roles', { body: { name } })
      expect(made.status, name).toBe(201)
      const user = await server.makeUser({ username: name, roles: [name] })
      const { body } = await server.call('GET', '/api/v1/me', { token: user.token })
      expect(body.rights.roles).toEqual([name])
    }
    const metadata = { toString: 'x', constructor: 1, hasOwnProperty: null, toJSON: 'y' }
    const { body } = await server.call('POST', '/api/v1/tokens', {
      body: { name: 'built-ins', metadata },
    })
    expect(body.metadata).toEqual(metadata)
    clean()
  })
})
