import { Kysely, sql } from 'kysely'
import type { ChainEnd } from '../core/audit/store.ts'
import type { GuidedClock } from '../core/clock.ts'
import { CoreError } from '../core/errors.ts'
import type { Secret } from '../core/secret.ts'
import { toAuditRow } from './audit.ts'
import { type Notice, openChangeFeed } from './change-feed.ts'
import type { Db, Engine } from './engine.ts'
import { insertEvents } from './events.ts'
import { gate } from './gate.ts'
import type { Queueing } from './group-commit.ts'
import { type Journal, numberedEvents, sealed } from './journal.ts'
import { nobody } from './line.ts'
import { type Locks, lockKey } from './locks.ts'
import { isMigrated } from './migrate.ts'
import { aloneInRegistry, type NodeCard } from './node-registry.ts'
import {
  currentSchema,
  isNoticeQueueFull,
  isWorthAnotherTry,
  pooled,
  scopedName,
  tooMuch,
} from './postgres.ts'
import { migrateAlone } from './postgres-migration.ts'
import { endWith, transactions } from './postgres-transaction.ts'
import type { Schema } from './schema.ts'

const MAX_ATTEMPTS = 5
const RETRY_PAUSE_MS = 20
/** How long no notices are sent after their queue was full. */
const NOTICES_OFF_MS = 10_000
/** Changes that wait at most; whoever comes later would time out anyhow. */
const MAX_WAITING = 500
/**
 * Changes under way at most. Most of what a change takes, it takes alone, with the counters locked: more of them
 * would stand before those, where nobody chooses who goes first.
 */
const MAX_AT_ONCE = 5
/** Well below the 65,535 parameters that a statement may have. */
const ROWS_AT_ONCE = 1000

/**
 * Opens the PostgreSQL database, migrating it as needed. Throws `not_configured` when it must not be
 * used as it is, `unavailable` when it cannot be reached.
 */
export async function openPostgresEngine({
  asker = () => undefined,
  onTurnedAway = () => undefined,
  ...options
}: Queueing & {
  url: Secret
  pool: number
  pollMs: number
  waitMs: number
  notices: boolean
  /** Absent: this process answers nobody, so that nobody waits for it. */
  card: NodeCard | undefined
  clock: GuidedClock | undefined
  /** Hears what a migration that takes long is about. */
  onMigrating?: ((news: string) => void) | undefined
}): Promise<Engine> {
  const { waitMs } = options
  const queueing = { asker, onTurnedAway }
  const dialect = pooled({ ...options, ...queueing })
  const db: Db = new Kysely<Schema>({ dialect })
  const transact = transactions(db, dialect)
  try {
    const schema = await currentSchema(db)
    if (!(await isMigrated(db, schema))) await migrateAlone(options, schema)
    const changes = await openChangeFeed({ ...options, channel: scopedName('change', schema), db })
    // The rest of the pool is for those who only ask, however many changes are under way.
    const places = Math.max(1, Math.min(MAX_AT_ONCE, Math.floor(options.pool * 0.7)))
    const door = gate({
      places,
      reserved: places > 1 ? 1 : 0,
      maxWaiting: MAX_WAITING,
      waitMs,
      ...queueing,
      asker: () => asker() ?? nobody(),
      refusal: tooMany,
    })
    const inTurn = async <T>(work: () => Promise<T>): Promise<T> => {
      await door.enter()
      const now = asker()
      if (now !== undefined) now.hasBegun = true
      try {
        return await work()
      } finally {
        door.leave()
      }
    }
    const notices = muffler()
    return {
      reader: db,
      transaction: (work) => inTurn(() => repeated(() => notices.heed(() => transact(work)))),
      locks,
      writeJournal: (tx, journal) =>
        writeJournal(tx, journal, notices.areOff() ? undefined : changes.notice),
      changes,
      nodes: changes.nodes ?? aloneInRegistry(undefined),
      async close() {
        await changes.close()
        await db.destroy()
      },
    }
  } catch (error) {
    await db.destroy()
    if (error instanceof CoreError) throw error
    throw new CoreError('not_configured', 'The database cannot be used.', { cause: error })
  }
}

/** Many write at once, so whatever a decision hangs on is locked until the transaction ends. */
function locks(tx: Db): Locks {
  return {
    shared: true,
    // The strongest lock that a row's own change takes; a weaker one would have to be raised later,
    // and two that raise theirs wait for each other.
    rows: (query) => query.forNoKeyUpdate(),
    still: (query) => query.forShare(),
    free: (query) => query.forUpdate().skipLocked(),
    async share(name) {
      await sql`select pg_advisory_xact_lock_shared(${lockKey(name)})`.execute(tx)
    },
    async hold(name) {
      await sql`select pg_advisory_xact_lock(${lockKey(name)})`.execute(tx)
    },
  }
}

