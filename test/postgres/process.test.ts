import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest'
import { mintmark } from '../support/cli.ts'
import { newPostgresDatabase, postgresDatabase, type TestDatabase } from '../support/database.ts'
import { startPostgres } from '../support/postgres-server.ts'
import { runToEnd, type ServerProcess, startProcess } from '../support/process.ts'
import { rest } from '../support/rest.ts'
import { temporaryDirectory } from '../support/temporary.ts'

const TOKEN = 'a-token-of-the-first-admin-for-tests'
const KEY = 'a-master-key-for-all-the-nodes-of-the-test'

let database: TestDatabase
beforeEach(async () => {
  database = await newPostgresDatabase()
})
afterEach(() => database.drop())

const settings = (more: Record<string, string> = {}) => ({
  ...database.env,
  MINTMARK_MASTER_KEY: KEY,
  MINTMARK_BOOTSTRAP_TOKEN: TOKEN,
  ...more,
})

async function start(env: Record<string, string>, dataDir = temporaryDirectory()) {
  const server: ServerProcess = await startProcess({ dataDir, env })
  onTestFinished(async () => {
    await server.end('SIGKILL')
  })
  return { server, api: rest(server.url, TOKEN), dataDir }
}

test('two servers share a database: what one revokes, the other refuses', async () => {
  const [one, two] = await Promise.all([start(settings()), start(settings())])
  const response = await fetch(`${one.server.url}/api/v1/tokens`, {
    method: 'POST',
    headers: { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'shared' }),
  })
  const { secret } = (await response.json()) as { secret: string }
  expect(await two.api.isActive(secret)).toBe(true)
  await fetch(`${one.server.url}/api/v1/tokens/self/revoke`, {
    method: 'POST',
    headers: { authorization: `Bearer ${secret}`, 'content-type': 'application/json' },
    body: '{}',
  })
  const began = performance.now()
  while (await two.api.isActive(secret)) expect(performance.now() - began).toBeLessThan(2000)
  expect((await one.server.end('SIGTERM')).status).toBe(0)
  expect((await two.server.end('SIGTERM')).status).toBe(0)
})

test('a server without the key of the others makes none of its own', async () => {
  const { MINTMARK_MASTER_KEY: _, ...env } = settings()
  const dataDir = temporaryDirectory()
  const { status, output } = await runToEnd({ dataDir, env })
  expect(status).toBe(1)
  expect(output).toMatch(/no master key.*openssl rand/)
  expect(existsSync(join(dataDir, 'master.key'))).toBe(false)
})

test('a server may have the key in its data directory, but not another', async () => {
  const dataDir = temporaryDirectory()
  const { MINTMARK_MASTER_KEY: _, ...env } = settings()
  writeFileSync(join(dataDir, 'master.key'), KEY, { mode: 0o600 })
  await start(env, dataDir)
  const { status, output } = await runToEnd({
    dataDir: temporaryDirectory(),
    env: settings({ MINTMARK_MASTER_KEY: 'x'.repeat(32) }),
  })
  expect(status).toBe(1)
  expect(output).toContain('The master key does not fit this database')
})

test('a database that was lost is not taken for a first start', async () => {
  const { server, dataDir } = await start(settings())
  expect((await server.end('SIGTERM')).status).toBe(0)
  const empty = await newPostgresDatabase()
  onTestFinished(() => empty.drop())
  const { status, output } = await runToEnd({ dataDir, env: settings(empty.env) })
  expect(status).toBe(1)
  expect(output).toMatch(/is empty\. Restore it from a backup/)
  expect(await empty.query('select id from "user"')).toEqual([])
})

test('`migrate` waits for the database, brings it to this release, and ends', async () => {
  const postgres = await startPostgres()
  onTestFinished(() => postgres.stop())
  await postgres.end('SIGKILL')
  const env = { ...settings(), MINTMARK_DATABASE_URL: postgres.url }
  const dataDir = temporaryDirectory()
  const impatient = await mintmark(['migrate', '--wait', '1s'], {
    env: { ...env, MINTMARK_DATA_DIR: dataDir },
  })
  expect(impatient).toMatchObject({ status: 1, stdout: '' })
  // Once while it waits, and once in the end.
  expect(impatient.stderr).toMatch(
    /^Waiting, 1 s at most\. .*cannot be reached.*\n.*cannot be reached/,
  )
  const patient = mintmark(['migrate', '--wait', '60s', '--json'], {
    env: { ...env, MINTMARK_DATA_DIR: dataDir },
  })
  await postgres.start()
  const { status, json } = await patient
  expect(status).toBe(0)
  expect(json()).toEqual({ migrated: true })
  expect(await postgresDatabase(postgres.url).tables()).toContain('token')
})

test('a database that cannot be reached ends the start with a reason, and without the password', async () => {
  const url = 'postgres://mint:hidden-password@127.0.0.1:1/tokens'
  const { status, output } = await runToEnd({
    dataDir: temporaryDirectory(),
    env: settings({ MINTMARK_DATABASE_URL: url }),
  })
  expect(status).toBe(1)
  expect(output).toContain('The database cannot be reached.')
  expect(output).not.toContain('hidden')
})
