import { createHash } from 'node:crypto'
import {
  type Kysely,
  PostgresAdapter,
  PostgresDialect,
  type PostgresPool,
  type PostgresPoolClient,
  sql,
} from 'kysely'
import {
  Client,
  type ClientBase,
  type ClientConfig,
  DatabaseError,
  Pool,
  type PoolClient,
  type QueryResult,
  TypeOverrides,
} from 'pg'
import { CoreError } from '../core/errors.ts'
import type { Secret } from '../core/secret.ts'
import { type Gate, gate } from './gate.ts'
import type { Queueing } from './group-commit.ts'
import type { Schema } from './schema.ts'

const OLDEST_SERVER = 150_000
const STATEMENT_TIMEOUT_MS = 5000
const LOCK_TIMEOUT_MS = 3000
/** Frees the locks of a node that stopped in the middle of a transaction. */
const IDLE_IN_TRANSACTION_TIMEOUT_MS = 5000
/** The client's own end of patience: a network that swallows packets answers no statement timeout. */
const QUERY_TIMEOUT_MS = 7000
/** Connections are dear to make: a check of the password, and one of the settings. */
const KEEP_IDLE_MS = 300_000
/** Whoever comes when so many wait for a connection would time out anyhow. */
const MAX_WAITING = 1000

/**
 * Begins every transaction. The limits are sent along rather than with the connection, because a
 * pooler between us and the server does not pass those on.
 */
const BEGIN = `begin isolation level read committed; set local statement_timeout = ${STATEMENT_TIMEOUT_MS};
  set local lock_timeout = ${LOCK_TIMEOUT_MS};
  set local idle_in_transaction_session_timeout = ${IDLE_IN_TRANSACTION_TIMEOUT_MS}`

/** For migrations, which take as long as they take. */
const MIGRATION_TIMEOUT_MS = 3_600_000
/**
 * How long a step of a migration waits for a lock: as long, everybody else waits behind it, even if it is for
 * somebody who only reads.
 */
const MIGRATION_LOCK_MS = 500
const BEGIN_UNHURRIED = `begin isolation level read committed;
  set local statement_timeout = ${MIGRATION_TIMEOUT_MS}; set local lock_timeout = ${MIGRATION_LOCK_MS};
  set local idle_in_transaction_session_timeout = ${IDLE_IN_TRANSACTION_TIMEOUT_MS * 6}`

const UNIQUE_VIOLATION = '23505'
/** Text with NUL in it, the one character that PostgreSQL cannot hold. */
const UNTRANSLATABLE = '22021'
const PROGRAM_LIMIT_EXCEEDED = '54000'
const LOCK_NOT_AVAILABLE = '55P03'
/** SQLSTATEs after which the same transaction, run again, may well succeed. */
const WORTH_ANOTHER_TRY = new Set([
  '40001', // serialization_failure
  '40P01', // deadlock_detected
  '23503', // foreign_key_violation: what it pointed at was deleted meanwhile
])
/** SQLSTATEs and classes of them (postgresql.org/docs/current/errcodes-appendix.html) that pass by themselves. */
const UNAVAILABLE: readonly [string, string][] = [
  ['08', 'The connection to the database was lost.'],
  ['25006', 'The database is read-only.'],
  ['25P03', 'The database gave up waiting for this node.'],
  ['25P04', 'The database was too slow.'],
  ['28', 'The database refuses this node.'],
  ['3D000', 'The database does not exist.'],
  ['40', 'Too many changes were in each other’s way.'],
  ['53100', 'The disk of the database is full.'],
  ['53300', 'The database has no connection left.'],
  ['53', 'The database is out of resources.'],
  ['55P03', 'The database is busy.'],
  ['57014', 'The database was too slow.'],
  ['57P', 'The database is shutting down or starting.'],
  ['58', 'The database server reported an error.'],
]
const RETRY_AFTER_SECONDS = 2

function sqlstateOf(error: unknown): string | undefined {
  return error instanceof DatabaseError ? error.code : undefined
}

/** Whether a statement failed because a unique index already holds the value. */
export function isPostgresUniqueViolation(error: unknown): boolean {
  return sqlstateOf(error) === UNIQUE_VIOLATION
}

/** Whether a commit failed because nobody takes the notices in, and the queue of them is full. */
export function isNoticeQueueFull(error: unknown): boolean {
  return sqlstateOf(error) === PROGRAM_LIMIT_EXCEEDED && /NOTIFY/.test(String(error))
}

/** Whether a statement gave up because somebody else holds a lock that it needs. */
export function isLockTaken(error: unknown): boolean {
  let cause = error
  while (cause instanceof CoreError) cause = cause.cause
  return sqlstateOf(cause) === LOCK_NOT_AVAILABLE
}

