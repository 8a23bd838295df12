import { type Kysely, sql } from 'kysely'
import type { RevocationStore, SignedEnd } from '../core/revocations/store.ts'
import { isPostgres } from './migrations/portable.ts'
import type { Schema } from './schema.ts'

export function revocationStore(db: Kysely<Schema>): RevocationStore {
  async function lastNumber(): Promise<number> {
    // Not of the rows, which are pruned: a number is never given out twice.
    const { rows } = await (isPostgres(db as unknown as Kysely<unknown>)
      ? sql<{ last: number }>`select value as last from counter where name = 'change'`
      : sql<{ last: number }>`select seq as last from sqlite_sequence where name = 'change'`
    ).execute(db)
    return rows[0]?.last ?? 0
  }

  async function at(sequence: number) {
    const row = await db
      .selectFrom('change')
      .select(['subject', 'subject_id', 'at_ms'])
      .where('sequence', '=', sequence)
      .executeTakeFirst()
    return { sequence, row: row && `${row.subject} ${row.subject_id} ${row.at_ms}` }
  }

  return {
    at,
    end: async () => at(await lastNumber()),
    async between({ after, to, fromMs, limit }) {
      const { rows } = await sql<{
        sequence: number
        subject: SignedEnd['subject']
        subject_id: string
        at_ms: number
      }>`
        select change.sequence, change.subject, change.subject_id, change.at_ms
        from change
        left join token on change.subject = 'token' and token.id = change.subject_id
        left join role on change.subject = 'role' and role.name = change.subject_id
        where change.sequence > ${after} and change.sequence <= ${to} and change.at_ms >= ${fromMs}
          and (change.subject not in ('token', 'role', 'client', 'key', 'import')
            or (change.subject = 'token' and (token.id is null
              or (token.kind in ('api', 'service')
                and (token.revoked_at_ms is not null or token.superseded_at_ms is not null
                  or token.updated_at_ms <> token.created_at_ms))))
            or (change.subject = 'role'
              and (role.name is null or role.updated_at_ms <> role.created_at_ms)))
        order by change.sequence limit ${limit}`.execute(db)
      return rows.map((row) => ({
        sequence: row.sequence,
        subject: row.subject,
        subjectId: row.subject_id,
        atMs: row.at_ms,
      }))
    },
  }
}
