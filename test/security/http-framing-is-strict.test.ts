import { afterAll, beforeAll, expect, test } from 'vitest'
import { listen, oneAnswer, sendRaw } from '../support/raw-socket.ts'
import { startServer, type TestServer } from '../support/server.ts'

let server: TestServer
let port: number

beforeAll(async () => {
  server = await startServer()
  port = await listen(server)
})
afterAll(() => server.close())

const SMUGGLED = 'GET /health/ready HTTP/1.1\r\nHost: x\r\n\r\n'
const verify = '{"token":"x"}'
const head = (lines: string[]) => [
  'POST /api/v1/tokens/verify HTTP/1.1',
  'Host: x',
  'Content-Type: application/json',
  ...lines,
]
const request = (lines: string[], body = '') => `${head(lines).join('\r\n')}\r\n\r\n${body}`

const malformed: Record<string, string> = {
  'Content-Length and Transfer-Encoding': request(
    ['Content-Length: 13', 'Transfer-Encoding: chunked'],
    `0\r\n\r\n${SMUGGLED}`,
  ),
  'Transfer-Encoding and Content-Length': request(
    ['Transfer-Encoding: chunked', 'Content-Length: 4'],
    `0\r\n\r\n${SMUGGLED}`,
  ),
  'two different Content-Lengths': request(['Content-Length: 13', 'Content-Length: 5'], verify),
  'two equal Content-Lengths': request(['Content-Length: 13', 'Content-Length: 13'], verify),
  'a list as Content-Length': request(['Content-Length: 13, 13'], verify),
  'a signed Content-Length': request(['Content-Length: +13'], verify),
  'a negative Content-Length': request(['Content-Length: -1'], verify),
  'a hexadecimal Content-Length': request(['Content-Length: 0xd'], verify),
  'an unknown Transfer-Encoding': request(['Transfer-Encoding: xchunked'], `${verify}\r\n`),
  'chunked not last': request(['Transfer-Encoding: chunked, identity'], '0\r\n\r\n'),
  'two Transfer-Encodings': request(
    ['Transfer-Encoding: chunked', 'Transfer-Encoding: identity'],
    '0\r\n\r\n',
  ),
  'a space before the colon': request(['Content-Length : 13'], verify),
  'a folded header': request(['X-Folded: a', ' b', 'Content-Length: 13'], verify),
  'a header without a name': request([': x', 'Content-Length: 13'], verify),
  'a header without a colon': request(['Nonsense', 'Content-Length: 13'], verify),
  'bare line feeds': request(['Content-Length: 13'], verify).replaceAll('\r\n', '\n'),
  'one bare line feed': request(['X-A: b\nX-C: d', 'Content-Length: 13'], verify),
  'a bare carriage return': request(['X-A: b\rX-C: d', 'Content-Length: 13'], verify),
  'a NUL in a header': request(['X-A: b\0c', 'Content-Length: 13'], verify),
  'no Host': 'GET /health/live HTTP/1.1\r\n\r\n',
  'an unknown version': 'GET /health/live HTTP/9.9\r\nHost: x\r\n\r\n',
  'a space in the target': 'GET /health/live x HTTP/1.1\r\nHost: x\r\n\r\n',
  'an unknown method': 'STEAL /health/live HTTP/1.1\r\nHost: x\r\n\r\n',
  'a bad chunk size': request(['Transfer-Encoding: chunked'], 'xyz\r\n'),
  'a chunk without its end': request(['Transfer-Encoding: chunked'], '3\r\nabcdef\r\n0\r\n\r\n'),
  'a TLS greeting': '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
  'an HTTP/2 greeting': 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
  garbage: Buffer.from(Array.from({ length: 512 }, (_, i) => (i * 37) % 256)).toString('latin1'),
}

test.each(Object.keys(malformed))('%s: refused, and the connection ends', async (name) => {
  const bytes = Buffer.from(malformed[name] ?? '', 'latin1')
  const { statuses, text, closed } = await sendRaw(port, bytes)
  expect(closed).toBe(true)
  // The head may be refused before the body turns out to be broken.
  expect(statuses.length, text).toBeLessThanOrEqual(2)
  for (const status of statuses) expect([400, 401, 413, 431]).toContain(status)
  expect(text).not.toContain('"ready"')
})

test('a refusal by the parser is a problem document that repeats nothing', async () => {
  const bytes = `GET /?token=${server.adminToken} HTTP/1.1\nHost: x\r\nBad Header: ${server.adminToken}\r\n\r\n`
  const { text } = await sendRaw(port, bytes)
  expect(text).toContain('content-type: application/problem+json')
  expect(JSON.parse(text.slice(text.indexOf('{')))).toEqual({
    type: 'about:blank',
    title: 'Bad Request',
    status: 400,
    detail: 'This is not an HTTP request that can be understood.',
    code: 'invalid_input',
    requestId: expect.any(String),
  })
  expect(text).not.toContain(server.adminToken)
})

test('chunk extensions do not grow without end', async () => {
  const bytes = request(
    ['Transfer-Encoding: chunked'],
    `1;${'x'.repeat(1_000_000)}\r\na\r\n0\r\n\r\n`,
  )
  const { statuses, closed } = await sendRaw(port, bytes)
  expect(closed).toBe(true)
  for (const status of statuses) expect([400, 401, 413]).toContain(status)
})

test('requests in a row are answered in order, each with its own credential', async () => {
  const me = (token: string) =>
    `GET /api/v1/me HTTP/1.1\r\nHost: x\r\n${token === '' ? '' : `Authorization: Bearer ${token}\r\n`}\r\n`
  const bytes = me(server.adminToken) + me('') + me('wrong') + me(server.adminToken)
  const last = `${bytes}${me('').replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n')}`
  const { statuses } = await sendRaw(port, last)
  expect(statuses).toEqual([200, 401, 401, 200, 401])
})

test('the server is alive afterwards', async () => {
  const { statuses } = await sendRaw(port, SMUGGLED, oneAnswer)
  expect(statuses).toEqual([200])
})
