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
  const migrator = migratorOf(db, schema)
  const { error } =
    upTo === undefined ? await migrator.migrateToLatest() : await migrator.migrateTo(upTo)
  if (error !== undefined) throw failed(error)
}

/**
 * Takes the next step towards this release, or `upTo` an older one, and tells whether there was one to take.
 * Throws as `migrate` does.
 */
export async function migrateOne(
  db: Db,
  { schema, upTo }: { schema: string; upTo: string | undefined },
): Promise<boolean> {
  const migrator = migratorOf(db, schema)
  const next = (await migrator.getMigrations()).find(({ executedAt }) => executedAt === undefined)
  if (next === undefined || (upTo !== undefined && next.name > upTo)) {
    // Nothing is left, which may be because a newer release has been here.
    if (upTo === undefined) await migrate(db, { schema })
    return false
  }
  const { error } = await migrator.migrateTo(next.name)
  if (error !== undefined) throw failed(error)
  return true
}

function migratorOf(db: Db, schema: string | undefined): Migrator {
  return new Migrator({
    db,
    provider: { getMigrations: async () => migrations },
    migrationTableName: 'migration',
    migrationLockTableName: 'migration_lock',
    ...(schema === undefined ? {} : { migrationTableSchema: schema }),
  })
}

function failed(error: unknown): unknown {
  if (error instanceof CoreError) return error
  return new CoreError(
    'not_configured',
    'The database could not be brought to this release. If a newer Mintmark has used it, start that one; otherwise restore a backup.',
    { cause: error },
  )
}
