import { type Kysely, sql } from 'kysely'
import { addressKey } from '../../core/ip.ts'
import { isPostgres, textOf } from './portable.ts'

/** What the query language filters and sorts by, each with an index that serves it. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await addOrders(db)
  await addAddressKeys(db)
  await addLabelTimes(db)
  await indexTokens(db)
}

/** Computed by the database: what a token is sorted by where it has no value of its own. */
async function addOrders(db: Kysely<unknown>): Promise<void> {
  // SQLite cannot add a stored column, and PostgreSQL cannot index one that is not.
  const isStored = isPostgres(db)
  const text = textOf(db)
  const add = (name: string, type: 'bigint' | typeof text, expression: string) =>
    db.schema
      .alterTable('token')
      .addColumn(name, type, (c) => {
        const computed = c.generatedAlwaysAs(sql.raw(expression))
        return isStored ? computed.stored() : computed
      })
      .execute()
  await add('used_order', 'bigint', 'coalesce(last_used_at_ms, -1)')
  await add('expires_order', 'bigint', 'coalesce(expires_at_ms, 9007199254740991)')
  await add('name_order', text, "coalesce(name_key, '')")
  // A state without its clock: what is live is active until it expires.
  await add(
    'standing',
    text,
    "case when revoked_at_ms is not null then 'revoked' when superseded_at_ms is not null then 'superseded' else 'live' end",
  )
}

const BATCH = 1000

async function addAddressKeys(db: Kysely<unknown>): Promise<void> {
  await db.schema.alterTable('token').addColumn('last_used_ip_key', textOf(db)).execute()
  for (let after = ''; ; ) {
    const { rows } = await sql<{ id: string; last_used_ip: string }>`
      select id, last_used_ip from token where id > ${after} and last_used_ip is not null
      order by id limit ${BATCH}`.execute(db)
    for (const { id, last_used_ip: ip } of rows) {
      await sql`update token set last_used_ip_key = ${addressKey(ip) ?? null} where id = ${id}`.execute(
        db,
      )
    }
    const last = rows.at(-1)
    if (last === undefined) return
    after = last.id
  }
}

async function addLabelTimes(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .alterTable('token_label')
    .addColumn('created_at_ms', 'bigint', (c) => c.notNull().defaultTo(0))
    .execute()
  await sql`update token_label set created_at_ms =
    (select created_at_ms from token where token.id = token_label.token_id)`.execute(db)
  await db.schema
    .createIndex('token_label_created')
    .on('token_label')
    .columns(['type', 'value', 'created_at_ms', 'token_id'])
    .execute()
}

async function indexTokens(db: Kysely<unknown>): Promise<void> {
  const { schema } = db
  const index = (name: string, columns: string[]) =>
    schema.createIndex(name).on('token').columns(columns).execute()
  await index('token_used', ['used_order', 'id'])
  await index('token_expires', ['expires_order', 'id'])
  await index('token_named', ['name_order', 'id'])
  await index('token_via', ['via', 'created_at_ms', 'id'])
  await index('token_access', ['access_level', 'created_at_ms', 'id'])
  // What came of a grant can be very much; so it is had in order, as what belongs to an owner is.
  await schema.dropIndex('token_family').execute()
  await index('token_family', ['family_id', 'created_at_ms', 'id'])
  await schema.dropIndex('token_parent').execute()
  await index('token_parent', ['parent_id', 'created_at_ms', 'id'])
  // A column that says the same stands in for it.
  await schema.dropIndex('token_expiry').execute()
  await index('token_standing', ['standing', 'created_at_ms', 'id'])
  await index('token_standing_expires', ['standing', 'expires_order', 'id'])
  await sql`create index token_address on token (last_used_ip_key)
    where last_used_ip_key is not null`.execute(db)
}
