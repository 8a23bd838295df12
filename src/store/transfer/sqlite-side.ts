import { closeSync, existsSync, fsyncSync, linkSync, openSync, realpathSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { Kysely, SqliteDialect } from 'kysely'
import { CoreError } from '../../core/errors.ts'
import type { Row, Source, TableShape, Target } from '../../core/transfer.ts'
import { migrate } from '../migrate.ts'
import type { Schema } from '../schema.ts'
import { kyselyDatabase, openSqlite, takeLock } from '../sqlite.ts'
import { endAgain } from './end-again.ts'
import { BATCH, isCarried, list, MIGRATOR_TABLES, portableValue, quoted } from './facts.ts'

/**
 * Reads a SQLite file as of one moment. `alone`: no server may run on it meanwhile, nor start; otherwise
 * it is read beside the server, which goes on. Throws `not_configured`.
 */
export function openSqliteSource(file: string, { alone }: { alone: boolean }): Source {
  if (!existsSync(file)) throw missing(file)
  const path = realpathSync(file)
  const unlock = alone ? takeLock(join(dirname(path), 'server.lock')) : () => undefined
  let db: DatabaseSync | undefined
  try {
    db = new DatabaseSync(path, { timeout: 5000 })
    // Not opened for reading alone: that fails where nobody has the file open.
    db.exec('pragma query_only = on; begin')
    const reader = db
    const tables = tablesOf(reader)
    const migrations = namesIn(reader, 'select name from migration order by name')
    const one = (sql: string) => reader.prepare(sql).get()
    const end = one('select sequence, hash from audit order by sequence desc limit 1')
    const totalRows = tables.reduce(
      (sum, { name }) => sum + Number(one(`select count(*) as n from ${quoted(name)}`)?.n ?? 0),
      0,
    )
    return {
      tables,
      migrations,
      lastChange: lastChangeOf(reader),
      trailEnd: end && { sequence: Number(end.sequence), hash: String(end.hash) },
      totalRows,
      rows: (table) => rowsOf(reader, table),
      async close() {
        reader.close()
        unlock()
      },
    }
  } catch (error) {
    db?.close()
    unlock()
    if (error instanceof CoreError) throw error
    throw new CoreError(
      'not_configured',
      `${file} is not the database of a Mintmark server, or is damaged.`,
      { cause: error },
    )
  }
}

function missing(file: string): CoreError {
  return new CoreError('not_configured', `There is no database at ${file}.`)
}

/**
 * A new SQLite file with empty tables. It lies under another name until it is finished, so that a crash
 * leaves nothing that a server would start on. Throws `not_configured` when the file exists.
 */
export async function openSqliteTarget(
  file: string,
  { upTo }: { upTo: string | undefined },
): Promise<Target> {
  mustNotExist(file)
  const part = `${file}.part`
  const remove = () => {
    for (const suffix of ['', '-wal', '-shm', '-journal']) rmSync(part + suffix, { force: true })
  }
  remove()
  await makeTables(part, upTo)
  const unlock = takeLock(join(dirname(realpathSync(part)), 'server.lock'))
  const db = new DatabaseSync(part)
  // Nobody sees the file before it is whole and on disk, so nothing has to be taken back.
  db.exec(`pragma journal_mode = off; pragma synchronous = off; pragma foreign_keys = off;
    pragma cache_size = -200000; begin`)
  const indexes = withoutIndexes(db)
  let isOver = false
  return {
    tables: tablesOf(db),
    load: (table, batches) => load(db, table, batches),
    rows: (table) => rowsOf(db, table),
    async settle(lastChange) {
      db.prepare('delete from sqlite_sequence where name = ?').run('change')
      db.prepare('insert into sqlite_sequence (name, seq) values (?, ?)').run('change', lastChange)
      for (const sql of indexes) db.exec(sql)
      const broken = db.prepare('pragma foreign_key_check').all()
      if (broken.length > 0) throw new Error('Rows point at rows that are not there.')
    },
    end: (endings, atMs) =>
      endAgain(
        new Kysely<Schema>({ dialect: new SqliteDialect({ database: kyselyDatabase(db) }) }),
        endings,
        atMs,
      ),
    async finish() {
      db.exec('commit')
      db.exec('pragma journal_mode = wal')
      db.close()
      sync(part)
      mustNotExist(file)
      // Fails where a file has come up meanwhile, which renaming would replace.
      linkSync(part, file)
      remove()
      sync(dirname(file))
      isOver = true
      unlock()
    },
    async abandon() {
      if (isOver) return
      isOver = true
      if (db.isOpen) db.close()
      remove()
      unlock()
    },
  }
}

function mustNotExist(file: string): void {
  if (!existsSync(file)) return
  throw new CoreError(
    'not_configured',
    `${file} exists. An installation is only put where there is none: move the file away, or name another place.`,
  )
}

async function makeTables(file: string, upTo: string | undefined): Promise<void> {
  const files = openSqlite(file)
  const db = new Kysely<Schema>({ dialect: new SqliteDialect({ database: files.writer }) })
  try {
    await migrate(db, upTo === undefined ? {} : { upTo })
  } finally {
    await db.destroy()
    files.reader.close()
    files.writer.close()
    files.unlock()
  }
}

/** Rows go in much faster, and the indexes are made at the end, once. Returns how to make them. */
function withoutIndexes(db: DatabaseSync): string[] {
  const found = db
    .prepare("select name, sql from sqlite_master where type = 'index' and sql is not null")
    .all()
  for (const { name } of found) db.exec(`drop index ${quoted(String(name))}`)
  return found.map(({ sql }) => String(sql))
}

function sync(path: string): void {
  const handle = openSync(path, 'r')
  try {
    fsyncSync(handle)
  } finally {
    closeSync(handle)
  }
}

function namesIn(db: DatabaseSync, sql: string): string[] {
  return db
    .prepare(sql)
    .all()
    .map(({ name }) => String(name))
}

function tablesOf(db: DatabaseSync): TableShape[] {
  const names = namesIn(
    db,
    "select name from sqlite_master where type = 'table' and name not like 'sqlite%' order by name",
  ).filter((name) => !MIGRATOR_TABLES.includes(name))
  return names.map((name) => {
    const columns = db.prepare(`pragma table_xinfo(${quoted(name)})`).all()
    return {
      name,
      columns: columns
        .filter(({ hidden }) => hidden === 0)
        .map((column) => String(column.name))
        .sort(),
      key: columns
        .filter(({ pk }) => Number(pk) > 0)
        .sort((a, b) => Number(a.pk) - Number(b.pk))
        .map((column) => String(column.name)),
    }
  })
}

function lastChangeOf(db: DatabaseSync): number {
  const row = db.prepare("select seq from sqlite_sequence where name = 'change'").get()
  return Number(row?.seq ?? 0)
}

async function* rowsOf(db: DatabaseSync, { name, columns, key }: TableShape) {
  const select: StatementSync = db.prepare(
    `select ${list(columns)} from ${quoted(name)} order by ${list(key)}`,
  )
  let batch: Row[] = []
  for (const row of select.iterate()) {
    if (!isCarried(name, row)) continue
    batch.push(columns.map((column) => portableValue(row[column])))
    if (batch.length < BATCH) continue
    yield batch
    batch = []
  }
  if (batch.length > 0) yield batch
}

async function load(
  db: DatabaseSync,
  { name, columns }: TableShape,
  batches: AsyncIterable<readonly Row[]>,
): Promise<void> {
  const places = columns.map(() => '?').join(', ')
  const insert = db.prepare(`insert into ${quoted(name)} (${list(columns)}) values (${places})`)
  for await (const batch of batches) for (const row of batch) insert.run(...row)
}
