import { randomBytes } from 'node:crypto'
import { createServer } from 'node:net'
import { Client } from 'pg'
import { afterEach, describe, expect, inject, it } from 'vitest'
import type { Store } from '../../src/core/store.ts'
import { type Database, openStore } from '../../src/store/database.ts'
import { migrations } from '../../src/store/migrations/index.ts'
import {
  administer,
  newPostgresDatabase,
  postgresDatabase,
  type TestDatabase,
} from '../support/database.ts'
import { type PostgresServer, startPostgres } from '../support/postgres-server.ts'

const clock = { now: () => 0 }
const undo: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step()
})

const coded = (code: string, message: RegExp = /./) =>
  expect.objectContaining({ code, message: expect.stringMatching(message) })
const unavailable = (message: RegExp = /./) => coded('unavailable', message)

/** An empty database, made with the given options of `create database`. */
async function emptyDatabase(options = "encoding 'UTF8' template template0", query = '') {
  const server = inject('postgresUrl')
  const name = `mintmark_test_${randomBytes(6).toString('hex')}`
  await administer(server, `create database ${name} ${options}`)
  const url = new URL(server)
  url.pathname = name
  const database = postgresDatabase(`${url.href}${query}`, () =>
    administer(server, `drop database if exists ${name} with (force)`),
  )
  undo.push(database.drop)
  return { name, database }
}

async function usedDatabase(): Promise<TestDatabase> {
  const database = await newPostgresDatabase()
  undo.push(database.drop)
  return database
}

type PostgresConfig = Extract<Database, { kind: 'postgres' }>

async function opened(
  { config }: TestDatabase,
  limits: Partial<Pick<PostgresConfig, 'pool' | 'waitMs' | 'pollMs'>> = {},
): Promise<Store> {
  const store = await openStore({ ...config, ...limits } as Database, clock)
  undo.push(() => store.close())
  return store
}

const put = (store: Store, account: string) =>
  store.transaction((tx) =>
    tx.lockouts.put(account, { failures: 1, lockedUntilMs: undefined }, clock.now()),
  )

describe('a start', () => {
  it('of ten nodes at once migrates once', async () => {
    const { database } = await emptyDatabase()
    await Promise.all(Array.from({ length: 10 }, () => opened(database, { pool: 2 })))
    const rows = await database.query('select name from migration order by name')
    expect(rows.map(({ name }) => name)).toEqual(Object.keys(migrations))
    expect(await database.tables()).toContain('token')
  })

  it('leaves no half-made tables behind when a migration fails', async () => {
    const { database } = await emptyDatabase()
    // The last table of the first migration is in the way.
    await database.tamper('create table lockout (x int)')
    await expect(opened(database)).rejects.toThrow(coded('not_configured'))
    expect(await database.tables()).not.toContain('user')
    await database.tamper('drop table lockout')
    await opened(database)
  })

  it('after a newer release is refused', async () => {
    const database = await usedDatabase()
    await database.tamper("insert into migration values ('9999-from-the-future', '2040')")
    await expect(opened(database)).rejects.toThrow(coded('not_configured', /newer Mintmark/))
  })

  it.each([
    ['synchronous_commit', 'off'],
    ['synchronous_commit', 'local'],
  ])('with %s = %s is refused', async (name, value) => {
    const { name: database, database: empty } = await emptyDatabase()
    await administer(inject('postgresUrl'), `alter database ${database} set ${name} = ${value}`)
    await expect(opened(empty)).rejects.toThrow(coded('not_configured', new RegExp(name)))
  })

  it('on a server that does not sync is refused', async () => {
    for (const [flag, name] of [
      ['fsync=off', 'fsync'],
      ['full_page_writes=off', 'full_page_writes'],
    ] as const) {
      const server = await startPostgres(['-c', flag])
      undo.push(() => server.stop())
      await expect(opened(postgresDatabase(server.url))).rejects.toThrow(
        coded('not_configured', new RegExp(`${name} is off`)),
      )
    }
  })

  it('in another encoding is refused', async () => {
    const { database } = await emptyDatabase("encoding 'LATIN1' locale 'C' template template0")
    await expect(opened(database)).rejects.toThrow(coded('not_configured', /UTF8/))
  })

  it('on a read-only database is refused for now', async () => {
    const { name, database } = await emptyDatabase()
    await administer(
      inject('postgresUrl'),
      `alter database ${name} set default_transaction_read_only = on`,
    )
    await expect(opened(database)).rejects.toThrow(unavailable(/read-only/))
  })

  it('keeps to its own schema, whatever lies in the others', async () => {
    const { database } = await emptyDatabase(undefined, '?options=-csearch_path%3Dours')
    await expect(opened(database)).rejects.toThrow(coded('not_configured', /search_path/))
    await database.tamper(`create schema ours;
      create table public.token (x int); create table public.migration (name text);
      insert into public.migration values ('0001-init'), ('0002-oauth'), ('0003-keys')`)
    const store = await opened(database)
    await put(store, 'x')
    expect(await database.query('select * from public.token')).toEqual([])
    expect(await database.query('select account from ours.lockout')).toEqual([{ account: 'x' }])
  })

  it('is not misled by another installation in a schema that comes later', async () => {
    const { database } = await emptyDatabase()
    await put(await opened(database), 'theirs')
    await database.tamper('create schema ours')
    const { config } = database
    if (config.kind !== 'postgres') throw new Error('Not PostgreSQL.')
    const url = `${config.url.reveal()}?options=-csearch_path%3Dours,public`
    const store = await opened(postgresDatabase(url))
    await put(store, 'ours')
    expect(await database.query('select account from ours.lockout')).toEqual([{ account: 'ours' }])
    expect(await database.query('select account from lockout')).toEqual([{ account: 'theirs' }])
  })

  it('never tells the password', async () => {
    const url = new URL(inject('postgresUrl'))
    url.password = 'wrong-password-of-mine'
    const port = url.port
    const told: string[] = []
    for (const change of [
      () => undefined,
      () => {
        url.port = '1'
      },
      () => {
        url.port = port
        url.pathname = 'no_such_database'
      },
      () => {
        url.searchParams.set('sslmode', 'verify-full')
      },
    ]) {
      change()
      const { config } = postgresDatabase(url.href)
      const error = await openStore(config, clock).catch((error: unknown) => error)
      expect(error).toMatchObject({ name: 'CoreError' })
      const { inspect } = await import('node:util')
      told.push(inspect(error, { depth: 9, showHidden: true }), JSON.stringify(config))
    }
    expect(told.join()).not.toContain('wrong-password-of-mine')
  })
})

