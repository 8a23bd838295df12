import type { Kysely } from 'kysely'
import { textOf } from './portable.ts'

/** What nodes take of the rates that they share. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('rate_use')
    .addColumn('key', textOf(db), (column) => column.primaryKey())
    // Fractions of milliseconds count where a rate is thousands each second.
    .addColumn('used_until_ms', 'double precision', (column) => column.notNull())
    .execute()
}
