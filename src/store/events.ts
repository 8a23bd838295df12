import { type Kysely, type RawBuilder, type Selectable, type SelectQueryBuilder, sql } from 'kysely'
import {
  type EventDraft,
  type EventType,
  LASTING_KINDS,
  type TokenEvent,
} from '../core/events/event.ts'
import type { EndingCount, EventFilter, EventStore } from '../core/events/store.ts'
import type { TokenId, UserId } from '../core/id.ts'
import { TOKEN_KINDS, type TokenKind } from '../core/tokens/token.ts'
import { type Locks, NO_LOCKS } from './locks.ts'
import type { EventTable, Schema } from './schema.ts'

/**
 * Writes events with what their tokens are like now, in one statement, because whoever writes the journal
 * holds up everybody else. Casts, because PostgreSQL cannot tell the types of parameters in a union.
 */
export function insertEvents(
  events: readonly (EventDraft & { id: number })[],
): RawBuilder<Record<string, unknown>> {
  const rows = events.map(
    (event) => sql`select cast(${event.id} as bigint) as id, cast(${event.type} as text) as type,
      cast(${event.atMs} as bigint) as at_ms, cast(${event.tokenId ?? null} as text) as token_id,
      cast(${event.ownerId ?? null} as text) as owner_id,
      cast(${event.actorId ?? null} as text) as actor_id,
      cast(${event.actorName ?? null} as text) as actor_name,
      cast(${JSON.stringify(event.details)} as text) as details,
      cast(${event.onlyLasting ? 1 : 0} as bigint) as only_lasting`,
  )
  return sql`insert into event (id, type, at_ms, token_id, owner_id, kind, name, preview,
      expires_at_ms, actor_id, actor_name, details)
    select news.id, news.type, news.at_ms, news.token_id,
      case when news.token_id is null then news.owner_id else token.owner_id end, token.kind, token.name,
      token.preview, token.expires_at_ms, news.actor_id, news.actor_name, news.details
    from (${sql.join(rows, sql` union all `)}) as news
    left join token on token.id = news.token_id
    where news.only_lasting = 0 or token.kind in (${sql.join([...LASTING_KINDS])})`
}

function toEvent(row: Selectable<EventTable>): TokenEvent {
  return {
    id: row.id,
    type: row.type as EventType,
    atMs: row.at_ms,
    tokenId: (row.token_id ?? undefined) as TokenId | undefined,
    ownerId: (row.owner_id ?? undefined) as UserId | undefined,
    kind: (row.kind ?? undefined) as TokenKind | undefined,
    name: row.name ?? undefined,
    preview: row.preview ?? undefined,
    expiresAtMs: row.expires_at_ms ?? undefined,
    actorId: (row.actor_id ?? undefined) as UserId | undefined,
    actorName: row.actor_name ?? undefined,
    details: JSON.parse(row.details) as Record<string, unknown>,
  }
}

function filtered<O>(
  start: SelectQueryBuilder<Schema, 'event', O>,
  { ownerId, tokenId, types }: EventFilter,
): SelectQueryBuilder<Schema, 'event', O> {
  let query = start
  if (ownerId !== undefined) query = query.where('owner_id', '=', ownerId)
  if (tokenId !== undefined) query = query.where('token_id', '=', tokenId)
  if (types !== undefined) query = query.where('type', 'in', types)
  return query
}