describe('trouble with the database', () => {
  it('such as an exhausted pool is told in time, and over when there is room', async () => {
    const database = await usedDatabase()
    const store = await opened(database, { pool: 3, waitMs: 300 })
    await put(store, 'held')
    const release = await locked(database, "update lockout set failures = 2 where account = 'held'")
    const began = performance.now()
    const all = await Promise.allSettled(Array.from({ length: 30 }, () => put(store, 'held')))
    expect(performance.now() - began).toBeLessThan(10_000)
    for (const result of all) {
      expect(result).toMatchObject({ status: 'rejected', reason: unavailable() })
    }
    // Changes leave connections for those who only ask.
    const stuck = put(store, 'held').catch((error: unknown) => error)
    await store.ping()
    await release()
    await stuck
    await put(store, 'held')
  })

  it('such as a lock that is never freed does not hang', async () => {
    const database = await usedDatabase()
    const store = await opened(database)
    await put(store, 'held')
    const release = await locked(database, "update lockout set failures = 2 where account = 'held'")
    const began = performance.now()
    await expect(put(store, 'held')).rejects.toThrow(unavailable(/busy/))
    expect(performance.now() - began).toBeLessThan(5000)
    await release()
  })

  it('such as a node that stops in the middle of its transaction frees the others', async () => {
    const database = await usedDatabase()
    const [stopped, other] = [await opened(database), await opened(database, { waitMs: 8000 })]
    let resume = () => {}
    let holds = () => {}
    const held = new Promise<void>((resolve) => {
      holds = resolve
    })
    const asleep = stopped.transaction(async (tx) => {
      await tx.lockouts.get('x')
      await new Promise<void>((resolve) => {
        resume = resolve
        holds()
      })
      await tx.lockouts.clear('x')
    })
    const ended = asleep.catch((error: unknown) => error)
    await held
    const began = performance.now()
    // Whoever comes meanwhile is sent away; five seconds later the server ends the sleeper.
    const tries: string[] = []
    while (tries.at(-1) !== 'ok' && performance.now() - began < 15_000) {
      const result = await other
        .transaction((tx) => tx.lockouts.get('x'))
        .then(
          () => 'ok',
          (error: { code?: string }) => String(error.code),
        )
      tries.push(result)
    }
    expect(tries.at(-1)).toBe('ok')
    expect(new Set(tries.slice(0, -1))).toEqual(new Set(['unavailable']))
    resume()
    expect(await ended).toMatchObject({ code: 'unavailable' })
    await put(stopped, 'x')
  })

  it('such as killed connections costs those requests only', async () => {
    const database = await usedDatabase()
    const store = await opened(database)
    await put(store, 'x')
    const kill = () =>
      database.query(`select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid()`)
    await kill()
    const inside = store.transaction(async (tx) => {
      await tx.lockouts.put('inside', { failures: 1, lockedUntilMs: undefined }, 0)
      await kill()
      await tx.lockouts.put('inside', { failures: 2, lockedUntilMs: undefined }, 0)
    })
    await expect(inside).rejects.toThrow(unavailable(/Nothing was changed/))
    await put(store, 'afterwards')
    expect(await store.lockouts.get('inside')).toBeUndefined()
  })

  it('such as a commit whose end nobody knows is told as that', async () => {
    const database = await usedDatabase()
    // Kills the connection in the middle of its commit.
    await database.tamper(`create function die() returns trigger language plpgsql as $$
        begin perform pg_terminate_backend(pg_backend_pid()); perform pg_sleep(1); return null; end $$;
      create constraint trigger dying after insert on lockout deferrable initially deferred
        for each row execute function die()`)
    const store = await opened(database)
    await expect(put(store, 'x')).rejects.toThrow(unavailable(/may or may not have happened/))
  })

  it('such as a full queue of notices keeps nobody from a change', async () => {
    const server = await startPostgres(['-c', 'max_notify_queue_pages=64'])
    undo.push(() => server.stop())
    const database = postgresDatabase(server.url)
    const [store, other] = [await opened(database), await opened(database, { pollMs: 50 })]
    const heard: string[] = []
    other.onChange((changes) => {
      heard.push(...changes.map(({ id }) => id))
    })
    // Somebody listens and takes nothing in.
    await locked(database, 'listen x; commit; begin; select 1')
    const flood = `select pg_notify('x', repeat('x', 7000) || i) from generate_series(1, 50) i`
    let isFull = false
    for (let i = 0; i < 100 && !isFull; i++) {
      isFull = await database.tamper(flood).then(
        () => false,
        () => true,
      )
    }
    expect(isFull).toBe(true)
    await store.transaction((tx) => tx.changes.append({ subject: 'user', id: 'somebody' }))
    while (!heard.includes('somebody')) await new Promise((resolve) => setTimeout(resolve, 5))
  })

  it('such as too many connections is told as such', async () => {
    const { name, database } = await emptyDatabase()
    await (await openStore(database.config, clock)).close()
    await administer(inject('postgresUrl'), `alter database ${name} connection limit 0`)
    // Limits do not bind superusers, so that the tests' own user must be another.
    const role = `limited_${randomBytes(4).toString('hex')}`
    await administer(inject('postgresUrl'), `create role ${role} login password 'x'`)
    undo.push(() => administer(inject('postgresUrl'), `drop role ${role}`))
    const url = new URL(inject('postgresUrl'))
    Object.assign(url, { username: role, password: 'x', pathname: name })
    await expect(openStore(postgresDatabase(url.href).config, clock)).rejects.toThrow(
      unavailable(/no connection left/),
    )
  })

  it('such as a network that swallows everything does not hang', async () => {
    const silent = createServer(() => undefined)
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
    const address = silent.address()
    const port = typeof address === 'object' ? address?.port : 0
    const { config } = postgresDatabase(`postgres://x:y@127.0.0.1:${port}/z`)
    const began = performance.now()
    const wish = { ...config, waitMs: 300 } as Database
    await expect(openStore(wish, clock)).rejects.toThrow(unavailable(/cannot be reached/))
    expect(performance.now() - began).toBeLessThan(5000)
    silent.close()
  })

  it('that was killed is told as such, and over when it is back: nothing acknowledged is lost', async () => {
    const server: PostgresServer = await startPostgres()
    undo.push(() => server.stop())
    const store = await opened(postgresDatabase(server.url))
    let acknowledged = 0
    for (let round = 0; round < 3; round++) {
      const stop = { now: false }
      const failures: unknown[] = []
      const writers = Array.from({ length: 4 }, async (_, writer) => {
        for (let i = 0; !stop.now; i++) {
          try {
            await put(store, `${round}-${writer}-${i}`)
            acknowledged++
          } catch (error) {
            failures.push(error)
          }
        }
      })
      await new Promise((resolve) => setTimeout(resolve, 300))
      await server.end('SIGKILL')
      await new Promise((resolve) => setTimeout(resolve, 300))
      stop.now = true
      await Promise.all(writers)
      expect(failures.length).toBeGreaterThan(0)
      for (const failure of failures) expect(failure).toEqual(unavailable())
      await expect(store.ping()).rejects.toThrow(unavailable())
      await server.start()
      const began = performance.now()
      for (;;) {
        if (
          await store.ping().then(
            () => true,
            () => false,
          )
        )
          break
        expect(performance.now() - began).toBeLessThan(10_000)
      }
    }
    const client = new Client({ connectionString: server.url })
    await client.connect()
    const { rows } = await client.query('select count(*)::int as n from lockout')
    await client.end()
    expect(acknowledged).toBeGreaterThan(0)
    expect(rows[0].n).toBeGreaterThanOrEqual(acknowledged)
  }, 60_000)
})

/** Runs a statement in a transaction that stays open. Returns the way to end it. */
async function locked({ config }: TestDatabase, sql: string): Promise<() => Promise<void>> {
  if (config.kind !== 'postgres') throw new Error('Not PostgreSQL.')
  const client = new Client({ connectionString: config.url.reveal() })
  await client.connect()
  await client.query(`begin; ${sql}`)
  let isOpen = true
  const end = async () => {
    if (isOpen) await client.end()
    isOpen = false
  }
  undo.push(end)
  return end
}
