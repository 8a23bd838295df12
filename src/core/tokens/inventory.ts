import type { Caller } from '../caller.ts'
import type { Deps } from '../deps.ts'
import { type Page, type Position, pageOf } from '../page.ts'
import { SECRET_PATTERN } from '../secret.ts'
import { checkSearch } from '../text.ts'
import type { TokenOrder, TokenQuery } from './filter.ts'
import type { Figure, FiguresBy, FoundToken } from './inventory-store.ts'
import { orderOf, parseQuery } from './query.ts'
import { listableFilter } from './read.ts'
import { resolveQuery } from './resolve.ts'
import type { TokenFilter } from './store.ts'
import type { Token } from './token.ts'

/** Which tokens: those that a query in our language means, and that fit a filter. */
export interface InventoryWish {
  /** As people write it; absent: all. */
  query: string | undefined
  filter: TokenFilter
}

export interface CompiledQuery {
  tokens: TokenQuery
  order: TokenOrder
  /** What is expired, and what distances are counted from. */
  nowMs: number
}

/**
 * What a query means for this caller: never a token that the caller may not list. Throws
 * `invalid_input` with a column, and `forbidden` for a filter by somebody else's id.
 */
export async function compileQuery(
  deps: Deps,
  caller: Caller,
  { query, filter }: InventoryWish,
): Promise<CompiledQuery> {
  const nowMs = deps.clock.now()
  const parsed = parseQuery(query ?? '')
  checkSearch(filter.text)
  const seen = testsOf(listableFilter(deps, caller, filter))
  const asked = await resolveQuery({ store: deps.store, nowMs }, parsed.filter)
  const tokens = seen.length === 0 ? asked : { all: [...seen, ...partsOf(asked)] }
  return { tokens, order: orderOf(parsed), nowMs }
}

/** Flat, so that the store sees every condition that narrows. */
function partsOf(query: TokenQuery): readonly TokenQuery[] {
  return 'all' in query ? query.all : [query]
}

/** The parameters of lists, as tests of the same language. */
function testsOf(filter: TokenFilter): TokenQuery[] {
  const { ids, ownerId, creatorId, kinds, states, groupId, role, via, clientId, text } = filter
  const tests: (TokenQuery | undefined)[] = [
    ids && { field: 'id', oneOf: ids },
    ownerId && { field: 'owner', oneOf: [ownerId] },
    creatorId && { field: 'creator', oneOf: [creatorId] },
    kinds && { field: 'kind', oneOf: kinds },
    states && { field: 'state', oneOf: states },
    groupId && { field: 'group', oneOf: [groupId] },
    role === undefined ? undefined : { field: 'role', oneOf: [role] },
    via && { field: 'via', oneOf: via },
    clientId && { field: 'client', oneOf: [clientId] },
    // The empty text is a part of all names.
    text ? { field: 'text', contains: text } : undefined,
  ]
  return tests.filter((test) => test !== undefined)
}

export interface InventoryListWish extends InventoryWish {
  from: Position | undefined
  size: number
}

/** One page in the order of the query. Throws what `compileQuery` throws. */
export async function listInventory(
  deps: Deps,
  caller: Caller,
  { from, size, ...wish }: InventoryListWish,
): Promise<Page<Token>> {
  return pageOfQuery(deps, await compileQuery(deps, caller, wish), { from, size })
}

/** One page of what was compiled before. */
export async function pageOfQuery(
  deps: Deps,
  { tokens, order, nowMs }: CompiledQuery,
  { from, size }: { from: Position | undefined; size: number },
): Promise<Page<Token>> {
  const rows = await deps.store.inventory.find(tokens, { order, from, size: size + 1, nowMs })
  const positionOf = ({ at, token }: FoundToken): [Position['at'], string] => [at, token.id]
  const page = pageOf(rows, { size, from, positionOf })
  return { ...page, items: page.items.map(({ token }) => deps.usage.overlay(token)) }
}

/** How many tokens a query means. Throws what `compileQuery` throws. */
export async function countInventory(
  deps: Deps,
  caller: Caller,
  wish: InventoryWish,
): Promise<number> {
  const { tokens, nowMs } = await compileQuery(deps, caller, wish)
  return deps.store.inventory.countTokens(tokens, nowMs)
}

export interface InventoryFigures {
  /** How many tokens there are in all. */
  total: number
  /** The most frequent first; months in their order. */
  figures: Figure[]
}

/** How many of the tokens that a query means have each value. Throws what `compileQuery` throws. */
export async function inventoryFigures(
  deps: Deps,
  caller: Caller,
  { by, ...wish }: InventoryWish & { by: FiguresBy },
): Promise<InventoryFigures> {
  const { tokens, nowMs } = await compileQuery(deps, caller, wish)
  const figures = await deps.store.inventory.figures(tokens, by, nowMs)
  const total = await deps.store.inventory.countTokens(tokens, nowMs)
  return { total, figures: figures.toSorted(IN_TIME.has(by) ? byTime : mostFirst) }
}

const IN_TIME: ReadonlySet<FiguresBy> = new Set(['month', 'expires'])

/** What has no time at the end. */
function byTime(a: Figure, b: Figure): number {
  if (a.value === undefined || b.value === undefined) return a.value === undefined ? 1 : -1
  return a.value < b.value ? -1 : 1
}

function mostFirst(a: Figure, b: Figure): number {
  if (a.count !== b.count) return b.count - a.count
  return (a.value ?? '') < (b.value ?? '') ? -1 : 1
}

export interface ExportWish extends InventoryWish {
  format: 'csv' | 'jsonl'
}

/**
 * Records that somebody takes the whole answer to a query away, before the first row leaves. Its pages
 * are had from `pageOfQuery`. Throws what `compileQuery` throws.
 */
export async function beginExport(
  deps: Deps,
  caller: Caller,
  { format, ...wish }: ExportWish,
): Promise<CompiledQuery> {
  const compiled = await compileQuery(deps, caller, wish)
  const { text, ...filter } = wish.filter
  const asked = {
    ...(wish.query === undefined ? {} : { query: redacted(wish.query) }),
    ...filter,
    ...(text === undefined ? {} : { text: redacted(text) }),
  }
  await deps.store.transaction((tx) =>
    deps.audit(tx, caller, {
      action: 'token.exported',
      subjectType: 'server',
      subjectId: 'inventory',
      after: { format, ...asked },
    }),
  )
  return compiled
}

/** People paste secrets into searches. 32 hexadecimal digits are an XMS secret, UUIDv4 an S7 one. */
const FOREIGN_SECRET =
  /\b(?:[0-9a-f]{32}|[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12})\b/gi

/** A query as it may be kept. */
export function redacted(text: string): string {
  return text.replace(SECRET_PATTERN, '[secret]').replace(FOREIGN_SECRET, '[secret]')
}