/** Whether the transaction failed only because of what others did at the same time. */
export function isWorthAnotherTry(error: unknown): boolean {
  const cause = error instanceof CoreError ? error.cause : error
  return WORTH_ANOTHER_TRY.has(sqlstateOf(cause) ?? '')
}

/** Turns what passes by itself into `unavailable`, and leaves everything else as it is. */
export function translated(error: unknown, { committing = false } = {}): unknown {
  if (error instanceof CoreError) return error
  if (sqlstateOf(error) === UNTRANSLATABLE) {
    return new CoreError('invalid_input', 'No text may contain the character NUL.', {
      cause: error,
    })
  }
  const reason = reasonOf(error)
  if (reason === undefined) return error
  const outcome =
    committing && isConnectionLost(error)
      ? 'It went away in the middle of storing the change, which may or may not have happened. Look before you try again.'
      : 'Nothing was changed. Try again shortly.'
  return unavailable(`${reason} ${outcome}`, error)
}

export function unavailable(message: string, cause?: unknown): CoreError {
  return new CoreError('unavailable', message, {
    retryAfterSeconds: RETRY_AFTER_SECONDS,
    ...(cause === undefined ? {} : { cause }),
  })
}

/** Told to the log once for many, by whoever counts what is turned away. */
export function tooMuch(message: string): CoreError {
  return new CoreError('unavailable', message, {
    retryAfterSeconds: RETRY_AFTER_SECONDS,
    isToldOnce: true,
  })
}

function reasonOf(error: unknown): string | undefined {
  const sqlstate = sqlstateOf(error)
  if (sqlstate !== undefined) {
    return UNAVAILABLE.find(([beginning]) => sqlstate.startsWith(beginning))?.[1]
  }
  return isConnectionLost(error) ? 'The database cannot be reached.' : undefined
}

/** The server's own refusals are DatabaseErrors; what else `pg` rejects with is about the connection. */
function isConnectionLost(error: unknown): boolean {
  const sqlstate = sqlstateOf(error)
  if (sqlstate !== undefined) return /^(08|57P|25P0[34])/.test(sqlstate)
  return error instanceof Error && !(error instanceof TypeError || error instanceof RangeError)
}

const INT8 = 20
const BIGGEST = BigInt(Number.MAX_SAFE_INTEGER)

/** `pg` gives 64-bit integers as text; ours are instants, counts and numbers, which fit. */
function int8(text: string): number {
  const value = BigInt(text)
  if (value > BIGGEST || value < -BIGGEST) throw new Error(`${text} is no safe integer.`)
  return Number(value)
}

export interface Connecting {
  url: Secret
  /** How long anything waits for a connection, whether a new one or one of the pool. */
  waitMs: number
}

/** How to connect. The types are per connection, so that nobody else in the process is affected. */
export function connectionOf({ url, waitMs }: Connecting): ClientConfig {
  const types = new TypeOverrides()
  types.setTypeParser(INT8, int8)
  return {
    connectionString: url.reveal(),
    application_name: 'mintmark',
    connectionTimeoutMillis: waitMs,
    query_timeout: QUERY_TIMEOUT_MS,
    keepAlive: true,
    types,
  }
}

/** A new connection on which `listen` can be heard, not one of the pool. */
export async function connectAlone(where: Connecting, queryMs = QUERY_TIMEOUT_MS): Promise<Client> {
  const client = new Client({ ...connectionOf(where), query_timeout: queryMs })
  // An error without a listener would end the process; whoever uses the client hears of it, too.
  client.on('error', () => undefined)
  await client.connect()
  return client
}

/**
 * Kysely's dialect over a pool of at most `pool` connections, of which one is kept for what is vital,
 * however many wait for the others.
 */
export function pooled(options: Connecting & { pool: number } & Queueing): PostgresDialect {
  const seats = gate({
    places: options.pool,
    reserved: options.pool > 2 ? 1 : 0,
    maxWaiting: MAX_WAITING,
    waitMs: options.waitMs,
    asker: options.asker ?? (() => undefined),
    onTurnedAway: options.onTurnedAway ?? (() => undefined),
    refusal: () => tooMuch('Too many requests are waiting for the database. Try again shortly.'),
  })
  const pool = new Pool({
    ...connectionOf(options),
    // Queries are sent before those sent before them are answered; see `transactions`.
    pipeline: true,
    max: options.pool,
    idleTimeoutMillis: KEEP_IDLE_MS,
    onConnect: prepared,
  })
  return new Dialect({ pool: guarded(pool, BEGIN, seats) })
}

/** The same over one connection without hurry. */
export function unhurried(where: Connecting): PostgresDialect {
  const pool = new Pool({
    ...connectionOf(where),
    query_timeout: MIGRATION_TIMEOUT_MS,
    max: 1,
    onConnect: prepared,
  })
  return new Dialect({ pool: guarded(pool, BEGIN_UNHURRIED) })
}

