import { type Kysely, type Selectable, sql } from 'kysely'
import type { LineageStore } from '../core/tokens/lineage.ts'
import type { Schema, TokenTable } from './schema.ts'
import { toToken } from './token-rows.ts'

/** Further than any lineage goes, so that no state of the table makes a query endless. */
const MAX_DEPTH = 32

export function lineageStore(db: Kysely<Schema>): LineageStore {
  const live = (nowMs: number) => sql`token.kind = 'api' and token.revoked_at_ms is null
    and (token.superseded_at_ms is null or token.superseded_at_ms > ${nowMs})
    and (token.expires_at_ms is null or token.expires_at_ms > ${nowMs})`
  return {
    async ancestorsOf(parentId) {
      const { rows } = await sql<Selectable<TokenTable>>`
        with recursive line(id, depth) as (
          select id, 0 from token where id = ${parentId}
          union all
          select token.parent_id, line.depth + 1 from line join token on token.id = line.id
          where token.parent_id is not null and line.depth < ${MAX_DEPTH}
        )
        select token.* from line join token on token.id = line.id order by line.depth`.execute(db)
      return rows.map(toToken)
    },
    async below(id, limit) {
      const { rows } = await sql<Selectable<TokenTable>>`
        with recursive tree(id, depth) as (
          select id, 1 from token where parent_id = ${id}
          union all
          select token.id, tree.depth + 1 from token join tree on token.parent_id = tree.id
          where tree.depth < ${MAX_DEPTH}
        )
        select token.* from tree join token on token.id = tree.id
        order by tree.depth, token.created_at_ms, token.id limit ${limit}`.execute(db)
      return rows.map(toToken)
    },
    async countChildren(id, nowMs) {
      const { rows } = await sql<{ count: number }>`select count(*) as count from token
        where token.parent_id = ${id} and ${live(nowMs)}`.execute(db)
      return Number(rows[0]?.count ?? 0)
    },
    async countBelow(id, nowMs, limit) {
      const { rows } = await sql<{ count: number }>`
        with recursive tree(id) as (
          select id from token where parent_id = ${id} and ${live(nowMs)}
          union
          select token.id from token join tree on token.parent_id = tree.id where ${live(nowMs)}
        )
        select count(*) as count from (select id from tree limit ${limit}) as counted`.execute(db)
      return Number(rows[0]?.count ?? 0)
    },
  }
}
