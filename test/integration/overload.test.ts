import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { RouteOptions } from 'fastify'
import { expect, it, onTestFinished } from 'vitest'
import { EVERYTHING, makeToken } from '../support/people.ts'
import { startPrepared } from '../support/routes.ts'
import { startServer, type TestServer } from '../support/server.ts'

/** Holds the event loop, as a query over too many rows does. */
function block(ms: number): void {
  const endMs = performance.now() + ms
  while (performance.now() < endMs);
}

/** An answer as it came over the wire. */
interface Heard {
  status: number
  head: string
  // biome-ignore lint/suspicious/noExplicitAny: answers of every shape
  body: any
}

async function portOf({ app }: TestServer): Promise<number> {
  const url = await app.server.listen({ port: 0, host: '127.0.0.1' })
  return Number(new URL(url).port)
}

async function connected(port: number): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  onTestFinished(() => {
    socket.destroy()
  })
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve)
    socket.once('error', reject)
  })
  return socket
}

/** Node takes in one connection a turn, later than the client believes. */
async function accepted({ app }: TestServer, count: number): Promise<void> {
  const connections = promisify(app.server.server.getConnections.bind(app.server.server))
  while ((await connections()) < count) await sleep(5)
}

/** Sends at once, so that all that is sent in a row comes in one turn of the event loop. */
function send(socket: Socket, text: string): Promise<Heard> {
  return new Promise((resolve, reject) => {
    let heard = ''
    const look = () => {
      const end = heard.indexOf('\r\n\r\n')
      if (end < 0) return
      const head = heard.slice(0, end).toLowerCase()
      const body = heard.slice(end + 4)
      const length = /content-length: (\d+)/.exec(head)?.[1]
      if (length === undefined ? !body.endsWith('0\r\n\r\n') : body.length < Number(length)) return
      const isJson = /content-type: application\/(problem\+)?json/.test(head)
      resolve({ status: Number(head.slice(9, 12)), head, body: isJson ? JSON.parse(body) : body })
    }
    socket.setEncoding('latin1').on('data', (chunk) => {
      heard += String(chunk)
      look()
    })
    socket.once('error', reject)
    socket.write(text)
  })
}

function requestText(
  server: TestServer,
  { method, path, body }: { method: string; path: string; body?: unknown },
): string {
  const json = body === undefined ? '' : JSON.stringify(body)
  const head = [
    `${method} ${path} HTTP/1.1`,
    'host: localhost',
    `authorization: Bearer ${server.adminToken}`,
    ...(json === ''
      ? []
      : ['content-type: application/json', `content-length: ${Buffer.byteLength(json)}`]),
  ]
  return `${head.join('\r\n')}\r\n\r\n${json}`
}

const says = (message: RegExp) => expect.stringMatching(message)
const TOO_MUCH = says(/more to do than it can/)

