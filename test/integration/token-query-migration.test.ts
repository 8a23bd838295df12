import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sql } from 'kysely'
import { Migrator } from 'kysely/migration'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { TokenId } from '../../src/core/id.ts'
import { NEWEST_FIRST } from '../../src/core/tokens/filter.ts'
import { openStore } from '../../src/store/database.ts'
import { migrations } from '../../src/store/migrations/index.ts'
import { newEmptyDatabase, type TestDatabase } from '../support/database.ts'

const dir = mkdtempSync(join(tmpdir(), 'mintmark-migration-'))
let database: TestDatabase
afterAll(async () => {
  await database.drop()
  rmSync(dir, { recursive: true, force: true })
})

const COUNT = 2500
const idOf = (i: number) => `token-${String(i).padStart(5, '0')}`

beforeAll(async () => {
  database = await newEmptyDatabase(dir)
  const db = database.connect()
  const migrator = new Migrator({
    db,
    provider: { getMigrations: async () => migrations },
    migrationTableName: 'migration',
    migrationLockTableName: 'migration_lock',
  })
  expect((await migrator.migrateTo('0003-keys')).error).toBeUndefined()
  await db.destroy()
  await database.transaction(async (tx) => {
    await sql`insert into "user" (id, serial, username, username_key, display_name, kind,
      global_role, active, attributes, password_is_one_time, created_at_ms, updated_at_ms)
      values ('owner', 1, 'alice', 'alice', '', 'person', 'USER', 1, '{}', 0, 0, 0)`.execute(tx)
    for (let i = 0; i < COUNT; i++) {
      const id = idOf(i)
      const ip = i % 2 === 0 ? `10.0.${i >> 8}.${i & 255}` : null
      await sql`insert into token (id, kind, owner_id, creator_id, description, via, format, digest,
        pepper_id, preview, access_level, scopes, metadata, family_id, created_at_ms, updated_at_ms,
        revoked_at_ms, last_used_at_ms, last_used_ip, use_count)
        values (${id}, 'api', 'owner', 'owner', '', 'api', 'mintmark', ${id}, '', '', 'READ_ONLY',
        '["read"]', '{}', ${id}, ${i}, 0, ${i % 5 === 0 ? i : null}, ${ip === null ? null : i},
        ${ip}, 0)`.execute(tx)
      await sql`insert into token_label (type, value, token_id)
        values ('scope', 'read', ${id})`.execute(tx)
    }
  })
}, 60_000)

it('a database of the release before migrates with its rows, and they are found', async () => {
  const store = await openStore(database.config, { now: () => 0 })
  const wish = { order: NEWEST_FIRST, from: undefined, size: 5000, nowMs: 1e12 }
  const found = async (...all: Parameters<typeof store.inventory.find>[0][]) =>
    (await store.inventory.find({ all }, wish)).map(({ token }) => token.id)
  const ids = Array.from({ length: COUNT }, (_, i) => i).reverse()
  const those = (fits: (i: number) => boolean) => ids.filter(fits).map((i) => idOf(i) as TokenId)
  expect(await found({ field: 'scope', oneOf: ['read'] })).toEqual(those(() => true))
  expect(await found({ field: 'used', never: true })).toEqual(those((i) => i % 2 === 1))
  expect(await found({ field: 'state', oneOf: ['revoked'] })).toEqual(those((i) => i % 5 === 0))
  const range = { fromKey: `${'0'.repeat(20)}ffff0a000100`, toKey: `${'0'.repeat(20)}ffff0a0001ff` }
  expect(await found({ field: 'ip', ...range })).toEqual(
    those((i) => i % 2 === 0 && i >= 256 && i < 512),
  )
  await store.close()
})
