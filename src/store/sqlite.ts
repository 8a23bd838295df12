import { chmodSync, existsSync, mkdirSync, realpathSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite'
import type { SqliteDatabase, SqliteStatement } from 'kysely'
import { CoreError } from '../core/errors.ts'

/** The WAL-reset corruption bug is in every release before this one (sqlite.org/wal.html). */
const OLDEST_SQLITE: readonly [number, number, number] = [3, 51, 3]
const BUSY_TIMEOUT_MS = 5000
/** Keeps the hot statements compiled. Only queries that people write fill it; then it starts anew. */
const MAX_STATEMENTS = 500

/** Primary result codes (sqlite.org/rescode.html) that mean "not stored, try later". */
const UNAVAILABLE = new Map([
  [5, 'The database is busy.'],
  [8, 'The database is read-only.'],
  [10, 'The disk reported an error.'],
  [13, 'The disk is full.'],
  [14, 'The database file cannot be opened.'],
])
const CONSTRAINT_UNIQUE = 2067
const CONSTRAINT_PRIMARY_KEY = 1555
const NOT_A_DATABASE = 26
const CORRUPT = 11

function errcodeOf(error: unknown): number | undefined {
  const code = (error as { errcode?: unknown } | null)?.errcode
  return typeof code === 'number' ? code : undefined
}

/** Whether a statement failed because a unique index already holds the value. */
export function isSqliteUniqueViolation(error: unknown): boolean {
  const code = errcodeOf(error)
  return code === CONSTRAINT_UNIQUE || code === CONSTRAINT_PRIMARY_KEY
}

function translated(error: unknown): unknown {
  const reason = UNAVAILABLE.get((errcodeOf(error) ?? 0) & 0xff)
  if (reason === undefined) return error
  return new CoreError('unavailable', `${reason} Nothing was changed. Try again shortly.`, {
    cause: error,
    retryAfterSeconds: 5,
  })
}

/** node:sqlite in the shape that Kysely's SQLite dialect drives, with statements compiled once. */
export function kyselyDatabase(db: DatabaseSync): SqliteDatabase {
  const statements = new Map<string, SqliteStatement>()

  function prepare(sql: string): SqliteStatement {
    const known = statements.get(sql)
    if (known !== undefined) return known
    // A deferred transaction that turns into a write can fail half-way; an immediate one waits first.
    const fresh = wrap(db.prepare(sql === 'begin' ? 'begin immediate' : sql), {
      // A full disk rolls back by itself; a second rollback would hide the reason behind its own error.
      isMoot: () => sql === 'rollback' && !db.isTransaction,
    })
    if (statements.size >= MAX_STATEMENTS) statements.clear()
    statements.set(sql, fresh)
    return fresh
  }

  return {
    close: () => {
      if (db.isOpen) db.close()
    },
    prepare(sql) {
      try {
        return prepare(sql)
      } catch (error) {
        throw translated(error)
      }
    },
  }
}

function wrap(statement: StatementSync, { isMoot }: { isMoot: () => boolean }): SqliteStatement {
  const guarded =
    <T>(run: (parameters: SQLInputValue[]) => T) =>
    (parameters: readonly unknown[]): T => {
      try {
        // Kysely passes what our own queries bind: strings, numbers and null.
        return run(parameters as SQLInputValue[])
      } catch (error) {
        throw translated(error)
      }
    }
  const rowOf = rowMaker(statement)
  return {
    reader: statement.columns().length > 0,
    all: guarded((parameters) => statement.all(...parameters).map(rowOf)),
    run: guarded((parameters) =>
      isMoot() ? { changes: 0, lastInsertRowid: 0 } : statement.run(...parameters),
    ),
    iterate: guarded((parameters) => mapped(statement.iterate(...parameters), rowOf)),
  }
}

function* mapped<A, B>(all: Iterator<A>, to: (each: A) => B): IterableIterator<B> {
  for (let next = all.next(); next.done !== true; next = all.next()) yield to(next.value)
}

/**
 * Has the statement give its rows as arrays, and returns what makes objects of them: all of one shape that
 * the runtime knows. What node:sqlite makes itself are dictionaries, which cost twice as much to make, one
 * at a time, and several times as much to read.
 */
function rowMaker(statement: StatementSync): (values: unknown) => unknown {
  statement.setReturnArrays(true)
  let width = -1
  let make: (values: readonly unknown[]) => unknown
  return (values) => {
    const list = values as unknown[]
    // The first row, or a migration has changed what `*` stands for.
    if (list.length !== width) {
      make = literalOf(statement.columns().map(({ name }) => name))
      width = list.length
    }
    return make(list)
  }
}

/** Written out as a literal: a loop over names is slower than what it is to replace. */
function literalOf(names: readonly string[]): (values: readonly unknown[]) => unknown {
  const members = names.map((name, i) => `${JSON.stringify(name)}: values[${i}]`)
  return new Function('values', `return { ${members.join(', ')} }`) as ReturnType<typeof literalOf>
}

export interface SqliteFiles {
  /** Where all writes go. */
  writer: SqliteDatabase
  /** Sees what is committed, while a transaction is under way on the writer. */
  reader: SqliteDatabase
  /** Differs from the last time when anybody has committed anything meanwhile. */
  version: () => number
  /** The number of the last change. */
  endOfLog: () => number
  /** Lets another server open the file. */
  unlock: () => void
}

/** `worker`: one of the processes of a server whose supervisor holds the file by `lockSqlite`. */
export type SqliteUse = 'alone' | 'worker'

/**
 * Keeps other servers from the file, for a process that lets workers open it. Throws `not_configured`
 * when one has it, or workers of one that was killed are still there.
 */
export function lockSqlite(path: string): () => void {
  const directory = directoryOf(path)
  const unlock = takeLock(join(directory, SERVER_LOCK))
  try {
    takeLock(join(directory, WORKERS_LOCK))()
    return unlock
  } catch (error) {
    unlock()
    throw error
  }
}

const SERVER_LOCK = 'server.lock'
/** Held together by the workers of one server, so that none outlives it unnoticed. */
const WORKERS_LOCK = 'workers.lock'

/** The locks lie beside the file itself, so that a link to it is no way to open it twice. */
function directoryOf(path: string): string {
  if (!existsSync(dirname(path))) mkdirSync(dirname(path), { mode: 0o700 })
  return dirname(existsSync(path) ? realpathSync(path) : path)
}

/**
 * Opens the database file, alone: a second server on the same file is refused.
 * Throws `not_configured` with what to do when the file is damaged, locked or set up unsafely.
 */
export function openSqlite(path: string, use: SqliteUse = 'alone'): SqliteFiles {
  const directory = directoryOf(path)
  const file = existsSync(path) ? realpathSync(path) : path
  if (existsSync(file) && statSync(file).size === 0) throw damaged(file, undefined)
  const unlock = use === 'alone' ? lockSqlite(path) : shareLock(join(directory, WORKERS_LOCK))
  try {
    const writer = connect(file)
    const reader = connect(file)
    for (const path of [file, `${file}-wal`, `${file}-shm`]) {
      if (existsSync(path)) chmodSync(path, 0o600)
    }
    return {
      writer: kyselyDatabase(writer),
      reader: kyselyDatabase(reader),
      ...watched(reader),
      unlock,
    }
  } catch (error) {
    unlock()
    throw error
  }
}

/** The operating system frees this lock however the process ends, so it is never stale. */
export function takeLock(path: string): () => void {
  const lock = new DatabaseSync(path, { timeout: 0 })
  try {
    lock.exec('pragma locking_mode = exclusive; begin exclusive')
  } catch (error) {
    lock.close()
    throw new CoreError(
      'not_configured',
      `Another Mintmark process uses ${dirname(path)}. Stop it first, or give this one its own MINTMARK_DATA_DIR.`,
      { cause: error },
    )
  }
  chmodSync(path, 0o600)
  return () => lock.close()
}

/** Any number of processes may hold it at once; nobody can take it for himself meanwhile. */
function shareLock(path: string): () => void {
  const lock = new DatabaseSync(path, { timeout: BUSY_TIMEOUT_MS })
  lock.exec('pragma locking_mode = normal; begin')
  lock.prepare('select count(*) from sqlite_master').get()
  chmodSync(path, 0o600)
  return () => lock.close()
}

/** sqlite.org/pragma.html#pragma_data_version: commits of every other connection count, our writer's, too. */
function watched(reader: DatabaseSync): Pick<SqliteFiles, 'version' | 'endOfLog'> {
  const version = reader.prepare('pragma data_version')
  let end: StatementSync | undefined
  return {
    version: () => Number(version.get()?.data_version),
    endOfLog() {
      // Not before the first migration has made the table.
      end ??= reader.prepare("select seq from sqlite_sequence where name = 'change'")
      return Number(end.get()?.seq ?? 0)
    },
  }
}

function connect(file: string): DatabaseSync {
  const db = new DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS })
  try {
    db.exec(`pragma journal_mode = wal; pragma synchronous = full; pragma foreign_keys = on;
      pragma mmap_size = 0; pragma journal_size_limit = 67108864`)
    assertSettings(db)
    return db
  } catch (error) {
    db.close()
    const code = (errcodeOf(error) ?? 0) & 0xff
    if (code !== NOT_A_DATABASE && code !== CORRUPT) throw translated(error)
    throw damaged(file, error)
  }
}

