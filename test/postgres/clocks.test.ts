import { randomBytes } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest'
import { createCore } from '../../src/core/core.ts'
import { Secret } from '../../src/core/secret.ts'
import { steadyClock } from '../../src/steady-clock.ts'
import { openStore } from '../../src/store/database.ts'
import { newPostgresDatabase, type TestDatabase } from '../support/database.ts'
import { startProcess } from '../support/process.ts'
import { rest } from '../support/rest.ts'
import { temporaryDirectory } from '../support/temporary.ts'

// Two nodes decide what is over by the clock of their database, however wrong those of their machines are.

const TOKEN = 'a-token-of-the-first-admin-for-tests'
const HOUR_MS = 3_600_000
/** The way to the database and back, on a busy machine. */
const CLOSE_MS = 250

let database: TestDatabase
beforeAll(async () => {
  database = await newPostgresDatabase()
})
afterAll(() => database.drop())

async function start() {
  const server = await startProcess({
    dataDir: temporaryDirectory(),
    env: {
      ...database.env,
      MINTMARK_MASTER_KEY: 'a-master-key-for-all-the-nodes-of-the-test',
      MINTMARK_BOOTSTRAP_TOKEN: TOKEN,
      MINTMARK_LOG_LEVEL: 'warn',
      NODE_OPTIONS: `--import=${fileURLToPath(new URL('../support/stepped-clock.ts', import.meta.url))}`,
    },
  })
  onTestFinished(async () => {
    await server.end('SIGKILL')
  })
  return { server, api: rest(server.url, TOKEN) }
}

test('a node whose clock is stepped ends tokens and overlaps when the others do', async () => {
  const [one, two] = [await start(), await start()]
  const call = async (path: string, body: object) =>
    (await one.api.call('POST', path, { body })).body as { id: string; secret: string }
  const made = (name: string) =>
    call('/tokens', { name, expiresAt: new Date(Date.now() + 2000).toISOString() })
  /** How far apart the two nodes say the first no. */
  async function endsApart(secret: string): Promise<number> {
    const endAt = async ({ isActive }: typeof one.api) => {
      expect(await isActive(secret)).toBe(true)
      while (await isActive(secret));
      return performance.now()
    }
    const [here, there] = await Promise.all([endAt(one.api), endAt(two.api)])
    return Math.abs(here - there)
  }
  for (const step of ['three seconds ahead', 'three seconds behind']) {
    two.server.signal('SIGUSR2')
    const expiring = await made(step)
    const old = await call('/tokens', { name: `${step}, rotated` })
    await call(`/tokens/${old.id}/rotate`, { overlapSeconds: 1 })
    const apart = await Promise.all([expiring, old].map(({ secret }) => endsApart(secret)))
    expect(Math.max(...apart)).toBeLessThan(CLOSE_MS)
    const figures = await fetch(`${two.server.url}/metrics`, {
      headers: { authorization: `Bearer ${TOKEN}` },
    })
    const [, ahead] = /^mintmark_clock_ahead_seconds (\S+)$/m.exec(await figures.text()) ?? []
    expect(Math.abs(Number(ahead))).toBeGreaterThan(2)
  }
  expect(two.server.output()).toContain('The clock of this machine')
  expect(one.server.output()).not.toContain('The clock of this machine')
})

test('a node that starts with a wrong clock goes by that of the database from its first answer', async () => {
  const masterKey = new Secret(randomBytes(32).toString('base64url'))
  const own = await newPostgresDatabase()
  onTestFinished(() => own.drop())
  for (const wrongMs of [0, -HOUR_MS, HOUR_MS]) {
    const clock = steadyClock({ wall: () => Date.now() + wrongMs })
    const card = { version: '0', leaseMs: 1000 }
    const store = await openStore(own.config, clock, { card })
    const core = await createCore({ store, clock, random: randomBytes, masterKey })
    expect(Math.abs(core.clock.now() - Date.now())).toBeLessThan(CLOSE_MS)
    // Its lease is renewed, and the time read anew with it.
    const seen = vi.spyOn(clock, 'guide')
    await vi.waitFor(() => expect(seen.mock.calls.length).toBeGreaterThan(2), { timeout: 5000 })
    expect(Math.abs(core.clock.now() - Date.now())).toBeLessThan(CLOSE_MS)
    await store.close()
  }
})
