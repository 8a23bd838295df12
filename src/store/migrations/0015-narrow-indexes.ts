import { type Kysely, sql } from 'kysely'
import { WIDE_INDEXES } from './0014-wide-indexes.ts'
import { isPostgres } from './portable.ts'

/** The indexes that wider ones took the place of; those get their names. */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const [name, columns] of Object.entries(WIDE_INDEXES)) {
    await db.schema.dropIndex(name).execute()
    if (isPostgres(db)) {
      await sql`alter index ${sql.id(`${name}_wide`)} rename to ${sql.id(name)}`.execute(db)
    } else {
      await db.schema.createIndex(name).on('token').columns(columns).execute()
    }
  }
}
