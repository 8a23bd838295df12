import type { Kysely } from 'kysely'
import type { ChangeStore } from '../core/store.ts'
import type { Journal } from './journal.ts'
import type { Schema } from './schema.ts'

/**
 * The ordered log of what can alter a verdict. `journal` collects what is appended; absent outside a
 * transaction, where nothing may be.
 */
export function changeStore(
  db: Kysely<Schema>,
  { clock, journal }: { clock: { now(): number }; journal?: Journal },
): ChangeStore {
  return {
    async append(change) {
      if (journal === undefined) throw new Error('A change belongs into a transaction.')
      journal.changes.push({ ...change, atMs: clock.now() })
    },
    async prune(olderThanMs) {
      await db.deleteFrom('change').where('at_ms', '<', olderThanMs).execute()
    },
  }
}
