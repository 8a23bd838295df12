import { type Kysely, PostgresAdapter, type RawBuilder, sql } from 'kysely'

export function isPostgres(db: Kysely<unknown>): boolean {
  return db.getExecutor().adapter instanceof PostgresAdapter
}

/**
 * The type of text: compared byte by byte, as SQLite does, whatever the locale of the server, so that
 * order, uniqueness and `lower` are the same on both databases.
 */
export function textOf(db: Kysely<unknown>): 'text' | RawBuilder<unknown> {
  return isPostgres(db) ? sql`text collate "C"` : 'text'
}
