import { Kysely, PostgresDialect, type PostgresPool, type PostgresPoolClient } from 'kysely'
import { Client } from 'pg'
import { CoreError } from '../../core/errors.ts'
import type { Row, Source, TableShape, Target } from '../../core/transfer.ts'
import { type Connecting, connectionOf, unavailable } from '../postgres.ts'
import { migrateAlone } from '../postgres-migration.ts'
import type { Schema } from '../schema.ts'
import { endAgain } from './end-again.ts'
import { BATCH, isCarried, list, MIGRATOR_TABLES, portableValue, quoted } from './facts.ts'

const LOCK_TIMEOUT_MS = 10_000
const LOOKS = 5
const LOOK_AGAIN_MS = 200

/**
 * Reads a PostgreSQL database as of one moment. `alone`: no server may be connected, and none can write
 * meanwhile; otherwise the servers go on. Throws `not_configured`, `unavailable`.
 */
export async function openPostgresSource(
  where: Connecting,
  { alone }: { alone: boolean },
): Promise<Source> {
  const client = await connected(where)
  try {
    if (alone) await mustBeAlone(client)
    const tables = await tablesOf(client)
    if (!tables.some(({ name }) => name === 'token')) throw noInstallation()
    await client.query(`begin isolation level repeatable read; ${UNHURRIED}`)
    // First of all: the moment is that of the first read, and nobody must write after it.
    if (alone)
      await client.query(`lock table ${list(tables.map(({ name }) => name))} in share mode`)
    const names = await client.query<{ name: string }>('select name from migration order by name')
    const changes = await client.query<{ value: number }>(
      "select value from counter where name = 'change'",
    )
    const trail = await client.query<{ sequence: number; hash: string }>(
      'select sequence, hash from audit order by sequence desc limit 1',
    )
    let totalRows = 0
    for (const { name } of tables) {
      const { rows } = await client.query<{ n: number }>(
        `select count(*) as n from ${quoted(name)}`,
      )
      totalRows += rows[0]?.n ?? 0
    }
    return {
      tables,
      migrations: names.rows.map(({ name }) => name),
      lastChange: changes.rows[0]?.value ?? 0,
      trailEnd: trail.rows[0],
      totalRows,
      rows: (table) => rowsOf(client, table),
      close: () => client.end(),
    }
  } catch (error) {
    await client.end()
    throw error
  }
}

/**
 * An empty PostgreSQL database with its tables, all of it in one transaction that holds everybody else
 * off. Throws `not_configured` when something is in it, or a server is connected.
 */
export async function openPostgresTarget(
  where: Connecting,
  { upTo }: { upTo: string | undefined },
): Promise<Target> {
  const client = await connected(where)
  try {
    await mustBeAlone(client)
    const { rows } = await client.query<{ schema: string }>('select current_schema() as schema')
    await migrateAlone(where, rows[0]?.schema ?? 'public', upTo)
    await client.query(`begin; ${UNHURRIED}`)
    const tables = await tablesOf(client)
    const names = list(tables.map(({ name }) => name))
    await client.query(`lock table ${names} in access exclusive mode`)
    for (const { name } of tables) await mustBeEmpty(client, name)
    await client.query('delete from counter')
    const restore = await withoutIndexes(client)
    return {
      tables,
      load: (table, batches) => load(client, table, batches),
      rows: (table) => rowsOf(client, table),
      async settle(lastChange) {
        await client.query("insert into counter (name, value) values ('change', $1)", [lastChange])
        for (const sql of restore) await client.query(sql)
        await setSequences(client, tables)
      },
      end: (endings, atMs) => endAgain(kyselyOver(client), endings, atMs),
      async finish() {
        await client.query('commit')
        await client.query('analyze')
        await client.end()
      },
      // The transaction goes with the connection.
      abandon: () => client.end().catch(() => undefined),
    }
  } catch (error) {
    await client.end()
    throw error
  }
}

/** As long as it takes; a lock is had soon or never. */
const UNHURRIED = `set local statement_timeout = 0; set local lock_timeout = ${LOCK_TIMEOUT_MS};
  set local idle_in_transaction_session_timeout = 0`

async function connected(where: Connecting): Promise<Client> {
  const client = new Client({ ...connectionOf(where), query_timeout: 0 })
  client.on('error', () => undefined)
  try {
    await client.connect()
    return client
  } catch (error) {
    throw unavailable(`The database cannot be reached: ${(error as Error).message}.`, error)
  }
}

/** Connections of a server that has just stopped take a moment to go. */
async function mustBeAlone(client: Client): Promise<void> {
  for (let tries = 1; ; tries++) {
    const { rows } = await client.query<{ n: number }>(
      `select count(*) as n from pg_stat_activity where datname = current_database()
        and application_name = 'mintmark' and pid <> pg_backend_pid()`,
    )
    if (rows[0]?.n === 0) return
    if (tries === LOOKS) break
    await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS))
  }
  throw new CoreError(
    'not_configured',
    'Mintmark servers are connected to the PostgreSQL database. Stop all of them first.',
  )
}

