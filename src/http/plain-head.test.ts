import { createServer, type Server } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { plainHeads } from './plain-head.ts'

const WANTED = ['authorization', 'content-length', 'content-type', 'x-forwarded-for']
const readHead = plainHeads(WANTED)

/** What Node's HTTP server makes of some bytes: the requests that it hands over, or nothing. */
interface Understood {
  url: string
  raw: string[]
  body: string
  isKept: boolean
}

let server: Server
let understood: Understood[]
let port: number
beforeAll(async () => {
  server = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk: Buffer) => {
      body += chunk.toString('latin1')
    })
    request.on('end', () => {
      const { url = '', rawHeaders: raw } = request
      understood.push({ url, raw, body, isKept: response.shouldKeepAlive })
      response.end()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  port = (server.address() as AddressInfo).port
})
afterAll(() => {
  server.close()
})

/** Ends the connection after the bytes, so that nothing is waited for. */
function understand(bytes: Buffer): Promise<Understood[]> {
  understood = []
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => undefined)
    socket.on('close', () => resolve(understood))
    socket.resume()
    socket.end(bytes)
  })
}

/** The headers that are wanted, as Node has them. */
function wanted(raw: string[]): string[] {
  const kept: string[] = []
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i]?.toLowerCase() ?? ''
    if (WANTED.includes(name)) kept.push(name, raw[i + 1] ?? '')
  }
  return kept
}

const BODY = '{"token":"x"}'
const ORDINARY = [
  'POST /api/v1/tokens/verify?a=b HTTP/1.1',
  'Host: localhost',
  'Authorization: Bearer mm_pat_x',
  'Content-Type: application/json',
  `Content-Length: ${BODY.length}`,
]
const bytesOf = (lines: string[]) => Buffer.from(`${lines.join('\r\n')}\r\n\r\n${BODY}`, 'latin1')

test('reads what clients send', () => {
  const bytes = bytesOf(ORDINARY)
  expect(readHead(bytes)).toEqual({
    url: '/api/v1/tokens/verify?a=b',
    raw: [
      'authorization',
      'Bearer mm_pat_x',
      'content-type',
      'application/json',
      'content-length',
      '13',
    ],
    end: bytes.length - BODY.length,
  })
})

test.each([
  ['white space around a value', 'Authorization: \t x y \t'],
  ['no white space before a value', 'Authorization:x'],
  ['an empty value', 'Authorization:'],
  ['a blank value', 'Authorization:  \t'],
  ['capitals', 'AUTHORIZATION: x'],
  ['a header twice', 'Authorization: x\r\nauthorization: y'],
  ['the connection kept', 'Connection: Keep-Alive'],
])('reads %s as Node does', async (_, line) => {
  const bytes = bytesOf(ORDINARY.toSpliced(2, 1, line))
  const [request] = await understand(bytes)
  expect(readHead(bytes)?.raw).toEqual(wanted(request?.raw ?? []))
})

