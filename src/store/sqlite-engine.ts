import { Kysely, SqliteAdapter, SqliteDialect } from 'kysely'
import { lastRecord, toAuditRow } from './audit.ts'
import type { Announce, ChangeFeed, Db, Engine } from './engine.ts'
import { groupCommit } from './group-commit.ts'
import { type Journal, sealed } from './journal.ts'
import { NO_LOCKS } from './locks.ts'
import { migrate } from './migrate.ts'
import { revocationStore } from './revocations.ts'
import { aloneInRegistry, type NodeCard } from './node-registry.ts'
import type { Schema } from './schema.ts'
import { openSqlite } from './sqlite.ts'

/**
 * Opens the SQLite file, creating and migrating it as needed.
 * Throws `not_configured` when the file is damaged, in use, or made by a newer release.
 */
export async function openSqliteEngine(
  file: string,
  { card, clock }: { card?: NodeCard | undefined; clock: { now(): number } },
): Promise<Engine> {
  const files = openSqlite(file)
  const writer = new Kysely<Schema>({ dialect: new WriterDialect({ database: files.writer }) })
  const reader = new Kysely<Schema>({ dialect: new SqliteDialect({ database: files.reader }) })
  const close = async () => {
    await reader.destroy()
    await writer.destroy()
    // Kysely leaves alone what it has not used yet; an open reader would keep the WAL file.
    files.reader.close()
    files.writer.close()
    files.unlock()
  }
  try {
    await migrate(writer)
  } catch (error) {
    await close()
    throw error
  }
  // Before the first change of this process, too: what is signed says which changes it knew of.
  const { sequence } = await revocationStore(reader).end()
  const changes = ownChanges(sequence)
  return {
    reader,
    transaction: groupCommit(writer),
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

/** Row by row, so that few different statements have to be compiled; SQLite has no way to go. */
async function writeJournal(tx: Db, { records, changes }: Journal): Promise<number> {
  if (records.length > 0) {
    for (const record of sealed(records, await lastRecord(tx))) {
      await tx.insertInto('audit').values(toAuditRow(record)).execute()
    }
  }
  let end = 0
  for (const { subject, id, atMs } of changes) {
    const row = await tx
      .insertInto('change')
      .values({ subject, subject_id: id, at_ms: atMs })
      .returning('sequence')
      .executeTakeFirstOrThrow()
    end = row.sequence ?? end
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
