import type { Kysely } from 'kysely'

/** What most queries ask of each token on their way, so that the index answers it: the row lies elsewhere. */
const STATE = ['standing', 'kind', 'expires_order', 'superseded_at_ms', 'quarantined_at_ms']
/** The same of what hardly ever changes, where a revocation has enough to write. */
const LASTING = ['kind', 'expires_order']

/** The indexes that very much is walked along know what they are asked. */
export async function up(db: Kysely<unknown>): Promise<void> {
  const replace = async (name: string, columns: string[]) => {
    await db.schema.dropIndex(name).execute()
    await db.schema.createIndex(name).on('token').columns(columns).execute()
  }
  await replace('token_created', ['created_at_ms', 'id', ...STATE, 'via', 'access_level'])
  await replace('token_owner', ['owner_id', 'created_at_ms', 'id', ...STATE, 'via', 'access_level'])
  await replace('token_creator', ['creator_id', 'created_at_ms', 'id', ...LASTING])
  await replace('token_client', ['client_id', 'created_at_ms', 'id', ...LASTING])
  // By kind: among a million sessions that are over, those that are not.
  await replace('token_standing_expires', ['standing', 'kind', 'expires_order', 'id'])
}
