import {
  CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  DummyDriver,
  type QueryResult,
  Transaction,
} from 'kysely'
import type { Db } from './engine.ts'
import type { Schema } from './schema.ts'

const BEGIN = CompiledQuery.raw('begin')
const COMMIT = CompiledQuery.raw('commit')
const ROLLBACK = CompiledQuery.raw('rollback')

const lastOf = new WeakMap<Db, CompiledQuery>()

/** Leaves `query` to be sent with the commit, as the last statement of the transaction. */
export function endWith(tx: Db, query: CompiledQuery): void {
  lastOf.set(tx, query)
}

/** Runs `work` in a transaction and commits when it resolves. */
export type Transact = <T>(work: (tx: Db) => Promise<T>) => Promise<T>

/**
 * Transactions on connections of `db`, which was made with `dialect`. What need not wait for an answer is sent without: the
 * first questions with the `begin`, those that are asked together, and the last statement with the commit. Each
 * answer that is waited for takes a turn of the event loop, which is long when there is much to do, and
 * the locks are held meanwhile.
 */
export function transactions(db: Db, dialect: Dialect): Transact {
  const executor = db.getExecutor()
  // Kysely's own wait for each answer before the next query is sent.
  const over = (connection: DatabaseConnection) =>
    new Transaction<Schema>({
      config: { dialect },
      dialect,
      // Of connections it has the one that it needs.
      driver: new DummyDriver(),
      executor: executor.withConnectionProvider({
        provideConnection: (consumer) => consumer(connection),
      }),
    })

  return (work) =>
    executor.provideConnection(async (connection) => {
      const { begun, inside, close } = opened(connection)
      const tx = over(inside)
      try {
        const result = await work(tx)
        await begun
        await commit(connection, lastOf.get(tx))
        return result
      } catch (error) {
        // Answered after whatever is under way still.
        await connection.executeQuery(ROLLBACK).catch(() => undefined)
        throw error
      } finally {
        close()
      }
    })
}

/** Begins a transaction on the connection, and gives what may be asked on it without waiting for that. */
function opened(connection: DatabaseConnection) {
  let isBegun = false
  let waits = false
  let isOver = false
  let failure: unknown
  const begun = connection.executeQuery(BEGIN).then(() => {
    isBegun = true
  })
  begun.catch(() => undefined)

  async function ask<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    if (isOver) throw new Error('The transaction is over.')
    // Should it not begin, what came with it would stand for itself, which only a question may.
    waits ||= !query.sql.startsWith('select ')
    if (waits && !isBegun) await begun
    try {
      const [result] = await Promise.all([connection.executeQuery<R>(query), begun])
      return result
    } catch (error) {
      // Whatever was sent behind it fails for no other reason.
      failure ??= error
      throw failure
    }
  }
  const inside: DatabaseConnection = {
    executeQuery: ask,
    streamQuery: (query, size) => connection.streamQuery(query, size),
  }
  const close = () => {
    isOver = true
  }
  return { begun, inside, close }
}

async function commit(connection: DatabaseConnection, last: CompiledQuery | undefined) {
  const [written, committed] = await Promise.allSettled([
    last === undefined ? undefined : connection.executeQuery(last),
    connection.executeQuery<{ command: string }>(COMMIT),
  ])
  // First: of a connection that is lost it tells that nobody knows what became of both.
  if (committed.status === 'rejected') throw committed.reason
  if (written.status === 'rejected') throw written.reason
  // So the server answers when a statement has failed before.
  if (committed.value.rows[0]?.command !== 'COMMIT') throw new Error('The server rolled back.')
}
