import type { Kysely } from 'kysely'
import { textOf } from './portable.ts'

/** Who used a token last and how, and how often it was used and refused, by minute, hour and day. */
export async function up(db: Kysely<unknown>): Promise<void> {
  const text = textOf(db)
  const { schema } = db
  await schema.alterTable('token').addColumn('last_used_via', text).execute()
  await schema.alterTable('token').addColumn('last_used_agent', text).execute()
  // No foreign key: a use may be written a moment after its token was purged.
  await schema
    .createTable('use_count')
    .addColumn('token_id', text, (c) => c.notNull())
    .addColumn('step', text, (c) => c.notNull())
    .addColumn('start_ms', 'bigint', (c) => c.notNull())
    .addColumn('outcome', text, (c) => c.notNull())
    .addColumn('count', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('use_count_key', ['token_id', 'step', 'start_ms', 'outcome'])
    .execute()
  await schema
    .createIndex('use_count_time')
    .on('use_count')
    .columns(['step', 'start_ms', 'token_id'])
    .execute()
}