async function mustBeEmpty(client: Client, table: string): Promise<void> {
  if (table === 'counter') return
  const { rows } = await client.query(`select 1 from ${quoted(table)} limit 1`)
  if (rows.length === 0) return
  throw new CoreError(
    'not_configured',
    `The PostgreSQL database is not empty: the table ${table} has rows. Name an empty one.`,
  )
}

function noInstallation(): CoreError {
  return new CoreError('not_configured', 'There is no Mintmark installation in this database.')
}

async function tablesOf(client: Client): Promise<TableShape[]> {
  const { rows } = await client.query<{ name: string; columns: string[]; key: string[] | null }>(
    `select c.relname as name,
      (select array_agg(a.attname::text order by a.attname collate "C") from pg_attribute a
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = '')
        as columns,
      (select array_agg(a.attname::text order by k.n) from pg_index i,
        unnest(i.indkey) with ordinality k(attnum, n), pg_attribute a
        where i.indrelid = c.oid and i.indisprimary and a.attrelid = c.oid and a.attnum = k.attnum)
        as key
    from pg_class c where c.relkind = 'r' and c.relnamespace = current_schema()::regnamespace
      and c.relname <> all($1) order by c.relname collate "C"`,
    [MIGRATOR_TABLES],
  )
  return rows.map(({ name, columns, key }) => ({ name, columns, key: key ?? [] }))
}

/**
 * Rows go in much faster without indexes and references, which are made again, and so checked, at the
 * end. Returns how.
 */
async function withoutIndexes(client: Client): Promise<string[]> {
  const references = await client.query<{ table: string; name: string; definition: string }>(
    `select r.conrelid::regclass::text as "table", r.conname as name,
      pg_get_constraintdef(r.oid) as definition
    from pg_constraint r where r.contype = 'f' and r.connamespace = current_schema()::regnamespace`,
  )
  const indexes = await client.query<{ name: string; definition: string }>(
    `select i.indexrelid::regclass::text as name, pg_get_indexdef(i.indexrelid) as definition
    from pg_index i join pg_class c on c.oid = i.indrelid
    where c.relnamespace = current_schema()::regnamespace
      and not exists (select from pg_constraint r where r.conindid = i.indexrelid)`,
  )
  for (const { table, name } of references.rows) {
    await client.query(`alter table ${table} drop constraint ${quoted(name)}`)
  }
  for (const { name } of indexes.rows) await client.query(`drop index ${name}`)
  return [
    ...indexes.rows.map(({ definition }) => definition),
    ...references.rows.map(
      ({ table, name, definition }) =>
        `alter table ${table} add constraint ${quoted(name)} ${definition}`,
    ),
  ]
}

/** Columns that count by themselves go on after the highest number. */
async function setSequences(client: Client, tables: readonly TableShape[]): Promise<void> {
  for (const { name, columns } of tables) {
    for (const column of columns) {
      await client.query(
        `select setval(sequence, greatest((select max(${quoted(column)})::text::numeric from ${quoted(name)}), 1)::bigint)
        from (select pg_get_serial_sequence($1, $2) as sequence) as found
        where sequence is not null`,
        [quoted(name), column],
      )
    }
  }
}

async function* rowsOf(client: Client, { name, columns, key }: TableShape) {
  const types = await client.query<{ name: string; isText: boolean }>(
    `select attname::text as name, atttypid = 'text'::regtype as "isText" from pg_attribute
    where attrelid = $1::regclass and attnum > 0`,
    [quoted(name)],
  )
  const text = new Set(types.rows.flatMap((type) => (type.isText ? [type.name] : [])))
  // Byte by byte, as SQLite orders text, whatever the locale of the server.
  const order = key.map((each) => quoted(each) + (text.has(each) ? ' collate "C"' : ''))
  await client.query(
    `declare transfer no scroll cursor for select ${list(columns)} from ${quoted(name)}
    order by ${order.join(', ')}`,
  )
  try {
    for (;;) {
      const { rows } = await client.query<Record<string, unknown>>(`fetch ${BATCH} from transfer`)
      if (rows.length === 0) return
      const carried = rows.filter((row) => isCarried(name, row))
      yield carried.map((row): Row => columns.map((column) => portableValue(row[column])))
    }
  } finally {
    await client.query('close transfer')
  }
}

async function load(
  client: Client,
  { name, columns }: TableShape,
  batches: AsyncIterable<readonly Row[]>,
): Promise<void> {
  // One parameter for all rows, of whatever types: the server reads JSON as rows of the table.
  const insert = `insert into ${quoted(name)} (${list(columns)})
    select ${list(columns)} from json_populate_recordset(null::${quoted(name)}, $1)`
  for await (const batch of batches) {
    const records = batch.map((row) =>
      Object.fromEntries(columns.map((column, i) => [column, row[i] ?? null])),
    )
    await client.query(insert, [JSON.stringify(records)])
  }
}

/** Kysely over the one connection whose transaction is under way. */
function kyselyOver(client: Client): Kysely<Schema> {
  const connection: PostgresPoolClient = {
    // Cursors, the other way to call it, are not used.
    query: ((text: string, values: unknown[] = []) =>
      client.query(text, values)) as unknown as PostgresPoolClient['query'],
    release: () => undefined,
  }
  const pool: PostgresPool = {
    options: {},
    connect: async () => connection,
    end: async () => undefined,
  }
  return new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) })
}
