import { type RawBuilder, type SelectQueryBuilder, sql } from 'kysely'
import type { Schema } from './schema.ts'

/**
 * Keeps what a transaction has read true until it commits, where several transactions run at once.
 * Core reads and then writes as if it were alone. These locks make that so: on PostgreSQL each read
 * inside a transaction that a decision hangs on takes one.
 */
export interface Locks {
  /** The rows that the query finds stay as they are. */
  rows<T extends keyof Schema, O>(
    query: SelectQueryBuilder<Schema, T, O>,
  ): SelectQueryBuilder<Schema, T, O>
  /** The same, but others may hold them so, too: for who does not change them. */
  still<T extends keyof Schema, O>(
    query: SelectQueryBuilder<Schema, T, O>,
  ): SelectQueryBuilder<Schema, T, O>
  /** The rows that the query finds and nobody else holds stay as they are; those held are left out. */
  free<T extends keyof Schema, O>(
    query: SelectQueryBuilder<Schema, T, O>,
  ): SelectQueryBuilder<Schema, T, O>
  /** Others may hold this name so, too; whoever asks to `hold` it comes before those who ask later. */
  share(name: string): Promise<void>
  /** Nobody else holds this name; for what has no row yet, and for counts. */
  hold(name: string): Promise<void>
  /** Whether others write at the same time, so that a statement may miss what they commit meanwhile. */
  readonly shared: boolean
}

/**
 * What is shared by those who make tokens for a user or a client, and held by who changes either. Before a locked
 * row nobody stands in line: there those who share it pass whoever wants it alone, for as long as they keep coming.
 */
export const makerLock = (id: string): string => `maker:${id}`

/** A name as PostgreSQL knows locks by. */
export function lockKey(name: string | RawBuilder<string>): RawBuilder<bigint> {
  return sql`hashtextextended(current_schema() || ':' || cast(${name} as text), 0)`
}

/** Outside a transaction, and where there is one writer anyhow. */
export const NO_LOCKS: Locks = {
  rows: (query) => query,
  still: (query) => query,
  free: (query) => query,
  share: async () => undefined,
  hold: async () => undefined,
  shared: false,
}