it('what waits too long is refused in its own shape, what is vital or light is not', async () => {
  const server = await startPrepared((app) => {
    app.get('/slow', async () => {
      block(200)
      return {}
    })
    app.get('/dear', async () => {
      block(15)
      return {}
    })
  })
  onTestFinished(() => server.close())
  const { id } = await makeToken(server, { name: 'to revoke', ...EVERYTHING })
  const port = await portOf(server)
  const wishes = {
    first: { method: 'GET', path: '/slow' },
    second: { method: 'GET', path: '/slow' },
    native: { method: 'GET', path: '/api/v1/tokens?limit=10' },
    s7: { method: 'GET', path: '/api/auth/v1/admin/users' },
    xms: { method: 'GET', path: '/v1/access-tokens' },
    opal: { method: 'GET', path: '/v1/tokens' },
    authentik: { method: 'GET', path: '/api/v3/oauth2/access_tokens/' },
    oauth: { method: 'POST', path: '/oauth2/token' },
    create: { method: 'POST', path: '/api/v1/tokens', body: { name: 'too late' } },
    verify: { method: 'POST', path: '/api/v1/tokens/verify', body: { token: server.adminToken } },
    revoke: { method: 'POST', path: `/api/v1/tokens/${id}/revoke`, body: {} },
    live: { method: 'GET', path: '/health/live' },
    ready: { method: 'GET', path: '/health/ready' },
    metrics: { method: 'GET', path: '/metrics' },
  }
  const names = Object.keys(wishes) as (keyof typeof wishes)[]
  const sockets = await Promise.all(names.map(() => connected(port)))
  // A burst alone is no overload: a line that stands for half a second is.
  const dear = requestText(server, { method: 'GET', path: '/dear' })
  const herd = await Promise.all(Array.from({ length: 120 }, () => connected(port)))
  await accepted(server, herd.length + sockets.length)
  await Promise.all(herd.map((socket) => send(socket, dear)))
  const answers = await Promise.all(
    names.map(async (name, i) => {
      const heard = await send(sockets[i] as Socket, requestText(server, wishes[name]))
      return [name, heard] as const
    }),
  )
  const { native, s7, xms, opal, authentik, oauth, create, ...others } = Object.fromEntries(
    answers,
  ) as Record<keyof typeof wishes, Heard>

  const refused = [native, s7, xms, opal, authentik, oauth, create]
  expect(refused.map(({ status }) => status)).toEqual(refused.map(() => 503))
  for (const { head } of refused) expect(head).toMatch(/\r\nretry-after: [1-3]\r\n/)
  expect(native.head).toContain('content-type: application/problem+json')
  expect(native.body).toMatchObject({ status: 503, code: 'unavailable', detail: TOO_MUCH })
  expect(create.body).toMatchObject({ code: 'unavailable' })
  expect(s7.body).toEqual({ code: 503, message: TOO_MUCH })
  expect(xms.body).toEqual({ code: 'Unavailable', message: TOO_MUCH, details: '' })
  expect(opal.body).toEqual({ code: 503, message: TOO_MUCH })
  expect(authentik.body).toEqual({ detail: TOO_MUCH })
  expect(oauth.body).toMatchObject({ error: 'temporarily_unavailable' })

  for (const [name, { status }] of Object.entries(others)) expect(status, name).toBe(200)
  expect(others.verify.body).toMatchObject({ active: true })
  expect(others.revoke.body).toMatchObject({ revoked: [id] })
  const figures = await server.call('GET', '/metrics')
  expect(figures.text).toContain('mintmark_requests_refused_total{weight="heavy",reason="late"} 5')
  expect(figures.text).toContain('mintmark_requests_refused_total{weight="write",reason="late"} 2')

  // One line for all of them.
  const log = server.logLines().map((line) => JSON.parse(line))
  expect(log.filter(({ msg }) => /more to do/.test(msg))).toHaveLength(1)
  expect(log.filter(({ msg, status }) => msg === 'request' && status === 503)).toEqual([])

  await sleep(1500)
  expect(await server.call('GET', '/api/v1/tokens?limit=10')).toMatchObject({ status: 200 })
})

it('whoever asks for a verdict does not wait behind what is dear', async () => {
  const server = await startPrepared((app) => {
    app.get('/dear', async () => {
      block(5)
      return {}
    })
  })
  onTestFinished(() => server.close())
  const port = await portOf(server)
  const body = { token: server.adminToken }
  await server.call('POST', '/api/v1/tokens/verify', { body })
  const dear = requestText(server, { method: 'GET', path: '/dear' })
  const live = requestText(server, { method: 'GET', path: '/health/live' })
  const verify = requestText(server, { method: 'POST', path: '/api/v1/tokens/verify', body })
  const connections = (count: number) =>
    Promise.all(Array.from({ length: count }, () => connected(port)))
  const [herd, fresh, used] = [await connections(100), await connections(10), await connections(10)]
  await accepted(server, 120)
  // On a connection that is Node's for good by then, too.
  await Promise.all(used.map((socket) => send(socket, live)))
  for (const socket of used) socket.removeAllListeners('data')
  let before = 0
  const all = herd.map((socket) => send(socket, dear).finally(() => before++))
  const verdicts = await Promise.all([...fresh, ...used].map((socket) => send(socket, verify)))

  expect(before).toBeLessThan(herd.length / 2)
  expect(verdicts.map(({ body }) => body.active)).toEqual(verdicts.map(() => true))
  await Promise.all(all)
})

it('one slow query is no overload', async () => {
  const server = await startPrepared((app) => {
    app.get('/slow', async () => {
      block(400)
      return {}
    })
  })
  onTestFinished(() => server.close())
  const port = await portOf(server)
  const paths = ['/slow', '/api/v1/tokens?limit=10', '/api/v1/users?limit=10']
  const sockets = await Promise.all(paths.map(() => connected(port)))
  const answers = await Promise.all(
    paths.map((path, i) =>
      send(sockets[i] as Socket, requestText(server, { method: 'GET', path })),
    ),
  )
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200])
})

