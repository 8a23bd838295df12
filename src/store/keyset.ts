import { type SelectQueryBuilder, type SqlBool, sql } from 'kysely'
import type { Position } from '../core/page.ts'
import { nameKey } from '../core/text.ts'

/** A canonical key (see `nameKey`) contains that of `text`: caseless in every script. */
export function containsKey(column: string, text: string) {
  return sql<SqlBool>`${sql.ref(column)} like ${likePattern(nameKey(text))} escape '\\'`
}

/** Turns "part of the text" into a LIKE pattern in which the caller's % and _ are themselves. */
function likePattern(text: string): string {
  return `%${text.replace(/[\\%_]/g, '\\$&')}%`
}

/** Prose contains `text`: caseless for ASCII, else as it is written (SQLite folds no more). */
export function containsText(column: string, text: string) {
  return sql<SqlBool>`lower(${sql.ref(column)}) like lower(${likePattern(text)}) escape '\\'`
}

/**
 * The rows beyond a position in (created_at_ms, id) order, newest first; backwards the other way
 * round. One row-value comparison, which the index on both columns answers.
 */
function beyond(from: Position) {
  const operator = from.direction === 'after' ? sql.raw('<') : sql.raw('>')
  return sql<SqlBool>`(created_at_ms, id) ${operator} (${from.at}, ${from.id})`
}

function directionOf(from: Position | undefined): 'asc' | 'desc' {
  return from?.direction === 'before' ? 'asc' : 'desc'
}

/** The rows of one page of `query`, in the order and the direction that `from` asks for. */
export function pageRows<DB, TB extends keyof DB, Row>(
  query: SelectQueryBuilder<DB, TB, Row>,
  from: Position | undefined,
  size: number,
): Promise<Row[]> {
  const direction = directionOf(from)
  return (from === undefined ? query : query.where(beyond(from)))
    .orderBy(sql`created_at_ms`, direction)
    .orderBy(sql`id`, direction)
    .limit(size)
    .execute()
}
