import type { Kysely } from 'kysely'
import { textOf } from './portable.ts'

/** Where each token was seen by whom, so that what was dealt with is not dealt with anew. */
export async function up(db: Kysely<unknown>): Promise<void> {
  const text = textOf(db)
  await db.schema
    .createTable('leak')
    .addColumn('token_id', text, (c) => c.notNull())
    .addColumn('place', text, (c) => c.notNull())
    .addColumn('told_at_ms', 'bigint', (c) => c.notNull())
    .addColumn('settled_at_ms', 'bigint')
    .addPrimaryKeyConstraint('leak_key', ['token_id', 'place'])
    .execute()
}
