import type { Kysely, Selectable } from 'kysely'
import type { Grant } from '../core/grants/grant.ts'
import type { GrantStore } from '../core/grants/store.ts'
import type { ClientId, GrantId, TokenId, UserId } from '../core/id.ts'
import { pageRows } from './keyset.ts'
import { type Locks, NO_LOCKS } from './locks.ts'
import type { GrantTable, Schema } from './schema.ts'

function toGrant(row: Selectable<GrantTable>): Grant {
  return {
    id: row.id as GrantId,
    userId: row.user_id as UserId,
    clientId: row.client_id as ClientId,
    sessionId: (row.session_id ?? undefined) as TokenId | undefined,
    scopes: JSON.parse(row.scopes) as string[],
    resources: JSON.parse(row.resources) as string[],
    createdAtMs: row.created_at_ms,
    updatedAtMs: row.updated_at_ms,
    expiresAtMs: row.expires_at_ms,
    revokedAtMs: row.revoked_at_ms ?? undefined,
  }
}

export function grantStore(db: Kysely<Schema>, locks: Locks = NO_LOCKS): GrantStore {
  const byId = (id: GrantId) => db.selectFrom('grant').selectAll().where('id', '=', id)
  const one = async (query: ReturnType<typeof byId>) => {
    const row = await query.executeTakeFirst()
    return row === undefined ? undefined : toGrant(row)
  }

  return {
    async put(grant, payload) {
      const changeable = {
        session_id: grant.sessionId ?? null,
        scopes: JSON.stringify(grant.scopes),
        resources: JSON.stringify(grant.resources),
        engine_record: payload,
        updated_at_ms: grant.updatedAtMs,
        expires_at_ms: grant.expiresAtMs,
      }
      await db
        .insertInto('grant')
        .values({
          id: grant.id,
          user_id: grant.userId,
          client_id: grant.clientId,
          created_at_ms: grant.createdAtMs,
          revoked_at_ms: null,
          ...changeable,
        })
        .onConflict((conflict) => conflict.column('id').doUpdateSet(changeable))
        .execute()
    },
    byId: (id) => one(locks.rows(byId(id))),
    glance: (id) => one(byId(id)),
    async payloadOf(id) {
      const row = await db
        .selectFrom('grant')
        .select('engine_record')
        .where('id', '=', id)
        .executeTakeFirst()
      return row?.engine_record
    },
    async list({ userId, clientId, sessionId, liveAtMs }, from, size) {
      let query = db.selectFrom('grant').selectAll()
      if (userId !== undefined) query = query.where('user_id', '=', userId)
      if (clientId !== undefined) query = query.where('client_id', '=', clientId)
      if (sessionId !== undefined) query = query.where('session_id', '=', sessionId)
      if (liveAtMs !== undefined) {
        query = query.where('revoked_at_ms', 'is', null).where('expires_at_ms', '>', liveAtMs)
      }
      return (await pageRows(query, from, size)).map(toGrant)
    },
    async revoke(which, atMs) {
      let live = db.selectFrom('grant').select('id').where('revoked_at_ms', 'is', null)
      if ('id' in which) live = live.where('id', '=', which.id)
      else if ('clientId' in which) live = live.where('client_id', '=', which.clientId)
      else if ('userId' in which) live = live.where('user_id', '=', which.userId)
      else live = live.where('session_id', '=', which.sessionId)
      // In one order everywhere: two that lock in different orders wait for each other.
      const rows = await db
        .updateTable('grant')
        .set({ revoked_at_ms: atMs, updated_at_ms: atMs })
        .where('id', 'in', locks.rows(live.orderBy('id')))
        .where('revoked_at_ms', 'is', null)
        .returning('id')
        .execute()
      return rows.map(({ id }) => id as GrantId)
    },
    async purge(endedBeforeMs, limit) {
      const rows = await db
        .deleteFrom('grant')
        .where('id', 'in', (eb) =>
          eb
            .selectFrom('grant')
            .select('id')
            .where((or) =>
              or.or([
                or('expires_at_ms', '<', endedBeforeMs),
                or('revoked_at_ms', '<', endedBeforeMs),
              ]),
            )
            .limit(limit),
        )
        .returning('id')
        .execute()
      return rows.length
    },
  }
}
