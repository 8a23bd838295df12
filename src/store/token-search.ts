import { type Kysely, type RawBuilder, sql } from 'kysely'
import type { Position } from '../core/page.ts'
import { NEWEST_FIRST, type TokenQuery } from '../core/tokens/filter.ts'
import type { FindWish } from '../core/tokens/inventory-store.ts'
import { TOKEN_KINDS } from '../core/tokens/token.ts'
import type { Schema } from './schema.ts'
import { allOf, type Condition, conditionOf } from './token-conditions.ts'
import {
  earlier,
  idQueries,
  type Keys,
  keysOf,
  kindsAmong,
  later,
  type Place,
  type Walk,
  walksFor,
} from './token-sources.ts'

type Sql = RawBuilder<unknown>

/** How much is done in one go. */
export interface SearchSizes {
  /** Rows of an index that are looked at for each that is wanted, before anything is found out. */
  probe: number
  /**
   * So many tokens are looked at one by one and sorted without anybody noticing. What a query narrows
   * to more than that is walked along an index in its order instead.
   */
  few: number
  /** Up to so many rows are counted to see which of several indexes has the fewest. */
  compared: number
  /** Rows of an index in one step of a walk, at most. */
  step: number
}

export const SEARCH_SIZES: SearchSizes = {
  probe: 20,
  few: 5000,
  compared: 50_000,
  step: 20_000,
}

/** How long a step may take before the next is shorter. */
const TURN_MS = 8
const FIRST_STEP = 4000
const LEAST_STEP = 1000

/** SQLite works while everybody waits, so a long walk lets others go first after each step. */
const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve))

/** A part of a walk. */
interface Range {
  lower: Place | undefined
  upper: Place | undefined
  /** From the upper end to the lower. */
  descending: boolean
  /** The last row that belongs to it; undefined: it reaches to its end. */
  through?: Place
}

/** Where rows come from and which of them count: a `select` without its beginning and its end. */
export interface Rows {
  /** A `with` clause, or nothing. */
  head: Sql
  from: Sql
  where: Condition
}

/** Queries that name few tokens, among which are all that are looked for. */
interface Few {
  queries: Sql[]
  size: number
}

const NOTHING = sql``

/** Finds the tokens that a query means. */
export interface TokenSearch {
  /** Those of a page, in its order. */
  places(query: TokenQuery, wish: FindWish): Promise<Place[]>
  /** All, in parts that are small enough to be worked on in one go. `needsToken`: not only counted. */
  parts(query: TokenQuery, wish: { nowMs: number; needsToken: boolean }): AsyncIterable<Rows>
}

/** The search on a connection. */
export function tokenSearch(db: Kysely<Schema>, sizes: SearchSizes): TokenSearch {
  const run = async <T>(query: RawBuilder<T>): Promise<T[]> => (await query.execute(db)).rows

  /** How many rows a `select` has, counted up to `limit`. */
  async function sizeUpTo(limit: number, select: Sql): Promise<number> {
    const [counted] = await run(
      sql<{ size: number }>`select count(*) as size from (${select} limit ${limit}) as picked`,
    )
    return Number(counted?.size)
  }

  /** Queries that name every token of `query`, if those are few; else undefined. */
  async function fewOf(
    query: TokenQuery,
    nowMs: number,
    kinds: readonly string[] = TOKEN_KINDS,
  ): Promise<Few | undefined> {
    if ('not' in query) return undefined
    if ('all' in query) return fewestOf(query.all, nowMs)
    if ('any' in query) return unionOf(query.any, nowMs)
    const queries = idQueries(query, { nowMs, kinds })
    if (queries === undefined) return undefined
    const few: Few = { queries, size: 0 }
    for (const each of queries) {
      few.size += await sizeUpTo(sizes.few, each)
      if (few.size >= sizes.few) return undefined
    }
    return few
  }

  async function fewestOf(parts: readonly TokenQuery[], nowMs: number): Promise<Few | undefined> {
    const kinds = kindsAmong(parts)
    let fewest: Few | undefined
    for (const part of parts) {
      const few = await fewOf(part, nowMs, kinds)
      if (few !== undefined && few.size < (fewest?.size ?? sizes.few)) fewest = few
    }
    return fewest
  }

  async function unionOf(parts: readonly TokenQuery[], nowMs: number): Promise<Few | undefined> {
    const union: Few = { queries: [], size: 0 }
    for (const part of parts) {
      const few = await fewOf(part, nowMs)
      if (few === undefined || union.size + few.size >= sizes.few) return undefined
      union.queries.push(...few.queries)
      union.size += few.size
    }
    return union
  }

  /** The walk along the index that has the fewest rows in a range; of many everywhere, the first. */
  async function shortestOf(walks: [Walk, ...Walk[]], range: Range): Promise<Walk> {
    let [shortest] = walks
    if (walks.length === 1) return shortest
    let least = Number.POSITIVE_INFINITY
    for (const walk of walks) {
      const { from, where } = rowsOfIndex(walk, range)
      const all = sql`select 1 as one from ${from} where ${where}`
      const size = await sizeUpTo(Math.min(least, sizes.compared), all)
      if (size >= least) continue
      shortest = walk
      least = size
    }
    return shortest
  }

  /** So many rows of the index from the beginning of a range on; fewer: all of it, without `through`. */
  async function beginningOf(walk: Walk, range: Range, size: number): Promise<Range> {
    const { descending } = range
    const rows = rowsOfIndex(walk, range)
    const [through] = await run(placesIn(walk, rows, { descending, size: 1, skip: size - 1 }))
    return through === undefined ? range : { ...range, through }
  }

  /** Divides a range of a walk into such as take little time. */
  async function* rangesOf(walk: Walk, whole: Range): AsyncGenerator<Range> {
    let size = Math.min(FIRST_STEP, sizes.step)
    for (let left: Range | undefined = whole; left !== undefined; ) {
      const startedAtMs = performance.now()
      const range = await beginningOf(walk, left, size)
      yield range
      const tookMs = performance.now() - startedAtMs
      if (tookMs < TURN_MS / 2) size = Math.min(size * 2, sizes.step)
      else if (tookMs > TURN_MS) size = Math.max(Math.ceil(size / 2), Math.min(LEAST_STEP, size))
      left = restOf(range)
      await nextTurn()
    }
  }

  return {
    async places(query, { order, from, size, nowMs }) {
      const descending = order.descending !== (from?.direction === 'before')
      const walks = walksFor(query, order.by, nowMs)
      const [first] = walks
      const whole = beyond(from, { ...first, descending })
      const along = (walk: Walk, range: Range, wanted: number) =>
        run(placesIn(walk, rowsAlong(walk, range, { nowMs }), { descending, size: wanted }))
      if (first.rest.length === 0) return along(first, whole, size)

      const probed = await beginningOf(first, whole, Math.ceil(sizes.probe * size))
      const places = await along(first, probed, size)
      const left = restOf(probed)
      if (places.length >= size || left === undefined) return places

      const few = await fewOf(query, nowMs)
      if (few !== undefined) {
        if (few.size === 0) return places
        const keys = keysOf(order.by)
        const rows = rowsAmong(few, [conditionOf(query, nowMs), ...rangeConditions(keys, left)])
        const wanted = { descending, size: size - places.length }
        return [...places, ...(await run(placesIn(keys, rows, wanted)))]
      }
      const walk = await shortestOf(walks, left)
      for await (const range of rangesOf(walk, left)) {
        places.push(...(await along(walk, range, size - places.length)))
        if (places.length >= size) break
      }
      return places
    },
    async *parts(query, { nowMs, needsToken }) {
      const walks = walksFor(query, NEWEST_FIRST.by, nowMs)
      let [walk] = walks
      const whole = beyond(undefined, { ...walk, descending: false })
      if (walk.rest.length > 0) {
        const few = await fewOf(query, nowMs)
        if (few !== undefined) {
          if (few.size > 0) yield rowsAmong(few, [conditionOf(query, nowMs)])
          return
        }
        walk = await shortestOf(walks, whole)
      }
      for await (const range of rangesOf(walk, whole)) {
        yield rowsAlong(walk, range, { nowMs, needsToken })
      }
    },
  }
}

