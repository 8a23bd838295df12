import { type Kysely, type RawBuilder, type Selectable, type SqlBool, sql } from 'kysely'
import type { TokenId, UserId } from '../core/id.ts'
import type { TokenOrder, TokenQuery } from '../core/tokens/filter.ts'
import type {
  Figure,
  FiguresBy,
  FoundToken,
  InventoryStore,
  ReachedToken,
} from '../core/tokens/inventory-store.ts'
import type { Schema, TokenTable } from './schema.ts'
import { conditionOf, isIn, isLabel, type LabelType } from './token-conditions.ts'
import { toToken } from './token-rows.ts'
import { type Rows, SEARCH_SIZES, type SearchSizes, tokenSearch } from './token-search.ts'

type Sql = RawBuilder<unknown>

const DAY_MS = 86_400_000
const OLDEST_FIRST: TokenOrder = { by: 'created', descending: false }

/** The inventory on a connection. Smaller sizes are for tests, which have few tokens. */
export function inventoryStore(
  db: Kysely<Schema>,
  sizes: SearchSizes = SEARCH_SIZES,
): InventoryStore {
  const search = tokenSearch(db, sizes)
  const run = async <T>(query: RawBuilder<T>): Promise<T[]> => (await query.execute(db)).rows

  const reached = () => db.selectFrom('token').select(REACHED_COLUMNS)

  async function figuresOf(
    query: TokenQuery,
    nowMs: number,
    selects: (rows: Rows) => RawBuilder<ValueCount>[],
  ): Promise<Map<string | number | null, number>> {
    const counts = new Map<string | number | null, number>()
    for await (const rows of search.parts(query, { nowMs, needsToken: true })) {
      for (const select of selects(rows)) {
        for (const { value, size } of await run(select)) {
          counts.set(value, (counts.get(value) ?? 0) + Number(size))
        }
      }
    }
    return counts
  }

  return {
    async find(query, wish) {
      const places = await search.places(query, wish)
      if (places.length === 0) return []
      const ids = places.map(({ id }) => id)
      const rows = await db.selectFrom('token').selectAll().where('id', 'in', ids).execute()
      const byId = new Map(rows.map((row) => [row.id, toToken(row)]))
      // A token may have been purged since its place was found.
      return places.flatMap(({ at, id }): FoundToken[] => {
        const token = byId.get(id)
        return token === undefined ? [] : [{ token, at }]
      })
    },
    async reach(query, { after, size, nowMs }) {
      const from = after === undefined ? undefined : { ...after, direction: 'after' as const }
      const places = await search.places(query, { order: OLDEST_FIRST, from, size, nowMs })
      if (places.length === 0) return []
      const ids = places.map(({ id }) => id)
      const rows = await reached().where('id', 'in', ids).execute()
      return rows.map(toReached).sort(byAge)
    },
    async reachFrom({ trees, alone }, query, nowMs) {
      const dying = [...trees, ...alone]
      if (dying.length === 0) return []
      const families = isIn(
        sql`family_id`,
        await run(
          sql<{ family_id: string }>`select distinct family_id from token
            where ${isIn(sql`id`, trees)}`,
        ).then((rows) => rows.map(({ family_id }) => family_id)),
      )
      const rows = await reached()
        .where(
          sql<SqlBool>`id in (
            with recursive doomed(id) as (
              select id from token where ${isIn(sql`id`, dying)}
              union select id from token where ${families}
              union select child.id from token child join doomed on child.parent_id = doomed.id)
            select id from doomed)`,
        )
        .where('revoked_at_ms', 'is', null)
        .where(conditionOf({ not: query }, nowMs))
        .execute()
      return rows.map(toReached).sort(byAge)
    },
    async countTokens(query, nowMs) {
      let total = 0
      for await (const { head, from, where } of search.parts(query, { nowMs, needsToken: false })) {
        const [counted] = await run(
          sql<{ size: number }>`${head} select count(*) as size from ${from} where ${where}`,
        )
        total += Number(counted?.size)
      }
      return total
    },
    async figures(query, by, nowMs) {
      const counts = await figuresOf(query, nowMs, (rows) =>
        isLabel(by) ? labelFigures(rows, by) : [columnFigures(rows, FIGURE_COLUMNS(nowMs)[by])],
      )
      const figures = [...counts].map(([value, count]) => ({ value: value ?? undefined, count }))
      return by === 'month' || by === 'expires' ? byMonth(figures) : (figures as Figure[])
    },
  }
}

