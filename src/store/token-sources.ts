import { type RawBuilder, type SqlBool, sql } from 'kysely'
import type { Period, TokenOrder, TokenQuery, TokenTest } from '../core/tokens/filter.ts'
import {
  allOf,
  boundsOf,
  type Condition,
  columnOf,
  duringCondition,
  isIn,
  isLabel,
  isReplaced,
  isStanding,
  NEVER_EXPIRES,
  NEVER_USED,
  stateCondition,
  TIME_COLUMNS,
} from './token-conditions.ts'

type Sql = RawBuilder<unknown>

/**
 * Queries for the ids of all tokens that pass a test, each answered by one index; undefined where no
 * index helps.
 */
export function idQueries(test: TokenTest, nowMs: number): Sql[] | undefined {
  const where = (condition: Condition) => sql`select token.id as id from token where ${condition}`
  if ('contains' in test) return undefined
  if ('never' in test) {
    if (test.field === 'used') return [where(sql`token.used_order = ${NEVER_USED}`)]
    if (test.field === 'expires') return [where(sql`token.expires_order = ${NEVER_EXPIRES}`)]
    return undefined
  }
  if ('during' in test) {
    return [where(duringCondition(sql.ref(`token.${TIME_COLUMNS[test.field]}`), test))]
  }
  if (test.field === 'ip') {
    const key = sql.ref('token.last_used_ip_key')
    return [where(sql`${key} >= ${test.fromKey} and ${key} <= ${test.toKey}`)]
  }
  if (test.field === 'state') {
    const isOver = sql<SqlBool>`token.expires_order <= ${nowMs}`
    const isNotOver = sql<SqlBool>`token.expires_order > ${nowMs}`
    const isFree = sql<SqlBool>`token.quarantined_at_ms is null`
    // Not by their standing, because of all that are superseded few are being rotated.
    const isRotating = sql`token.superseded_at_ms > ${nowMs} and token.revoked_at_ms is null`
    const stillAlive = (over: boolean) =>
      sql<SqlBool>`${isRotating} and token.expires_order + 0 ${over ? sql`<=` : sql`>`} ${nowMs}`
    const ofState = {
      revoked: [isStanding('revoked')],
      superseded: [allOf([isStanding('superseded'), isReplaced(nowMs)])],
      expired: [allOf([isStanding('live'), isOver]), stillAlive(true)],
      active: [allOf([isStanding('live'), isNotOver, isFree]), allOf([stillAlive(false), isFree])],
      quarantined: [
        allOf([sql`token.quarantined_at_ms is not null`, stateCondition('quarantined', nowMs)]),
      ],
    }
    return [...new Set(test.oneOf)].flatMap((state) => ofState[state].map(where))
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

/** An index that has tokens in the order that is wanted, and what must be asked of each besides. */
export interface Walk {
  /** Table of the index. */
  from: Sql
  /** How rows of that table find their token; undefined: they are the tokens. */
  join: Condition | undefined
  at: Sql
  id: Sql
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

/** The best index to walk along for a query in an order. */
export function walkFor(query: TokenQuery, by: TokenOrder['by'], nowMs: number): Walk {
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
  if (by === 'created') return prefixed(plain)
  if (by === 'expires') return amongTheLiving(plain, nowMs)
  return plain
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

function prefixed(walk: Walk): Walk {
  for (const field of PREFIX_FIELDS) {
    const value = onlyValue(walk.rest, field)
    if (value === undefined) continue
    const rest = walk.rest.filter((part) => part !== value.test)
    if (isLabel(field)) {
      return {
        ...walk,
        rest,
        from: sql`token_label as walked`,
        join: sql`token.id = walked.token_id`,
        at: sql.ref('walked.created_at_ms'),
        id: sql.ref('walked.token_id'),
        prefix: sql`walked.type = ${field} and walked.value = ${value.text}`,
      }
    }
    const column = sql.ref(`token.${columnOf(field)}`)
    return { ...walk, rest, prefix: sql`${column} = ${value.text}` }
  }
  return inState(walk)
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

function inState(walk: Walk): Walk {
  const found = stateTest(walk.rest)
  if (found === undefined) return walk
  const { test, states } = found
  const rest = walk.rest.filter((part) => part !== test)
  const [state] = states
  if (states.size !== 1) return walk
  if (state === 'revoked') return { ...walk, rest, prefix: isStanding('revoked') }
  // Whether its overlap is over is asked of each.
  if (state === 'superseded') return { ...walk, prefix: isStanding('superseded') }
  // No index has together what is active: what was not replaced, and what is just being replaced.
  return walk
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
