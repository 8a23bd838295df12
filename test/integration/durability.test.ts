import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { openSqlite } from '../../src/store/sqlite.ts'
import { launch, type ProcessOptions, runToEnd, startProcess } from '../support/process.ts'
import { rest } from '../support/rest.ts'
import { temporaryDirectory } from '../support/temporary.ts'

const adminToken = `boot-${randomBytes(30).toString('base64url')}`
const env = { MINTMARK_BOOTSTRAP_TOKEN: adminToken }

async function start(options: ProcessOptions) {
  const server = await startProcess({ env, ...options })
  onTestFinished(async () => {
    await server.end('SIGKILL')
  })
  return { server, api: rest(server.url, adminToken) }
}

const template = mkdtempSync(join(tmpdir(), 'mintmark-template-'))

beforeAll(async () => {
  const server = await startProcess({ dataDir: template, env })
  const api = rest(server.url, adminToken)
  for (let i = 0; i < 20; i++) await api.call('POST', '/tokens', { body: { name: `token ${i}` } })
  expect(await server.end('SIGTERM')).toMatchObject({ status: 0 })
})
afterAll(() => rmSync(template, { recursive: true, force: true }))

/** A data directory as a server leaves it that was used and stopped. */
function usedDirectory(): { dataDir: string; file: string } {
  const dataDir = temporaryDirectory()
  cpSync(template, dataDir, { recursive: true })
  return { dataDir, file: join(dataDir, 'mintmark.db') }
}

function modeOf(path: string): string {
  return (statSync(path).mode & 0o777).toString(8)
}

test('every connection has the settings that durability needs', () => {
  const { writer, reader, unlock } = openSqlite(join(temporaryDirectory(), 'mintmark.db'))
  for (const connection of [writer, reader]) {
    const value = (pragma: string) =>
      Object.values(connection.prepare(`pragma ${pragma}`).all([])[0] ?? {})[0]
    expect(value('journal_mode')).toBe('wal')
    expect(value('synchronous')).toBe(2)
    expect(value('foreign_keys')).toBe(1)
    expect(value('mmap_size')).toBe(0)
    // The pragma's column is called `timeout`.
    expect(value('busy_timeout')).toBe(5000)
    connection.close()
  }
  unlock()
})

/** Whether system calls can be watched here; not every machine has strace or lets it trace. */
const canTrace = spawnSync('strace', ['-D', '-e', 'trace=none', 'true']).status === 0

test.runIf(canTrace)('a change is on disk before its answer is sent', async () => {
  const dataDir = temporaryDirectory()
  const trace = join(temporaryDirectory(), 'trace')
  const strace = [
    'strace',
    '-D',
    '-f',
    '-y',
    '-s',
    '12',
    '-e',
    'trace=fsync,fdatasync,write,writev',
  ]
  const { server, api } = await start({ dataDir, wrapper: [...strace, '-o', trace] })
  const answeredBefore = stepsOf(trace).length
  const { body } = await api.call('POST', '/tokens', { body: { name: 'traced' } })
  const successor = await api.call('POST', `/tokens/${body.id}/rotate`)
  await api.call('POST', '/tokens/verify', { body: { token: body.secret } })
  await api.call('POST', `/tokens/${successor.body.id}/revoke`)
  await server.end('SIGTERM')

  const steps = stepsOf(trace).slice(answeredBefore).join(' ')
  expect(steps).toMatch(/^(sync )+201 (sync )+200 200 (sync )+200/)
})

/** What a trace shows of syncing the write-ahead log and of answering, in order. */
function stepsOf(trace: string): string[] {
  const found = readFileSync(trace, 'utf8').matchAll(
    /f(?:data)?sync\(\d+<[^>]*mintmark\.db-wal>\) += 0|"HTTP\/1\.1 (\d+)/g,
  )
  return [...found].map(([, status]) => status ?? 'sync')
}

test('a second server on the same data is refused, and the first goes on', async () => {
  const dataDir = temporaryDirectory()
  const { api } = await start({ dataDir })
  const second = await runToEnd({ dataDir })
  expect(second.status).toBe(1)
  expect(second.output).toMatch(/^Another Mintmark process uses .+\. Stop it first/)
  expect((await api.call('GET', '/tokens/self')).body.state).toBe('active')
})

test('what lies in the data directory is for its owner alone', async () => {
  const { dataDir } = usedDirectory()
  await start({ dataDir })
  expect(modeOf(dataDir)).toBe('700')
  const files = readdirSync(dataDir)
  expect(files).toEqual(expect.arrayContaining(['master.key', 'mintmark.db', 'mintmark.db-wal']))
  for (const name of files) expect([name, modeOf(join(dataDir, name))]).toEqual([name, '600'])
})