/** Kysely's own migration lock belongs to the session, which a pooler may hand to somebody else. */
class Dialect extends PostgresDialect {
  override createAdapter() {
    return new Adapter()
  }
}

class Adapter extends PostgresAdapter {
  override async acquireMigrationLock() {}
  override async releaseMigrationLock() {}
}

/**
 * The pool as Kysely drives it: failures are translated, and a connection in an unknown state is closed
 * rather than used again.
 */
function guarded(pool: Pool, begin: string, seats?: Gate): PostgresPool {
  const known = new WeakMap<PoolClient, PostgresPoolClient>()
  // A server that restarts ends idle connections, too.
  pool.on('error', () => undefined)
  pool.on('connect', (client) => client.on('error', () => undefined))
  return {
    options: {},
    end: () => pool.end(),
    async connect() {
      await seats?.enter()
      try {
        const client = await pool.connect()
        const connection = known.get(client) ?? guardedClient(client, begin, seats)
        known.set(client, connection)
        return connection
      } catch (error) {
        seats?.leave()
        throw translated(error)
      }
    },
  }
}

function guardedClient(client: PoolClient, begin: string, seats?: Gate): PostgresPoolClient {
  let isBroken = false

  async function query(text: string, values: readonly unknown[] = []): Promise<unknown> {
    // The server has rolled back; trying to would hide the reason behind an error of its own.
    if (isBroken && text === 'rollback') return { command: 'ROLLBACK', rowCount: null, rows: [] }
    try {
      return text === 'begin'
        ? await client.query(begin)
        : whole(await client.query(text, [...values]))
    } catch (error) {
      isBroken ||= text === 'rollback' || isConnectionLost(error)
      throw translated(error, { committing: text === 'commit' })
    }
  }

  return {
    // Kysely passes text and values; cursors, the other way to call it, are not used.
    query: query as PostgresPoolClient['query'],
    release(destroy) {
      client.release(isBroken || destroy === true)
      seats?.leave()
    },
  }
}

/** Several statements sent as one answer one by one; here the rows of all follow each other. */
function whole(answer: QueryResult | QueryResult[]): object {
  if (!Array.isArray(answer)) return answer
  return { ...answer.at(-1), rows: answer.flatMap(({ rows }) => rows) }
}

async function prepared(client: ClientBase): Promise<void> {
  // For what runs outside a transaction; transactions bring their own.
  await client.query(`set statement_timeout = ${STATEMENT_TIMEOUT_MS}`)
  await assertSettings(client)
}

/** Asserted rather than assumed, on each connection: a lost commit is a revived token. */
async function assertSettings(client: ClientBase): Promise<void> {
  const { rows } = await client.query(`select current_schema() as schema,
    pg_is_in_recovery() or current_setting('transaction_read_only') = 'on' as "isReadOnly",
    current_setting('server_version_num')::int as version,
    current_setting('server_encoding') as encoding,
    current_setting('fsync') as fsync, current_setting('full_page_writes') as full_page_writes,
    current_setting('synchronous_commit') as synchronous_commit`)
  const { schema, isReadOnly, version, encoding, ...settings } = rows[0] ?? {}
  const off = Object.entries(settings).filter(
    ([, value]) => value !== 'on' && value !== 'remote_apply',
  )
  if (isReadOnly) throw unavailable('The database is read-only.')
  if (version < OLDEST_SERVER) {
    throw notConfigured('PostgreSQL 15 or newer is needed. Upgrade the database server.')
  }
  if (encoding !== 'UTF8') {
    throw notConfigured(
      `The database is encoded in ${encoding}. Make one with: create database … encoding 'UTF8' template template0`,
    )
  }
  if (off.length > 0) {
    const list = off.map(([name, value]) => `${name} is ${value}`).join(', ')
    throw notConfigured(
      `PostgreSQL would lose acknowledged changes in a crash: ${list}. Set them to on, for the server, the database and the role.`,
    )
  }
  if (schema === null) {
    throw notConfigured(
      'No schema of the search_path exists in the database. Create one, or correct the search_path of the role.',
    )
  }
}

export function notConfigured(message: string): CoreError {
  return new CoreError('not_configured', message)
}

/** Where unqualified names lead, and the tables therefore lie. */
export async function currentSchema(db: Kysely<Schema>): Promise<string> {
  const { rows } = await sql<{ name: string }>`select current_schema() as name`.execute(db)
  return rows[0]?.name ?? 'public'
}

/** The name of something of one installation among several in a database. */
export function scopedName(name: string, schema: string): string {
  return `mintmark_${name}_${createHash('sha256').update(schema).digest('hex').slice(0, 16)}`
}
