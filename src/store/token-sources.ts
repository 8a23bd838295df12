import { type RawBuilder, type SqlBool, sql } from 'kysely'
import type { Period, TokenOrder, TokenQuery, TokenTest } from '../core/tokens/filter.ts'
import { TOKEN_KINDS } from '../core/tokens/token.ts'
import {
  allOf,
  boundsOf,
  type Condition,
  columnOf,
  duringCondition,
  isIn,
  isLabel,
  isStanding,
  NEVER_EXPIRES,
  NEVER_USED,
  STANDINGS,
  stateCondition,
  TIME_COLUMNS,
} from './token-conditions.ts'

type Sql = RawBuilder<unknown>

/** What is known of the tokens that a test is about. */
interface Known {
  nowMs: number
  /** The kinds that they can be of. */
  kinds: readonly string[]
}

/**
 * Queries for the ids of tokens, among which are all that pass a test, each answered by one index;
 * undefined where no index helps.
 */
export function idQueries(test: TokenTest, { nowMs, kinds }: Known): Sql[] | undefined {
  const where = (condition: Condition) => sql`select token.id as id from token where ${condition}`
  const isOfKind = isIn(sql`token.kind`, kinds)
  if ('contains' in test) return undefined
  if ('never' in test) {
    if (test.field === 'used') return [where(sql`token.used_order = ${NEVER_USED}`)]
    if (test.field === 'expires') return [where(sql`token.expires_order = ${NEVER_EXPIRES}`)]
    return undefined
  }
  if ('during' in test) {
    const during = duringCondition(sql.ref(`token.${TIME_COLUMNS[test.field]}`), test)
    if (test.field !== 'expires' || kinds.length === TOKEN_KINDS.length) return [where(during)]
    return [where(allOf([isIn(sql`token.standing`, STANDINGS), isOfKind, during]))]
  }
  if (test.field === 'ip') {
    const key = sql.ref('token.last_used_ip_key')
    return [where(sql`${key} >= ${test.fromKey} and ${key} <= ${test.toKey}`)]
  }
  if (test.field === 'state') {
    // Each kind by itself: of sessions hardly any are left, whatever else there is.
    const live = allOf([isStanding('live'), isOfKind])
    const isOver = sql<SqlBool>`token.expires_order <= ${nowMs}`
    const isNotOver = sql<SqlBool>`token.expires_order > ${nowMs}`
    // Not by their standing, because of all that are superseded few are being rotated.
    const isRotating = sql<SqlBool>`(token.superseded_at_ms > ${nowMs} and token.revoked_at_ms is null)`
    const ofState = {
      revoked: [isStanding('revoked')],
      superseded: [isStanding('superseded')],
      expired: [allOf([live, isOver]), isRotating],
      active: [allOf([live, isNotOver]), isRotating],
      quarantined: [
        allOf([sql`token.quarantined_at_ms is not null`, stateCondition('quarantined', nowMs)]),
      ],
    }
    return [...new Set(test.oneOf.flatMap((state) => ofState[state]))].map(where)
  }
  const { field, oneOf } = test
  if (oneOf.length === 0) return []
  if (isLabel(field)) {
    // One for each value: a token that has several is named by several, which a union puts right.
    return oneOf.map(
      (value) =>
        sql`select token_id as id from token_label where type = ${field} and value = ${value}`,
    )
  }
  return [where(isIn(sql.ref(`token.${columnOf(field)}`), oneOf))]
}

/** A place in an order: everything beyond it comes after. An empty id is before all others. */
export interface Place {
  at: number | string
  id: string
}

/** What tokens are put in order by. */
export interface Keys {
  at: Sql
  id: Sql
}

/** An index that has tokens in the order that is wanted, and what must be asked of each besides. */
export interface Walk extends Keys {
  /** Table of the index. */
  from: Sql
  /** How rows of that table find their token; undefined: they are the tokens. */
  join: Condition | undefined
  /** What all rows have in common that this index has; undefined: it has all tokens. */
  prefix: Condition | undefined
  lower: Place | undefined
  upper: Place | undefined
  rest: readonly TokenQuery[]
}

const ORDER_COLUMNS = {
  created: 'created_at_ms',
  used: 'used_order',
  expires: 'expires_order',
  name: 'name_order',
} as const satisfies Record<TokenOrder['by'], string>

/** As expressions, so that no index of the order leads where the tokens are known already. */
export function keysOf(by: TokenOrder['by']): Keys {
  const at = sql.ref(`token.${ORDER_COLUMNS[by]}`)
  return { at: by === 'name' ? sql`(${at} || '')` : sql`(${at} + 0)`, id: sql`(token.id || '')` }
}

/** The most telling first: of two that both fit very many tokens, the earlier fits fewer. */
const PREFIX_FIELDS = [
  'family',
  'parent',
  'client',
  'owner',
  'group',
  'role',
  'scope',
  'creator',
  'via',
  'kind',
  'access',
] as const

