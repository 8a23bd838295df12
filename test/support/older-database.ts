import { randomBytes } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Kysely } from 'kysely'
import { Secret } from '../../src/core/secret.ts'
import { migrate } from '../../src/store/migrate.ts'
import { migrations } from '../../src/store/migrations/index.ts'
import { newEmptyDatabase, sqliteDatabase, type TestDatabase } from './database.ts'
import { type Inhabited, inhabit } from './installation.ts'

/** Each migration leaves the tables as some release may have them. */
export const STEPS = Object.keys(migrations).sort()

type Row = Record<string, unknown>
/** By table, in the order in which they came to be: what is referred to comes first. */
type Rows = Map<string, Row[]>

/** An installation with something in every table of this release, to be carried into older tables. */
export interface Lived extends Inhabited {
  masterKey: Secret
  rows: Rows
}

/** Made by the server's own code, so that secrets verify and seals open. `dir`: where its file may lie. */
export async function livedIn(dir: string): Promise<Lived> {
  const masterKey = new Secret(randomBytes(32).toString('base64url'))
  const database = sqliteDatabase(join(dir, 'lived', 'mintmark.db'))
  const lived = await inhabit(database, masterKey)
  const rows: Rows = new Map()
  for (const table of await tablesOf(database)) {
    const found = await database.query(`select ${await columnsOf(database, table)} from "${table}"`)
    rows.set(table, found.length > 0 ? found : [await anyRow(database, table, rows)])
  }
  // PostgreSQL counts what SQLite numbers by itself.
  const last = Math.max(...(rows.get('change') ?? []).map(({ sequence }) => Number(sequence)))
  rows.get('counter')?.push({ name: 'change', value: last })
  return { ...lived, masterKey, rows }
}

async function tablesOf(database: TestDatabase): Promise<string[]> {
  const own = await database.tables()
  return own.filter((name) => !/^(sqlite_|migration)/.test(name))
}

/** Those that are stored rather than computed, as SQL lists them. */
async function columnsOf(database: TestDatabase, table: string): Promise<string> {
  const names =
    database.config.kind === 'sqlite'
      ? `select name from pragma_table_info('${table}')`
      : `select column_name as name from information_schema.columns where table_name = '${table}'
          and table_schema = current_schema() and is_generated = 'NEVER' order by ordinal_position`
  const rows = await database.query(names)
  return rows.map(({ name }) => `"${name}"`).join()
}

/** For a table that a short life leaves empty: every column has a value, and all refer to what is there. */
async function anyRow(database: TestDatabase, table: string, rows: Rows): Promise<Row> {
  const keys = await database.query(
    `select "from" as own, "table" as place, "to" as theirs from pragma_foreign_key_list('${table}')`,
  )
  const columns = await database.query(`select name, type from pragma_table_info('${table}')`)
  return Object.fromEntries(
    columns.map(({ name, type }) => {
      const key = keys.find(({ own }) => own === name)
      if (key !== undefined) return [name, rows.get(String(key.place))?.[0]?.[String(key.theirs)]]
      return [name, type === 'text' ? '1' : 1]
    }),
  )
}

/** A database as the release after `step` has it, empty but for its tables. */
export async function databaseAt(dir: string, step: string): Promise<TestDatabase> {
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  const database = await newEmptyDatabase(dir)
  await migrateTo(database, step)
  return database
}

export async function migrateTo(database: TestDatabase, step?: string): Promise<void> {
  const db = database.connect()
  try {
    await migrate(db, step === undefined ? {} : { upTo: step })
  } finally {
    await db.destroy()
  }
}

/** Puts there what its tables and columns can hold. */
export async function settle(database: TestDatabase, { rows }: Lived): Promise<void> {
  const there = new Map<string, Set<string>>()
  for (const table of await tablesOf(database)) {
    const columns = await columnsOf(database, table)
    there.set(table, new Set(columns.slice(1, -1).split('","')))
  }
  await database.transaction(async (tx) => {
    for (const [table, all] of rows) {
      const columns = there.get(table)
      if (columns === undefined) continue
      const older = all.map((row) =>
        Object.fromEntries(Object.entries(row).filter(([name]) => columns.has(name))),
      )
      await (tx as Kysely<Record<string, Row>>).insertInto(table).values(older).execute()
    }
  })
}

/** All rows, each as its columns have it; `like`: only the tables and columns that are in that one. */
export async function contentOf(
  database: TestDatabase,
  like?: Record<string, Row[]>,
): Promise<Record<string, Row[]>> {
  const content: Record<string, Row[]> = {}
  for (const table of like === undefined ? await tablesOf(database) : Object.keys(like)) {
    const [first] = like?.[table] ?? []
    const columns =
      first === undefined
        ? await columnsOf(database, table)
        : Object.keys(first).map((name) => `"${name}"`)
    const rows = await database.query(`select ${columns} from "${table}"`)
    content[table] = rows.map((row) => ({ ...row })).sort(byText)
  }
  return content
}

function byText(a: Row, b: Row): number {
  return JSON.stringify(a) < JSON.stringify(b) ? -1 : 1
}

/** Everything that makes up the tables: columns, defaults, keys, indexes. */
export async function schemaOf(database: TestDatabase): Promise<string[]> {
  const queries =
    database.config.kind === 'sqlite'
      ? [`select type, name, tbl_name, sql from sqlite_master`]
      : [
          `select table_name, column_name, data_type, collation_name, is_nullable, column_default,
            generation_expression from information_schema.columns where table_schema = current_schema()`,
          `select indexname, indexdef from pg_indexes where schemaname = current_schema()`,
          `select conrelid::regclass::text as place, conname, pg_get_constraintdef(oid) as means
            from pg_constraint where connamespace = current_schema()::regnamespace`,
        ]
  const found = await Promise.all(queries.map((query) => database.query(query)))
  return found
    .flat()
    .map((row) => JSON.stringify(row))
    .sort()
}

/** The migrations that a database has been through. */
export async function stepsOf(database: TestDatabase): Promise<string[]> {
  const rows = await database.query('select name from migration order by name')
  return rows.map(({ name }) => String(name))
}
