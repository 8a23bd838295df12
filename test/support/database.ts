import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync, type SQLInputValue } from 'node:sqlite'
import {
  type CompiledQuery,
  type Dialect,
  Kysely,
  type SqliteDatabase,
  SqliteDialect,
} from 'kysely'
import { Client } from 'pg'
import { inject } from 'vitest'
import type { DatabaseConfig } from '../../src/config.ts'
import { Secret } from '../../src/core/secret.ts'
import { connectionOf, pooled } from '../../src/store/postgres.ts'
import type { Schema } from '../../src/store/schema.ts'

/** Which database this run of the suite is about; vitest.config.ts has a project for each. */
export const DATABASE: DatabaseConfig['kind'] =
  process.env.MINTMARK_TEST_DATABASE === 'postgres' ? 'postgres' : 'sqlite'

type Row = Record<string, unknown>

/** An empty database of its own for one server, and the way behind that server's back. */
export interface TestDatabase {
  config: DatabaseConfig
  /** Settings that make a server use it. */
  env: Record<string, string>
  /** Rows of one statement. */
  query(sql: string): Promise<Row[]>
  /** Any number of statements. */
  tamper(sql: string): Promise<void>
  /** Queries beside the server; `log` hears of each. Whoever asks destroys it. */
  connect(log?: (query: CompiledQuery) => void): Kysely<Schema>
  /** Queries in one transaction, beside the server. */
  transaction<T>(work: (tx: Kysely<Schema>) => Promise<T>): Promise<T>
  /** Lets every insert into, or update of, a table fail with "full". Returns the way back. */
  block(event: 'insert' | 'update', table: string): Promise<() => Promise<void>>
  tables(): Promise<string[]>
  /** Differs after every write to a token, even one that changes nothing. */
  footprint(): Promise<unknown>
  /** All that a thief of the database would have. */
  loot(): Promise<Buffer>
  drop(): Promise<void>
}

/** `dir`: where a file may lie. */
export async function newDatabase(dir: string): Promise<TestDatabase> {
  return DATABASE === 'postgres' ? newPostgresDatabase() : sqliteDatabase(join(dir, 'mintmark.db'))
}

/** The same without any table, for what migrations do to those of an older release. */
export async function newEmptyDatabase(dir: string): Promise<TestDatabase> {
  return DATABASE === 'postgres' ? newPostgresDatabase('', 'template0') : newDatabase(dir)
}

/** A database in this file. */
export function sqliteDatabase(file: string): TestDatabase {
  const withFile = <T>(work: (db: DatabaseSync) => T): T => {
    const db = new DatabaseSync(file)
    try {
      return work(db)
    } finally {
      db.close()
    }
  }
  const database: TestDatabase = {
    config: { kind: 'sqlite', file },
    env: { MINTMARK_DATABASE_URL: `sqlite:${file}` },
    query: async (sql) => withFile((db) => db.prepare(sql).all() as Row[]),
    tamper: async (sql) => withFile((db) => db.exec(sql)),
    connect: (log) => connected(new SqliteDialect({ database: kyselyOver(file) }), log),
    transaction: (work) => inTransaction(database.connect(), work),
    async block(event, table) {
      await database.tamper(
        `create trigger blocked before ${event} on "${table}" begin select raise(abort, 'full'); end`,
      )
      return () => database.tamper('drop trigger blocked')
    },
    async tables() {
      if (!existsSync(file)) return []
      const rows = await database.query("select name from sqlite_master where type = 'table'")
      return rows.map(({ name }) => String(name))
    },
    // Frames in the write-ahead log: it grows with every write, whoever makes it.
    footprint: async () => (await database.query('pragma wal_checkpoint(noop)'))[0]?.log,
    loot: async () =>
      Buffer.concat([file, `${file}-wal`].filter(existsSync).map((path) => readFileSync(path))),
    drop: async () => undefined,
  }
  return database
}

