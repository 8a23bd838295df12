import { type Kysely, sql } from 'kysely'
import type { TokenId } from '../core/id.ts'
import type { ImportStore, Shape } from '../core/imports/store.ts'
import { emptyJournal, type Journal } from './journal.ts'
import { type Locks, NO_LOCKS } from './locks.ts'
import type { Schema } from './schema.ts'

export function importStore(
  db: Kysely<Schema>,
  { locks = NO_LOCKS, journal = emptyJournal() }: { locks?: Locks; journal?: Journal } = {},
): ImportStore {
  return {
    async attempt(work) {
      const told = { records: journal.records.length, changes: journal.changes.length }
      await sql`savepoint import_row`.execute(db)
      try {
        const result = await work()
        await sql`release savepoint import_row`.execute(db)
        return result
      } catch (error) {
        await sql`rollback to savepoint import_row`.execute(db)
        await sql`release savepoint import_row`.execute(db)
        journal.records.length = told.records
        journal.changes.length = told.changes
        throw error
      }
    },
    async rows(importId, rowKeys) {
      // One after the other: two may bring the same secret, owner or group.
      await locks.hold('import')
      if (rowKeys.length === 0) return new Map()
      const rows = await db
        .selectFrom('import_row')
        .select(['row_key', 'token_id'])
        .where('import_id', '=', importId)
        .where('row_key', 'in', rowKeys)
        .execute()
      return new Map(rows.map((row) => [row.row_key, row.token_id as TokenId]))
    },
    async byFingerprint(fingerprint) {
      const row = await db
        .selectFrom('import_row')
        .select('token_id')
        .where('fingerprint', '=', fingerprint)
        .executeTakeFirst()
      return row?.token_id as TokenId | undefined
    },
    async insertRow({ importId, rowKey, tokenId, fingerprint }) {
      await db
        .insertInto('import_row')
        .values({ import_id: importId, row_key: rowKey, token_id: tokenId, fingerprint })
        .execute()
    },
    async countRows(importId) {
      const { count } = await db
        .selectFrom('import_row')
        .select((eb) => eb.fn.countAll<number>().as('count'))
        .where('import_id', '=', importId)
        .executeTakeFirstOrThrow()
      return Number(count)
    },
    async insertMade(importId, subjectId) {
      await db
        .insertInto('import_made')
        .values({ import_id: importId, subject_id: subjectId })
        .execute()
    },
    async wasMade(importId, subjectId) {
      const row = await db
        .selectFrom('import_made')
        .select('subject_id')
        .where('import_id', '=', importId)
        .where('subject_id', '=', subjectId)
        .executeTakeFirst()
      return row !== undefined
    },
    async shapes() {
      return (await db.selectFrom('import_shape').selectAll().execute()) as Shape[]
    },
    async addShape(shape) {
      const row = await db
        .insertInto('import_shape')
        .values(shape)
        .onConflict((conflict) => conflict.doNothing())
        .returning('kind')
        .executeTakeFirst()
      return row !== undefined
    },
    async insertHash({ tokenId, hint, sealed }) {
      await db.insertInto('imported_hash').values({ token_id: tokenId, hint, sealed }).execute()
    },
    async countHashes(hint) {
      const { count } = await db
        .selectFrom('imported_hash')
        .select((eb) => eb.fn.countAll<number>().as('count'))
        .where('hint', '=', hint)
        .executeTakeFirstOrThrow()
      return Number(count)
    },
    async hashesBy(hints) {
      const rows = await db
        .selectFrom('imported_hash')
        .select(['token_id', 'sealed'])
        .where('hint', 'in', hints)
        .execute()
      return rows.map((row) => ({ tokenId: row.token_id as TokenId, sealed: row.sealed }))
    },
    async rekey(id, { digest, pepperId, preview }) {
      const row = await db
        .updateTable('token')
        .set({ digest, pepper_id: pepperId, preview })
        .where('id', '=', id)
        .where('digest', '<>', digest)
        .returning('id')
        .executeTakeFirst()
      await db.deleteFrom('imported_hash').where('token_id', '=', id).execute()
      return row !== undefined
    },
  }
}
