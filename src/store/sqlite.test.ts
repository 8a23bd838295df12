import {
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { Kysely, SqliteDialect, sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openStore } from './database.ts'
import { openSqlite } from './sqlite.ts'

const clock = { now: () => 0 }
const notConfigured = expect.objectContaining({ name: 'CoreError', code: 'not_configured' })

let dir: string
let file: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'mintmark-sqlite-'))
  file = join(dir, 'data', 'mintmark.db')
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

const open = (path: string) => openStore({ kind: 'sqlite', file: path }, clock)

/** A store that has been opened and closed in good order. */
async function madeStore(): Promise<void> {
  await (await open(file)).close()
}

describe('a new file', () => {
  it('and all that lies beside it are for nobody else’s eyes', async () => {
    const store = await open(file)
    expect(statSync(join(dir, 'data')).mode & 0o777).toBe(0o700)
    for (const name of ['mintmark.db', 'mintmark.db-wal', 'mintmark.db-shm', 'server.lock']) {
      expect(statSync(join(dir, 'data', name)).mode & 0o077, name).toBe(0)
    }
    await store.close()
  })

  it('takes the settings that durability needs, on both connections', async () => {
    const { writer, reader, unlock } = openSqlite(file)
    for (const connection of [writer, reader]) {
      const value = (pragma: string) =>
        Object.values(connection.prepare(`pragma ${pragma}`).all([])[0] ?? {})[0]
      expect(value('journal_mode')).toBe('wal')
      expect(value('synchronous')).toBe(2)
      expect(value('foreign_keys')).toBe(1)
      expect(value('busy_timeout')).toBe(5000)
      expect(value('mmap_size')).toBe(0)
    }
    writer.close()
    reader.close()
    unlock()
  })

  it('is in no half-made state after a crash in the middle of its migrations', async () => {
    await madeStore()
    rmSync(file)
    // The last table of the first migration is in the way, so that it fails near its end.
    const db = new DatabaseSync(file)
    db.exec('create table lockout (x)')
    db.close()
    await expect(open(file)).rejects.toThrow(notConfigured)
    const repaired = new DatabaseSync(file)
    const tables = repaired
      .prepare("select name from sqlite_master where type = 'table' and name not like 'sqlite_%'")
      .all()
    expect(tables.map(({ name }) => name).filter((n) => !`${n}`.startsWith('migration'))).toEqual([
      'lockout',
    ])
    repaired.exec('drop table lockout')
    repaired.close()
    await (await open(file)).close()
  })
})

describe('a file that is not ours to open', () => {
  it('because another server has it open is refused, until that one is gone', async () => {
    const first = await open(file)
    await expect(open(file)).rejects.toThrow(notConfigured)
    await first.ping()
    await first.close()
    await (await open(file)).close()
  })

  it('is refused by another name, too', async () => {
    const first = await open(file)
    const link = join(dir, 'link.db')
    symlinkSync(file, link)
    await expect(open(link)).rejects.toThrow(notConfigured)
    await first.close()
  })

  it('because a newer release has migrated it is left as it is', async () => {
    await madeStore()
    const db = new DatabaseSync(file)
    db.exec("insert into migration (name, timestamp) values ('9999-from-the-future', '2040')")
    db.close()
    await expect(open(file)).rejects.toThrow(notConfigured)
    // The lock is free again: the right release may start now.
    const lock = new DatabaseSync(join(dir, 'data', 'server.lock'), { timeout: 0 })
    lock.exec('begin exclusive')
    lock.close()
  })
})

describe('a damaged file', () => {
  it.each([
    ['garbage', () => writeFileSync(file, Buffer.alloc(20_000, 'garbage!'))],
    ['half of it', () => truncateSync(file, Math.floor(statSync(file).size / 8192) * 4096)],
    ['a torn page', () => truncateSync(file, 5000)],
    ['one page', () => truncateSync(file, 4096)],
    ['a few bytes', () => truncateSync(file, 100)],
    ['nothing', () => truncateSync(file, 0)],
    ['a broken header', () => writeFileSync(file, readFileSync(file).fill(0xff, 0, 64))],
  ])('of %s is refused, and nothing is made in its place', async (_, damage) => {
    await madeStore()
    expect(existsSync(`${file}-wal`)).toBe(false)
    damage()
    const before = readFileSync(file)
    await expect(open(file)).rejects.toThrow(notConfigured)
    expect(readFileSync(file).equals(before)).toBe(true)
  })
})

describe('a full disk', () => {
  it('is told as such, stores nothing, and is over when there is room again', async () => {
    const { writer, reader, unlock } = openSqlite(file)
    const db = new Kysely<{ t: { text: string } }>({
      dialect: new SqliteDialect({ database: writer }),
    })
    await sql`create table t (text text)`.execute(db)
    await sql`pragma max_page_count = 10`.execute(db)
    const fill = () =>
      db.transaction().execute(async (tx) => {
        for (let i = 0; i < 50; i++) {
          await tx
            .insertInto('t')
            .values({ text: 'x'.repeat(4000) })
            .execute()
        }
      })
    await expect(fill()).rejects.toMatchObject({ code: 'unavailable', retryAfterSeconds: 5 })
    expect(await db.selectFrom('t').selectAll().execute()).toEqual([])
    await sql`pragma max_page_count = 1000000`.execute(db)
    await fill()
    expect(await db.selectFrom('t').selectAll().execute()).toHaveLength(50)
    await db.destroy()
    reader.close()
    unlock()
  })
})
