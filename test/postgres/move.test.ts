import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, it, onTestFinished } from 'vitest'
import { places } from '../../src/app.ts'
import { moveInstallation } from '../../src/backup/move.ts'
import { readConfig } from '../../src/config.ts'
import { Secret } from '../../src/core/secret.ts'
import { newPostgresDatabase, sqliteDatabase, type TestDatabase } from '../support/database.ts'
import { type Inhabited, inhabit, within } from '../support/installation.ts'
import { temporaryDirectory } from '../support/temporary.ts'

const masterKey = new Secret(randomBytes(32).toString('base64url'))
const config = readConfig({ env: {}, readFile: () => '' })

async function postgres(): Promise<TestDatabase> {
  const database = await newPostgresDatabase()
  // Our own look into it is no server's.
  await database.tamper("set application_name = 'test'")
  onTestFinished(() => database.drop())
  return database
}

const move = (from: TestDatabase, to: TestDatabase) =>
  moveInstallation(places, { config, masterKey, from: from.config, to: to.config })

/** What must be true of an installation wherever it lies, and that it goes on working. */
async function expectAt({ config: database }: TestDatabase, lived: Inhabited): Promise<void> {
  await within(database, masterKey, async ({ core, admin }) => {
    for (const { secret } of lived.alive) {
      expect(await core.verifier.verify(secret)).toMatchObject({ active: true })
    }
    for (const { secret } of lived.revoked) {
      expect(await core.verifier.verify(secret)).toMatchObject({ active: false, reason: 'revoked' })
    }
    expect(await core.verifier.verify(lived.rotated.secret)).toMatchObject({
      active: false,
      reason: 'superseded',
    })
    expect(await core.verifyAudit()).toMatchObject({ intact: true })
    const caller = await admin(lived.adminSecret)
    // Every kind of thing that is numbered takes the next number.
    const user = await core.write((w) =>
      w.createUser({ caller, wish: { username: `new ${randomBytes(4).toString('hex')}` } }),
    )
    await core.write((w) => w.updateUser({ caller, id: user.id, edit: { active: false } }))
  })
}

async function rowsOf(database: TestDatabase, table: string): Promise<string[]> {
  const rows = await database.query(`select * from "${table}"`)
  return rows.map((row) => JSON.stringify(Object.entries(row).sort())).sort()
}

it('carries an installation to PostgreSQL and back, and every row of every table with it', async () => {
  const dir = temporaryDirectory()
  const first = sqliteDatabase(join(dir, 'first.db'))
  const lived = await inhabit(first, masterKey)
  const tables = (await first.tables()).filter((name) => !/^sqlite|^migration/.test(name))
  const before = new Map<string, string[]>()
  for (const table of tables) before.set(table, await rowsOf(first, table))
  const known = [
    'user',
    'user_identity',
    'role',
    'user_role',
    'group',
    'membership',
    'token',
    'change',
  ]
  known.push(
    'token_label',
    'client',
    'grant',
    'oauth_record',
    'audit',
    'audit_checkpoint',
    'policy',
  )
  for (const table of [...known, 'key', 'idempotency', 'lockout']) {
    expect(before.get(table)?.length, table).toBeGreaterThan(0)
  }

  const second = await postgres()
  const { rows } = await move(first, second)
  expect(rows).toBeGreaterThan(100)
  for (const table of tables) {
    if (table === 'audit' || table === 'counter') continue
    expect(await rowsOf(second, table), table).toEqual(before.get(table))
  }
  await expectAt(second, lived)

  const third = sqliteDatabase(join(dir, 'third.db'))
  await move(second, third)
  await expectAt(third, lived)
  expect(existsSync(join(dir, 'third.db.part'))).toBe(false)
  const [{ last } = {}] = await third.query('select max(sequence) as last from change')
  const [{ end } = {}] = await second.query(
    "select value as end from counter where name = 'change'",
  )
  // Two changes came after the move; numbers neither repeat nor leave gaps.
  expect(Number(last)).toBe(Number(end) + 2)
  const moves = await third.query("select action from audit where action = 'server.moved'")
  expect(moves).toHaveLength(2)

  // The schema is as migrations make it: every index and reference is there again.
  const fresh = await postgres()
  const indexes = `select indexdef from pg_indexes where schemaname = current_schema() order by 1`
  expect(await second.query(indexes)).toEqual(await fresh.query(indexes))
  const references = `select pg_get_constraintdef(oid) as d from pg_constraint
    where connamespace = current_schema()::regnamespace order by 1`
  expect(await second.query(references)).toEqual(await fresh.query(references))
  const entries = 'select type, name, sql from sqlite_master order by 1, 2'
  expect(await third.query(entries)).toEqual(await first.query(entries))
})

it('refuses a place that is not empty, and leaves it as it is', async () => {
  const dir = temporaryDirectory()
  const first = sqliteDatabase(join(dir, 'first.db'))
  const other = sqliteDatabase(join(dir, 'other', 'other.db'))
  await inhabit(first, masterKey, { tokens: 5 })
  await inhabit(other, masterKey, { tokens: 6 })
  await expect(move(first, other)).rejects.toMatchObject({
    code: 'not_configured',
    message: expect.stringContaining('exists'),
  })
  const taken = await postgres()
  await inhabit(taken, masterKey, { tokens: 6 })
  const tokens = await rowsOf(taken, 'token')
  await expect(move(first, taken)).rejects.toMatchObject({
    message: expect.stringContaining('not empty'),
  })
  expect(await rowsOf(taken, 'token')).toEqual(tokens)
})

it('refuses while a server is on either side', async () => {
  const dir = temporaryDirectory()
  const first = sqliteDatabase(join(dir, 'first.db'))
  await inhabit(first, masterKey, { tokens: 5 })
  const second = await postgres()
  await within(first.config, masterKey, () =>
    expect(move(first, second)).rejects.toMatchObject({
      message: expect.stringContaining('Stop it first'),
    }),
  )
  await move(first, second)
  const third = sqliteDatabase(join(dir, 'third', 'third.db'))
  await within(second.config, masterKey, () =>
    expect(move(second, third)).rejects.toMatchObject({
      message: expect.stringContaining('Stop all of them'),
    }),
  )
  expect(existsSync(join(dir, 'third', 'third.db'))).toBe(false)
})

it('puts nothing in place when a row does not arrive, or another key is given', async () => {
  const dir = temporaryDirectory()
  const first = sqliteDatabase(join(dir, 'first.db'))
  await inhabit(first, masterKey, { tokens: 5 })
  const db = new DatabaseSync(join(dir, 'first.db'))
  db.exec("pragma foreign_keys = off; update token set owner_id = 'nobody' where rowid = 3")
  db.close()
  const second = await postgres()
  await expect(move(first, second)).rejects.toThrow(/violates foreign key/)
  expect(await rowsOf(second, 'token')).toEqual([])
  const third = sqliteDatabase(join(dir, 'third', 'third.db'))
  await expect(move(first, third)).rejects.toThrow(/not there/)
  expect(existsSync(join(dir, 'third', 'third.db'))).toBe(false)
})
