import type { Kysely } from 'kysely'
import { textOf } from './portable.ts'

/** Tokens that came from elsewhere. */
export async function up(db: Kysely<unknown>): Promise<void> {
  const text = textOf(db)
  const { schema } = db
  // Without a reference to the token: what was purged must not come back with the same file.
  await schema
    .createTable('import_row')
    .addColumn('import_id', text, (c) => c.notNull())
    .addColumn('row_key', text, (c) => c.notNull())
    .addColumn('token_id', text, (c) => c.notNull())
    .addColumn('fingerprint', text, (c) => c.notNull().unique())
    .addPrimaryKeyConstraint('import_row_key', ['import_id', 'row_key'])
    .execute()
  await schema
    .createTable('import_made')
    .addColumn('import_id', text, (c) => c.notNull())
    .addColumn('subject_id', text, (c) => c.notNull())
    .addPrimaryKeyConstraint('import_made_key', ['import_id', 'subject_id'])
    .execute()
  await schema
    .createTable('import_shape')
    .addColumn('kind', text, (c) => c.notNull())
    .addColumn('length', 'integer', (c) => c.notNull())
    .addPrimaryKeyConstraint('import_shape_key', ['kind', 'length'])
    .execute()
  await schema
    .createTable('imported_hash')
    .addColumn('token_id', text, (c) => c.primaryKey().references('token.id').onDelete('cascade'))
    .addColumn('hint', text, (c) => c.notNull())
    .addColumn('sealed', text, (c) => c.notNull())
    .execute()
  await schema.createIndex('imported_hash_hint').on('imported_hash').column('hint').execute()
}
