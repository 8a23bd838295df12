import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { makeGroup, makeRole, makeToken } from '../support/people.ts'
import { startServer, type TestServer } from '../support/server.ts'

const START_TIMEOUT_MS = 60_000
const AUDIENCE = 'https://builds.example.com'

let server: TestServer
let env: { MINTMARK_URL: string; MINTMARK_TOKEN: string }
/** May build and is in the crew; may do nothing. */
let builder: string
let bystander: string
const running: ChildProcess[] = []

beforeAll(async () => {
  const port = 20_000 + Math.floor(Math.random() * 20_000)
  const url = `http://127.0.0.1:${port}`
  const clock = { now: () => Date.now(), advance: () => undefined }
  server = await startServer({ MINTMARK_PUBLIC_URL: url }, { clock })
  await server.app.server.listen({ host: '127.0.0.1', port })
  env = { MINTMARK_URL: url, MINTMARK_TOKEN: server.adminToken }
  await makeRole(server, 'builder', ['build'])
  const alice = await server.makeUser({ username: 'alice', roles: ['builder'] })
  await makeGroup(server, 'crew', { [alice.id]: 'READ' })
  bystander = (await makeToken(server, { ownerId: alice.id })).secret
  builder = alice.token
  // Those that are not started but imported read them, too.
  Object.assign(process.env, env)
}, START_TIMEOUT_MS)

afterAll(async () => {
  for (const child of running) child.kill()
  await server.close()
})

function start(name: string) {
  const main = fileURLToPath(new URL(`../../examples/${name}/main.ts`, import.meta.url))
  const child = spawn(process.execPath, [main], {
    env: { PATH: process.env.PATH, PORT: '0', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  running.push(child)
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
  }
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve))
  return { child, ended, output: () => output }
}

/** What a service on builds answers whom. */
async function checkBuilds(
  send: (init: RequestInit) => Response | Promise<Response>,
): Promise<void> {
  const ask = (token: string, method = 'GET') =>
    send({ method, headers: { authorization: `Bearer ${token}` } })
  const answer = await ask(builder)
  expect(answer.status).toBe(200)
  expect(await answer.json()).toEqual({ for: 'alice' })
  expect((await ask(builder, 'POST')).status).toBe(201)
  expect((await ask(bystander)).status).toBe(200)
  expect((await ask(bystander, 'POST')).status).toBe(403)
  expect((await ask('x')).status).toBe(401)
  expect((await send({})).status).toBe(401)
}

it.each(['express', 'fastify', 'hono'])(
  'the example for %s runs, and keeps out who may not',
  async (name) => {
    const { output, ended, child } = start(name)
    const listening = /Listening on (http:\S+)/
    await expect.poll(output, { timeout: START_TIMEOUT_MS }).toMatch(listening)
    const url = listening.exec(output())?.[1]
    await checkBuilds((init) => fetch(`${url}/builds`, init))
    const team = (path: string) =>
      fetch(`${url}/teams/${path}`, { headers: { authorization: `Bearer ${builder}` } })
    expect((await team('crew')).status).toBe(200)
    expect((await team('other')).status).toBe(403)
    child.kill()
    await ended
    expect(output()).not.toContain(builder)
  },
  START_TIMEOUT_MS * 2,
)

interface Served {
  default: { fetch(request: Request, platform: unknown): Response | Promise<Response> }
}

it('the example for Next.js answers', async () => {
  const route = '../../examples/next/app/builds/route.js'
  const handlers: Record<string, (request: Request, context: object) => Promise<Response>> =
    await import(route)
  await checkBuilds(
    async (init) =>
      handlers[init.method ?? 'GET']?.(new Request(`${AUDIENCE}/builds`, init), {}) ??
      new Response(null),
  )
})

it('the example for Bun answers', async () => {
  const bun: Served = await import('../../examples/bun/main.ts')
  const platform = { requestIP: () => ({ address: '127.0.0.1' }) }
  await checkBuilds((init) => bun.default.fetch(new Request(`${AUDIENCE}/builds`, init), platform))
})

it('the example for Deno answers those who send a signed token', async () => {
  const signed = await server.call('POST', '/api/v1/tokens/self/jwt', {
    token: builder,
    body: { audience: AUDIENCE },
  })
  server.remember(signed.body.jwt)
  const deno: Served = await import('../../examples/deno/main.ts')
  const get = (path: string, token: string) =>
    deno.default.fetch(
      new Request(`${AUDIENCE}${path}`, { headers: { authorization: `Bearer ${token}` } }),
      { remoteAddr: { hostname: '127.0.0.1' } },
    )
  const answer = await get('/builds', signed.body.jwt)
  expect(await answer.json()).toEqual({ for: 'alice' })
  expect((await get('/teams/crew', signed.body.jwt)).status).toBe(200)
  expect((await get('/teams/other', signed.body.jwt)).status).toBe(403)
  expect((await get('/builds', builder)).status).toBe(401)
})

it(
  'the example of offline verification sees a signed token die',
  async () => {
    const { output, ended } = start('offline')
    expect(await ended, output()).toBe(0)
    expect(output()).toMatch(/Checked 1000 times without asking anybody/)
    expect(output()).toMatch(/Refused \d+ ms after it was revoked: revoked\./)
  },
  START_TIMEOUT_MS * 2,
)
