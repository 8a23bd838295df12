import type { Kysely } from 'kysely'
import { textOf } from './portable.ts'

/** Old and new secrets of a rotated token work side by side for a while. */
export async function up(db: Kysely<unknown>): Promise<void> {
  const text = textOf(db)
  const { schema } = db
  await schema.alterTable('token').addColumn('overlap_ends_at_ms', 'bigint').execute()
  // Who still uses the old secret, and who the new one.
  await schema
    .createTable('rotation_caller')
    // No foreign key: a use may be written a moment after its token was purged.
    .addColumn('token_id', text, (c) => c.notNull())
    .addColumn('ip', text, (c) => c.notNull())
    .addColumn('agent', text, (c) => c.notNull())
    .addColumn('via', text, (c) => c.notNull())
    .addColumn('uses', 'bigint', (c) => c.notNull())
    .addColumn('first_used_at_ms', 'bigint', (c) => c.notNull())
    .addColumn('last_used_at_ms', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('rotation_caller_key', ['token_id', 'ip', 'agent', 'via'])
    .execute()
}
