import { type Clock, isGuided } from '../core/clock.ts'
import type { Secret } from '../core/secret.ts'
import type { ChangeListener, Repositories, Store } from '../core/store.ts'
import { auditStore } from './audit.ts'
import { changeStore } from './changes.ts'
import { clientStore } from './clients.ts'
import type { Db, Engine } from './engine.ts'
import { eventStore } from './events.ts'
import { grantStore } from './grants.ts'
import type { InTurn, Queueing } from './group-commit.ts'
import { groupStore } from './groups.ts'
import { idempotencyStore, keyStore, lockoutStore, policyStore } from './housekeeping.ts'
import { importStore } from './imports.ts'
import { inventoryStore } from './inventory.ts'
import { jobStore } from './jobs.ts'
import { emptyJournal, isEmpty, type Journal } from './journal.ts'
import { leakStore } from './leaks.ts'
import { lineageStore } from './lineage.ts'
import { type Locks, NO_LOCKS } from './locks.ts'
import type { NodeCard } from './node-registry.ts'
import { oauthRecordStore } from './oauth-records.ts'
import { openPostgresEngine } from './postgres-engine.ts'
import { rateStore } from './rates.ts'
import { revocationStore } from './revocations.ts'
import { roleStore } from './roles.ts'
import { openSqliteEngine } from './sqlite-engine.ts'
import { tokenStore } from './tokens.ts'
import { useStore } from './use.ts'
import { userStore } from './users.ts'
import { webhookStore } from './webhooks.ts'

/** Which database, and how it is used. */
export type Database =
  | { kind: 'sqlite'; file: string }
  | {
      kind: 'postgres'
      url: Secret
      /** Connections at most, besides the one that listens. */
      pool: number
      /** How often the change log is read when no notice comes. */
      pollMs: number
      /** How long a request waits for a connection, or a change for its turn. */
      waitMs: number
      /** Whether the server tells of changes by itself; false: it is asked every `pollMs` alone. */
      notices: boolean
    }

/** What a server tells its store; processes that answer nobody leave all of it out. */
export interface Serving extends Queueing {
  /** Registers it among the nodes of the database. */
  card?: NodeCard
  /** Called in the course of the call that made a change which others must hear of, once it is stored. */
  onCommitted?: (sequence: number) => void
  /** Of one of several processes on a database file: see `InTurn`. */
  inTurn?: InTurn | undefined
  /** Hears what a migration that takes long is about. */
  onMigrating?: (news: string) => void
}

/**
 * Opens the store, creating and migrating its tables as needed. Throws `not_configured` when the
 * database cannot be used as it is, `unavailable` when it cannot be reached.
 */
export async function openStore(
  database: Database,
  clock: Clock,
  { card, onCommitted = () => undefined, inTurn, onMigrating, ...queueing }: Serving = {},
): Promise<Store> {
  const engine =
    database.kind === 'sqlite'
      ? await openSqliteEngine(database.file, { card, clock, inTurn, ...queueing })
      : await openPostgresEngine({
          ...database,
          card,
          clock: isGuided(clock) ? clock : undefined,
          onMigrating,
          ...queueing,
        })
  const isShared = database.kind === 'postgres' || inTurn !== undefined
  return storeOver(engine, { clock, onCommitted, isShared })
}

function storeOver(
  engine: Engine,
  {
    clock,
    onCommitted,
    isShared,
  }: { clock: Clock; onCommitted: (sequence: number) => void; isShared: boolean },
): Store {
  const listeners = new Set<ChangeListener>()
  const eventListeners = new Set<() => void>()
  engine.changes.start(async (changes) => {
    await Promise.all([...listeners].map((listener) => listener(changes)))
  })

  async function transaction<T>(work: (repositories: Repositories) => Promise<T>): Promise<T> {
    const { result, changes, end, hasEvents } = await engine.transaction(async (tx) => {
      const journal = emptyJournal()
      const result = await work(repositories(tx, { clock, journal, locks: engine.locks(tx) }))
      const end = isEmpty(journal) ? 0 : await engine.writeJournal(tx, journal)
      const hasEvents = journal.records.some(({ event }) => event !== undefined)
      return { result, changes: journal.changes, end, hasEvents }
    })
    if (changes.length > 0) await engine.changes.own(changes, end)
    if (changes.some(({ isNew }) => isNew !== true)) onCommitted(end)
    if (hasEvents) for (const listener of eventListeners) listener()
    return result
  }

  /** Writes outside a transaction become one of their own, so that nobody can forget to announce. */
  const alone = repositories(engine.reader, { clock, locks: NO_LOCKS })
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
    changes: {
      ...alone.changes,
      position: engine.changes.position,
      isCurrent: engine.changes.isCurrent,
      catchUp: engine.changes.catchUp,
    },
    nodes: engine.nodes,
    isShared,
    transaction,
    onChange(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    onEvent(listener) {
      eventListeners.add(listener)
      return () => eventListeners.delete(listener)
    },
    async ping() {
      await engine.reader.selectFrom('counter').select('name').limit(1).execute()
    },
    close: () => engine.close(),
  }
}

function repositories(
  db: Db,
  { clock, journal, locks }: { clock: Clock; journal?: Journal; locks: Locks },
): Repositories {
  return {
    tokens: tokenStore(db, locks),
    inventory: inventoryStore(db),
    jobs: jobStore(db, locks),
    lineage: lineageStore(db),
    revocations: revocationStore(db),
    use: useStore(db, locks),
    users: userStore(db, locks),
    groups: groupStore(db, locks),
    roles: roleStore(db, locks),
    clients: clientStore(db, locks),
    grants: grantStore(db, locks),
    oauthRecords: oauthRecordStore(db),
    imports: importStore(db, { locks, ...(journal === undefined ? {} : { journal }) }),
    audit: auditStore(db, journal),
    events: eventStore(db, locks),
    leaks: leakStore(db, locks),
    webhooks: webhookStore(db, locks),
    policy: policyStore(db, locks),
    rates: rateStore(db, locks),
    keys: keyStore(db, locks),
    changes: changeStore(db, { clock, ...(journal === undefined ? {} : { journal }) }),
    idempotency: idempotencyStore(db, locks),
    lockouts: lockoutStore(db, locks),
  }
}