function connected(dialect: Dialect, log?: (query: CompiledQuery) => void): Kysely<Schema> {
  return new Kysely<Schema>({ dialect, log: ({ query }) => log?.(query) })
}

async function inTransaction<T>(
  db: Kysely<Schema>,
  work: (tx: Kysely<Schema>) => Promise<T>,
): Promise<T> {
  try {
    return await db.transaction().execute(work)
  } finally {
    await db.destroy()
  }
}

/** Kysely's own connection to a file, beside a server or core that has it open. */
export function kyselyOver(file: string): SqliteDatabase {
  const db = new DatabaseSync(file)
  return {
    close: () => db.close(),
    prepare(sql) {
      const statement = db.prepare(sql)
      const given = (parameters: readonly unknown[]) => parameters as SQLInputValue[]
      return {
        reader: statement.columns().length > 0,
        all: (parameters) => statement.all(...given(parameters)),
        run: (parameters) => statement.run(...given(parameters)),
        iterate: (parameters) => statement.iterate(...given(parameters)),
      } as SqliteDatabase extends { prepare(sql: string): infer S } ? S : never
    },
  }
}

/** A copy of the migrated template. `options` are added to its URL. */
export async function newPostgresDatabase(
  options = '',
  template = inject('postgresTemplate'),
): Promise<TestDatabase> {
  const server = inject('postgresUrl')
  const name = `mintmark_test_${randomBytes(6).toString('hex')}`
  await administer(server, `create database ${name} template ${template}`)
  const url = new URL(server)
  url.pathname = name
  return postgresDatabase(`${url.href}${options}`, () =>
    administer(server, `drop database if exists ${name} with (force)`),
  )
}

/** A database at this URL. */
export function postgresDatabase(
  href: string,
  drop: () => Promise<void> = async () => undefined,
): TestDatabase {
  const url = new Secret(href)
  let opened: Promise<Client> | undefined
  const open = async () => {
    const client = new Client(connectionOf({ url, waitMs: 10_000 }))
    client.on('error', () => {
      opened = undefined
    })
    await client.connect()
    return client
  }
  let last: Promise<unknown> = Promise.resolve()
  /** One after the other: a connection has one statement under way. */
  const run = async (sql: string): Promise<Row[]> => {
    opened ??= open()
    const client = await opened
    const result = last.then(() => client.query<Row>(sql))
    last = result.catch(() => undefined)
    return (await result).rows
  }
  const database: TestDatabase = {
    config: { kind: 'postgres', url, pool: 10, pollMs: 250, waitMs: 10_000, notices: true },
    // Patient: tests send bursts, on machines that do other things as well.
    env: { MINTMARK_DATABASE_URL: href, MINTMARK_DATABASE_WAIT_MS: '10000' },
    query: run,
    async tamper(sql) {
      await run(sql)
    },
    connect: (log) => connected(pooled({ url, pool: 1, waitMs: 10_000 }), log),
    transaction: (work) => inTransaction(database.connect(), work),
    async block(event, table) {
      await run(`create function refuse() returns trigger language plpgsql
        as $$ begin raise exception 'full'; end $$;
        create trigger blocked before ${event} on "${table}" for each row execute function refuse()`)
      return () => database.tamper(`drop trigger blocked on "${table}"; drop function refuse`)
    },
    async tables() {
      const rows = await run(
        'select table_name from information_schema.tables where table_schema = current_schema()',
      )
      return rows.map((row) => String(row.table_name))
    },
    footprint: () => run('select xmin, ctid from token order by id'),
    async loot() {
      const tables = await database.tables()
      const rows = await Promise.all(tables.map((table) => run(`select * from "${table}"`)))
      return Buffer.from(JSON.stringify(rows))
    },
    async drop() {
      await (await opened)?.end()
      await drop()
    },
  }
  return database
}

/** Runs a statement on the server itself. */
export async function administer(server: string, sql: string): Promise<void> {
  const client = new Client({ connectionString: server })
  await client.connect()
  try {
    await client.query(sql)
  } finally {
    await client.end()
  }
}
