import { Kysely, SqliteAdapter, SqliteDialect } from 'kysely'
import { Migrator } from 'kysely/migration'
import { CoreError } from '../core/errors.ts'
import type { Change, ChangeListener, Repositories, Store } from '../core/store.ts'
import { auditStore } from './audit.ts'
import { changeStore } from './changes.ts'
import { clientStore } from './clients.ts'
import { grantStore } from './grants.ts'
import { groupCommit } from './group-commit.ts'
import { groupStore } from './groups.ts'
import { idempotencyStore, keyStore, lockoutStore, policyStore } from './housekeeping.ts'
import { migrations } from './migrations/index.ts'
import { oauthRecordStore } from './oauth-records.ts'
import { roleStore } from './roles.ts'
import type { Schema } from './schema.ts'
import { openSqlite } from './sqlite.ts'
import { tokenStore } from './tokens.ts'
import { userStore } from './users.ts'

/** A connection or a transaction: queries do not care. */
export type Db = Kysely<Schema>

/**
 * Opens the SQLite store at `file`, creating and migrating it as needed.
 * Throws `not_configured` when the file is damaged, in use, or made by a newer release.
 */
export async function openStore(file: string, clock: { now(): number }): Promise<Store> {
  const files = openSqlite(file)
  const writer = new Kysely<Schema>({ dialect: new WriterDialect({ database: files.writer }) })
  const reader = new Kysely<Schema>({ dialect: new SqliteDialect({ database: files.reader }) })
  const close = async () => {
    await reader.destroy()
    await writer.destroy()
    // Kysely leaves alone what it has not used yet; an open reader would keep the WAL file.
    files.reader.close()
    files.writer.close()
    files.unlock()
  }
  try {
    await migrate(writer)
  } catch (error) {
    await close()
    throw error
  }
  return storeOver({ writer, reader, clock, close })
}

/** SQLite does take schema changes back; Kysely must be told, or a crash leaves a migration half done. */
class WriterDialect extends SqliteDialect {
  override createAdapter() {
    return new TransactionalAdapter()
  }
}

class TransactionalAdapter extends SqliteAdapter {
  override get supportsTransactionalDdl() {
    return true
  }
}

async function migrate(db: Db): Promise<void> {
  const migrator = new Migrator({
    db,
    provider: { getMigrations: async () => migrations },
    migrationTableName: 'migration',
    migrationLockTableName: 'migration_lock',
  })
  const { error } = await migrator.migrateToLatest()
  if (error === undefined) return
  if (error instanceof CoreError) throw error
  throw new CoreError(
    'not_configured',
    'The database could not be brought to this release. If a newer Mintmark has used it, start that one; otherwise restore a backup.',
    { cause: error },
  )
}

function storeOver(parts: {
  writer: Db
  reader: Db
  clock: { now(): number }
  close: () => Promise<void>
}): Store {
  const listeners = new Set<ChangeListener>()
  const { writer, reader, clock } = parts
  const committed = groupCommit(writer)

  async function transaction<T>(work: (repositories: Repositories) => Promise<T>): Promise<T> {
    const changes: Change[] = []
    const result = await committed((tx) => work(repositories(tx, { clock, changes })))
    if (changes.length > 0) {
      await Promise.all([...listeners].map((listener) => listener(changes)))
    }
    return result
  }

  /** Writes outside a transaction become one of their own, so that nobody can forget to announce. */
  const alone = repositories(reader, { clock, changes: [] })
  return {
    ...alone,
    tokens: {
      ...alone.tokens,
      recordUse: (uses) => transaction((tx) => tx.tokens.recordUse(uses)),
    },
    users: {
      ...alone.users,
      rehash: (id, from, to) => transaction((tx) => tx.users.rehash(id, from, to)),
    },
    transaction,
    onChange(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    async ping() {
      await reader.selectFrom('counter').select('name').limit(1).execute()
    },
    close: parts.close,
  }
}

function repositories(
  db: Db,
  { clock, changes }: { clock: { now(): number }; changes: Change[] },
): Repositories {
  return {
    tokens: tokenStore(db),
    users: userStore(db),
    groups: groupStore(db),
    roles: roleStore(db),
    clients: clientStore(db),
    grants: grantStore(db),
    oauthRecords: oauthRecordStore(db),
    audit: auditStore(db),
    policy: policyStore(db),
    keys: keyStore(db),
    changes: changeStore(db, { clock, changes }),
    idempotency: idempotencyStore(db),
    lockouts: lockoutStore(db),
  }
}
