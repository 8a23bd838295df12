import { Kysely, type RawBuilder, sql } from 'kysely'
import type { Client } from 'pg'
import type { Db } from './engine.ts'
import { lockKey } from './locks.ts'
import { type Destination, migrateOne, nextBuilds } from './migrate.ts'
import type { IndexBuild } from './migrations/builds.ts'
import {
  type Connecting,
  connectAlone,
  isLockTaken,
  isWorthAnotherTry,
  notConfigured,
  translated,
  unhurried,
} from './postgres.ts'
import type { Schema } from './schema.ts'

/** How long to step aside for whoever holds a lock that a step needs, and how often. */
const LOCK_PAUSE_MS = 1000
const MAX_LOCK_ATTEMPTS = 60
/** How often to ask whether somebody else is done. */
const POLL_MS = 200
/** The longest that one index may take, and that anybody waits for a node that builds. */
const BUILD_MS = 86_400_000
const GAVE_UP =
  'Another node has been migrating the database for a day. See in pg_stat_activity what it is waiting for.'
const MAX_BUILD_FAILURES = 10
const TELL_MS = 5000

/**
 * The session that builds ends by itself when its node is gone: whoever builds is never idle for as long. A
 * build that is under way ends first, and was not in vain.
 */
const BUILDING = `set statement_timeout = 0; set lock_timeout = 0; set idle_session_timeout = 60000`

type Outcome = 'stepped' | 'done' | 'taken' | readonly IndexBuild[]

/**
 * Migrates on connections without hurry; of many nodes that start at once, one does and the others wait. Each
 * step is a transaction of its own, so that no step's locks are held while later ones work: whoever is cut
 * off has done some of them whole, and the next start does the others. Indexes of tables with rows are built
 * before their step, while everybody goes on working. Throws as `migrate` does, `unavailable` when the
 * database cannot be reached.
 */
export async function migrateAlone(
  {
    onMigrating: tell = () => undefined,
    ...where
  }: Connecting & { onMigrating?: Tell | undefined },
  schema: string,
  upTo?: string,
): Promise<void> {
  const db: Db = new Kysely<Schema>({ dialect: unhurried(where) })
  const tellNow = slowly(tell)
  const build = indexBuilder(where, { db, schema, tell: tellNow })
  const giveUpAtMs = performance.now() + BUILD_MS
  try {
    for (;;) {
      const outcome = await whenUnlocked(() => step(db, { schema, upTo }))
      if (outcome === 'done') return
      if (outcome === 'stepped' || (outcome !== 'taken' && (await build(outcome)))) continue
      if (performance.now() > giveUpAtMs) throw notConfigured(GAVE_UP)
      tellNow('Another node migrates. Waiting for it')
      await pause(POLL_MS)
    }
  } finally {
    await db.destroy()
  }
}

type Tell = (news: string) => void

/**
 * Tries the lock rather than waiting for it: a statement that waits sees the database as it was when it began,
 * and whoever builds an index waits until nobody sees that any more.
 */
async function step(db: Db, destination: Destination): Promise<Outcome> {
  return db.transaction().execute(async (tx) => {
    const { rows } = await sql<{ isOurs: boolean }>`
      select pg_try_advisory_xact_lock(${lockKey('migration')}) as "isOurs"`.execute(tx)
    if (rows[0]?.isOurs !== true) return 'taken'
    const builds = await pending(tx, destination)
    if (builds.length > 0) return builds
    return (await migrateOne(tx, destination)) ? 'stepped' : 'done'
  })
}

/** What has to be built before the next step may be taken. */
async function pending(tx: Db, destination: Destination): Promise<readonly IndexBuild[]> {
  const left: IndexBuild[] = []
  for (const build of await nextBuilds(tx, destination)) {
    const { rows } = await sql<{ isValid: boolean }>`${stateOf(build, destination.schema)}`.execute(
      tx,
    )
    const [index] = rows
    if (index?.isValid === true) continue
    // The step itself builds what takes no time.
    if (index === undefined && (await isEmpty(tx, build.table))) continue
    left.push(build)
  }
  return left
}

/** No row: there is no such index. One that is not valid was left behind by a build that was cut short. */
function stateOf({ name }: IndexBuild, schema: string): RawBuilder<unknown> {
  return sql`select indisvalid as "isValid" from pg_index
    join pg_class on pg_class.oid = indexrelid
    join pg_namespace on pg_namespace.oid = relnamespace
    where relname = ${name} and nspname = ${schema}`
}

async function isEmpty(db: Db, table: string): Promise<boolean> {
  const { rows } = await sql`select 1 from ${sql.id(table)} limit 1`.execute(db)
  return rows.length === 0
}

/** False: another node is at it. */
type Build = (builds: readonly IndexBuild[]) => Promise<boolean>

