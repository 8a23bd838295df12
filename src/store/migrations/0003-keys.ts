import { type Kysely, sql } from 'kysely'

/** Keys that are replaced while servers run. */
export async function up(db: Kysely<unknown>): Promise<void> {
  // Whoever makes a key for a purpose, and however many at once: one is current.
  await sql`create unique index key_current on key (purpose)
    where retired_at_ms is null and purpose <> 'xms-login'`.execute(db)
  // Whether anything still needs a retired pepper is asked every hour, of any number of tokens.
  await sql`create index token_pepper on token (pepper_id, expires_at_ms)
    where revoked_at_ms is null`.execute(db)
}
