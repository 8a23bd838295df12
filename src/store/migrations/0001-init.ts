import { type Kysely, sql } from 'kysely'
import { isPostgres, textOf } from './portable.ts'

/** Everything that the first release keeps. Written so that SQLite and PostgreSQL both take it. */
export async function up(db: Kysely<unknown>): Promise<void> {
  const text = textOf(db)
  const { schema } = db

  await schema
    .createTable('counter')
    .addColumn('name', text, (c) => c.primaryKey())
    .addColumn('value', 'bigint', (c) => c.notNull())
    .execute()

  await schema
    .createTable('user')
    .addColumn('id', text, (c) => c.primaryKey())
    .addColumn('serial', 'bigint', (c) => c.notNull().unique())
    .addColumn('username', text, (c) => c.notNull())
    .addColumn('username_key', text, (c) => c.notNull())
    .addColumn('display_name', text, (c) => c.notNull())
    .addColumn('email', text)
    .addColumn('email_key', text)
    .addColumn('kind', text, (c) => c.notNull())
    .addColumn('global_role', text, (c) => c.notNull())
    .addColumn('active', 'smallint', (c) => c.notNull())
    .addColumn('attributes', text, (c) => c.notNull())
    .addColumn('password_hash', text)
    .addColumn('password_is_one_time', 'smallint', (c) => c.notNull())
    .addColumn('password_expires_at_ms', 'bigint')
    .addColumn('password_changed_at_ms', 'bigint')
    .addColumn('last_login_at_ms', 'bigint')
    .addColumn('created_at_ms', 'bigint', (c) => c.notNull())
    .addColumn('updated_at_ms', 'bigint', (c) => c.notNull())
    .addColumn('deleted_at_ms', 'bigint')
    .execute()
  // A deleted user's name is free again; the row stays, because audit and old tokens point at it.
  await sql`create unique index user_username on "user" (username_key) where deleted_at_ms is null`.execute(
    db,
  )
  await sql`create unique index user_email on "user" (email_key) where deleted_at_ms is null`.execute(
    db,
  )
  await schema.createIndex('user_created').on('user').columns(['created_at_ms', 'id']).execute()

  await schema
    .createTable('user_identity')
    .addColumn('issuer', text, (c) => c.notNull())
    .addColumn('subject', text, (c) => c.notNull())
    .addColumn('user_id', text, (c) => c.notNull().references('user.id'))
    .addColumn('created_at_ms', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('user_identity_key', ['issuer', 'subject'])
    .execute()
  await schema.createIndex('user_identity_user').on('user_identity').column('user_id').execute()

  await schema
    .createTable('role')
    .addColumn('name', text, (c) => c.primaryKey())
    .addColumn('description', text, (c) => c.notNull())
    .addColumn('scopes', text, (c) => c.notNull())
    .addColumn('created_at_ms', 'bigint', (c) => c.notNull())
    .addColumn('updated_at_ms', 'bigint', (c) => c.notNull())
    .execute()
  await schema
    .createTable('user_role')
    .addColumn('user_id', text, (c) => c.notNull().references('user.id'))
    .addColumn('role', text, (c) => c.notNull().references('role.name'))
    .addPrimaryKeyConstraint('user_role_key', ['user_id', 'role'])
    .execute()
  await schema.createIndex('user_role_role').on('user_role').column('role').execute()

  await schema
    .createTable('group')
    .addColumn('id', text, (c) => c.primaryKey())
    .addColumn('serial', 'bigint', (c) => c.notNull().unique())
    .addColumn('name', text, (c) => c.notNull())
    .addColumn('name_key', text, (c) => c.notNull())
    .addColumn('description', text, (c) => c.notNull())
    .addColumn('parent_id', text, (c) => c.references('group.id'))
    .addColumn('created_at_ms', 'bigint', (c) => c.notNull())
    .addColumn('updated_at_ms', 'bigint', (c) => c.notNull())
    .addColumn('deleted_at_ms', 'bigint')
    .execute()
  await sql`create unique index group_name on "group" (name_key) where deleted_at_ms is null`.execute(
    db,
  )
  await schema.createIndex('group_created').on('group').columns(['created_at_ms', 'id']).execute()

  await schema
    .createTable('membership')
    .addColumn('user_id', text, (c) => c.notNull().references('user.id'))
    .addColumn('group_id', text, (c) => c.notNull().references('group.id'))
    .addColumn('mode', text, (c) => c.notNull())
    .addColumn('created_at_ms', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('membership_key', ['user_id', 'group_id'])
    .execute()
  await schema.createIndex('membership_group').on('membership').column('group_id').execute()

  await createTokens(db)
  await createLogs(db)

  await schema
    .createTable('policy')
    .addColumn('name', text, (c) => c.primaryKey())
    .addColumn('value', text, (c) => c.notNull())
    .addColumn('updated_at_ms', 'bigint', (c) => c.notNull())
    .execute()
  await schema
    .createTable('key')
    .addColumn('id', text, (c) => c.primaryKey())
    .addColumn('purpose', text, (c) => c.notNull())
    .addColumn('sealed', text, (c) => c.notNull())
    .addColumn('created_at_ms', 'bigint', (c) => c.notNull())
    .addColumn('retired_at_ms', 'bigint')
    .execute()
  await schema
    .createTable('idempotency')
    .addColumn('scope', text, (c) => c.notNull())
    .addColumn('key_digest', text, (c) => c.notNull())
    .addColumn('request_digest', text, (c) => c.notNull())
    .addColumn('sealed', text, (c) => c.notNull())
    .addColumn('expires_at_ms', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('idempotency_key', ['scope', 'key_digest'])
    .execute()
  await schema.createIndex('idempotency_expiry').on('idempotency').column('expires_at_ms').execute()
  await schema
    .createTable('lockout')
    .addColumn('account', text, (c) => c.primaryKey())
    .addColumn('failures', 'integer', (c) => c.notNull())
    .addColumn('locked_until_ms', 'bigint')
    .addColumn('at_ms', 'bigint', (c) => c.notNull())
    .execute()
}

async function createTokens(db: Kysely<unknown>): Promise<void> {
  const text = textOf(db)
  const { schema } = db
  await schema
    .createTable('token')
    .addColumn('id', text, (c) => c.primaryKey())
    .addColumn('serial', 'bigint', (c) => c.unique())
    .addColumn('kind', text, (c) => c.notNull())
    .addColumn('owner_id', text, (c) => c.notNull().references('user.id'))
    .addColumn('creator_id', text, (c) => c.notNull().references('user.id'))
    .addColumn('creator_token_id', text)
    .addColumn('name', text)
    .addColumn('name_key', text)
    .addColumn('description', text, (c) => c.notNull())
    .addColumn('via', text, (c) => c.notNull())
    .addColumn('format', text, (c) => c.notNull())
    .addColumn('digest', text, (c) => c.notNull().unique())
    .addColumn('pepper_id', text, (c) => c.notNull())
    .addColumn('preview', text, (c) => c.notNull())
    .addColumn('access_level', text, (c) => c.notNull())
    .addColumn('roles', text)
    .addColumn('groups', text)
    .addColumn('scopes', text)
    .addColumn('allowed_ips', text)
    .addColumn('metadata', text, (c) => c.notNull())
    .addColumn('family_id', text, (c) => c.notNull())
    .addColumn('parent_id', text)
    .addColumn('created_at_ms', 'bigint', (c) => c.notNull())
    .addColumn('updated_at_ms', 'bigint', (c) => c.notNull())
    .addColumn('expires_at_ms', 'bigint')
    .addColumn('idle_seconds', 'bigint')
    .addColumn('revoked_at_ms', 'bigint')
    .addColumn('revoked_by', text)
    .addColumn('revoke_reason', text)
    .addColumn('superseded_at_ms', 'bigint')
    .addColumn('superseded_by', text)
    .addColumn('last_used_at_ms', 'bigint')
    .addColumn('last_used_ip', text)
    .addColumn('use_count', 'bigint', (c) => c.notNull())
    .execute()
  // Live tokens of one owner have different names; a revoked or rotated one frees its name.
  await sql`create unique index token_name on token (owner_id, name_key)
    where revoked_at_ms is null and superseded_at_ms is null and name_key is not null`.execute(db)
  const index = (name: string, columns: string[]) =>
    schema.createIndex(name).on('token').columns(columns).execute()
  await index('token_created', ['created_at_ms', 'id'])
  await index('token_owner', ['owner_id', 'created_at_ms', 'id'])
  await index('token_creator', ['creator_id', 'created_at_ms', 'id'])
  await index('token_kind', ['kind', 'created_at_ms', 'id'])
  await index('token_family', ['family_id'])
  await index('token_parent', ['parent_id'])
  await index('token_expiry', ['expires_at_ms'])
  await index('token_revocation', ['revoked_at_ms'])
  await index('token_supersession', ['superseded_at_ms'])

  await schema
    .createTable('token_label')
    .addColumn('type', text, (c) => c.notNull())
    .addColumn('value', text, (c) => c.notNull())
    .addColumn('token_id', text, (c) => c.notNull().references('token.id').onDelete('cascade'))
    .addPrimaryKeyConstraint('token_label_key', ['type', 'value', 'token_id'])
    .execute()
  await schema.createIndex('token_label_token').on('token_label').column('token_id').execute()
}

async function createLogs(db: Kysely<unknown>): Promise<void> {
  const text = textOf(db)
  const { schema } = db
  await schema
    .createTable('audit')
    .addColumn('sequence', 'bigint', (c) => c.primaryKey())
    .addColumn('at_ms', 'bigint', (c) => c.notNull())
    .addColumn('action', text, (c) => c.notNull())
    .addColumn('subject_type', text, (c) => c.notNull())
    .addColumn('subject_id', text, (c) => c.notNull())
    .addColumn('actor_id', text)
    .addColumn('actor_name', text)
    .addColumn('actor_token_id', text)
    .addColumn('ip', text)
    .addColumn('request_id', text)
    .addColumn('via', text, (c) => c.notNull())
    .addColumn('before', text)
    .addColumn('after', text)
    .addColumn('hash', text, (c) => c.notNull())
    .execute()
  await schema.createIndex('audit_time').on('audit').columns(['at_ms', 'sequence']).execute()
  await schema.createIndex('audit_actor').on('audit').columns(['actor_id', 'sequence']).execute()
  await schema
    .createIndex('audit_subject')
    .on('audit')
    .columns(['subject_type', 'subject_id', 'sequence'])
    .execute()
  await schema.createIndex('audit_action').on('audit').columns(['action', 'sequence']).execute()

  await schema
    .createTable('audit_checkpoint')
    .addColumn('sequence', 'bigint', (c) => c.primaryKey())
    .addColumn('hash', text, (c) => c.notNull())
    .addColumn('at_ms', 'bigint', (c) => c.notNull())
    .addColumn('signature', text, (c) => c.notNull())
    .execute()

  await schema
    .createTable('change')
    // PostgreSQL numbers them by a counter that is locked until the commit: see `writeJournal`.
    .addColumn('sequence', isPostgres(db) ? 'bigint' : 'integer', (c) =>
      isPostgres(db) ? c.primaryKey() : c.primaryKey().autoIncrement(),
    )
    .addColumn('subject', text, (c) => c.notNull())
    .addColumn('subject_id', text, (c) => c.notNull())
    .addColumn('at_ms', 'bigint', (c) => c.notNull())
    .execute()
  await schema.createIndex('change_time').on('change').column('at_ms').execute()
}