function damaged(file: string, cause: unknown): CoreError {
  return new CoreError(
    'not_configured',
    `${file} is damaged or not a database. Restore it from a backup; Mintmark does not start empty over it.`,
    { cause },
  )
}

/** Asserted rather than assumed: builds differ in their defaults, and a lost commit is a revived token. */
function assertSettings(db: DatabaseSync): void {
  const value = (pragma: string) => Object.values(db.prepare(`pragma ${pragma}`).get() ?? {})[0]
  const settings = {
    journal_mode: value('journal_mode'),
    synchronous: value('synchronous'),
    foreign_keys: value('foreign_keys'),
    busy_timeout: value('busy_timeout'),
  }
  const wanted = {
    journal_mode: 'wal',
    synchronous: 2,
    foreign_keys: 1,
    busy_timeout: BUSY_TIMEOUT_MS,
  }
  const version = String(db.prepare('select sqlite_version() as v').get()?.v)
  if (JSON.stringify(settings) !== JSON.stringify(wanted)) {
    throw new CoreError(
      'not_configured',
      `SQLite does not take the settings that durability needs: wanted ${JSON.stringify(wanted)}, got ${JSON.stringify(settings)}. Is the data directory on a network file system? Move it to a local disk.`,
    )
  }
  if (isOlder(version)) {
    throw new CoreError(
      'not_configured',
      `SQLite ${version} can corrupt a database in WAL mode; ${OLDEST_SQLITE.join('.')} or newer is needed. Use the Node that comes with this project.`,
    )
  }
}

function isOlder(version: string): boolean {
  const parts = version.split('.').map(Number)
  for (const [i, least] of OLDEST_SQLITE.entries()) {
    const part = parts[i] ?? 0
    if (part !== least) return part < least
  }
  return false
}
