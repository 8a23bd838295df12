import type { Kysely } from 'kysely'
import { buildMissing, type IndexBuild } from './builds.ts'
import { isPostgres } from './portable.ts'

/** What most queries ask of each token on their way. */
const ASKED = [
  'standing',
  'kind',
  'expires_order',
  'superseded_at_ms',
  'quarantined_at_ms',
  'via',
  'access_level',
]
/** Of these what stays as it is, so that a revocation has no more to write. */
const LASTING = ['kind', 'expires_order']

/** What replaces indexes of tokens of the same names. */
export const WIDE_INDEXES: Record<string, string[]> = {
  token_created: ['created_at_ms', 'id', ...ASKED, 'used_order'],
  token_owner: ['owner_id', 'created_at_ms', 'id', ...ASKED],
  token_creator: ['creator_id', 'created_at_ms', 'id', ...LASTING],
  token_client: ['client_id', 'created_at_ms', 'id', ...LASTING],
  // By kind before the time: of a million sessions hardly any are left, whatever else there is.
  token_standing_expires: ['standing', 'kind', 'expires_order', 'id'],
}

/** SQLite could not rename them; it gets them with the next migration. */
export const builds: readonly IndexBuild[] = Object.entries(WIDE_INDEXES).map(
  ([name, columns]) => ({ name: `${name}_wide`, table: 'token', of: `(${columns.join(', ')})` }),
)

/**
 * The indexes along which very many tokens are walked know what is asked of each: to look into its row
 * takes ten times as long. Tokens are verified and revoked meanwhile: what dropping the old ones locks, for
 * which nobody has to wait long, is locked by the next migration.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  if (isPostgres(db)) await buildMissing(db, builds)
}
