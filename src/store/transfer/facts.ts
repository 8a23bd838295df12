import type { Value } from '../../core/transfer.ts'
import { migrations } from '../migrations/index.ts'

/** Tables of the migrator itself: whoever opens the database makes them. */
export const MIGRATOR_TABLES = ['migration', 'migration_lock']

/** Rows that are read and written together. */
export const BATCH = 2000

/** A column's value as both databases hold it. Throws where one of them could not. */
export function portableValue(value: unknown): Value {
  if (value === null || typeof value === 'string') return value
  if (typeof value === 'number' && Number.isFinite(value)) return value
  throw new Error(`A value of the type ${typeof value} cannot be carried over.`)
}

/**
 * The numbering of the change log is kept apart: PostgreSQL has a counter for it, SQLite a column that
 * counts by itself. Nodes belong to the database that they are on.
 */
export function isCarried(table: string, row: Record<string, unknown>): boolean {
  return table !== 'node' && (table !== 'counter' || row.name !== 'change')
}

/** Whether these migrations are the first ones of this release, in its order. */
export function isOfThisRelease(names: readonly string[]): boolean {
  const ours = Object.keys(migrations).sort()
  return names.length > 0 && names.every((name, i) => name === ours[i])
}

export function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

export function list(names: readonly string[]): string {
  return names.map(quoted).join(', ')
}
