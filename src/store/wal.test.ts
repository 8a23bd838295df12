import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { openSqlite, type SqliteFiles } from './sqlite.ts'
import { type WalCopier, walCopier } from './wal.ts'

/** More than is worth a copy. */
const PAGES = 1500
const PAGE_BYTES = 4096

let dir: string
let file: string
let files: SqliteFiles
let copier: WalCopier

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'mintmark-wal-'))
  file = join(dir, 'a.db')
  files = openSqlite(file)
  run('create table page (bytes blob)')
})
afterEach(async () => {
  await copier.close()
  files.reader.close()
  files.writer.close()
  files.unlock()
  rmSync(dir, { recursive: true })
})

function run(sql: string): void {
  files.writer.prepare(sql).run([])
}

function write(pages: number): void {
  run(`with recursive n(i) as (select 1 union all select i + 1 from n where i < ${pages})
    insert into page select zeroblob(${PAGE_BYTES}) from n`)
  copier.committed()
}

function log(): { log: number; checkpointed: number } {
  const [row] = files.writer.prepare('pragma wal_checkpoint(noop)').all([])
  return row as ReturnType<typeof log>
}

test('a log that has grown is copied by the thread, while the writer does something else', async () => {
  copier = walCopier(file, files.writer)
  write(PAGES)
  expect(log()).toMatchObject({ checkpointed: 0 })
  expect(log().log).toBeGreaterThan(PAGES)

  await vi.waitUntil(() => log().checkpointed === log().log, { timeout: 10_000 })
  // All of it is in the file, so that the log begins anew.
  write(1)
  expect(log().log).toBeLessThan(PAGES)
})

test('little is not worth a thread', async () => {
  copier = walCopier(file, files.writer)
  write(10)
  await new Promise((resolve) => setTimeout(resolve, 200))
  expect(log().checkpointed).toBe(0)
})

test('where the thread can copy nothing, the writer does once the log is long', async () => {
  copier = walCopier(join(dir, 'elsewhere', 'a.db'), files.writer)
  write(PAGES)
  await new Promise((resolve) => setTimeout(resolve, 200))
  write(PAGES)
  expect(log()).toMatchObject({ checkpointed: 0 })
  for (let i = 0; i < 20 && log().checkpointed === 0; i++) write(PAGES)
  expect(log().checkpointed).toBeGreaterThan(4 * PAGES)
})

test('once it is closed nothing holds the log', async () => {
  copier = walCopier(file, files.writer)
  write(PAGES)
  await vi.waitUntil(() => log().checkpointed > 0, { timeout: 10_000 })
  await copier.close()
  write(PAGES)
  files.reader.close()
  files.writer.close()
  expect(existsSync(`${file}-wal`)).toBe(false)
})
