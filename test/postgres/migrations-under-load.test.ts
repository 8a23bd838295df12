import { sql } from 'kysely'
import { Client } from 'pg'
import { afterEach, expect, it, vi } from 'vitest'
import { migrations } from '../../src/store/migrations/index.ts'
import { migrateAlone } from '../../src/store/postgres-migration.ts'
import { newEmptyDatabase, type TestDatabase } from '../support/database.ts'
import { migrateTo, STEPS } from '../support/older-database.ts'

// How long anybody waits for a lock on the table of tokens while a release migrates it.

/** A million of them with MINTMARK_TEST_TOKENS. */
const TOKENS = Number(process.env.MINTMARK_TEST_TOKENS ?? 100_000)
const AT_ONCE = 20_000
vi.setConfig({ testTimeout: 1_800_000 })

const undo: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step()
})

async function filled(step: string, tokens = TOKENS): Promise<TestDatabase> {
  const database = await newEmptyDatabase('')
  undo.push(database.drop)
  await migrateTo(database, step)
  await database.tamper(`insert into "user" (id, serial, username, username_key, display_name, kind,
      global_role, active, attributes, password_is_one_time, created_at_ms, updated_at_ms)
      values ('owner', 1, 'alice', 'alice', '', 'person', 'USER', 1, '{}', 0, 0, 0)`)
  for (let from = 1; from <= tokens; from += AT_ONCE) {
    await database.tamper(`insert into token (id, kind, owner_id, creator_id, description, via,
        format, digest, pepper_id, preview, access_level, metadata, family_id, created_at_ms,
        updated_at_ms, use_count)
      select 'token-' || i, 'api', 'owner', 'owner', '', 'api', 'mintmark', 'digest-' || i, 'p', '',
        'READ_ONLY', '{}', 'token-' || i, i, i, 0
      from generate_series(${from}, ${Math.min(tokens, from + AT_ONCE - 1)}) i`)
  }
  return database
}

/** The longest that one of many statements took, one after the other on a connection of its own. */
function longest(database: TestDatabase, statement: (i: number) => string) {
  // Without any limit of ours: how long it would have to wait is the question.
  const client = new Client({ connectionString: database.env.MINTMARK_DATABASE_URL })
  let isOver = false
  const measured = (async () => {
    await client.connect()
    let longestMs = 0
    for (let i = 1; !isOver; i = (i % TOKENS) + 1) {
      const began = performance.now()
      await client.query(statement(i))
      longestMs = Math.max(longestMs, performance.now() - began)
    }
    await client.end()
    return Math.round(longestMs)
  })()
  return () => {
    isOver = true
    return measured
  }
}

/** Returns what it told on the way. */
async function migrated({ config }: TestDatabase, upTo?: string): Promise<string[]> {
  if (config.kind !== 'postgres') throw new Error('Not PostgreSQL.')
  const told: string[] = []
  const onMigrating = (news: string) => told.push(news)
  await migrateAlone({ ...config, onMigrating }, 'public', upTo)
  return told
}

it('whoever verifies or revokes waits a second at most, whichever step is taken', async () => {
  const first = STEPS[12] ?? ''
  const database = await filled(first)
  const told: string[] = []
  for (const step of STEPS.slice(13)) {
    const reads = longest(database, (i) => `select * from token where digest = 'digest-${i}'`)
    const writes = longest(
      database,
      (i) => `update token set revoked_at_ms = ${i} where id = 'token-${i}'`,
    )
    const began = performance.now()
    told.push(...(await migrated(database, step)))
    const tookMs = Math.round(performance.now() - began)
    const [readMs, writeMs] = await Promise.all([reads(), writes()])
    told.push(`${step}: ${tookMs} ms; a read waited ${readMs} ms, a write ${writeMs} ms`)
    expect.soft(readMs, step).toBeLessThan(1000)
    expect.soft(writeMs, step).toBeLessThan(1000)
  }
  process.stdout.write(`${TOKENS} tokens\n${told.join('\n')}\n`)
})

/** Looks at everything as of one moment, as a backup does, until it is told to stop. */
async function backingUp(database: TestDatabase): Promise<() => Promise<void>> {
  const db = database.connect()
  undo.push(() => db.destroy())
  const [begun, over] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const reading = db
    .transaction()
    .setIsolationLevel('repeatable read')
    .execute(async (tx) => {
      await sql`set local idle_in_transaction_session_timeout = 0`.execute(tx)
      await sql`select count(*) from token`.execute(tx)
      begun.resolve()
      await over.promise
    })
  await begun.promise
  return async () => {
    over.resolve()
    await reading
  }
}

it('a step that has to wait for somebody steps aside, so that nobody waits behind it', async () => {
  const database = await filled(STEPS.at(-2) ?? '', 1000)
  const release = await backingUp(database)
  const reads = longest(database, (i) => `select * from token where digest = 'digest-${i}'`)
  let isMigrated = false
  const migrating = migrated(database).then(() => {
    isMigrated = true
  })
  await new Promise((resolve) => setTimeout(resolve, 3000))
  expect(isMigrated).toBe(false)
  await release()
  await migrating
  expect(await reads()).toBeLessThan(1000)
  const rows = await database.query('select name from migration')
  expect(rows).toHaveLength(Object.keys(migrations).length)
})

it('an index waits for a backup without keeping anybody waiting, and tells; cut short, it is built anew', async () => {
  const database = await filled(STEPS[12] ?? '', 1000)
  const release = await backingUp(database)
  const writes = longest(
    database,
    (i) => `update token set revoked_at_ms = ${i} where id = 'token-${i}'`,
  )
  const { config } = database
  if (config.kind !== 'postgres') throw new Error('Not PostgreSQL.')
  const told: string[] = []
  const onMigrating = (news: string) => told.push(news)
  const migrating = migrateAlone({ ...config, onMigrating }, 'public').catch((error) => error)
  await vi.waitFor(() => expect(told).toHaveLength(1), { timeout: 30_000 })
  expect(told[0]).toMatch(/^Building the index token_created_wide of token: .* of process \d+\.$/)
  await database.query('select pg_terminate_backend(pid) from pg_stat_progress_create_index')
  expect(await migrating).toMatchObject({ code: 'unavailable' })
  const invalid = 'select 1 from pg_index where not indisvalid'
  expect(await database.query(invalid)).toHaveLength(1)
  expect(await writes()).toBeLessThan(1000)
  await release()
  await migrated(database)
  expect(await database.query(invalid)).toEqual([])
  const rows = await database.query('select name from migration')
  expect(rows).toHaveLength(Object.keys(migrations).length)
})
