import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { Kysely, SqliteDialect, sql } from 'kysely'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { type Committer, groupCommit } from './group-commit.ts'
import { openSqlite, type SqliteFiles } from './sqlite.ts'

interface Schema {
  note: { id: number; text: string }
}

let dir: string
let files: SqliteFiles
let db: Kysely<Schema>
let commit: Committer<Schema>
/** What the writer was told, in order. */
let statements: string[]
/** Sees what is committed and nothing else. */
let outside: DatabaseSync

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'mintmark-group-'))
  files = openSqlite(join(dir, 'a.db'))
  statements = []
  db = new Kysely<Schema>({ dialect: new SqliteDialect({ database: spied(files.writer) }) })
  await sql`create table note (id integer primary key, text text not null)`.execute(db)
  // Without its bound in time, which a busy machine reaches with two transactions.
  commit = groupCommit(db, { maxMs: Number.POSITIVE_INFINITY })
  outside = new DatabaseSync(join(dir, 'a.db'))
})
afterEach(async () => {
  outside.close()
  await db.destroy()
  files.reader.close()
  files.unlock()
  rmSync(dir, { recursive: true, force: true })
})

function spied(database: SqliteFiles['writer']): SqliteFiles['writer'] {
  return {
    ...database,
    prepare(text) {
      statements.push(text)
      return database.prepare(text)
    },
  }
}

const commits = () => statements.filter((statement) => statement === 'commit').length
const stored = () =>
  outside
    .prepare('select id from note order by id')
    .all()
    .map(({ id }) => id)
const add = (id: number, text = 'x') =>
  commit(async (tx) => {
    await tx.insertInto('note').values({ id, text }).execute()
    return id
  })
const unavailable = expect.objectContaining({ name: 'CoreError', code: 'unavailable' })

/** How each ended, and what was stored when it was told. */
function told(attempts: Promise<number>[]) {
  return Promise.all(
    attempts.map((attempt) =>
      attempt.then(
        (value) => ({ value, seen: stored().length }),
        (error: unknown) => ({ error, seen: stored().length }),
      ),
    ),
  )
}

it('commits what waits together once, and tells nobody before', async () => {
  const outcomes = await told([1, 2, 3, 4, 5].map((id) => add(id)))
  expect(outcomes).toEqual([1, 2, 3, 4, 5].map((value) => ({ value, seen: 5 })))
  expect(commits()).toBe(1)
})

it('runs them in the order of asking, each seeing the ones before', async () => {
  const count = () =>
    commit(async (tx) => (await tx.selectFrom('note').select('id').execute()).length)
  const results = await Promise.all([count(), add(7), count(), add(8), count()])
  expect(results).toEqual([0, 7, 1, 8, 2])
})

it('takes back the one that fails, and only that one, and tells it after the commit, too', async () => {
  const failing = commit(async (tx) => {
    await tx.insertInto('note').values({ id: 2, text: 'x' }).execute()
    throw new Error('on second thoughts')
  })
  const outcomes = await told([add(1), failing, add(1), add(3)])
  expect(outcomes).toMatchObject([
    { value: 1, seen: 2 },
    { error: { message: 'on second thoughts' }, seen: 2 },
    { error: { errcode: 1555 }, seen: 2 },
    { value: 3, seen: 2 },
  ])
  expect(stored()).toEqual([1, 3])
  expect(commits()).toBe(1)
})

it('fails all of them when the commit fails', async () => {
  await sql`create table part (note integer references note (id) deferrable initially deferred)`.execute(
    db,
  )
  const orphan = commit(async (tx) => {
    await sql`insert into part values (99)`.execute(tx)
    return 99
  })
  const failing = commit<number>(async () => {
    throw new Error('of its own')
  })
  const outcomes = await told([add(1), orphan, failing, add(2)])
  expect(outcomes).toEqual(Array(4).fill({ error: unavailable, seen: 0 }))
  expect(await add(3)).toBe(3)
  expect(stored()).toEqual([3])
})

it('fails all of them when the disk is full, and goes on when there is room', async () => {
  await add(1)
  const pages = Number(Object.values(outside.prepare('pragma page_count').get() ?? {})[0])
  const limit = (count: number) => files.writer.prepare(`pragma max_page_count = ${count}`).all([])
  limit(pages)
  const outcomes = await told([add(2), add(3, 'x'.repeat(100_000)), add(4)])
  for (const [i, outcome] of outcomes.entries()) {
    // The one after may have had a group of its own.
    if (i < 2) expect(outcome).toMatchObject({ error: unavailable })
  }
  expect(stored()).toEqual('value' in (outcomes[2] ?? {}) ? [1, 4] : [1])
  limit(1_000_000)
  await add(5, 'x'.repeat(100_000))
  expect(stored()).toContain(5)
})

it('refuses rather than hangs when no transaction can begin', async () => {
  files.writer.prepare('pragma busy_timeout = 0').all([])
  outside.exec('begin immediate')
  const outcomes = await told([add(1), add(2)])
  expect(outcomes).toEqual(Array(2).fill({ error: unavailable, seen: 0 }))
  outside.exec('rollback')
  expect(await add(3)).toBe(3)
})

it('ends a group after so many, so that others have their turn', async () => {
  await Promise.all(Array.from({ length: 250 }, (_, i) => add(i + 1)))
  expect(commits()).toBeGreaterThanOrEqual(3)
  expect(stored()).toHaveLength(250)
})

it('serves who asks while a group is under way', async () => {
  let later: Promise<number> | undefined
  await commit(async () => {
    later = add(2)
  })
  expect(await later).toBe(2)
  expect(stored()).toEqual([2])
})

it('lets what is vital go before what came earlier', async () => {
  let isVital = false
  const order: number[] = []
  const commit = groupCommit(db, {
    maxMs: Number.POSITIVE_INFINITY,
    asker: () => ({ isVital, sinceMs: 0, patienceMs: 700, hasBegun: false }),
  })
  const noting = (id: number) => commit(async () => order.push(id))
  const early = [1, 2, 3].map(noting)
  isVital = true
  await Promise.all([...early, noting(4)])
  expect(order).toEqual([4, 1, 2, 3])
})

it('turns away whoever finds too many waiting, and does the others', async () => {
  let turnedAway = 0
  const commit = groupCommit(db, { onTurnedAway: () => turnedAway++ })
  const results = await Promise.allSettled(
    Array.from({ length: 1100 }, (_, i) => commit(async () => i)),
  )
  const refused = results.filter(({ status }) => status === 'rejected')
  expect(refused).toHaveLength(100)
  expect(turnedAway).toBe(100)
  expect(refused[0]).toMatchObject({ reason: unavailable })
})
