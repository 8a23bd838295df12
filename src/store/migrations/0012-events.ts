import { type Kysely, sql } from 'kysely'
import { textOf } from './portable.ts'

/** What happens to tokens and who is told of it, and tokens that are refused for a while. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await addQuarantine(db)
  await createEvents(db)
  await createWebhooks(db)
}

async function addQuarantine(db: Kysely<unknown>): Promise<void> {
  const { schema } = db
  const add = (column: string, type: 'bigint' | ReturnType<typeof textOf>) =>
    schema.alterTable('token').addColumn(column, type).execute()
  await add('quarantined_at_ms', 'bigint')
  await add('quarantined_by', textOf(db))
  await add('quarantine_reason', textOf(db))
  await add('quarantine_root', textOf(db))
  await sql`create index token_quarantined on token (created_at_ms, id)
    where quarantined_at_ms is not null`.execute(db)
  await sql`create index token_quarantine_root on token (quarantine_root)
    where quarantine_root is not null`.execute(db)
  // With the kind, so that what ends when is counted without looking at the tokens themselves.
  await schema.dropIndex('token_standing_expires').execute()
  await schema
    .createIndex('token_standing_expires')
    .on('token')
    .columns(['standing', 'expires_order', 'id', 'kind'])
    .execute()
}

async function createEvents(db: Kysely<unknown>): Promise<void> {
  const text = textOf(db)
  const { schema } = db
  await schema
    .createTable('event')
    .addColumn('id', 'bigint', (c) => c.primaryKey())
    .addColumn('type', text, (c) => c.notNull())
    .addColumn('at_ms', 'bigint', (c) => c.notNull())
    .addColumn('token_id', text)
    .addColumn('owner_id', text)
    .addColumn('kind', text)
    .addColumn('name', text)
    .addColumn('preview', text)
    .addColumn('expires_at_ms', 'bigint')
    .addColumn('actor_id', text)
    .addColumn('actor_name', text)
    .addColumn('details', text, (c) => c.notNull())
    .execute()
  await schema.createIndex('event_owner').on('event').columns(['owner_id', 'id']).execute()
  await schema.createIndex('event_token').on('event').columns(['token_id', 'id']).execute()
  await schema.createIndex('event_type').on('event').columns(['type', 'id']).execute()
  await schema.createIndex('event_at').on('event').column('at_ms').execute()
  await schema
    .createTable('mark')
    .addColumn('name', text, (c) => c.primaryKey())
    .addColumn('at', 'bigint', (c) => c.notNull())
    .addColumn('id', text, (c) => c.notNull())
    .execute()
}

async function createWebhooks(db: Kysely<unknown>): Promise<void> {
  const text = textOf(db)
  const { schema } = db
  await schema
    .createTable('webhook')
    .addColumn('id', text, (c) => c.primaryKey())
    .addColumn('url', text, (c) => c.notNull())
    .addColumn('description', text, (c) => c.notNull())
    .addColumn('types', text)
    .addColumn('secrets', text, (c) => c.notNull())
    .addColumn('state', text, (c) => c.notNull())
    .addColumn('paused_because', text)
    .addColumn('failing_since_ms', 'bigint')
    .addColumn('created_at_ms', 'bigint', (c) => c.notNull())
    .addColumn('updated_at_ms', 'bigint', (c) => c.notNull())
    .execute()
  await schema
    .createTable('delivery')
    .addColumn('id', text, (c) => c.primaryKey())
    .addColumn('webhook_id', text, (c) => c.notNull().references('webhook.id'))
    .addColumn('event_id', 'bigint', (c) => c.notNull().references('event.id'))
    .addColumn('state', text, (c) => c.notNull())
    .addColumn('attempts', 'bigint', (c) => c.notNull())
    .addColumn('next_at_ms', 'bigint', (c) => c.notNull())
    .addColumn('created_at_ms', 'bigint', (c) => c.notNull())
    .addColumn('ended_at_ms', 'bigint')
    .addColumn('last_status', 'bigint')
    .addColumn('last_error', text)
    .addUniqueConstraint('delivery_once', ['webhook_id', 'event_id'])
    .execute()
  await schema.createIndex('delivery_event').on('delivery').column('event_id').execute()
  await schema
    .createIndex('delivery_due')
    .on('delivery')
    .columns(['webhook_id', 'state', 'next_at_ms'])
    .execute()
  await schema
    .createIndex('delivery_created')
    .on('delivery')
    .columns(['webhook_id', 'created_at_ms', 'id'])
    .execute()
  // Few at any time, unlike those that arrived.
  await sql`create index delivery_open on delivery (state) where state <> 'delivered'`.execute(db)
  await schema
    .createTable('delivery_attempt')
    .addColumn('delivery_id', text, (c) => c.notNull().references('delivery.id'))
    .addColumn('number', 'bigint', (c) => c.notNull())
    .addColumn('at_ms', 'bigint', (c) => c.notNull())
    .addColumn('duration_ms', 'bigint', (c) => c.notNull())
    .addColumn('status', 'bigint')
    .addColumn('error', text)
    .addPrimaryKeyConstraint('delivery_attempt_key', ['delivery_id', 'number'])
    .execute()
}