/** What of a range comes after a place. */
function beyond(from: Position | undefined, { lower, upper, descending }: Range): Range {
  if (from === undefined) return { lower, upper, descending }
  const { at, id } = from
  return descending
    ? { lower, upper: earlier(upper, { at, id }), descending }
    : { lower: later(lower, { at, id }), upper, descending }
}

/** What comes after the last row of a range; undefined: nothing. */
function restOf({ lower, upper, descending, through }: Range): Range | undefined {
  if (through === undefined) return undefined
  return descending ? { lower, upper: through, descending } : { lower: through, upper, descending }
}

function rangeConditions(
  { at, id }: Keys,
  { lower, upper, descending, through }: Range,
): Condition[] {
  const conditions: Condition[] = []
  if (lower !== undefined) conditions.push(sql`(${at}, ${id}) > (${lower.at}, ${lower.id})`)
  if (upper !== undefined) conditions.push(sql`(${at}, ${id}) < (${upper.at}, ${upper.id})`)
  if (through === undefined) return conditions
  const until = descending ? sql`>=` : sql`<=`
  return [...conditions, sql`(${at}, ${id}) ${until} (${through.at}, ${through.id})`]
}

/** Rows of a range of the index of a walk, whatever is asked of each. */
function rowsOfIndex(walk: Walk, range: Range): Rows {
  return rowsAlong({ ...walk, rest: [] }, range, { nowMs: 0 })
}

/** Rows of a range of a walk that pass what is asked of each. */
function rowsAlong(
  walk: Walk,
  range: Range,
  { nowMs, needsToken = false }: { nowMs: number; needsToken?: boolean },
): Rows {
  const { prefix, rest } = walk
  const isJoined = walk.join !== undefined && (needsToken || rest.length > 0)
  const conditions = [
    ...(prefix === undefined ? [] : [prefix]),
    ...rangeConditions(walk, range),
    ...(isJoined && walk.join !== undefined ? [walk.join] : []),
    ...rest.map((query) => conditionOf(query, nowMs)),
  ]
  // The order of the tables is that of a cross join, so that the index leads.
  const from = isJoined ? sql`${walk.from} cross join token` : walk.from
  return { head: NOTHING, from, where: allOf(conditions) }
}

/** Rows that some queries name, and that fit. */
function rowsAmong({ queries }: Few, fits: readonly Condition[]): Rows {
  return {
    // Not a union: to sort both sides of one, SQLite reads all tokens in the order of their ids.
    head: sql`with listed(id) as materialized (${sql.join(queries, sql` union all `)}),
      picked(id) as materialized (select distinct id from listed)`,
    from: sql`picked cross join token`,
    where: allOf([sql`token.id = picked.id`, ...fits]),
  }
}

function placesIn(
  { at, id }: Keys,
  { head, from, where }: Rows,
  { descending, size, skip = 0 }: { descending: boolean; size: number; skip?: number },
): RawBuilder<Place> {
  const direction = descending ? sql`desc` : sql`asc`
  return sql<Place>`${head} select ${at} as at, ${id} as id from ${from} where ${where}
    order by ${at} ${direction}, ${id} ${direction} limit ${size} offset ${skip}`
}
