import { type Kysely, type RawBuilder, type Selectable, type SqlBool, sql } from 'kysely'
import type { TokenId, UserId } from '../core/id.ts'
import type { Position } from '../core/page.ts'
import { NEWEST_FIRST, type TokenOrder, type TokenQuery } from '../core/tokens/filter.ts'
import type {
  Figure,
  FiguresBy,
  FindWish,
  FoundToken,
  InventoryStore,
  ReachedToken,
} from '../core/tokens/inventory-store.ts'
import type { Schema, TokenTable } from './schema.ts'
import {
  allOf,
  type Condition,
  conditionOf,
  isIn,
  isLabel,
  type LabelType,
} from './token-conditions.ts'
import { toToken } from './token-rows.ts'
import { earlier, idQueries, later, type Place, type Walk, walkFor } from './token-sources.ts'

type Sql = RawBuilder<unknown>

/** How much is done in one go. */
export interface InventorySizes {
  /**
   * So many tokens are looked at one by one and sorted without anybody noticing. What a query narrows
   * to more than that is walked along an index in its order instead.
   */
  few: number
  /** Rows of an index in one step of a walk. */
  step: number
  /** The same where something is asked of each row. */
  askingStep: number
}

const SIZES: InventorySizes = { few: 5000, step: 20_000, askingStep: 4000 }
const DAY_MS = 86_400_000
const OLDEST_FIRST: TokenOrder = { by: 'created', descending: false }

/** SQLite works while everybody waits, so a long walk lets others go first after each step. */
const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve))

/** A part of a walk. */
interface Range {
  lower: Place | undefined
  upper: Place | undefined
  /** The last row that belongs to it, in the direction of the walk. */
  through?: Place
}

interface Direction {
  descending: boolean
}

/** Where rows come from and which of them count: a `select` without its beginning and its end. */
interface Rows {
  /** A `with` clause, or nothing. */
  head: Sql
  from: Sql
  where: Condition
}

const NOTHING = sql``

