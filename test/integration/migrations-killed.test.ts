import { randomInt } from 'node:crypto'
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from 'kysely'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { migrations } from '../../src/store/migrations/index.ts'
import { DATABASE, type TestDatabase } from '../support/database.ts'
import {
  databaseAt,
  type Lived,
  livedIn,
  STEPS,
  schemaOf,
  settle,
  stepsOf,
} from '../support/older-database.ts'
import { launch, startProcess } from '../support/process.ts'
import { rest } from '../support/rest.ts'

/** The last one before tokens became sortable, so that every migration has much to do. */
const FIRST = 3
const OLD = STEPS[FIRST - 1] ?? ''
const MANY = Number(process.env.MINTMARK_TEST_TOKENS ?? 3000)
const KILLS = Number(process.env.MINTMARK_TEST_KILLS ?? 2)

const dir = mkdtempSync(join(tmpdir(), 'mintmark-killed-'))
let lived: Lived
const databases: TestDatabase[] = []
beforeAll(async () => {
  lived = await livedIn(dir)
})
afterAll(async () => {
  for (const database of databases) await database.drop()
  rmSync(dir, { recursive: true, force: true })
})

async function at(step: string): Promise<{ database: TestDatabase; dataDir: string }> {
  const dataDir = mkdtempSync(join(dir, 'data-'))
  const database = await databaseAt(dataDir, step)
  databases.push(database)
  return { database, dataDir }
}

/** An old database with many tokens in it. */
async function old(step = OLD) {
  const made = await at(step)
  await settle(made.database, lived)
  await made.database.transaction(async (tx) => {
    await sql`insert into token (id, kind, owner_id, creator_id, description, via, format, digest,
        pepper_id, preview, access_level, metadata, family_id, created_at_ms, updated_at_ms,
        last_used_at_ms, last_used_ip, use_count)
      with recursive numbers (i) as (select 1 union all select i + 1 from numbers where i < ${MANY})
      select 'many-' || i, 'api', ${lived.alice}, ${lived.alice}, 'one of many', 'api', 'mintmark',
        'many-' || i, 'none', '', 'READ_ONLY', '{}', 'many-' || i, i, i, i, '10.1.2.3', 1
      from numbers`.execute(tx)
  })
  const env = { ...made.database.env, MINTMARK_MASTER_KEY: lived.masterKey.reveal() }
  return { ...made, env }
}

/** Resolves once a server has begun to change the tables, and PostgreSQL has so many steps behind it. */
async function begun(
  { database, dataDir }: { database: TestDatabase; dataDir: string },
  steps: number,
): Promise<void> {
  const log = join(dataDir, 'mintmark.db-wal')
  const isBegun = async () => {
    if (DATABASE === 'sqlite') return existsSync(log) && statSync(log).size > 0
    const locks = `select 1 from pg_locks
      where mode = 'AccessExclusiveLock' and relation = 'token'::regclass`
    const done = await stepsOf(database)
    return (
      done.length > steps || (done.length === steps && (await database.query(locks)).length > 0)
    )
  }
  const endMs = performance.now() + 30_000
  while (!(await isBegun()) && performance.now() < endMs) await sleep(2)
}

/** PostgreSQL ends what it is about before it sees that nobody listens any more. */
async function gone(database: TestDatabase): Promise<void> {
  if (DATABASE === 'sqlite') return
  const left = `select 1 from pg_stat_activity where datname = current_database()
    and pid <> pg_backend_pid()`
  while ((await database.query(left)).length > 0) await sleep(20)
}

/** The tables without the indexes that the next step is to bring: some may be there, or begun. */
async function wholeSteps(database: TestDatabase): Promise<string[]> {
  const next = STEPS[(await stepsOf(database)).length] ?? ''
  const names = (migrations[next]?.builds ?? []).map(({ name }) => `"indexname":"${name}"`)
  const rows = await schemaOf(database)
  return rows.filter((row) => !names.some((name) => row.includes(name)))
}

it('killed while it migrates, a server leaves whole steps behind, and the next start does the rest', async () => {
  const { database, dataDir, env } = await old()
  const reached: number[] = []
  for (let kill = 0; kill < KILLS; kill++) {
    const { child, ended } = launch({ dataDir, env })
    // The first in the very first step, the others somewhere on the way.
    await begun({ database, dataDir }, FIRST + (kill === 0 ? 0 : 1 + randomInt(STEPS.length - 8)))
    if (DATABASE === 'sqlite') await sleep(randomInt(1 + 300 * kill))
    child.kill('SIGKILL')
    await ended
    await gone(database)
    const steps = await stepsOf(database)
    reached.push(steps.length)
    expect(steps).toEqual(STEPS.slice(0, steps.length))
    // SQLite, where nobody waits for locks, takes all of them at once or none.
    if (DATABASE === 'sqlite') expect([FIRST, STEPS.length]).toContain(steps.length)
    const { database: fresh } = await at(steps.at(-1) ?? '')
    expect(await wholeSteps(database)).toEqual(await schemaOf(fresh))
    const [row] = await database.query("select count(*) as n from token where id like 'many-%'")
    expect(Number(row?.n)).toBe(MANY)
  }
  process.stdout.write(`Killed after step ${reached.join(', ')} of ${STEPS.length}.\n`)
  const server = await startProcess({ dataDir, env })
  expect(await stepsOf(database)).toEqual(STEPS)
  const api = rest(server.url, lived.adminSecret)
  expect(await api.isActive(lived.alive[0]?.secret ?? '')).toBe(true)
  expect(await api.isActive(lived.revoked[0]?.secret ?? '')).toBe(false)
  expect((await server.end('SIGTERM')).status).toBe(0)
})

