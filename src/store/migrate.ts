import { sql } from 'kysely'
import { Migrator } from 'kysely/migration'
import { CoreError } from '../core/errors.ts'
import type { Db } from './engine.ts'
import { migrations } from './migrations/index.ts'

/** Whether nothing is left to do; cheap, so that a start need not wait for other nodes. */
export async function isMigrated(db: Db, schema: string): Promise<boolean> {
  const { rows } = await sql<{ there: boolean }>`select exists (select from pg_catalog.pg_tables
    where schemaname = ${schema} and tablename = 'migration') as there`.execute(db)
  if (rows[0]?.there !== true) return false
  const table = sql.id(schema, 'migration')
  const done = await sql<{ name: string }>`select name from ${table} order by name`.execute(db)
  return done.rows.map(({ name }) => name).join() === Object.keys(migrations).sort().join()
}

/**
 * Brings the tables to this release, or `upTo` an older one. `schema`: where they lie, on a database that
 * has several. Throws `not_configured` when a newer release has been here, or a migration fails.
 */
export async function migrate(
  db: Db,
  { schema, upTo }: { schema?: string; upTo?: string } = {},
): Promise<void> {
  const migrator = new Migrator({
    db,
    provider: { getMigrations: async () => migrations },
    migrationTableName: 'migration',
    migrationLockTableName: 'migration_lock',
    ...(schema === undefined ? {} : { migrationTableSchema: schema }),
  })
  const { error } =
    upTo === undefined ? await migrator.migrateToLatest() : await migrator.migrateTo(upTo)
  if (error === undefined) return
  if (error instanceof CoreError) throw error
  throw new CoreError(
    'not_configured',
    'The database could not be brought to this release. If a newer Mintmark has used it, start that one; otherwise restore a backup.',
    { cause: error },
  )
}
