import { type Kysely, sql } from 'kysely'
import { textOf } from './portable.ts'

/** OAuth2 and OpenID Connect: clients, grants, their tokens, and the engine's short-lived records. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await createClients(db)
  await extendTokens(db)
  await createGrants(db)
}

async function createClients(db: Kysely<unknown>): Promise<void> {
  const text = textOf(db)
  const { schema } = db
  await schema
    .createTable('client')
    .addColumn('id', text, (c) => c.primaryKey())
    .addColumn('serial', 'bigint', (c) => c.notNull().unique())
    .addColumn('client_id', text, (c) => c.notNull())
    .addColumn('name', text, (c) => c.notNull())
    .addColumn('name_key', text, (c) => c.notNull())
    .addColumn('type', text, (c) => c.notNull())
    .addColumn('secret_digest', text)
    .addColumn('secret_pepper_id', text)
    .addColumn('secret_preview', text)
    .addColumn('jwks', text)
    .addColumn('redirect_uris', text, (c) => c.notNull())
    .addColumn('post_logout_redirect_uris', text, (c) => c.notNull())
    .addColumn('grants', text, (c) => c.notNull())
    .addColumn('scopes', text, (c) => c.notNull())
    .addColumn('resources', text, (c) => c.notNull())
    .addColumn('serves', text, (c) => c.notNull())
    .addColumn('code_ttl', text, (c) => c.notNull())
    .addColumn('access_token_ttl', text, (c) => c.notNull())
    .addColumn('refresh_token_ttl', text, (c) => c.notNull())
    .addColumn('subject_mode', text, (c) => c.notNull())
    .addColumn('signing_algorithm', text, (c) => c.notNull())
    .addColumn('require_pkce', 'smallint', (c) => c.notNull())
    .addColumn('application_slug', text)
    .addColumn('application_name', text)
    .addColumn('service_user_id', text, (c) => c.notNull().references('user.id'))
    .addColumn('active', 'smallint', (c) => c.notNull())
    .addColumn('created_at_ms', 'bigint', (c) => c.notNull())
    .addColumn('updated_at_ms', 'bigint', (c) => c.notNull())
    .addColumn('deleted_at_ms', 'bigint')
    .execute()
  // A deleted client's id is free again; the row stays, because audit and old tokens point at it.
  await sql`create unique index client_client_id on client (client_id) where deleted_at_ms is null`.execute(
    db,
  )
  await schema.createIndex('client_created').on('client').columns(['created_at_ms', 'id']).execute()
  await schema.createIndex('client_service_user').on('client').column('service_user_id').execute()
}

async function extendTokens(db: Kysely<unknown>): Promise<void> {
  const text = textOf(db)
  const { schema } = db
  const add = (column: string) => schema.alterTable('token').addColumn(column, text).execute()
  await add('client_id')
  await add('audience')
  await add('bound_key')
  await add('engine_record')
  await add('id_claims')
  await schema
    .createIndex('token_client')
    .on('token')
    .columns(['client_id', 'created_at_ms', 'id'])
    .execute()
}

async function createGrants(db: Kysely<unknown>): Promise<void> {
  const text = textOf(db)
  const { schema } = db
  await schema
    .createTable('grant')
    .addColumn('id', text, (c) => c.primaryKey())
    .addColumn('user_id', text, (c) => c.notNull().references('user.id'))
    .addColumn('client_id', text, (c) => c.notNull().references('client.id'))
    .addColumn('session_id', text)
    .addColumn('scopes', text, (c) => c.notNull())
    .addColumn('resources', text, (c) => c.notNull())
    .addColumn('engine_record', text, (c) => c.notNull())
    .addColumn('created_at_ms', 'bigint', (c) => c.notNull())
    .addColumn('updated_at_ms', 'bigint', (c) => c.notNull())
    .addColumn('expires_at_ms', 'bigint', (c) => c.notNull())
    .addColumn('revoked_at_ms', 'bigint')
    .execute()
  const index = (name: string, columns: string[]) =>
    schema.createIndex(name).on('grant').columns(columns).execute()
  await index('grant_created', ['created_at_ms', 'id'])
  await index('grant_user', ['user_id', 'created_at_ms', 'id'])
  await index('grant_client', ['client_id', 'created_at_ms', 'id'])
  await index('grant_session', ['session_id'])
  await index('grant_expiry', ['expires_at_ms'])

  // Digests of what browsers and devices hold, and the engine's records, sealed.
  await schema
    .createTable('oauth_record')
    .addColumn('digest', text, (c) => c.primaryKey())
    .addColumn('model', text, (c) => c.notNull())
    .addColumn('uid_digest', text, (c) => c.unique())
    .addColumn('user_code_digest', text, (c) => c.unique())
    .addColumn('grant_id', text)
    .addColumn('sealed', text, (c) => c.notNull())
    .addColumn('expires_at_ms', 'bigint', (c) => c.notNull())
    .addColumn('consumed_at_ms', 'bigint')
    .execute()
  await schema.createIndex('oauth_record_grant').on('oauth_record').column('grant_id').execute()
  await schema
    .createIndex('oauth_record_expiry')
    .on('oauth_record')
    .column('expires_at_ms')
    .execute()
}
