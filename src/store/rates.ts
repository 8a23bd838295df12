import type { Kysely } from 'kysely'
import type { RateStore } from '../core/policy/rate-store.ts'
import { type Locks, NO_LOCKS } from './locks.ts'
import type { Schema } from './schema.ts'

export function rateStore(db: Kysely<Schema>, locks: Locks = NO_LOCKS): RateStore {
  return {
    async usedUntilMs(key) {
      // There may be no row yet to lock.
      await locks.hold(`rate:${key}`)
      const row = await db
        .selectFrom('rate_use')
        .select('used_until_ms')
        .where('key', '=', key)
        .executeTakeFirst()
      return row?.used_until_ms
    },
    async use(key, untilMs) {
      await db
        .insertInto('rate_use')
        .values({ key, used_until_ms: untilMs })
        .onConflict((conflict) => conflict.column('key').doUpdateSet({ used_until_ms: untilMs }))
        .execute()
    },
    async purge(nowMs) {
      await db.deleteFrom('rate_use').where('used_until_ms', '<', nowMs).execute()
    },
  }
}
