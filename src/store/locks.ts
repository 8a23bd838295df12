import type { SelectQueryBuilder } from 'kysely'
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
  /** Nobody else holds this name; for what has no row yet, and for counts. */
  hold(name: string): Promise<void>
  /** Whether others write at the same time, so that a statement may miss what they commit meanwhile. */
  readonly shared: boolean
}

/** Outside a transaction, and where there is one writer anyhow. */
export const NO_LOCKS: Locks = {
  rows: (query) => query,
  still: (query) => query,
  free: (query) => query,
  hold: async () => undefined,
  shared: false,
}
