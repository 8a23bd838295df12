import { createServer, type Server } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { pino } from 'pino'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { answerDirectly } from '../../src/http/direct.ts'
import { createLane, laneAnswer } from '../../src/http/lane.ts'
import { waitingRoom } from '../../src/http/waiting-room.ts'
import { makeToken } from '../support/people.ts'
import { startServer, type TestServer } from '../support/server.ts'

// A room in which everything has to wait, in front of a server that says who came to it after how long.

let server: TestServer
let http: Server
let port: number
let came: { url: string; waitedMs: number }[]
let sockets: Socket[]

beforeAll(async () => {
  server = await startServer()
})
afterAll(() => server.close())

beforeEach(async () => {
  came = []
  sockets = []
  const room = waitingRoom({ tickMs: 10 })
  http = createServer(({ url = '' }, response) => {
    came.push({ url, waitedMs: room.waitedMs() })
    if (url === '/slow') block(3)
    response.end()
  })
  const { health, core } = server.app
  const lane = createLane({
    routes: [
      {
        path: '/question',
        pattern: '/question',
        body: undefined,
        credentialHeader: 'authorization',
        via: 'api',
        strangeHeaders: [],
        credential: (header) => (header === 'client' ? undefined : header),
        otherwise: () => undefined,
        learn: () => sleep(300),
        question: () => () => laneAnswer(200, {}),
      },
    ],
    verifier: core.verifier,
    health,
    meter: () => () => undefined,
    log: pino({ level: 'silent' }),
    headers: {},
    trustedProxies: [],
  })
  const late = http.listeners('request')[0] as () => void
  room.open(http, { paceOf: () => 'other' as const, late, lateMs: Number.POSITIVE_INFINITY })
  answerDirectly(http, { lane, health, room, maxRequests: 2 })
  room.tick(true)
  await core.verifier.verify(server.adminToken)
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
  port = (http.address() as AddressInfo).port
})
afterEach(async () => {
  for (const socket of sockets) socket.destroy()
  await new Promise((resolve) => http.close(resolve))
})

async function connected(): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  sockets.push(socket)
  socket.resume()
  await new Promise((resolve) => socket.once('connect', resolve))
  return socket
}

const get = (url: string) => `GET ${url} HTTP/1.1\r\nHost: localhost\r\n\r\n`
const question = (secret: string) =>
  `POST /question HTTP/1.1\r\nHost: localhost\r\nAuthorization: ${secret}\r\n\r\n`

function block(ms: number): void {
  const endMs = performance.now() + ms
  while (performance.now() < endMs);
}

/** Makes a line that lasts for a fifth of a second at least. */
async function standInLine(): Promise<void> {
  const crowd = await connected()
  // Until the server has taken in all connections, whatever the clients believe.
  await sleep(50)
  crowd.write(get('/slow').repeat(60))
  await expect.poll(() => came.length, { interval: 1 }).toBeGreaterThan(0)
}

async function cameAfterMs(url: string): Promise<number | undefined> {
  await expect.poll(() => came.map((each) => each.url), { timeout: 5000 }).toContain(url)
  return came.find((each) => each.url === url)?.waitedMs
}

test('what follows a question that has waited does not pass the line by it', async () => {
  const socket = await connected()
  await standInLine()
  socket.write(question(server.adminToken))
  await sleep(20)
  socket.write(get('/next'))
  // The question went before the line; this is none.
  expect(await cameAfterMs('/next')).toBeGreaterThan(50)
})

test('a question that is handed over after it has waited does not wait again', async () => {
  const { id, secret } = await makeToken(server, {})
  await server.call('POST', `/api/v1/tokens/${id}/revoke`)
  const socket = await connected()
  await standInLine()
  // Of whom only the database knows that it is refused.
  socket.write(question(secret))
  expect(await cameAfterMs('/question')).toBeGreaterThan(50)
})

test('no more is looked up at a time than requests may be under way', async () => {
  const clients = [await connected(), await connected(), await connected()]
  await sleep(50)
  for (const client of clients) client.write(question('client'))
  await sleep(100)
  expect(came.length).toBe(1)
  await expect.poll(() => came.length).toBe(3)
  expect(server.app.health.underWay).toBe(0)
})
