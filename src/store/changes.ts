import type { Kysely } from 'kysely'
import { ANY, CHANGE_SUBJECTS, type Change, type ChangeStore } from '../core/store.ts'
import type { Journal } from './journal.ts'
import type { Schema } from './schema.ts'

/** What is announced when the log no longer tells what changed: everything. */
export const EVERYTHING: readonly Change[] = (
  ['role', 'group', 'client', 'policy', 'key', 'import'] as const
).map((subject) => ({ subject, id: ANY }))

const KNOWN: ReadonlySet<string> = new Set(CHANGE_SUBJECTS)

/**
 * What rows of the log announce. Of a subject that only a newer release knows nobody here can tell what it
 * touches, so that it stands for everything.
 */
export function announced(
  rows: readonly { subject: string; subject_id: string }[],
): readonly Change[] {
  const changes = rows.map(({ subject, subject_id }) => ({ subject, id: subject_id }) as Change)
  return changes.every(({ subject }) => KNOWN.has(subject)) ? changes : [...changes, ...EVERYTHING]
}

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
