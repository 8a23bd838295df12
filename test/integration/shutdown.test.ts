import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { Agent, type IncomingMessage, request } from 'node:http'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { type ServerProcess, startProcess } from '../support/process.ts'
import { rest } from '../support/rest.ts'
import { temporaryDirectory } from '../support/temporary.ts'

const adminToken = `boot-${randomBytes(30).toString('base64url')}`
const env = { MINTMARK_BOOTSTRAP_TOKEN: adminToken }

async function start(dataDir: string): Promise<ServerProcess> {
  const server = await startProcess({ dataDir, env })
  onTestFinished(async () => {
    await server.end('SIGKILL')
  })
  return server
}

interface Answer {
  status: number
  text: string
  /** The server wants no more requests on this connection. */
  sentAway: boolean
}

interface Question {
  path: string
  agent: Agent
  body?: object
}

/** Rejects when the connection is refused or cut off. */
function ask(url: string, { path, agent, body }: Question): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${adminToken}`, 'content-type': 'application/json' }
    const method = body === undefined ? 'GET' : 'POST'
    const asked = request(`${url}${path}`, { method, agent, headers }, (answer) => {
      read(answer).then(resolve, reject)
    })
    asked.on('error', reject)
    asked.end(body === undefined ? undefined : JSON.stringify(body))
  })
}

async function read(answer: IncomingMessage): Promise<Answer> {
  let text = ''
  for await (const chunk of answer) text += chunk
  return {
    status: answer.statusCode ?? 0,
    text,
    sentAway: answer.headers.connection === 'close',
  }
}

/** One keep-alive connection that asks without a pause until it is sent away. Returns all answers. */
async function client(url: string, question: () => Omit<Question, 'agent'>): Promise<Answer[]> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const answers: Answer[] = []
  do answers.push(await ask(url, { ...question(), agent }))
  while (!answers.at(-1)?.sentAway)
  agent.destroy()
  return answers
}

/** Readiness as a load balancer sees it, on a new connection each time, until it is not ready. */
async function probe(url: string): Promise<number> {
  const agent = new Agent({ keepAlive: false })
  for (;;) {
    const { status } = await ask(url, { path: '/health/ready', agent })
    if (status !== 200) return status
    await sleep(10)
  }
}

test.each(['SIGTERM', 'SIGINT'] as const)(
  '%s under load: not ready first, then no request fails',
  async (signal) => {
    const dataDir = temporaryDirectory()
    const server = await start(dataDir)
    let made = 0
    const verify = () => ({ path: '/api/v1/tokens/verify', body: { token: adminToken } })
    const create = () => ({ path: '/api/v1/tokens', body: { name: `token ${++made}` } })
    const clients = [
      ...Array.from({ length: 12 }, () => client(server.url, verify)),
      ...Array.from({ length: 4 }, () => client(server.url, create)),
    ]
    const notReady = probe(server.url)
    await sleep(500)
    server.signal(signal)
    const answers = (await Promise.all(clients)).flat()
    expect(answers.filter(({ status }) => status > 201)).toEqual([])
    expect(await notReady).toBe(503)
    expect((await server.ended).status).toBe(0)

    // Everything went into the database file, and all of it is there again.
    expect(readdirSync(dataDir)).not.toContain('mintmark.db-wal')
    const again = await start(dataDir)
    const names = new Set(
      (await rest(again.url, adminToken).all('/tokens')).map(({ name }) => name),
    )
    const created = answers
      .filter(({ status }) => status === 201)
      .map(({ text }) => JSON.parse(text))
    expect(created.length).toBeGreaterThan(0)
    expect(created.filter(({ name }) => !names.has(name))).toEqual([])
  },
)

test('a second signal does not wait for requests under way', async () => {
  const server = await start(temporaryDirectory())
  const agent = new Agent({ keepAlive: true })
  onTestFinished(() => agent.destroy())
  // A request whose body never comes holds the shutdown up.
  const held = request(`${server.url}/api/v1/login`, {
    method: 'POST',
    agent,
    headers: { 'content-type': 'application/json', 'content-length': '100' },
  })
  held.on('error', () => undefined)
  held.write('{')
  await sleep(100)
  server.signal('SIGTERM')
  await sleep(1000)
  expect((await server.end('SIGTERM')).status).toBe(1)
})

test('a connection that never asks does not hold the end up', async () => {
  const server = await start(temporaryDirectory())
  const { port } = new URL(server.url)
  const silent = connect(Number(port), '127.0.0.1')
  await once(silent, 'connect')
  // Being cut off is what is wanted here.
  silent.on('error', () => undefined)
  const startedMs = performance.now()
  expect(await server.end('SIGTERM')).toMatchObject({ status: 0 })
  expect(performance.now() - startedMs).toBeLessThan(5000)
  silent.destroy()
})

test('a request under way is answered, sent away, and does not hold the end up', async () => {
  const server = await start(temporaryDirectory())
  const { port } = new URL(server.url)
  const socket = connect(Number(port), '127.0.0.1').setEncoding('utf8')
  let answer = ''
  socket.on('data', (chunk: string) => {
    answer += chunk
  })
  const body = JSON.stringify({ token: 'nothing' })
  const head = [
    'POST /api/v1/tokens/verify HTTP/1.1',
    'host: localhost',
    `authorization: Bearer ${adminToken}`,
    'content-type: application/json',
    `content-length: ${body.length}`,
  ]
  socket.write(`${head.join('\r\n')}\r\n\r\n${body.slice(0, 5)}`)
  // The server has the request once its answer to another connection, asked later, is there.
  await rest(server.url, adminToken).call('GET', '/tokens/self')
  const startedMs = performance.now()
  const ended = server.end('SIGTERM')
  await sleep(100)
  socket.write(body.slice(5))
  expect(await ended).toMatchObject({ status: 0 })
  expect(performance.now() - startedMs).toBeLessThan(5000)
  expect(answer).toMatch(/^HTTP\/1\.1 200 [\s\S]*"active":false/)
  expect(answer.toLowerCase()).toContain('connection: close')
})