const REACHED_COLUMNS = [
  'id',
  'kind',
  'owner_id',
  'via',
  'created_at_ms',
  'updated_at_ms',
  'expires_at_ms',
  'revoked_at_ms',
  'superseded_at_ms',
  'quarantined_at_ms',
  'last_used_at_ms',
  'last_used_ip',
] as const

function toReached(
  row: Selectable<Pick<TokenTable, (typeof REACHED_COLUMNS)[number]>>,
): ReachedToken {
  return {
    id: row.id as TokenId,
    kind: row.kind as ReachedToken['kind'],
    ownerId: row.owner_id as UserId,
    via: row.via as ReachedToken['via'],
    createdAtMs: row.created_at_ms,
    updatedAtMs: row.updated_at_ms,
    expiresAtMs: row.expires_at_ms ?? undefined,
    revokedAtMs: row.revoked_at_ms ?? undefined,
    supersededAtMs: row.superseded_at_ms ?? undefined,
    quarantinedAtMs: row.quarantined_at_ms ?? undefined,
    lastUsedAtMs: row.last_used_at_ms ?? undefined,
    lastUsedIp: row.last_used_ip ?? undefined,
  }
}

function byAge(a: ReachedToken, b: ReachedToken): number {
  if (a.createdAtMs !== b.createdAtMs) return a.createdAtMs - b.createdAtMs
  return a.id < b.id ? -1 : 1
}

interface ValueCount {
  value: string | number | null
  size: number
}

type ColumnFigures = Exclude<FiguresBy, LabelType>

const FIGURE_COLUMNS = (nowMs: number): Record<ColumnFigures, Sql> => ({
  // Expressions, or the shortest way to a group would be an index of all tokens, for each part anew.
  kind: sql`token.kind || ''`,
  owner: sql`token.owner_id || ''`,
  client: sql`token.client_id || ''`,
  via: sql`token.via || ''`,
  // Days; only we know how long months are.
  month: sql`token.created_at_ms / 86400000`,
  expires: sql`token.expires_at_ms / 86400000`,
  state: sql`case when token.standing = 'revoked' then 'revoked'
    when token.superseded_at_ms <= ${nowMs} then 'superseded'
    when token.expires_order <= ${nowMs} then 'expired'
    when token.quarantined_at_ms is not null then 'quarantined' else 'active' end`,
})

function columnFigures({ head, from, where }: Rows, column: Sql): RawBuilder<ValueCount> {
  return sql`${head} select ${column} as value, count(*) as size from ${from}
    where ${where} group by 1`
}

const LIMIT_COLUMNS = { role: 'roles', scope: 'scopes', group: 'groups' } as const

/** By each label, and those that are not limited. */
function labelFigures({ head, from, where }: Rows, type: LabelType): RawBuilder<ValueCount>[] {
  const limits = sql.ref(`token.${LIMIT_COLUMNS[type]}`)
  return [
    sql`${head} select figure.value as value, count(*) as size
      from ${from} cross join token_label as figure
      where ${where} and figure.token_id = token.id and figure.type = ${type} group by 1`,
    sql`${head} select null as value, count(*) as size from ${from}
      where ${where} and ${limits} is null having count(*) > 0`,
  ]
}

function byMonth(days: readonly { value: string | number | undefined; count: number }[]): Figure[] {
  const months = new Map<string | undefined, number>()
  for (const { value, count } of days) {
    const month =
      value === undefined ? undefined : new Date(Number(value) * DAY_MS).toISOString().slice(0, 7)
    months.set(month, (months.get(month) ?? 0) + count)
  }
  return [...months].map(([value, count]) => ({ value, count }))
}
