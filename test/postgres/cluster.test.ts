import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from 'vitest'
import { mintmark } from '../support/cli.ts'
import { newPostgresDatabase, type TestDatabase } from '../support/database.ts'
import { type ServerProcess, startProcess } from '../support/process.ts'
import { type Rest, rest } from '../support/rest.ts'
import { temporaryDirectory } from '../support/temporary.ts'

// Three servers in processes of their own, as an operator runs them.

vi.setConfig({ testTimeout: 120_000 })

const TOKEN = 'a-token-of-the-first-admin-for-tests'
const DEAF = fileURLToPath(new URL('../support/deaf.ts', import.meta.url))

let database: TestDatabase
beforeEach(async () => {
  database = await newPostgresDatabase()
})
afterEach(() => database.drop())

interface Started {
  server: ServerProcess
  api: Rest
}

async function start(more: Record<string, string> = {}): Promise<Started> {
  const server = await startProcess({
    dataDir: temporaryDirectory(),
    env: {
      ...database.env,
      MINTMARK_MASTER_KEY: 'a-master-key-for-all-the-nodes-of-the-test',
      MINTMARK_BOOTSTRAP_TOKEN: TOKEN,
      ...more,
    },
  })
  onTestFinished(async () => {
    await server.end('SIGKILL')
  })
  return { server, api: rest(server.url, TOKEN) }
}

async function startThree(
  env: Record<string, string> = {},
  ofTheThird: Record<string, string> = {},
): Promise<[Started, Started, Started]> {
  const one = await start(env)
  const [two, three] = await Promise.all([start(env), start({ ...env, ...ofTheThird })])
  return [one, two, three]
}

async function warmToken(nodes: readonly [Started, ...Started[]]) {
  const made = await nodes[0].api.call('POST', '/tokens', { body: { name: `t${Math.random()}` } })
  const { id, secret } = made.body as { id: string; secret: string }
  for (const { api } of nodes) expect(await api.isActive(secret)).toBe(true)
  return { id, secret }
}

const drill = ({ server }: Started, ...args: string[]) =>
  mintmark(['drill', 'revoke', '--json', ...args], {
    env: { MINTMARK_URL: server.url, MINTMARK_TOKEN: TOKEN },
  })

test('a stopped node is waited for, then gone, and says no when it goes on', async () => {
  const nodes = await startThree({ MINTMARK_NODE_LEASE: '2', MINTMARK_REVOKE_WAIT: '0.5' })
  const [one, two, three] = nodes
  const { id, secret } = await warmToken(nodes)
  three.server.signal('SIGSTOP')
  onTestFinished(() => three.server.signal('SIGCONT'))
  const { body } = await one.api.call('POST', `/tokens/${id}/revoke`, { body: {} })
  expect(body).toMatchObject({ acknowledged: 2, nodes: 3 })
  expect(await two.api.isActive(secret)).toBe(false)
  // Asked while it sleeps: this is the first that it answers after waking.
  const first = three.api.isActive(secret).catch((error: Error) => error.message)
  await vi.waitFor(
    async () => {
      const again = await one.api.call('POST', `/tokens/${id}/revoke`, { body: {}, accept: 409 })
      const listed = await one.api.call('GET', '/nodes')
      expect(listed.body.items.map(({ state }: { state: string }) => state).sort()).toEqual([
        'gone',
        'live',
        'live',
      ])
      if (again.status === 200) expect(again.body).toMatchObject({ acknowledged: 2, nodes: 2 })
    },
    { timeout: 15_000, interval: 100 },
  )
  three.server.signal('SIGCONT')
  expect(await first).not.toBe(true)
  await vi.waitFor(async () => expect(await three.api.isActive(secret)).toBe(false), {
    timeout: 10_000,
    interval: 100,
  })
  const next = await warmToken(nodes)
  const last = await one.api.call('POST', `/tokens/${next.id}/revoke`, { body: {} })
  expect(await three.api.isActive(next.secret)).toBe(false)
  expect(last.body).toMatchObject({ acknowledged: 3, nodes: 3 })
})

test('a node that was killed is gone after its lease, one that ended well at once', async () => {
  const nodes = await startThree({ MINTMARK_NODE_LEASE: '1', MINTMARK_REVOKE_WAIT: '5' })
  const [one, two, three] = nodes
  const { id } = await warmToken(nodes)
  await three.server.end('SIGKILL')
  const began = performance.now()
  const { body } = await one.api.call('POST', `/tokens/${id}/revoke`, { body: {} })
  expect(body).toMatchObject({ acknowledged: 2, nodes: 2 })
  expect(performance.now() - began).toBeLessThan(5000)
  const other = await warmToken([one, two])
  expect((await two.server.end('SIGTERM')).status).toBe(0)
  const alone = await one.api.call('POST', `/tokens/${other.id}/revoke`, { body: {} })
  expect(alone.body).toMatchObject({ acknowledged: 1, nodes: 1 })
})

test('the drill finds no stale yes on nodes that keep the promise', async () => {
  const [one] = await startThree()
  const { status, json } = await drill(one, '--count', '60')
  expect(json()).toMatchObject({
    revocations: 60,
    notAcknowledged: 0,
    questionsAfterwards: 180,
    staleYes: [],
    latencyMs: { p99: expect.any(Number) },
  })
  expect(status).toBe(0)
})

test('the drill finds the node that does not keep it', async () => {
  const [one, , three] = await startThree({}, { NODE_OPTIONS: `--import=${DEAF}` })
  const { status, json } = await drill(one, '--count', '5')
  const { staleYes } = json() as { staleYes: { address: string }[] }
  expect(staleYes.length).toBe(5)
  expect(new Set(staleYes.map(({ address }) => address))).toEqual(new Set([three.server.url]))
  expect(status).toBe(1)
})
