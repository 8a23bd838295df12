import type { Kysely } from 'kysely'
import type { LeakStore } from '../core/leaks/store.ts'
import { type Locks, NO_LOCKS } from './locks.ts'
import type { Schema } from './schema.ts'

/** So many places of a token are remembered: the newest, and those that were dealt with before others. */
const MAX_PLACES = 100

export function leakStore(db: Kysely<Schema>, locks: Locks = NO_LOCKS): LeakStore {
  return {
    async note({ tokenId, place, atMs, sinceMs, evenIfSettled }) {
      await locks.hold(`leak:${tokenId}`)
      const known = await db
        .selectFrom('leak')
        .select(['told_at_ms', 'settled_at_ms'])
        .where('token_id', '=', tokenId)
        .where('place', '=', place)
        .executeTakeFirst()
      if (known !== undefined) {
        if (known.told_at_ms >= sinceMs) return false
        if (known.settled_at_ms !== null && !evenIfSettled) return false
      }
      const news = { told_at_ms: atMs, settled_at_ms: null }
      await db
        .insertInto('leak')
        .values({ token_id: tokenId, place, ...news })
        .onConflict((conflict) => conflict.columns(['token_id', 'place']).doUpdateSet(news))
        .execute()
      await db
        .deleteFrom('leak')
        .where('token_id', '=', tokenId)
        .where('place', 'in', (eb) =>
          eb
            .selectFrom('leak')
            .select('place')
            .where('token_id', '=', tokenId)
            .orderBy((order) =>
              order.case().when('settled_at_ms', 'is', null).then(1).else(0).end(),
            )
            .orderBy('told_at_ms', 'desc')
            .orderBy('place')
            .limit(MAX_PLACES)
            .offset(MAX_PLACES),
        )
        .execute()
      return true
    },
    async settle(tokenId, atMs) {
      await locks.hold(`leak:${tokenId}`)
      await db
        .updateTable('leak')
        .set({ settled_at_ms: atMs })
        .where('token_id', '=', tokenId)
        .where('settled_at_ms', 'is', null)
        .execute()
    },
  }
}
