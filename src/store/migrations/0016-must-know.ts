import type { Kysely } from 'kysely'
import { textOf } from './portable.ts'

/** What a server must know of to answer for a token, so that an older one knows that it must not. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema.alterTable('token').addColumn('must_know', textOf(db)).execute()
}