export function eventStore(db: Kysely<Schema>, locks: Locks = NO_LOCKS): EventStore {
  const events = () => db.selectFrom('event').selectAll()
  return {
    async list(filter, from, size) {
      const backwards = from?.direction === 'before'
      let query = filtered(events(), filter)
      if (from !== undefined) query = query.where('id', backwards ? '>' : '<', Number(from.at))
      const rows = await query
        .orderBy('id', backwards ? 'asc' : 'desc')
        .limit(size)
        .execute()
      return rows.map(toEvent)
    },
    async after(filter, id, limit) {
      const rows = await filtered(events(), filter)
        .where('id', '>', id)
        .orderBy('id')
        .limit(limit)
        .execute()
      return rows.map(toEvent)
    },
    async byId(id) {
      const row = await events().where('id', '=', id).executeTakeFirst()
      return row === undefined ? undefined : toEvent(row)
    },
    async lastId() {
      const row = await db
        .selectFrom('event')
        .select('id')
        .orderBy('id', 'desc')
        .limit(1)
        .executeTakeFirst()
      return row?.id ?? 0
    },
    async purge(olderThanMs, limit) {
      const old = await db
        .selectFrom('event')
        .select('id')
        .where('at_ms', '<', olderThanMs)
        .orderBy('at_ms')
        .limit(limit)
        .execute()
      if (old.length === 0) return 0
      const ids = old.map(({ id }) => id)
      await db
        .deleteFrom('delivery_attempt')
        .where('delivery_id', 'in', (eb) =>
          eb.selectFrom('delivery').select('id').where('event_id', 'in', ids),
        )
        .execute()
      await db.deleteFrom('delivery').where('event_id', 'in', ids).execute()
      await db.deleteFrom('event').where('id', 'in', ids).execute()
      return ids.length
    },
    async mark(name) {
      await locks.hold(`mark:${name}`)
      return db.selectFrom('mark').select(['at', 'id']).where('name', '=', name).executeTakeFirst()
    },
    async setMark(name, mark) {
      await db
        .insertInto('mark')
        .values({ name, ...mark })
        .onConflict((conflict) => conflict.column('name').doUpdateSet(mark))
        .execute()
    },
    async endings(from, toMs, limit) {
      // Each kind is in order by itself in the index; of each the first are enough. Rows, which lie anywhere, are
      // looked into for those alone that are the first of all.
      const ofKind = LASTING_KINDS.map(
        (kind) => sql`select * from (
          select id, expires_order as expires_at_ms from token
          where standing = 'live' and kind = ${kind}
            and (expires_order, id) > (${from.at}, ${from.id}) and expires_order <= ${toMs}
          order by expires_order, id limit ${limit}) as endings`,
      )
      const { rows } = await sql<{ id: string; expires_at_ms: number; created_at_ms: number }>`
        with first as materialized (
          ${sql.join(ofKind, sql` union all `)} order by expires_at_ms, id limit ${limit})
        select first.id, first.expires_at_ms, token.created_at_ms
        from first cross join token where token.id = first.id
        order by first.expires_at_ms, first.id`.execute(db)
      return rows.map((row) => ({
        id: row.id as TokenId,
        expiresAtMs: row.expires_at_ms,
        createdAtMs: row.created_at_ms,
      }))
    },
    async endingsAtAge(ageMs, { from, toMs, limit }) {
      const { rows } = await sql<{ id: string; created_at_ms: number }>`
        select id, created_at_ms from token
        where standing = 'live' and (created_at_ms, id) > (${from.at - ageMs}, ${from.id})
          and created_at_ms <= ${toMs - ageMs} and kind in (${sql.join([...LASTING_KINDS])})
        order by created_at_ms, id limit ${limit}`.execute(db)
      return rows.map((row) => ({
        id: row.id as TokenId,
        expiresAtMs: row.created_at_ms + ageMs,
        createdAtMs: row.created_at_ms,
      }))
    },
    async countEndings(fromMs, toMs) {
      const { rows } = await sql<{ kind: string; size: number }>`
        select kind, count(*) as size from token
        where standing = 'live' and kind in (${sql.join([...TOKEN_KINDS])})
          and expires_order > ${fromMs} and expires_order <= ${toMs}
        group by kind`.execute(db)
      return rows.map(
        ({ kind, size }): EndingCount => ({
          kind: kind as TokenKind,
          count: Number(size),
        }),
      )
    },
  }
}