/** Indexes to walk along for a query in an order, of which there is one at least: the likely best first. */
export function walksFor(
  query: TokenQuery,
  by: TokenOrder['by'],
  nowMs: number,
): [Walk, ...Walk[]] {
  const parts = 'all' in query ? query.all : [query]
  const { rest, lower, upper } = bounded(parts, by)
  const plain: Walk = {
    from: sql`token`,
    join: undefined,
    at: sql.ref(`token.${ORDER_COLUMNS[by]}`),
    id: sql.ref('token.id'),
    prefix: undefined,
    lower,
    upper,
    rest,
  }
  if (by === 'expires') return [amongTheLiving(plain, nowMs)]
  if (by !== 'created') return [plain]
  const [first, ...others] = [...prefixed(plain), ...inState(plain)]
  return first === undefined ? [plain] : [first, ...others]
}

/** Turns tests of what is sorted by into ends of the walk. */
function bounded(
  parts: readonly TokenQuery[],
  by: TokenOrder['by'],
): Pick<Walk, 'rest' | 'lower' | 'upper'> {
  const rest: TokenQuery[] = []
  let lower: Place | undefined
  let upper: Place | undefined
  for (const part of parts) {
    const period = periodIn(part, by)
    if (period === undefined) {
      rest.push(part)
      continue
    }
    const { fromMs, untilMs } = period
    if (fromMs !== undefined) lower = later(lower, { at: fromMs, id: '' })
    if (untilMs !== undefined) upper = earlier(upper, { at: untilMs, id: '' })
  }
  return { rest, lower, upper }
}

function periodIn(query: TokenQuery, by: TokenOrder['by']): Period | undefined {
  if (!('field' in query) || query.field !== by) return undefined
  if ('during' in query) return boundsOf(query.field, query.during)
  if (!('never' in query)) return undefined
  if (query.field === 'used') return { untilMs: 0 }
  return query.field === 'expires' ? { fromMs: NEVER_EXPIRES } : undefined
}

export function later(a: Place | undefined, b: Place): Place {
  return a === undefined || isBefore(a, b) ? b : a
}

export function earlier(a: Place | undefined, b: Place): Place {
  return a === undefined || isBefore(b, a) ? b : a
}

/** Names have no ends but the cursor's, so that only numbers are ever compared. */
function isBefore(a: Place, b: Place): boolean {
  return a.at === b.at ? a.id < b.id : a.at < b.at
}

function prefixed(walk: Walk): Walk[] {
  return PREFIX_FIELDS.flatMap((field) => {
    const value = onlyValue(walk.rest, field)
    if (value === undefined) return []
    const rest = walk.rest.filter((part) => part !== value.test)
    if (!isLabel(field)) {
      const column = sql.ref(`token.${columnOf(field)}`)
      return { ...walk, rest, prefix: sql<SqlBool>`${column} = ${value.text}` }
    }
    return {
      ...walk,
      rest,
      from: sql`token_label as walked`,
      // The time leads to an index that answers more than that of the id.
      join: sql<SqlBool>`token.id = walked.token_id and token.created_at_ms = walked.created_at_ms`,
      at: sql.ref('walked.created_at_ms'),
      id: sql.ref('walked.token_id'),
      prefix: sql<SqlBool>`walked.type = ${field} and walked.value = ${value.text}`,
    }
  })
}

/** The kinds that the tokens which pass all of these can be of. */
export function kindsAmong(parts: readonly TokenQuery[]): readonly string[] | undefined {
  for (const test of parts) {
    if ('oneOf' in test && test.field === 'kind') return test.oneOf
  }
  return undefined
}

function onlyValue(parts: readonly TokenQuery[], field: (typeof PREFIX_FIELDS)[number]) {
  for (const test of parts) {
    if (!('oneOf' in test) || test.field !== field) continue
    const [text] = test.oneOf
    if (text !== undefined && test.oneOf.length === 1) return { test, text }
  }
  return undefined
}

function stateTest(parts: readonly TokenQuery[]) {
  for (const test of parts) {
    if ('field' in test && test.field === 'state') return { test, states: new Set(test.oneOf) }
  }
  return undefined
}

function inState(walk: Walk): Walk[] {
  const found = stateTest(walk.rest)
  if (found?.states.size !== 1) return []
  const { test, states } = found
  const rest = walk.rest.filter((part) => part !== test)
  if (states.has('revoked')) return [{ ...walk, rest, prefix: isStanding('revoked') }]
  // Whether its overlap is over is asked of each.
  if (states.has('superseded')) return [{ ...walk, prefix: isStanding('superseded') }]
  // No index has together what is active: what was not replaced, and what is just being replaced.
  return []
}

/** What expires when: of what has ended otherwise, only what expires in the same range is passed over. */
function amongTheLiving(walk: Walk, nowMs: number): Walk {
  const found = stateTest(walk.rest)
  if (found === undefined) return walk
  const { states } = found
  if (states.has('revoked') || states.has('superseded') || states.size === 0) return walk
  const now: Place = { at: nowMs + 1, id: '' }
  return {
    ...walk,
    ...(states.has('expired') ? {} : { lower: later(walk.lower, now) }),
    ...(states.has('active') || states.has('quarantined')
      ? {}
      : { upper: earlier(walk.upper, now) }),
  }
}
