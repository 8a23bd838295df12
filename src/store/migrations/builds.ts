import { type Kysely, sql } from 'kysely'
import type { Migration } from 'kysely/migration'
import { isPostgres } from './portable.ts'

/** An index of a table that may have very many rows. */
export interface IndexBuild {
  name: string
  table: string
  /** What it is of, as SQL has it: `(kind, id) where name is not null`. */
  of: string
}

/** One migration. */
export interface Step extends Migration {
  /**
   * What PostgreSQL builds before `up`, outside of any transaction and while everybody goes on working; `up`
   * calls `buildMissing` with the same, for SQLite and for tables without rows.
   */
  builds?: readonly IndexBuild[]
}

/** Builds those that are not there yet, while everybody waits. */
export async function buildMissing(
  db: Kysely<unknown>,
  builds: readonly IndexBuild[],
): Promise<void> {
  for (const build of builds) {
    if (await isThere(db, build.name)) continue
    await sql`create index ${sql.id(build.name)} on ${sql.id(build.table)} ${sql.raw(build.of)}`.execute(
      db,
    )
  }
}

/** Asked for, because `if not exists` locks the table against writes before it looks. */
async function isThere(db: Kysely<unknown>, name: string): Promise<boolean> {
  const { rows } = isPostgres(db)
    ? await sql`select 1 from pg_indexes where schemaname = current_schema() and indexname = ${name}`.execute(
        db,
      )
    : await sql`select 1 from sqlite_master where type = 'index' and name = ${name}`.execute(db)
  return rows.length > 0
}
