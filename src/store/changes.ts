import type { Kysely } from 'kysely'
import type { Change, ChangeStore } from '../core/store.ts'
import type { Schema } from './schema.ts'

/** The ordered log of what can alter a verdict; `changes` collects what to announce after the commit. */
export function changeStore(
  db: Kysely<Schema>,
  { clock, changes }: { clock: { now(): number }; changes: Change[] },
): ChangeStore {
  return {
    async append(change) {
      await db
        .insertInto('change')
        .values({ subject: change.subject, subject_id: change.id, at_ms: clock.now() })
        .execute()
      changes.push(change)
    },
    async prune(olderThanMs) {
      await db.deleteFrom('change').where('at_ms', '<', olderThanMs).execute()
    },
  }
}
