import { type Kysely, sql } from 'kysely'

/**
 * Indexes of what has ended hold nothing else: to SQLite, one over all tokens looked like the shortest
 * way to those that have not, so that revoking a single token read every live one.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`drop index token_revocation`.execute(db)
  await sql`create index token_revocation on token (revoked_at_ms)
    where revoked_at_ms is not null`.execute(db)
  await sql`drop index token_supersession`.execute(db)
  await sql`create index token_supersession on token (superseded_at_ms)
    where superseded_at_ms is not null`.execute(db)
}
