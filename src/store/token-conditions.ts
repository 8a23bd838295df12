import { type RawBuilder, type SqlBool, sql } from 'kysely'
import type { PartField, Period, TimeField, TokenQuery, TokenTest } from '../core/tokens/filter.ts'
import type { TokenState } from '../core/tokens/token.ts'
import { containsKey, containsText } from './keyset.ts'
import type { Schema } from './schema.ts'

export type Condition = RawBuilder<SqlBool>
export type LabelType = Schema['token_label']['type']

export const NEVER_USED = -1
export const NEVER_EXPIRES = Number.MAX_SAFE_INTEGER

/** `field in (…)`; nothing is in an empty list. */
export function isIn(column: RawBuilder<unknown>, values: readonly string[]): Condition {
  if (values.length === 0) return sql`1 = 0`
  if (values.length === 1) return sql`${column} = ${values[0]}`
  return sql`${column} in (${sql.join(values)})`
}

/** Joined with `and`; none: true. */
export function allOf(conditions: readonly Condition[]): Condition {
  return conditions.length === 0 ? sql`1 = 1` : sql`(${sql.join(conditions, sql` and `)})`
}

function anyOf(conditions: readonly Condition[]): Condition {
  return conditions.length === 0 ? sql`1 = 0` : sql`(${sql.join(conditions, sql` or `)})`
}

/**
 * A whole query as a condition on `token` that no index answers: how the rows are reached is decided
 * elsewhere, and must not be decided anew for each part of it.
 */
export function conditionOf(query: TokenQuery, nowMs: number): Condition {
  if ('all' in query) return allOf(query.all.map((part) => conditionOf(part, nowMs)))
  if ('any' in query) return anyOf(query.any.map((part) => conditionOf(part, nowMs)))
  // What a token does not have is neither true nor false in SQL, and false in the language.
  if ('not' in query) return sql`not coalesce(${conditionOf(query.not, nowMs)}, false)`
  return testCondition(query, nowMs)
}

/** The column as an expression, which no index is on. */
const textOf = (column: string) => sql`(${sql.ref(`token.${column}`)} || '')`
const numberOf = (column: string) => sql`(${sql.ref(`token.${column}`)} + 0)`

const WORD_COLUMNS = {
  id: 'id',
  name: 'name_order',
  owner: 'owner_id',
  creator: 'creator_id',
  client: 'client_id',
  kind: 'kind',
  via: 'via',
  access: 'access_level',
  family: 'family_id',
  parent: 'parent_id',
} as const

export type ColumnField = keyof typeof WORD_COLUMNS

/** The column that holds the field itself, not in another table. */
export function columnOf(field: ColumnField): (typeof WORD_COLUMNS)[ColumnField] {
  return WORD_COLUMNS[field]
}

export const TIME_COLUMNS = {
  created: 'created_at_ms',
  used: 'used_order',
  expires: 'expires_order',
  revoked: 'revoked_at_ms',
  superseded: 'superseded_at_ms',
} as const satisfies Record<TimeField, string>

function testCondition(test: TokenTest, nowMs: number): Condition {
  if ('contains' in test) return partCondition(test)
  if ('never' in test) return neverCondition(test.field)
  if ('during' in test) return duringCondition(numberOf(TIME_COLUMNS[test.field]), test)
  if (test.field === 'ip') {
    const key = textOf('last_used_ip_key')
    return sql`(${key} >= ${test.fromKey} and ${key} <= ${test.toKey})`
  }
  if (test.field === 'state') return anyOf(test.oneOf.map((state) => stateCondition(state, nowMs)))
  if (isLabel(test.field)) {
    return sql`exists (select 1 from token_label where type = ${test.field}
      and ${isIn(sql`value`, test.oneOf)} and token_id = token.id)`
  }
  return isIn(textOf(columnOf(test.field)), test.oneOf)
}

function partCondition({ field, contains }: { field: PartField; contains: string }): Condition {
  if (field === 'agent') return containsText('token.last_used_agent', contains)
  const inName = containsKey('token.name_key', contains)
  if (field === 'name') return inName
  return sql`(${inName} or ${containsText('token.description', contains)})`
}

export function isLabel(field: string): field is LabelType {
  return field === 'role' || field === 'scope' || field === 'group'
}

function neverCondition(field: TimeField | 'group'): Condition {
  if (field === 'group') return sql`token.groups is null`
  if (field === 'used') return sql`${numberOf('used_order')} = ${NEVER_USED}`
  if (field === 'expires') return sql`${numberOf('expires_order')} = ${NEVER_EXPIRES}`
  return sql`${numberOf(TIME_COLUMNS[field])} is null`
}

/** The instants of a period; what never happens lies in none. */
export function duringCondition(
  column: RawBuilder<unknown>,
  { field, during }: { field: TimeField; during: Period },
): Condition {
  const { fromMs, untilMs } = boundsOf(field, during)
  const bounds: Condition[] = []
  if (fromMs !== undefined) bounds.push(sql`${column} >= ${fromMs}`)
  if (untilMs !== undefined) bounds.push(sql`${column} < ${untilMs}`)
  return bounds.length === 0 ? sql`${column} is not null` : allOf(bounds)
}

/** The same period without the stand-ins for "never". */
export function boundsOf(field: TimeField, { fromMs, untilMs }: Period): Period {
  const from = field === 'used' ? Math.max(fromMs ?? 0, 0) : fromMs
  const until = field === 'expires' ? Math.min(untilMs ?? NEVER_EXPIRES, NEVER_EXPIRES) : untilMs
  return {
    ...(from === undefined ? {} : { fromMs: from }),
    ...(until === undefined ? {} : { untilMs: until }),
  }
}

/** Mirrors `stateOf` in core. */
export function stateCondition(state: TokenState, nowMs: number): Condition {
  const standing = textOf('standing')
  if (state === 'revoked') return sql`${standing} = 'revoked'`
  if (state === 'superseded') return sql`(${standing} = 'superseded' and ${isReplaced(nowMs)})`
  const end = numberOf('expires_order')
  const isAlive = sql`(${standing} = 'live' or (${standing} = 'superseded' and not ${isReplaced(nowMs)}))`
  if (state === 'expired') return sql`(${isAlive} and ${end} <= ${nowMs})`
  const free = state === 'quarantined' ? sql`is not null` : sql`is null`
  return sql`(${isAlive} and ${end} > ${nowMs} and token.quarantined_at_ms ${free})`
}

/** Of a superseded token: whether it has stopped, or its overlap is still going on. Uses no index. */
const isReplaced = (nowMs: number): Condition => sql`${numberOf('superseded_at_ms')} <= ${nowMs}`

/**
 * What a token is but for the clock, as the column says it: what is being rotated is `superseded` long
 * before its overlap ends.
 */
export const STANDINGS = ['live', 'revoked', 'superseded'] as const
export type Standing = (typeof STANDINGS)[number]

/** The same, so that an index answers it. */
export const isStanding = (standing: Standing): Condition => sql`token.standing = ${standing}`