it('of five servers that start at once on old tables, those that may serve do, and all is migrated once', async () => {
  const { database, dataDir, env } = await old()
  const all = await Promise.allSettled(
    Array.from({ length: 5 }, () => startProcess({ dataDir, env })),
  )
  const servers = all.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []))
  const refusals = all.flatMap((each) => (each.status === 'rejected' ? [String(each.reason)] : []))
  expect(servers.length, refusals.join()).toBe(DATABASE === 'sqlite' ? 1 : 5)
  for (const refusal of refusals) expect(refusal).toMatch(/in use|another/i)
  expect(await stepsOf(database)).toEqual(STEPS)
  const { database: fresh } = await at(STEPS.at(-1) ?? '')
  expect(await schemaOf(database)).toEqual(await schemaOf(fresh))
  for (const { url } of servers) {
    const api = rest(url, lived.adminSecret)
    expect(await api.isActive(lived.alive[0]?.secret ?? '')).toBe(true)
  }
  for (const server of servers) await server.end('SIGTERM')
})

/** The step that builds indexes while everybody works. */
const BUILDING = STEPS.findIndex((step) => migrations[step]?.builds !== undefined)
const INVALID = `select indexrelid::regclass::text as name from pg_index where not indisvalid`
const BUILDER = `select pid from pg_stat_progress_create_index where phase = 'waiting for old snapshots'`

/** Somebody who looks at the tokens as they were, as a backup does: no index is done before that ends. */
async function looking(database: TestDatabase): Promise<() => Promise<void>> {
  const over = Promise.withResolvers<void>()
  const begun = Promise.withResolvers<void>()
  const reading = database.transaction(async (tx) => {
    await sql`set transaction isolation level repeatable read`.execute(tx)
    await sql`set local idle_in_transaction_session_timeout = 0`.execute(tx)
    await sql`select count(*) from token`.execute(tx)
    begun.resolve()
    await over.promise
  })
  await begun.promise
  const release = async () => {
    over.resolve()
    await reading
  }
  onTestFinished(release)
  return release
}

async function until(look: () => Promise<boolean>): Promise<void> {
  const endMs = performance.now() + 30_000
  while (!(await look())) {
    if (performance.now() > endMs) throw new Error('It does not happen.')
    await sleep(20)
  }
}

it.runIf(DATABASE === 'postgres').each([
  ['what it builds is done without it', false],
  ['and its build with it, the index is built anew', true],
])(
  'killed in the middle of an index, %s, while another node waits to do the rest',
  async (_, isEnded) => {
    const { database, dataDir, env } = await old(STEPS[BUILDING - 1])
    const builder = async () => (await database.query(BUILDER))[0]?.pid
    const stop = await looking(database)
    const { child, ended } = launch({ dataDir, env })
    await until(async () => (await builder()) !== undefined)
    const pid = await builder()
    const other = startProcess({ dataDir: mkdtempSync(join(dir, 'data-')), env })
    onTestFinished(async () => {
      await (await other).end('SIGKILL')
    })
    child.kill('SIGKILL')
    await ended
    await sleep(1000)
    // The server builds on, and nobody else begins as long as it does.
    expect(await builder()).toBe(pid)
    expect(await database.query(INVALID)).toHaveLength(1)
    const [left] = await database.query(INVALID)
    if (isEnded) await database.query(`select pg_terminate_backend(${pid})`)
    if (isEnded) await until(async () => (await builder()) === undefined)
    expect(await database.query(INVALID)).toEqual([left])
    expect(await stepsOf(database)).toEqual(STEPS.slice(0, BUILDING))
    await stop()
    const server = await other
    expect(await stepsOf(database)).toEqual(STEPS)
    expect(await database.query(INVALID)).toEqual([])
    const { database: fresh } = await at(STEPS.at(-1) ?? '')
    expect(await schemaOf(database)).toEqual(await schemaOf(fresh))
    const api = rest(server.url, lived.adminSecret)
    expect(await api.isActive(lived.alive[0]?.secret ?? '')).toBe(true)
  },
)
