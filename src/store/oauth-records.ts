import type { Kysely, Selectable } from 'kysely'
import type { OauthRecord, OauthRecordStore } from '../core/store.ts'
import type { OauthRecordTable, Schema } from './schema.ts'

function toRecord(row: Selectable<OauthRecordTable>): OauthRecord {
  return {
    digest: row.digest,
    model: row.model,
    uidDigest: row.uid_digest ?? undefined,
    userCodeDigest: row.user_code_digest ?? undefined,
    grantId: row.grant_id ?? undefined,
    sealed: row.sealed,
    expiresAtMs: row.expires_at_ms,
    consumedAtMs: row.consumed_at_ms ?? undefined,
  }
}

function toRow(record: OauthRecord): OauthRecordTable {
  return {
    digest: record.digest,
    model: record.model,
    uid_digest: record.uidDigest ?? null,
    user_code_digest: record.userCodeDigest ?? null,
    grant_id: record.grantId ?? null,
    sealed: record.sealed,
    expires_at_ms: record.expiresAtMs,
    consumed_at_ms: record.consumedAtMs ?? null,
  }
}

export function oauthRecordStore(db: Kysely<Schema>): OauthRecordStore {
  const by = async (column: 'digest' | 'uid_digest' | 'user_code_digest', value: string) => {
    const row = await db
      .selectFrom('oauth_record')
      .selectAll()
      .where(column, '=', value)
      .executeTakeFirst()
    return row === undefined ? undefined : toRecord(row)
  }
  return {
    async put(record) {
      const row = toRow(record)
      // What was consumed stays so: a record saved again later is no second life.
      const { consumed_at_ms: _, ...changeable } = row
      await db
        .insertInto('oauth_record')
        .values(row)
        .onConflict((conflict) => conflict.column('digest').doUpdateSet(changeable))
        .execute()
    },
    async add(record, nowMs) {
      const row = toRow(record)
      const added = await db
        .insertInto('oauth_record')
        .values(row)
        .onConflict((conflict) =>
          conflict
            .column('digest')
            .doUpdateSet(row)
            .where('oauth_record.expires_at_ms', '<=', nowMs),
        )
        .returning('digest')
        .executeTakeFirst()
      return added !== undefined
    },
    byDigest: (digest) => by('digest', digest),
    byUid: (digest) => by('uid_digest', digest),
    byUserCode: (digest) => by('user_code_digest', digest),
    async consume(digest, atMs) {
      const row = await db
        .updateTable('oauth_record')
        .set({ consumed_at_ms: atMs })
        .where('digest', '=', digest)
        .where('consumed_at_ms', 'is', null)
        .returning('digest')
        .executeTakeFirst()
      return row !== undefined
    },
    async remove(digest) {
      await db.deleteFrom('oauth_record').where('digest', '=', digest).execute()
    },
    async removeOfGrant(model, grantId) {
      await db
        .deleteFrom('oauth_record')
        .where('model', '=', model)
        .where('grant_id', '=', grantId)
        .execute()
    },
    async purge(nowMs, limit) {
      const rows = await db
        .deleteFrom('oauth_record')
        .where('digest', 'in', (eb) =>
          eb
            .selectFrom('oauth_record')
            .select('digest')
            .where('expires_at_ms', '<', nowMs)
            .limit(limit),
        )
        .returning('digest')
        .execute()
      return rows.length
    },
  }
}