function indexBuilder(
  where: Connecting,
  { db, schema, tell }: { db: Db; schema: string; tell: Tell },
): Build {
  let failures = 0
  return async (builds) => {
    const session = await openSession(where, db)
    try {
      if (!(await session.isAlone())) return false
      for (const index of builds) await buildOne(session, index, { db, schema, tell })
      return true
    } catch (error) {
      failures++
      // Two that build in one database may wait for each other.
      if (failures < MAX_BUILD_FAILURES && isWorthAnotherTry(error)) return false
      throw error
    } finally {
      await session.close()
    }
  }
}

async function buildOne(
  session: Session,
  index: IndexBuild,
  { db, schema, tell }: { db: Db; schema: string; tell: Tell },
): Promise<void> {
  const [found] = await session.query(stateOf(index, schema))
  if (found?.isValid === true) return
  const name = sql.id(schema, index.name)
  if (found !== undefined) await session.query(sql`drop index concurrently ${name}`)
  const watch = setInterval(() => {
    progressOf(db, session.pid).then(
      (news) => tell(`Building the index ${index.name} of ${index.table}${news}`),
      () => undefined,
    )
  }, TELL_MS)
  try {
    await session.query(sql`create index concurrently ${sql.id(index.name)}
      on ${sql.id(schema, index.table)} ${sql.raw(index.of)}`)
  } finally {
    clearInterval(watch)
  }
}

/** `: waiting for old snapshots of process 123`, or `: building index: scanning table, 40 %`. */
async function progressOf(db: Db, pid: number): Promise<string> {
  const { rows } = await sql<{ phase: string; locker: number; percent: number | null }>`
    select phase, current_locker_pid as locker, floor(100.0 *
      case when blocks_total > 0 then blocks_done::numeric / blocks_total
        else tuples_done::numeric / nullif(tuples_total, 0) end)::int as percent
    from pg_stat_progress_create_index where pid = ${pid}`.execute(db)
  const [now] = rows
  if (now === undefined) return ''
  if (now.locker > 0) return `: ${now.phase} of process ${now.locker}`
  return `: ${now.phase}${now.percent === null ? '' : `, ${now.percent} %`}`
}

/**
 * A connection that outlives its transactions. What is locked on it is free as soon as nothing is built on it
 * any more, and no sooner, even where its node was killed meanwhile.
 */
interface Session {
  pid: number
  /** Whether no other node migrates, from now on until `close`. */
  isAlone(): Promise<boolean>
  query(statement: RawBuilder<unknown>): Promise<Record<string, unknown>[]>
  close(): Promise<void>
}

async function openSession(where: Connecting, db: Db): Promise<Session> {
  const client = await connectAlone(where, BUILD_MS).catch((error) => {
    throw translated(error)
  })
  const query = async (statement: RawBuilder<unknown>): Promise<Record<string, unknown>[]> => {
    const { sql: text, parameters } = statement.compile(db)
    try {
      return (await client.query(text, [...parameters])).rows
    } catch (error) {
      throw translated(error)
    }
  }
  try {
    const pid = await ownProcess(client, query)
    await query(sql.raw(BUILDING))
    return {
      pid,
      async isAlone() {
        const lock = sql`select pg_try_advisory_lock(${lockKey('migration')}) as "isOurs"`
        return (await query(lock))[0]?.isOurs === true
      },
      query,
      close: () => client.end(),
    }
  } catch (error) {
    await client.end()
    throw error
  }
}

/** Throws `not_configured` where a pooler would spread what is one session to us over several. */
async function ownProcess(client: Client, query: Session['query']): Promise<number> {
  const [row] = await query(sql`select pg_backend_pid() as pid`)
  const pid = Number(row?.pid)
  // What the other end of this connection says of itself; poolers say something of their own.
  const { processID } = client as unknown as { processID: number | null }
  if (processID === pid) return pid
  throw notConfigured(
    'A pooler is between this node and PostgreSQL, and indexes have to be built that take a session of their own. Run `mintmark migrate` once with a MINTMARK_DATABASE_URL that leads directly to PostgreSQL.',
  )
}

/** Steps aside and tries again while somebody else, such as a backup, uses what a step must change. */
async function whenUnlocked<T>(attempt: () => Promise<T>): Promise<T> {
  for (let attempts = 1; ; attempts++) {
    try {
      return await attempt()
    } catch (error) {
      if (attempts >= MAX_LOCK_ATTEMPTS || !isLockTaken(error)) throw error
      await pause(LOCK_PAUSE_MS)
    }
  }
}

/** At most one piece of news in a while, and the first one not at once: most migrations take no time. */
function slowly(tell: Tell): Tell {
  let lastMs = performance.now()
  return (news) => {
    if (performance.now() - lastMs < TELL_MS * 0.9) return
    lastMs = performance.now()
    tell(`${news}.`)
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