/** The inventory on a connection. Smaller sizes are for tests, which have few tokens. */
export function inventoryStore(
  db: Kysely<Schema>,
  { few: limit, step, askingStep }: InventorySizes = SIZES,
): InventoryStore {
  const run = async <T>(query: RawBuilder<T>): Promise<T[]> => (await query.execute(db)).rows

  const reached = () => db.selectFrom('token').select(REACHED_COLUMNS)

  /** Queries that name every token of `query`, if those are few; else undefined. */
  async function fewOf(query: TokenQuery, nowMs: number): Promise<Few | undefined> {
    if ('not' in query) return undefined
    if ('all' in query) return fewestOf(query.all, nowMs)
    if ('any' in query) return unionOf(query.any, nowMs)
    const queries = idQueries(query, nowMs)
    if (queries === undefined) return undefined
    const few: Few = { queries, size: 0 }
    for (const each of queries) {
      const [counted] = await run(
        sql<{ size: number }>`select count(*) as size from (${each} limit ${limit}) as picked`,
      )
      few.size += Number(counted?.size)
      if (few.size >= limit) return undefined
    }
    return few
  }

  async function fewestOf(parts: readonly TokenQuery[], nowMs: number): Promise<Few | undefined> {
    let fewest: Few | undefined
    for (const part of parts) {
      const few = await fewOf(part, nowMs)
      if (few !== undefined && few.size < (fewest?.size ?? limit)) fewest = few
    }
    return fewest
  }

  async function unionOf(parts: readonly TokenQuery[], nowMs: number): Promise<Few | undefined> {
    const union: Few = { queries: [], size: 0 }
    for (const part of parts) {
      const few = await fewOf(part, nowMs)
      if (few === undefined || union.size + few.size >= limit) return undefined
      union.queries.push(...few.queries)
      union.size += few.size
    }
    return union
  }

  /** Divides a walk into ranges of so many rows of its index. */
  async function* rangesOf(
    walk: Walk,
    { descending, first, largest }: Direction & { first: number; largest: number },
  ): AsyncGenerator<Range> {
    let { lower, upper } = walk
    for (let size = Math.min(first, largest); ; size = Math.min(size * 2, largest)) {
      const indexOnly = rowsAlong({ ...walk, rest: [] }, { lower, upper }, { descending, nowMs: 0 })
      const [through] = await run(
        placesIn(walk, indexOnly, { descending, size: 1, skip: size - 1 }),
      )
      if (through === undefined) {
        yield { lower, upper }
        return
      }
      yield { lower, upper, through }
      if (descending) upper = through
      else lower = through
      await nextTurn()
    }
  }

  async function placesOf(query: TokenQuery, wish: FindWish): Promise<Place[]> {
    const { order, from, size, nowMs } = wish
    const descending = order.descending !== (from?.direction === 'before')
    const walk = startingAt(walkFor(query, order.by, nowMs), from, descending)
    if (walk.rest.length === 0) {
      return run(placesIn(walk, rowsAlong(walk, walk, { descending, nowMs }), { descending, size }))
    }
    const few = await fewOf(query, nowMs)
    if (few !== undefined) {
      const plain = startingAt(walkFor({ all: [] }, order.by, nowMs), from, descending)
      const rows = rowsAmong(
        few,
        allOf([conditionOf(query, nowMs), ...rangeConditions(plain, plain, descending)]),
      )
      return few.size === 0 ? [] : run(placesIn(plain, rows, { descending, size }))
    }
    const places: Place[] = []
    const steps = { descending, first: size * 4, largest: askingStep }
    for await (const range of rangesOf(walk, steps)) {
      const rows = rowsAlong(walk, range, { descending, nowMs })
      places.push(...(await run(placesIn(walk, rows, { descending, size: size - places.length }))))
      if (places.length >= size) break
    }
    return places
  }

  /** All rows of a query, in parts that are small enough to be worked on in one go. */
  async function* partsOf(
    query: TokenQuery,
    nowMs: number,
    { needsToken }: { needsToken: boolean },
  ): AsyncGenerator<Rows> {
    const walk = walkFor(query, NEWEST_FIRST.by, nowMs)
    const asks = needsToken || walk.rest.length > 0
    const few = walk.rest.length === 0 ? undefined : await fewOf(query, nowMs)
    if (few !== undefined) {
      if (few.size > 0) yield rowsAmong(few, conditionOf(query, nowMs))
      return
    }
    const largest = asks ? askingStep : step
    for await (const range of rangesOf(walk, { descending: false, first: largest, largest })) {
      yield rowsAlong(walk, range, { descending: false, nowMs, needsToken })
    }
  }

  async function figuresOf(
    query: TokenQuery,
    nowMs: number,
    selects: (rows: Rows) => RawBuilder<ValueCount>[],
  ): Promise<Map<string | number | null, number>> {
    const counts = new Map<string | number | null, number>()
    for await (const rows of partsOf(query, nowMs, { needsToken: true })) {
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
      const places = await placesOf(query, wish)
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
      const places = await placesOf(query, { order: OLDEST_FIRST, from, size, nowMs })
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
      for await (const { head, from, where } of partsOf(query, nowMs, { needsToken: false })) {
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

interface Few {
  queries: Sql[]
  size: number
}

interface ValueCount {
  value: string | number | null
  size: number
}

/** The walk from where the last page ended. */
function startingAt(walk: Walk, from: Position | undefined, descending: boolean): Walk {
  if (from === undefined) return walk
  const { at, id } = from
  return descending
    ? { ...walk, upper: earlier(walk.upper, { at, id }) }
    : { ...walk, lower: later(walk.lower, { at, id }) }
}

function rangeConditions(
  { at, id }: Walk,
  { lower, upper, through }: Range,
  descending: boolean,
): Condition[] {
  const conditions: Condition[] = []
  if (lower !== undefined) conditions.push(sql`(${at}, ${id}) > (${lower.at}, ${lower.id})`)
  if (upper !== undefined) conditions.push(sql`(${at}, ${id}) < (${upper.at}, ${upper.id})`)
  if (through === undefined) return conditions
  const until = descending ? sql`>=` : sql`<=`
  return [...conditions, sql`(${at}, ${id}) ${until} (${through.at}, ${through.id})`]
}

/** Rows of a range of a walk that pass what is asked of each. */
function rowsAlong(
  walk: Walk,
  range: Range,
  { descending, nowMs, needsToken = false }: Direction & { nowMs: number; needsToken?: boolean },
): Rows {
  const { prefix, rest } = walk
  const isJoined = walk.join !== undefined && (needsToken || rest.length > 0)
  const conditions = [
    ...(prefix === undefined ? [] : [prefix]),
    ...rangeConditions(walk, range, descending),
    ...(isJoined && walk.join !== undefined ? [walk.join] : []),
    ...rest.map((query) => conditionOf(query, nowMs)),
  ]
  // The order of the tables is that of a cross join, so that the index leads.
  const from = isJoined ? sql`${walk.from} cross join token` : walk.from
  return { head: NOTHING, from, where: allOf(conditions) }
}

/** Rows that some queries name, and that fit. */
function rowsAmong({ queries }: Few, fits: Condition): Rows {
  return {
    head: sql`with picked(id) as materialized (${sql.join(queries, sql` union `)})`,
    from: sql`picked cross join token`,
    where: allOf([sql`token.id = picked.id`, fits]),
  }
}

function placesIn(
  { at, id }: Walk,
  { head, from, where }: Rows,
  { descending, size, skip = 0 }: Direction & { size: number; skip?: number },
): RawBuilder<Place> {
  const direction = descending ? sql`desc` : sql`asc`
  return sql<Place>`${head} select ${at} as at, ${id} as id from ${from} where ${where}
    order by ${at} ${direction}, ${id} ${direction} limit ${size} offset ${skip}`
}

type ColumnFigures = Exclude<FiguresBy, LabelType>

const FIGURE_COLUMNS = (nowMs: number): Record<ColumnFigures, Sql> => ({
  kind: sql`token.kind`,
  owner: sql`token.owner_id`,
  client: sql`token.client_id`,
  via: sql`token.via`,
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
