import { Client } from 'pg'
import { connectionOf } from '../../src/store/postgres.ts'
import type { TestDatabase } from './database.ts'

/**
 * Holds what a statement locks, so that everybody who needs it waits as for a database that cannot be
 * reached. Returns the way back.
 */
export async function lockedBy(
  { config }: TestDatabase,
  statement: string,
): Promise<() => Promise<void>> {
  if (config.kind !== 'postgres') throw new Error('Only PostgreSQL waits like that.')
  const client = new Client(connectionOf({ url: config.url, waitMs: 10_000 }))
  // A test that fails leaves it to the end of the database.
  client.on('error', () => undefined)
  await client.connect()
  await client.query(`begin; ${statement}`)
  return () => client.end()
}

export const lockTable = (database: TestDatabase, table: string) =>
  lockedBy(database, `lock table ${table} in access exclusive mode`)