test.each<[string, (lines: string[]) => string[]]>([
  ['another method', (lines) => lines.with(0, 'PUT /x HTTP/1.1')],
  ['a method in small letters', (lines) => lines.with(0, 'post /x HTTP/1.1')],
  ['another version', (lines) => lines.with(0, 'POST /x HTTP/1.0')],
  ['a whole URL', (lines) => lines.with(0, 'POST http://localhost/x HTTP/1.1')],
  ['a target that is not ASCII', (lines) => lines.with(0, 'POST /\u{e9} HTTP/1.1')],
  ['two spaces', (lines) => lines.with(0, 'POST /x  HTTP/1.1')],
  ['an empty line first', (lines) => ['', ...lines]],
  ['no host', (lines) => lines.toSpliced(1, 1)],
  ['two hosts', (lines) => [...lines, 'host: example.com']],
  ['a folded line', (lines) => [...lines, ' folded']],
  ['a space before the colon', (lines) => [...lines, 'X-A : b']],
  ['a line without a colon', (lines) => [...lines, 'X-A']],
  ['no name', (lines) => [...lines, ': b']],
  ['a bare line feed', (lines) => [...lines, 'X-A: b\nX-C: d']],
  ['a bare carriage return', (lines) => [...lines, 'X-A: b\rX-C: d']],
  ['a zero byte', (lines) => [...lines, 'X-A: b\0']],
  ['a value that is not ASCII', (lines) => [...lines, 'X-A: \u{e9}']],
  ['chunks', (lines) => [...lines, 'Transfer-Encoding: chunked']],
  ['an upgrade', (lines) => [...lines, 'Upgrade: h2c']],
  ['an expectation', (lines) => [...lines, 'Expect: 100-continue']],
  ['trailers', (lines) => [...lines, 'Trailer: x']],
  ['a connection that is to be closed', (lines) => [...lines, 'Connection: close']],
  ['a connection with options', (lines) => [...lines, 'Connection: keep-alive, upgrade']],
  ['the connection of a proxy', (lines) => [...lines, 'Proxy-Connection: close']],
  ['more headers than it takes', (lines) => [...lines, ...Array<string>(1000).fill('a:')]],
  ['a long head', (lines) => [...lines, `X-A: ${'b'.repeat(8192)}`]],
])('leaves %s to Node', (_, change) => {
  expect(readHead(bytesOf(change(ORDINARY)))).toBeUndefined()
})

test('leaves a head that is not all there to Node, wherever it ends', () => {
  const bytes = bytesOf(ORDINARY)
  const end = bytes.length - BODY.length
  for (let length = 0; length < end; length++) {
    expect(readHead(bytes.subarray(0, length)), `${length} bytes`).toBeUndefined()
  }
})

describe('whatever is read', () => {
  const nasty = fc.constantFrom(
    ...[
      '\r',
      '\n',
      '\0',
      '\t',
      ' ',
      ':',
      '\r\n',
      '\r\n\r\n',
      '\x0b',
      '\x7f',
      '\x80',
      '\xa0',
      '\xff',
    ],
    ...['Content-Length: 0\r\n', 'content-length: 13\r\n', 'Transfer-Encoding: chunked\r\n', ','],
    ...[
      'Connection: close\r\n',
      'connection: Keep-Alive\r\n',
      'Host: a\r\n',
      'Upgrade: x\r\n',
      '+',
      '%',
    ],
  )
  const change = fc.record({
    at: fc.double({ min: 0, max: 1, noNaN: true }),
    removed: fc.constantFrom(0, 0, 1, 2, 9, 30),
    added: fc.oneof(nasty, fc.constant(''), fc.string({ maxLength: 3, unit: 'binary-ascii' })),
  })

  test('is what Node understands, and leaves as much for the body', {
    timeout: 60_000,
  }, async () => {
    const samples = fc.sample(fc.array(change, { minLength: 1, maxLength: 3 }), 3000)
    let read = 0
    for (const changes of samples) {
      let text = bytesOf(ORDINARY).toString('latin1')
      for (const { at, removed, added } of changes) {
        const from = Math.floor(at * text.length)
        text = text.slice(0, from) + added + text.slice(from + removed)
      }
      const bytes = Buffer.from(text, 'latin1')
      const head = readHead(bytes)
      if (head === undefined) continue
      const lengths = head.raw.filter((_, i) => head.raw[i - 1] === 'content-length' && i % 2 === 1)
      // As the lane has it: one length at most, digits alone, and all of the body there.
      if (lengths.length > 1 || !/^(?:0|[1-9]\d*)$/.test(lengths[0] ?? '0')) continue
      const bodyBytes = Number(lengths[0] ?? 0)
      if (bytes.length !== head.end + bodyBytes) continue
      read++
      const requests = await understand(bytes)
      expect(
        requests.map((each) => ({ ...each, raw: wanted(each.raw) })),
        text,
      ).toEqual([{ url: head.url, raw: head.raw, body: text.slice(head.end), isKept: true }])
    }
    expect(read).toBeGreaterThan(100)
  })
})
