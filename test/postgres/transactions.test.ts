import { afterEach, beforeEach, expect, it, onTestFinished } from 'vitest'
import type { Store } from '../../src/core/store.ts'
import { type Database, openStore } from '../../src/store/database.ts'
import { newPostgresDatabase, type TestDatabase } from '../support/database.ts'
import { startProcess } from '../support/process.ts'
import { rest } from '../support/rest.ts'
import { temporaryDirectory } from '../support/temporary.ts'
import { openWire } from '../support/wire.ts'

const clock = { now: () => 0 }
let database: TestDatabase
let store: Store
beforeEach(async () => {
  database = await newPostgresDatabase()
  store = await openStore(database.config as Database, clock)
})
afterEach(async () => {
  await store.close()
  await database.drop()
})

const failures = (count: number) => ({ failures: count, lockedUntilMs: undefined })

it('a change that cannot be told to the other nodes does not happen', async () => {
  const unblock = await database.block('insert', 'change')
  const change = () =>
    store.transaction(async (tx) => {
      await tx.lockouts.put('alice', failures(1), 0)
      await tx.changes.append({ subject: 'user', id: 'alice' })
    })
  await expect(change()).rejects.toThrow('full')
  expect(await store.lockouts.get('alice')).toBeUndefined()
  await unblock()
  await change()
  expect(await store.lockouts.get('alice')).toMatchObject({ failures: 1 })
})

it('nothing happens where a failure was passed over', async () => {
  const unblock = await database.block('insert', 'lockout')
  const change = store.transaction(async (tx) => {
    await tx.lockouts.put('alice', failures(1), 0).catch(() => undefined)
    await tx.changes.append({ subject: 'user', id: 'alice' })
  })
  await expect(change).rejects.toThrow('full')
  const silent = store.transaction((tx) =>
    tx.lockouts.put('alice', failures(1), 0).catch(() => undefined),
  )
  await expect(silent).rejects.toThrow('rolled back')
  await unblock()
  // The connections are as good as new.
  await Promise.all(
    ['alice', 'bob'].map((name) =>
      store.transaction((tx) => tx.lockouts.put(name, failures(1), 0)),
    ),
  )
})

/** Each way to the database and back is a turn of an event loop, which is long when there is much to do. */
it('a token is made in four ways to the database and back', async () => {
  const wire = await openWire(String(database.env.MINTMARK_DATABASE_URL))
  onTestFinished(() => wire.close())
  const server = await startProcess({
    dataDir: temporaryDirectory(),
    env: {
      MINTMARK_DATABASE_URL: wire.url,
      MINTMARK_MASTER_KEY: 'a-master-key-for-the-server-of-the-test',
      MINTMARK_BOOTSTRAP_TOKEN: 'boot-token-for-the-server-of-the-test',
    },
  })
  onTestFinished(async () => {
    await server.end('SIGKILL')
  })
  const api = rest(server.url, 'boot-token-for-the-server-of-the-test')
  const create = (name: string) => api.call('POST', '/tokens', { body: { name } })
  expect((await create('warm')).status).toBe(201)
  wire.slow(200)
  const beganMs = performance.now()
  expect((await create('measured')).status).toBe(201)
  const ways = (performance.now() - beganMs) / 400
  expect(ways).toBeGreaterThanOrEqual(4)
  expect(ways).toBeLessThan(5)
})
