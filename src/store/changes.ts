import type { Kysely } from 'kysely'
import { ANY, type Change, type ChangeStore } from '../core/store.ts'
import type { Journal } from './journal.ts'
import type { Schema } from './schema.ts'

/** What is announced when the log no longer tells what changed: everything. */
export const EVERYTHING: readonly Change[] = (
  ['role', 'group', 'client', 'policy', 'key', 'import'] as const
).map((subject) => ({ subject, id: ANY }))

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