it('no more requests are under way than allowed, except vital ones', async () => {
  const server = await startServer({ MINTMARK_MAX_REQUESTS: '4' })
  onTestFinished(() => server.close())
  const { id } = await makeToken(server, { name: 'to revoke', ...EVERYTHING })
  const create = (i: number) =>
    server.call('POST', '/api/v1/tokens', { body: { name: `burst ${i}` } })
  const creates = Promise.all(Array.from({ length: 20 }, (_, i) => create(i)))
  const vital = Promise.all([
    server.call('POST', `/api/v1/tokens/${id}/revoke`, { body: {} }),
    server.call('GET', '/health/ready'),
    server.call('GET', '/metrics'),
  ])
  const statuses = (await creates).map(({ status }) => status)
  expect(statuses.filter((status) => status === 201)).toHaveLength(2)
  expect(statuses.filter((status) => status === 503)).toHaveLength(18)
  expect((await vital).map(({ status }) => status)).toEqual([200, 200, 200])
  expect(await create(20)).toMatchObject({ status: 201 })
})

it('more than one connection may ask at once is refused, and the connection ended', async () => {
  const server = await startServer()
  onTestFinished(() => server.close())
  const socket = await connected(await portOf(server))
  const texts = Array.from({ length: 40 }, (_, i) =>
    requestText(server, { method: 'POST', path: '/api/v1/tokens', body: { name: `piped ${i}` } }),
  )
  let heard = ''
  socket.setEncoding('latin1').on('data', (chunk) => {
    heard += String(chunk)
  })
  const ended = new Promise((resolve) => socket.once('close', resolve))
  socket.write(texts.join(''))
  await ended
  const statuses = [...heard.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status)
  // On a slow machine some of the first sixteen wait for too long, too.
  expect(statuses).toHaveLength(17)
  expect(statuses.filter((status) => status === '201').length).toBeGreaterThan(0)
  expect(statuses.at(-1)).toBe('503')
})

it('beyond the limit of connections only what is vital is answered', async () => {
  const server = await startServer({ MINTMARK_MAX_CONNECTIONS: '10' })
  onTestFinished(() => server.close())
  const port = await portOf(server)
  const sockets: Socket[] = []
  while (sockets.length < 12) sockets.push(await connected(port))
  await sleep(50)
  const [first, second] = sockets as [Socket, Socket]
  const verify = {
    method: 'POST',
    path: '/api/v1/tokens/verify',
    body: { token: server.adminToken },
  }
  const live = { method: 'GET', path: '/health/live' }
  expect(await send(second, requestText(server, live))).toMatchObject({ status: 200 })
  const { status, head } = await send(first, requestText(server, verify))
  expect(status).toBe(503)
  expect(head).toContain('connection: close')
  for (const socket of sockets.slice(1, 4)) socket.destroy()
  await sleep(50)
  const last = sockets.at(-1) as Socket
  expect(await send(last, requestText(server, verify))).toMatchObject({ status: 200 })
})

it('whatever takes something away is vital, and so is what tells how the server is', async () => {
  const routes: RouteOptions[] = []
  const server = await startPrepared((app) => {
    app.addHook('onRoute', (route) => {
      routes.push(route)
    })
  })
  onTestFinished(() => server.close())
  const weighing = (weight: string, method: string) =>
    routes
      .filter((route) => route.method === method && route.config?.weight === weight)
      .map(({ url }) => url)
      .toSorted()
  for (const method of ['DELETE', 'PATCH', 'PUT']) {
    const all = routes.filter((route) => route.method === method)
    expect(weighing('vital', method)).toHaveLength(all.length)
  }
  expect(weighing('vital', 'POST')).toEqual([
    '/account/grants',
    '/api/v1/clients/:id/secret',
    '/api/v1/leaks',
    '/api/v1/leaks/github',
    '/api/v1/logout',
    '/api/v1/me/password',
    '/api/v1/tokens/:id/quarantine',
    '/api/v1/tokens/:id/revoke',
    '/api/v1/tokens/:id/rotation::finish',
    '/api/v1/tokens/self/revoke',
    '/api/v1/tokens::bulk',
    '/api/v1/users/:id/one-time-password',
    '/oauth2/revoke',
    '/v1/auth/tokens::logout',
  ])
  expect(weighing('vital', 'GET')).toEqual([
    '/api/auth/v1/health/liveness',
    '/api/auth/v1/health/readiness',
    '/api/auth/v2/health/liveness',
    '/api/auth/v2/health/readiness',
    '/api/v1/revocations',
    '/health/live',
    '/health/ready',
    '/metrics',
  ])
  expect(weighing('light', 'POST')).toEqual([
    '/api/v1/tokens/self/jwt',
    '/api/v1/tokens/verify',
    '/api/v1/tokens/verify::batch',
    '/oauth2/introspect',
    '/v1/access-tokens::validate',
  ])
  for (const url of ['/api/v1/tokens', '/v1/tokens', '/v1/access-tokens', '/api/v1/audit']) {
    expect(weighing('heavy', 'GET')).toContain(url)
  }
  expect(weighing('heavy', 'POST')).toContain('/api/v1/login')
})
