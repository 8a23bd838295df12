import { renameSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from 'vitest'
import { LAX } from '../../src/core/policy/rule.ts'
import { mintmark } from '../support/cli.ts'
import { newPostgresDatabase, type TestDatabase } from '../support/database.ts'
import { ADDITIONS, laterRelease } from '../support/later-release.ts'
import { runToEnd, type ServerProcess, startProcess } from '../support/process.ts'
import { rest } from '../support/rest.ts'
import { temporaryDirectory } from '../support/temporary.ts'

const TOKEN = 'a-token-of-the-first-admin-for-tests'
const KEY = 'a-master-key-for-all-the-nodes-of-the-test'
const UNLIMITED = { accessLevel: 'FULL_ACCESS', roles: null, scopes: null, groups: null }

vi.setConfig({ testTimeout: 180_000 })

let database: TestDatabase
beforeEach(async () => {
  database = await newPostgresDatabase()
})
afterEach(() => database.drop())

async function start({
  at = database,
  dataDir = temporaryDirectory(),
  entry,
}: {
  at?: TestDatabase
  dataDir?: string
  entry?: string
} = {}) {
  const env = {
    ...at.env,
    MINTMARK_MASTER_KEY: KEY,
    MINTMARK_BOOTSTRAP_TOKEN: TOKEN,
    MINTMARK_POLL_MS: '100',
  }
  const server: ServerProcess = await startProcess({
    dataDir,
    env,
    ...(entry === undefined ? {} : { entry }),
  })
  onTestFinished(async () => {
    await server.end('SIGKILL')
  })
  const api = rest(server.url, TOKEN)
  return {
    server,
    api,
    dataDir,
    env: { ...env, MINTMARK_DATA_DIR: dataDir },
    make: async (name: string) =>
      (await api.call('POST', '/tokens', { body: { name, ...UNLIMITED } })).body,
    revoke: async (id: string) =>
      (await api.call('POST', `/tokens/${id}/revoke`, { body: {} })).body,
  }
}

/** A change in the log that no release before knows the subject of. */
const unheardOf = (id: string) => `update counter set value = value + 1 where name = 'change';
  insert into change (sequence, subject, subject_id, at_ms)
    select value, 'tenant', '${id}', ${Date.now()} from counter where name = 'change'`

const soon = (look: () => Promise<void>) => vi.waitFor(look, { timeout: 5000, interval: 50 })

test('during an upgrade old and new servers work side by side, and each honours what the other ends', async () => {
  const old = await start()
  const [byNew, byOld, kept, marked, touched] = await Promise.all(
    ['by new', 'by old', 'kept', 'marked', 'touched'].map(old.make),
  )
  // Busy all the while: nobody is turned away for the new release's sake.
  let isOver = false
  const failures: unknown[] = []
  const busy = (async () => {
    for (let i = 0; !isOver; i++) {
      const fresh = await old.make(`busy ${i}`).catch((error) => failures.push(error))
      if (!(await old.api.isActive(fresh?.secret))) failures.push(fresh)
    }
  })()
  const entry = laterRelease(temporaryDirectory(), ADDITIONS)
  const renewed = await start({ entry })
  isOver = true
  await busy
  expect(failures).toEqual([])

  for (const { secret } of [byNew, byOld, kept, marked, touched]) {
    for (const { api } of [old, renewed]) expect(await api.isActive(secret)).toBe(true)
  }
  expect(await renewed.revoke(byNew.id)).toMatchObject({ acknowledged: 2, nodes: 2 })
  expect(await old.api.isActive(byNew.secret)).toBe(false)
  expect(await old.revoke(byOld.id)).toMatchObject({ acknowledged: 2, nodes: 2 })
  expect(await renewed.api.isActive(byOld.secret)).toBe(false)
  const fresh = await renewed.make('fresh')
  expect(await old.api.isActive(fresh.secret)).toBe(true)

  // What the new release alone understands, and tells in words of its own.
  await database.tamper(`update token set must_know = 'not-before' where id = '${marked.id}';
    update token set revoked_at_ms = 1 where id = '${touched.id}'; ${unheardOf('t-1')}`)
  await soon(async () => {
    expect(await old.api.isActive(marked.secret)).toBe(false)
    expect(await old.api.isActive(touched.secret)).toBe(false)
  })
  expect(await old.api.isActive(kept.secret)).toBe(true)

  const { status, output } = await runToEnd({ dataDir: temporaryDirectory(), env: old.env })
  expect(status).toBe(1)
  expect(output).toContain('If a newer Mintmark has used it, start that one')
  expect((await old.server.end('SIGTERM')).status).toBe(0)
  expect(await renewed.api.isActive(kept.secret)).toBe(true)
})

test('a rule that only the new release understands binds on the old one as soon as it is there', async () => {
  const old = await start()
  const wish = { name: 'robot', kind: 'service', ...UNLIMITED }
  const { body: robot } = await old.api.call('POST', '/tokens', { body: wish })
  const kept = await old.make('kept')
  const isActive = () => old.api.isActive(robot.secret)
  expect(await isActive()).toBe(true)
  const rule = { ...LAX, name: 'weekdays', kinds: ['service'], weekdays: ['mon'] }
  const change = (value: unknown) =>
    database.tamper(`insert into policy (name, value, updated_at_ms)
      values ('tokenRules', '${JSON.stringify(value)}', 1)
      on conflict (name) do update set value = excluded.value;
      update counter set value = value + 1 where name = 'change';
      insert into change (sequence, subject, subject_id, at_ms)
        select value, 'policy', 'policy', ${Date.now()} from counter where name = 'change'`)
  await change([rule])
  await soon(async () => expect(await isActive()).toBe(false))
  expect(await old.api.isActive(kept.secret)).toBe(true)
  const refused = await old.api.call('POST', '/tokens', {
    body: { ...wish, name: 'another' },
    accept: 503,
  })
  expect(refused).toMatchObject({ status: 503 })
  expect(refused.body.detail).toContain('newer release')
  const seen = await old.api.call('GET', '/policy')
  expect(seen.body.tokenRules).toMatchObject([{ name: 'weekdays', kinds: ['service'] }])
  await change([])
  await soon(async () => expect(await isActive()).toBe(true))
})

test('beside a release that moves columns elsewhere no token is active that has to be read', async () => {
  const old = await start()
  const { secret } = await old.make('known')
  const isActive = () => old.api.isActive(secret).catch(() => 'refused')
  for (const column of [
    'revoked_at_ms',
    'superseded_at_ms',
    'allowed_ips',
    'bound_key',
    'digest',
  ]) {
    await soon(async () => expect(await isActive()).toBe(true))
    await database.tamper(
      `alter table token rename column ${column} to elsewhere; ${unheardOf('1')}`,
    )
    await soon(async () => expect(await isActive(), column).not.toBe(true))
    await database.tamper(
      `alter table token rename column elsewhere to ${column}; ${unheardOf('2')}`,
    )
  }
  await database.tamper("insert into migration (name, timestamp) values ('9999-later', '2040')")
  const { status, output } = await runToEnd({ dataDir: temporaryDirectory(), env: old.env })
  expect(status).toBe(1)
  expect(output).toContain('If a newer Mintmark has used it, start that one')
})

test('the way down is the backup from before, with what the newer release ended', async () => {
  const old = await start()
  const [kept, ended, lost] = await Promise.all(['kept', 'ended', 'lost'].map(old.make))
  await old.revoke(lost.id)
  const file = join(temporaryDirectory(), 'before.backup')
  const backup = await mintmark(['backup', file], { env: old.env })
  expect(backup, backup.stderr).toMatchObject({ status: 0 })
  await old.server.end('SIGTERM')

  const entry = laterRelease(temporaryDirectory(), ADDITIONS)
  const renewed = await start({ dataDir: old.dataDir, entry })
  const late = await renewed.make('late')
  await renewed.revoke(ended.id)
  await renewed.server.end('SIGTERM')

  const place = await newPostgresDatabase('', 'template0')
  onTestFinished(() => place.drop())
  const journal = join(temporaryDirectory(), 'revocations.log')
  renameSync(join(renewed.dataDir, 'revocations.log'), journal)
  const env = { ...old.env, ...place.env, MINTMARK_DATA_DIR: temporaryDirectory() }
  const restored = await mintmark(['restore', file, '--revocations', journal, '--json'], { env })
  expect(restored.json(), restored.stderr).toMatchObject({ ended: { tokens: 1 } })
  const again = await start({ at: place })
  expect(await again.api.isActive(kept.secret)).toBe(true)
  for (const { secret } of [ended, lost, late]) expect(await again.api.isActive(secret)).toBe(false)
})
