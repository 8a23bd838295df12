import type { Kysely } from 'kysely'
import { textOf } from './portable.ts'

/** The nodes that share the database, and how far each has applied the change log. */
export async function up(db: Kysely<unknown>): Promise<void> {
  const text = textOf(db)
  await db.schema
    .createTable('node')
    .addColumn('id', text, (c) => c.primaryKey())
    .addColumn('address', text)
    .addColumn('version', text, (c) => c.notNull())
    .addColumn('lease_ms', 'bigint', (c) => c.notNull())
    .addColumn('started_at_ms', 'bigint', (c) => c.notNull())
    .addColumn('seen_at_ms', 'bigint', (c) => c.notNull())
    .addColumn('beats', 'bigint', (c) => c.notNull())
    .addColumn('position', 'bigint', (c) => c.notNull())
    .addColumn('draining', 'smallint', (c) => c.notNull())
    .addColumn('gone_at_ms', 'bigint')
    .execute()
}
