import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import {
  afterAll,
  afterEach,
  beforeAll,
  beforeEach,
  describe,
  expect,
  onTestFinished,
  test,
} from 'vitest'
import { selfSigned } from '../support/certificate.ts'
import { makeToken } from '../support/people.ts'
import { listen } from '../support/raw-socket.ts'
import { startServer, type TestServer } from '../support/server.ts'

// What Node's HTTP server was given is seen in its own events: whatever is not there was answered directly.

const { cert, key } = selfSigned()

describe.each([
  ['plain', {}],
  ['TLS', { MINTMARK_TLS_CERT: cert, MINTMARK_TLS_KEY: key }],
])('a connection, %s', (kind, environment) => {
  let server: TestServer
  let port: number
  let given: string[]
  let sockets: Socket[]
  const event = kind === 'TLS' ? 'secureConnection' : 'connection'

  beforeAll(async () => {
    server = await startServer(environment)
    port = await listen(server)
    server.app.server.server.prependListener('request', ({ method, url }) => {
      given.push(`${method} ${url}`)
    })
    server.app.server.server.on(event, (socket) => sockets.push(socket))
  })
  beforeEach(() => {
    given = []
    sockets = []
  })
  afterEach(() => {
    for (const socket of sockets) socket.destroy()
  })
  afterAll(() => server.close())

  /** A client that keeps what it hears. */
  async function client() {
    const socket =
      kind === 'TLS'
        ? connectTls({ port, host: '127.0.0.1', ca: cert, checkServerIdentity: () => undefined })
        : connect({ port, host: '127.0.0.1', noDelay: true })
    onTestFinished(() => {
      socket.destroy()
    })
    let text = ''
    let isClosed = false
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString()
    })
    socket.on('error', () => undefined)
    socket.on('close', () => {
      isClosed = true
    })
    await new Promise((resolve) =>
      socket.once(kind === 'TLS' ? 'secureConnect' : 'connect', resolve),
    )
    const heard = async (count: number) => {
      await expect.poll(() => statuses(text).length, { timeout: 5000 }).toBe(count)
      return statuses(text)
    }
    return {
      socket,
      heard,
      text: () => text,
      isClosed: () => isClosed,
      async ask(...pieces: (string | Buffer)[]) {
        const before = statuses(text).length
        for (const piece of pieces) {
          socket.write(piece)
          if (pieces.length > 1) await sleep(20)
        }
        return (await heard(before + 1)).at(-1)
      },
    }
  }

  const own = async () => {
    await expect.poll(() => sockets.length).toBe(1)
    const [socket] = sockets
    if (socket === undefined) throw new Error('There is no connection.')
    return socket
  }

  const question = (
    path = '/api/v1/tokens/verify',
    body: object = { token: server.adminToken },
  ) => {
    const json = JSON.stringify(body)
    const head = [
      `POST ${path} HTTP/1.1`,
      'Host: localhost',
      `Authorization: Bearer ${server.adminToken}`,
      'Content-Type: application/json',
      `Content-Length: ${json.length}`,
    ]
    return `${head.join('\r\n')}\r\n\r\n${json}`
  }
  const VERIFY = 'POST /api/v1/tokens/verify'
  const LIVE = 'GET /health/live'
  const live = `${LIVE} HTTP/1.1\r\nHost: localhost\r\n\r\n`

  test('is answered directly, as often as it asks', async () => {
    const { ask, text } = await client()
    expect([await ask(question()), await ask(question()), await ask(question())]).toEqual([
      200, 200, 200,
    ])
    expect(text().split('"active":true').length).toBe(4)
    expect(given).toEqual([])
  })

  test('stays ours when memory has forgotten who asks', async () => {
    const { ask } = await client()
    expect(await ask(question())).toBe(200)
    server.app.core.verifier.clear()
    expect(await ask(question())).toBe(200)
    expect(given).toEqual([])
  })

  test('stays ours when a client asks for the first time', async () => {
    const made = await server.call('POST', '/api/v1/clients', {
      body: { name: `resource ${kind}`, grants: ['client_credentials'] },
    })
    const pair = Buffer.from(`${made.body.clientId}:${made.body.secret}`).toString('base64')
    const form = `token=${server.adminToken}`
    const text = question('/oauth2/introspect')
      .replace(/Bearer .*/, `Basic ${pair}`)
      .replace('application/json', 'application/x-www-form-urlencoded')
      .replace(/Content-Length: .*/s, `Content-Length: ${form.length}\r\n\r\n${form}`)
    given = []
    const { ask } = await client()
    expect([await ask(text), await ask(text)]).toEqual([200, 200])
    expect(given).toEqual([])
  })

  test('goes to the HTTP server for good with the first other request', async () => {
    const { ask } = await client()
    expect(await ask(question())).toBe(200)
    expect(await ask(live)).toBe(200)
    expect(await ask(question())).toBe(200)
    expect(given).toEqual([LIVE, VERIFY])
  })

  test('goes there with a question that is refused, too', async () => {
    const { ask } = await client()
    expect(await ask(question().replace(server.adminToken, 'nobody'))).toBe(401)
    expect(await ask(question())).toBe(200)
    expect(given).toEqual([VERIFY, VERIFY])
  })

  test.each([
    ['between head and body', (text: string) => [text.indexOf('\r\n\r\n') + 4]],
    ['in the body', (text: string) => [text.length - 9]],
    ['in the body twice', (text: string) => [text.length - 29, text.length - 1]],
  ])('may cut a question %s', async (_, cuts) => {
    const { ask } = await client()
    const text = question()
    const ends = [...cuts(text), text.length]
    const pieces = ends.map((end, i) => text.slice(ends[i - 1] ?? 0, end))
    expect(await ask(...pieces)).toBe(200)
    expect(await ask(text)).toBe(200)
    expect(given).toEqual([])
    expect(server.app.health.underWay).toBe(0)
  })

  test('that cuts a head goes to the HTTP server', async () => {
    const { ask } = await client()
    const text = question()
    expect(await ask(text.slice(0, 40), text.slice(40))).toBe(200)
    expect(given).toEqual([VERIFY])
  })

  test('that sends several at once is answered each in turn by the HTTP server', async () => {
    const { socket, heard } = await client()
    socket.write(question() + live + question().replace(server.adminToken, 'nobody') + question())
    expect(await heard(4)).toEqual([200, 200, 401, 200])
    expect(given).toEqual([VERIFY, LIVE, VERIFY, VERIFY])
  })

  test('that sends more than the body goes there with all of it', async () => {
    const { socket, heard } = await client()
    const text = question()
    socket.write(text.slice(0, -9))
    await sleep(20)
    socket.write(text.slice(-9) + live)
    expect(await heard(2)).toEqual([200, 200])
    expect(given).toEqual([VERIFY, LIVE])
  })

  test('that leaves a body unfinished is looked after by the HTTP server', async () => {
    const { socket, heard } = await client()
    const text = question()
    socket.write(text.slice(0, -9))
    await expect.poll(() => given, { timeout: 5000 }).toEqual([VERIFY])
    socket.write(text.slice(-9))
    expect(await heard(1)).toEqual([200])
    await expect.poll(() => server.app.health.underWay).toBe(0)
  })

  test('that sends a body byte by byte is looked after by the HTTP server as soon', async () => {
    const { socket } = await client()
    const text = question().replace(server.adminToken, 'nobody')
    const cut = text.indexOf('\r\n\r\n') + 4
    socket.write(text.slice(0, cut))
    const startMs = performance.now()
    for (let at = cut; given.length === 0 && performance.now() - startMs < 5000; at++) {
      await sleep(150)
      socket.write(text.slice(at, at + 1))
    }
    expect(given).toEqual([VERIFY])
    expect(performance.now() - startMs).toBeLessThan(4000)
    socket.destroy()
    await expect.poll(() => server.app.health.underWay).toBe(0)
  })

  test('may say nothing for as long as a head may take', async () => {
    const http = server.app.server.server
    const { headersTimeout } = http
    onTestFinished(() => void Object.assign(http, { headersTimeout }))
    http.headersTimeout = 1500
    const [late, silent] = [await client(), await client()]
    await sleep(1100)
    expect(await late.ask(question())).toBe(200)
    expect(given).toEqual([])
    await expect.poll(silent.isClosed, { timeout: 5000 }).toBe(true)
    expect(late.isClosed()).toBe(false)
  })

  test('is ended when nothing is asked for as long as the HTTP server waits', async () => {
    const http = server.app.server.server
    const { keepAliveTimeout, keepAliveTimeoutBuffer } = http
    onTestFinished(() => void Object.assign(http, { keepAliveTimeout, keepAliveTimeoutBuffer }))
    Object.assign(http, { keepAliveTimeout: 900, keepAliveTimeoutBuffer: 0 })
    const { ask, isClosed } = await client()
    await ask(question())
    await sleep(500)
    await ask(question())
    await sleep(500)
    expect(isClosed()).toBe(false)
    await expect.poll(isClosed, { timeout: 5000 }).toBe(true)
    expect(given).toEqual([])
  })

  test('that is ended by the client is ended once it is answered', async () => {
    const { socket, heard, isClosed } = await client()
    socket.end(question())
    expect(await heard(1)).toEqual([200])
    await expect.poll(isClosed).toBe(true)
    expect(given).toEqual([])
  })

  test('is closed with the idle ones, unless it is in the middle of a question', async () => {
    const [idle, busy] = [await client(), await client()]
    await idle.ask(question())
    await busy.ask(question())
    const text = question()
    busy.socket.write(text.slice(0, -9))
    await expect.poll(() => server.app.health.underWay).toBe(1)
    server.app.server.server.closeIdleConnections()
    await expect.poll(idle.isClosed).toBe(true)
    expect(await busy.ask(text.slice(-9))).toBe(200)
    server.app.server.server.closeAllConnections()
    await expect.poll(busy.isClosed).toBe(true)
    expect(given).toEqual([])
  })

  test('that leaves in the middle of a question is under way no longer', async () => {
    const { socket } = await client()
    socket.write(question().slice(0, -9))
    await expect.poll(() => server.app.health.underWay).toBe(1)
    socket.destroy()
    await expect.poll(() => server.app.health.underWay).toBe(0)
  })

  test('is told to close while the server drains', async () => {
    const { ask, text } = await client()
    await ask(question())
    server.app.health.draining = true
    onTestFinished(() => {
      server.app.health.draining = false
    })
    expect(await ask(question())).toBe(200)
    expect(text()).toMatch(/connection: close/i)
    expect(given).toEqual([VERIFY])
  })

  test('whose question is not all there when the server drains is told to close, too', async () => {
    const { socket, ask, text } = await client()
    const asked = question()
    socket.write(asked.slice(0, -9))
    await expect.poll(() => server.app.health.underWay).toBe(1)
    server.app.health.draining = true
    onTestFinished(() => {
      server.app.health.draining = false
    })
    expect(await ask(asked.slice(-9))).toBe(200)
    expect(text()).toMatch(/connection: close/i)
    expect(given).toEqual([VERIFY])
  })

  test.each(['revoked', 'quarantined'])(
    'with a token that is %s is refused, and that is counted once',
    async (reason) => {
      const { id, secret } = await makeToken(server, {})
      const asked = question().replace(server.adminToken, secret)
      const { ask } = await client()
      expect(await ask(asked)).toBe(200)
      const action = reason === 'revoked' ? 'revoke' : 'quarantine'
      const done = await server.call('POST', `/api/v1/tokens/${id}/${action}`, { body: {} })
      expect(done.status).toBeLessThan(300)
      // Known to be so from now on, as by any other question about it.
      expect(await ask(question('/api/v1/tokens/verify', { token: secret }))).toBe(200)
      const refused = async () => {
        await server.app.core.flushUsage()
        const { body } = await server.call('GET', `/api/v1/tokens/${id}/use`)
        return body.refused
      }
      const before = await refused()
      given = []
      expect(await ask(asked)).toBe(401)
      expect(given).toEqual([VERIFY])
      expect(await refused()).toBe(before + 1)
    },
  )

  test('on which answers are not read is not read either, is under way, and loses none', async () => {
    const tokens = Array.from({ length: 100 }, () => server.adminToken)
    const text = question('/api/v1/tokens/verify:batch', { questions: tokens })
    const { socket, ask, heard } = await client()
    expect(await ask(text)).toBe(200)
    const theirs = await own()
    socket.pause()
    let asked = 1
    while (!theirs.isPaused() && asked < 2000) {
      socket.write(text)
      asked++
      await sleep(1)
    }
    expect(theirs.isPaused()).toBe(true)
    expect(theirs.writableLength).toBeLessThan(200_000)
    expect(server.app.health.underWay).toBe(1)
    socket.resume()
    await heard(asked)
    await expect.poll(() => server.app.health.underWay).toBe(0)
  })

  test('says when it was closed by an error, and nothing else goes wrong', async () => {
    const { socket, ask } = await client()
    await ask(question())
    const theirs = await own()
    theirs.destroy(new Error('lost'))
    await expect.poll(() => socket.destroyed || socket.readableEnded).toBe(true)
    const another = await client()
    expect(await another.ask(question())).toBe(200)
  })
})

function statuses(text: string): number[] {
  return [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status))
}