/**
 * Audit records and changes have one order for all nodes, and commit in it: the first statement locks
 * the counter of changes until the commit, so that no reader of the log ever sees a number before a
 * smaller one. It comes last in the transaction, holds up others for these few statements and the
 * commit, and nothing else is locked after it, so that it cannot be part of a deadlock.
 */
async function writeJournal(
  tx: Db,
  { records, changes }: Journal,
  notice: Notice | undefined,
): Promise<number> {
  const { end, last } = await takeTurn(tx, changes.length)
  const sealedRecords = sealed(records, last)
  const chain = sealedRecords.map(toAuditRow)
  const events = numberedEvents(records, sealedRecords)
  const first = end - changes.length + 1
  const rows = changes.map(({ subject, id, atMs }, i) => ({
    sequence: first + i,
    subject,
    subject_id: id,
    at_ms: atMs,
  }))
  if (rows.length === 0) {
    for (const batch of batches(chain)) await tx.insertInto('audit').values(batch).execute()
    for (const batch of batches(events)) await insertEvents(batch).execute(tx)
    return end
  }
  const notify = (
    notice === undefined ? sql`null` : sql`pg_notify(${notice.channel}, ${notice.payload})`
  ).as('notified')
  if (chain.length > 0 && Math.max(chain.length, rows.length) <= ROWS_AT_ONCE) {
    // As nearly always: one statement, with the commit right behind it, because everybody waits for that.
    const written = tx
      .with('audited', (db) => db.insertInto('audit').values(chain))
      .with('logged', (db) => db.insertInto('change').values(rows))
    const told = sql<Record<string, unknown>>`(${insertEvents(events)})`
    const all = events.length === 0 ? written : written.with('told', () => told)
    endWith(tx, all.selectNoFrom(notify).compile())
    return end
  }
  for (const batch of batches(chain)) await tx.insertInto('audit').values(batch).execute()
  for (const batch of batches(events)) await insertEvents(batch).execute(tx)
  for (const batch of batches(rows)) await tx.insertInto('change').values(batch).execute()
  await tx.selectNoFrom(notify).execute()
  return end
}

/**
 * Takes the next `count` numbers of changes, and reads where the audit trail ends: two statements sent as one, because
 * all others wait from here on. The second sees what was committed while the first waited.
 */
async function takeTurn(
  tx: Db,
  count: number,
): Promise<{ end: number; last: ChainEnd | undefined }> {
  const { rows } = await sql<{ value: number } | ChainEnd>`
    insert into counter (name, value) values ('change', ${sql.lit(count)})
      on conflict (name) do update set value = counter.value + ${sql.lit(count)} returning value;
    select sequence, hash from audit order by sequence desc limit 1`.execute(tx)
  const [taken, last] = rows as [{ value: number }, ChainEnd | undefined]
  return { end: taken.value, last }
}

function* batches<T>(rows: readonly T[]): Generator<T[]> {
  for (let i = 0; i < rows.length; i += ROWS_AT_ONCE) yield rows.slice(i, i + ROWS_AT_ONCE)
}

/**
 * Notices only hasten what polling does anyhow, so a full queue of them must not keep anybody from
 * revoking: the transaction is run again without, and so are the next ones for a while.
 */
function muffler() {
  let offUntilMs = 0
  return {
    areOff: () => performance.now() < offUntilMs,
    async heed<T>(attempt: () => Promise<T>): Promise<T> {
      try {
        return await attempt()
      } catch (error) {
        if (!isNoticeQueueFull(error)) throw error
        offUntilMs = performance.now() + NOTICES_OFF_MS
        return await attempt()
      }
    },
  }
}

/** Runs a transaction again while it fails only because of others. */
async function repeated<T>(attempt: () => Promise<T>): Promise<T> {
  for (let attempts = 1; ; attempts++) {
    try {
      return await attempt()
    } catch (error) {
      if (attempts >= MAX_ATTEMPTS || !isWorthAnotherTry(error)) throw error
      await pause(Math.random() * RETRY_PAUSE_MS * 2 ** attempts)
    }
  }
}

function tooMany(): CoreError {
  return tooMuch('Too many changes are waiting. Nothing was changed. Try again shortly.')
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
