import { readFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test, vi } from 'vitest'
import { runToEnd, type ServerProcess, startProcess } from '../support/process.ts'
import { type Rest, rest } from '../support/rest.ts'
import { temporaryDirectory } from '../support/temporary.ts'

// Several processes behind one port, on one SQLite file, as an operator runs them.

// Each start is that of four processes, on machines that do other things as well.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 })

const TOKEN = 'a-token-of-the-first-admin-for-tests'
const WORKERS = 3

async function start(dataDir = temporaryDirectory()) {
  const env = { MINTMARK_WORKERS: String(WORKERS), MINTMARK_BOOTSTRAP_TOKEN: TOKEN }
  const server = await startProcess({ dataDir, env })
  const first = workersOf(server)
  onTestFinished(async () => {
    for (const pid of [...first, ...workersOf(server), server.pid]) killed(pid)
    await server.ended
  })
  return { server, api: rest(server.url, TOKEN), dataDir }
}

function killed(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has ended before.
  }
}

function workersOf({ pid }: ServerProcess): number[] {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
    return text.trim().split(' ').filter(Boolean).map(Number)
  } catch {
    return []
  }
}

/** Connections of their own, each to one worker: the supervisor deals them out in turn. */
function connections({ url }: ServerProcess) {
  const agents = Array.from(
    { length: WORKERS * 2 },
    () => new Agent({ keepAlive: true, maxSockets: 1 }),
  )
  onTestFinished(() => {
    for (const agent of agents) agent.destroy()
  })
  return agents.map(
    (agent) => (secret: string) => ask(`${url}/api/v1/tokens/verify`, agent, secret),
  )
}

function ask(url: string, agent: Agent, token: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' }
    const asking = request(url, { method: 'POST', agent, headers }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk
      })
      response.on('end', () => resolve(JSON.parse(text).active))
    })
    asking.on('error', reject)
    asking.end(JSON.stringify({ token }))
  })
}

async function makeToken(api: Rest) {
  const name = `t${Math.random()}`
  for (;;) {
    const { status, body } = await api.call('POST', '/tokens', { body: { name }, accept: 503 })
    // Too many for a slow machine: nothing was done, and whoever asked asks again.
    if (status !== 503) return { id: body.id as string, secret: body.secret as string }
  }
}
const revoke = (api: Rest, id: string) => api.call('POST', `/tokens/${id}/revoke`, { body: {} })

test('what one worker changes, every other one knows at its next answer', async () => {
  const { server, api } = await start()
  expect(workersOf(server)).toHaveLength(WORKERS)
  const asks = connections(server)
  for (let round = 0; round < 30; round++) {
    const { id, secret } = await makeToken(api)
    for (const ask of asks) expect(await ask(secret)).toBe(true)
    const { body } = await revoke(api, id)
    expect(body).toMatchObject({ acknowledged: 1, nodes: 1 })
    expect(await Promise.all(asks.map((ask) => ask(secret)))).not.toContain(true)
  }
  await api.call('PATCH', '/policy', { body: { lockoutAttempts: 9 } })
  for (let i = 0; i < WORKERS * 2; i++) {
    const { body } = await rest(server.url, TOKEN).call('GET', '/policy')
    expect(body.lockoutAttempts).toBe(9)
  }
})

test('workers that write at the same time wait for each other, not in vain', async () => {
  const { server, api } = await start()
  const made = await Promise.all(Array.from({ length: 150 }, () => makeToken(api)))
  expect(new Set(made.map(({ id }) => id)).size).toBe(150)
  const asks = connections(server)
  await Promise.all(made.map(({ id }) => revoke(api, id)))
  for (const { secret } of made.slice(0, 20)) {
    expect(await Promise.all(asks.map((ask) => ask(secret)))).not.toContain(true)
  }
  const { text } = await fetch(`${server.url}/metrics`).then(async (r) => ({
    text: await r.text(),
  }))
  const counts = [...text.matchAll(/count\{[^}]*tokens\/:id\/revoke[^}]*\} (\d+)/g)]
  expect(counts.reduce((sum, [, count]) => sum + Number(count), 0)).toBe(150)
})

test('a worker that was stopped meanwhile does not say yes when it goes on', async () => {
  const { server, api } = await start()
  const asks = connections(server)
  const { id, secret } = await makeToken(api)
  for (const ask of asks) expect(await ask(secret)).toBe(true)
  const [stopped = 0] = workersOf(server)
  process.kill(stopped, 'SIGSTOP')
  const inTime = <T>(promise: Promise<T>) =>
    Promise.race([promise, sleep(3000).then(() => 'stopped' as const)])
  // Whichever worker takes it: one that is stopped takes none.
  await vi.waitFor(
    async () => {
      const found = await inTime(revoke(rest(server.url, TOKEN), id))
      if (found === 'stopped') throw new Error('the stopped one')
    },
    { timeout: 15_000 },
  )
  const answers = asks.map((ask) => ask(secret))
  const early = await Promise.all(answers.map(inTime))
  expect(early).toContain('stopped')
  expect(early).not.toContain(true)
  process.kill(stopped, 'SIGCONT')
  expect(await Promise.all(answers)).not.toContain(true)
})

test('a worker that dies is replaced, and all end together', async () => {
  const { server, api, dataDir } = await start()
  const before = workersOf(server)
  process.kill(before[0] ?? 0, 'SIGKILL')
  await vi.waitFor(
    () => {
      const now = workersOf(server)
      expect(now).toHaveLength(WORKERS)
      expect(now).not.toContain(before[0])
    },
    { timeout: 15_000 },
  )
  await makeToken(api)
  const refused = await runToEnd({ dataDir, env: {} })
  expect(refused.output).toContain('Another Mintmark process uses')
  const { status, output } = await server.end('SIGTERM')
  expect({ status, output }).toMatchObject({ status: 0 })
  for (const pid of before) expect(() => process.kill(pid, 0)).toThrow()
})

test('workers do not outlive their supervisor, and none does unnoticed', async () => {
  const { server, dataDir } = await start()
  const orphans = workersOf(server)
  const [stopped = 0] = orphans
  process.kill(stopped, 'SIGSTOP')
  server.signal('SIGKILL')
  await vi.waitFor(() => expect(workersOf(server)).toEqual([]), { timeout: 10_000 })
  const { output } = await runToEnd({ dataDir, env: { MINTMARK_WORKERS: '2' } })
  expect(output).toContain('Another Mintmark process uses')
  process.kill(stopped, 'SIGCONT')
  await vi.waitFor(
    () => {
      for (const pid of orphans) expect(() => process.kill(pid, 0)).toThrow()
    },
    { timeout: 10_000 },
  )
  const { api } = await start(dataDir)
  await makeToken(api)
})
