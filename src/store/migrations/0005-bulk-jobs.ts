import { type Kysely, sql } from 'kysely'
import { textOf } from './portable.ts'

/** Actions on many tokens, and which tokens each of them has yet to reach. */
export async function up(db: Kysely<unknown>): Promise<void> {
  const text = textOf(db)
  const { schema } = db
  await schema
    .createTable('bulk_job')
    .addColumn('id', text, (c) => c.primaryKey())
    .addColumn('action', text, (c) => c.notNull())
    .addColumn('new_expires_at_ms', 'bigint')
    .addColumn('query', text, (c) => c.notNull())
    .addColumn('filter', text, (c) => c.notNull())
    .addColumn('reason', text, (c) => c.notNull())
    .addColumn('owner_id', text, (c) => c.notNull().references('user.id'))
    .addColumn('token_id', text, (c) => c.notNull())
    .addColumn('origin', text, (c) => c.notNull())
    .addColumn('outlives_token', 'smallint', (c) => c.notNull())
    .addColumn('state', text, (c) => c.notNull())
    .addColumn('problem', text)
    .addColumn('place', text)
    .addColumn('total', 'bigint', (c) => c.notNull())
    .addColumn('done', 'bigint', (c) => c.notNull())
    .addColumn('changed', 'bigint', (c) => c.notNull())
    .addColumn('skipped', 'bigint', (c) => c.notNull())
    .addColumn('created_at_ms', 'bigint', (c) => c.notNull())
    .addColumn('started_at_ms', 'bigint')
    .addColumn('updated_at_ms', 'bigint', (c) => c.notNull())
    .addColumn('finished_at_ms', 'bigint')
    .addColumn('node', text)
    .addColumn('node_until_ms', 'bigint')
    .execute()
  await schema
    .createIndex('bulk_job_created')
    .on('bulk_job')
    .columns(['created_at_ms', 'id'])
    .execute()
  await schema
    .createIndex('bulk_job_owner')
    .on('bulk_job')
    .columns(['owner_id', 'created_at_ms', 'id'])
    .execute()
  // What is under way is asked for all the time, and is next to nothing of what there is.
  await sql`create index bulk_job_open on bulk_job (updated_at_ms) where finished_at_ms is null`.execute(
    db,
  )

  await schema
    .createTable('bulk_job_token')
    .addColumn('job_id', text, (c) => c.notNull().references('bulk_job.id'))
    .addColumn('position', 'bigint', (c) => c.notNull())
    .addColumn('token_id', text, (c) => c.notNull())
    .addPrimaryKeyConstraint('bulk_job_token_key', ['job_id', 'position'])
    .execute()
}
