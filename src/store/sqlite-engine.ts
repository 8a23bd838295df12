import { Kysely, SqliteAdapter, SqliteDialect } from 'kysely'
import { lastRecord, toAuditRow } from './audit.ts'
import { announced, EVERYTHING } from './changes.ts'
import type { Announce, ChangeFeed, Db, Engine } from './engine.ts'
import { insertEvents } from './events.ts'
import { groupCommit, type InTurn, type Queueing } from './group-commit.ts'
import { type Journal, numberedEvents, sealed } from './journal.ts'
import { NO_LOCKS } from './locks.ts'
import { migrate } from './migrate.ts'
import { aloneInRegistry, type NodeCard } from './node-registry.ts'
import { prepared } from './prepared.ts'
import { revocationStore } from './revocations.ts'
import type { AuditTable, Schema } from './schema.ts'
import { openSqlite, type SqliteFiles } from './sqlite.ts'
import { type WalCopier, walCopier } from './wal.ts'

/**
 * Opens the SQLite file, creating and migrating it as needed.
 * Throws `not_configured` when the file is damaged, in use, or made by a newer release.
 */
export async function openSqliteEngine(
  file: string,
  {
    card,
    clock,
    inTurn,
    ...queueing
  }: Queueing & {
    card?: NodeCard | undefined
    clock: { now(): number }
    /** Of a worker; absent: this process has the file to itself. */
    inTurn?: InTurn | undefined
  },
): Promise<Engine> {
  const files = openSqlite(file, inTurn === undefined ? 'alone' : 'worker')
  const writer = new Kysely<Schema>({ dialect: new WriterDialect({ database: files.writer }) })
  const reader = new Kysely<Schema>({ dialect: new SqliteDialect({ database: files.reader }) })
  let copier: WalCopier | undefined
  const close = async () => {
    // The last connection that closes copies the rest of the log, and removes it.
    await copier?.close()
    await reader.destroy()
    await writer.destroy()
    // Kysely leaves alone what it has not used yet; an open reader would keep the WAL file.
    files.reader.close()
    files.writer.close()
    files.unlock()
  }
  try {
    await (inTurn === undefined ? migrate(writer) : inTurn(() => migrate(writer)))
  } catch (error) {
    await close()
    throw error
  }
  copier = walCopier(file, files.writer)
  const { committed: onCommit } = copier
  // Before the first change of this process, too: what is signed says which changes it knew of.
  const { sequence } = await revocationStore(reader).end()
  const changes = inTurn === undefined ? ownChanges(sequence) : sharedChanges(reader, files)
  return {
    reader,
    transaction: groupCommit(writer, { inTurn, onCommit, ...queueing }),
    // One writer, so nobody is in the way.
    locks: () => NO_LOCKS,
    writeJournal,
    changes,
    nodes: aloneInRegistry(card && { ...card, clock, position: changes.position }),
    close,
  }
}

/** SQLite does take schema changes back; Kysely must be told, or a crash leaves a migration half done. */
class WriterDialect extends SqliteDialect {
  override createAdapter() {
    return new TransactionalAdapter()
  }
}

class TransactionalAdapter extends SqliteAdapter {
  override get supportsTransactionalDdl() {
    return true
  }
}

const insertAuditRow = prepared((tx, row: AuditTable) => tx.insertInto('audit').values(row))

const insertChange = prepared(
  (tx, row: Pick<Schema['change'], 'subject' | 'subject_id' | 'at_ms'>) =>
    tx.insertInto('change').values(row).returning('sequence'),
)

/** Row by row, so that few different statements have to be compiled; SQLite has no way to go. */
async function writeJournal(tx: Db, { records, changes }: Journal): Promise<number> {
  if (records.length > 0) {
    const chain = sealed(records, await lastRecord(tx))
    for (const record of chain) await insertAuditRow(tx, toAuditRow(record))
    for (const event of numberedEvents(records, chain)) await insertEvents([event]).execute(tx)
  }
  let end = 0
  for (const { subject, id, atMs } of changes) {
    const [row] = await insertChange(tx, { subject, subject_id: id, at_ms: atMs })
    end = row?.sequence ?? end
  }
  return end
}

/** One process has the file, so all changes are its own. */
function ownChanges(start: number): ChangeFeed {
  let announce: Announce = async () => undefined
  let position = start
  return {
    start(listener) {
      announce = listener
    },
    async own(changes, end) {
      await announce(changes)
      position = Math.max(position, end)
    },
    position: () => position,
    isCurrent: () => true,
    catchUp: async () => undefined,
    close: async () => undefined,
  }
}

/**
 * Several processes have the file. Each looks, before every answer, whether anything was committed since
 * the last one, and takes it in first: so nobody has to wait for anybody, and a process that slept, or was
 * stopped, is none the worse for it.
 */
function sharedChanges(reader: Db, files: Pick<SqliteFiles, 'version' | 'endOfLog'>): ChangeFeed {
  let announce: Announce = async () => undefined
  let position = files.endOfLog()
  let version = Number.NaN
  let taking: Promise<void> = Promise.resolve()

  function isCurrent(): boolean {
    const now = files.version()
    if (now === version) return true
    // Read after the version: what comes between shows in the next one.
    if (files.endOfLog() !== position) return false
    version = now
    return true
  }

  async function take(): Promise<void> {
    const end = files.endOfLog()
    if (end === position) return
    const rows = await reader
      .selectFrom('change')
      .select(['sequence', 'subject', 'subject_id'])
      .where('sequence', '>', position)
      .orderBy('sequence')
      .execute()
    if (rows[0]?.sequence !== position + 1) await announce(EVERYTHING)
    await announce(announced(rows))
    position = Math.max(end, rows.at(-1)?.sequence ?? 0)
  }

  /** One after the other, so that none returns before what an earlier one has begun is in force. */
  function catchUp(): Promise<void> {
    const done = taking.then(take)
    taking = done.catch(() => undefined)
    return done
  }

  return {
    start(listener) {
      announce = listener
    },
    // Ours stand among those of others, which may not be passed over.
    own: catchUp,
    position: () => position,
    isCurrent,
    catchUp,
    close: async () => undefined,
  }
}