test('a data directory and files that others could read are closed to them', async () => {
  const { dataDir, file } = usedDirectory()
  chmodSync(dataDir, 0o755)
  chmodSync(file, 0o644)
  await start({ dataDir })
  expect(modeOf(dataDir)).toBe('700')
  expect(modeOf(file)).toBe('600')
})

/** Starts on damaged data: it must end with a sentence and leave everything as it was. */
async function expectRefusal(dataDir: string, sentence: RegExp): Promise<void> {
  const file = join(dataDir, 'mintmark.db')
  const before = existsSync(file) ? readFileSync(file) : undefined
  const { status, output } = await runToEnd({ dataDir, env })
  expect(output).toMatch(sentence)
  expect(status).toBe(1)
  expect(output).not.toMatch(/^\s+at /m)
  if (before !== undefined) expect(readFileSync(file).equals(before)).toBe(true)
}

test('a database that is garbage is refused, not replaced', async () => {
  const { dataDir, file } = usedDirectory()
  writeFileSync(file, randomBytes(50_000))
  await expectRefusal(dataDir, /is damaged or not a database\. Restore it from a backup/)
})

test.each([0.2, 0.5, 0.95])('a database cut off at %d of its length is refused', async (part) => {
  const { dataDir, file } = usedDirectory()
  truncateSync(file, Math.floor(statSync(file).size * part))
  await expectRefusal(dataDir, /is damaged or not a database\. Restore it from a backup/)
})

test('a database of a newer release is refused', async () => {
  const { dataDir, file } = usedDirectory()
  const db = new DatabaseSync(file)
  db.exec(`insert into migration values ('9999-from-the-future', '2040-01-01T00:00:00Z')`)
  db.close()
  await expectRefusal(dataDir, /If a newer Mintmark has used it, start that one/)
})

test('a database without its key file is refused', async () => {
  const { dataDir } = usedDirectory()
  rmSync(join(dataDir, 'master.key'))
  await expectRefusal(dataDir, /exists, but not its key file .+ Restore the file/)
  expect(existsSync(join(dataDir, 'master.key'))).toBe(false)
})

test('a database whose keys the master key does not open is refused', async () => {
  const { dataDir } = usedDirectory()
  writeFileSync(join(dataDir, 'master.key'), randomBytes(32).toString('base64url'))
  await expectRefusal(dataDir, /The master key does not fit this database/)
})

test('a database that is gone is missed, not replaced by an empty one', async () => {
  const { dataDir, file } = usedDirectory()
  rmSync(file)
  await expectRefusal(dataDir, /The database .+ is gone\. Restore it from a backup/)
  expect(existsSync(file)).toBe(false)
})

test('a directory that cannot be made is said so at once', async () => {
  await expectRefusal('/proc/no/such/place', /The directory \/proc\/no cannot be made/)
})

test('a first start whose port is taken has told the password before it fails', async () => {
  const { server } = await start({ dataDir: temporaryDirectory() })
  const port = new URL(server.url).port
  const { status, output } = await runToEnd({
    dataDir: temporaryDirectory(),
    env: { MINTMARK_PORT: port },
  })
  expect(status).toBe(1)
  expect(output).toMatch(/One-time password: {2}\S+/)
  expect(output).toMatch(/Set MINTMARK_PORT/)
})

test('a key file that others can read is refused', async () => {
  const { dataDir } = usedDirectory()
  chmodSync(join(dataDir, 'master.key'), 0o644)
  await expectRefusal(dataDir, /can be read by others\. Run: chmod 600/)
})

test.each(['', 'short\n'])('a key file with too little in it (%j) is refused', async (content) => {
  const dataDir = temporaryDirectory()
  writeFileSync(join(dataDir, 'master.key'), content, { mode: 0o600 })
  await expectRefusal(dataDir, /master\.key .*at least 32 characters/)
})

test('a first start that is killed at any moment can be repeated', async () => {
  for (const afterMs of [250, 400, 550]) {
    const dataDir = temporaryDirectory()
    const first = launch({ dataDir, env })
    setTimeout(() => first.child.kill('SIGKILL'), afterMs)
    await first.ended
    const { server, api } = await start({ dataDir })
    expect((await api.call('GET', '/tokens/self')).body.state).toBe('active')
    await server.end('SIGKILL')
  }
})
