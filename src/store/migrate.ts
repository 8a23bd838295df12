import { sql } from 'kysely'
import { Migrator } from 'kysely/migration'
import { CoreError } from '../core/errors.ts'
import type { Db } from './engine.ts'
import type { IndexBuild } from './migrations/builds.ts'
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

/** Where to go: `schema`, in which the tables lie, and the last step to take; undefined: that of this release. */
export interface Destination {
  schema: string
  upTo: string | undefined
}

/**
 * Takes the next step towards this release, or `upTo` an older one, and tells whether there was one to take.
 * Throws as `migrate` does.
 */
export async function migrateOne(db: Db, destination: Destination): Promise<boolean> {
  const next = await nextStep(db, destination)
  if (next === undefined) {
    // Nothing is left, which may be because a newer release has been here.
    if (destination.upTo === undefined) await migrate(db, { schema: destination.schema })
    return false
  }
  const { error } = await migratorOf(db, destination.schema).migrateTo(next)
  if (error !== undefined) throw failed(error)
  return true
}

/** The indexes that belong to the next step. */
export async function nextBuilds(db: Db, destination: Destination): Promise<readonly IndexBuild[]> {
  const next = await nextStep(db, destination)
  return (next === undefined ? undefined : migrations[next]?.builds) ?? []
}

async function nextStep(db: Db, { schema, upTo }: Destination): Promise<string | undefined> {
  const steps = await migratorOf(db, schema).getMigrations()
  const next = steps.find(({ executedAt }) => executedAt === undefined)?.name
  return next === undefined || (upTo !== undefined && next > upTo) ? undefined : next
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
