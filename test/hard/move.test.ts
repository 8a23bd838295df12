import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import { places } from '../../src/app.ts'
import { moveInstallation } from '../../src/backup/move.ts'
import { type DatabaseConfig, readConfig } from '../../src/config.ts'
import { makeSecret, Secret } from '../../src/core/secret.ts'
import { sqliteDatabase } from '../support/database.ts'
import { inhabit, within } from '../support/installation.ts'
import { startPostgres } from '../support/postgres-server.ts'

const TOKENS = Number(process.env.MINTMARK_TEST_TOKENS ?? 1_000_000)
const SAMPLES = 500

test('a million tokens move to PostgreSQL and back; the living verify, the revoked do not', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'mintmark-move-'))
  const server = await startPostgres()
  try {
    const masterKey = new Secret(randomBytes(32).toString('base64url'))
    const first = sqliteDatabase(join(dir, 'first.db'))
    const lived = await inhabit(first, masterKey)
    const samples = await within(first.config, masterKey, async ({ core }) => {
      const { id, mac } = core.keyring.pepper()
      return fill(join(dir, 'first.db'), lived.alive[0]?.id ?? '', { pepperId: id, mac })
    })
    const config = readConfig({ env: {}, readFile: () => '' })
    const postgres: DatabaseConfig = {
      kind: 'postgres',
      url: new Secret(server.url),
      pool: 5,
      pollMs: 250,
      waitMs: 10_000,
      notices: true,
    }
    const back: DatabaseConfig = { kind: 'sqlite', file: join(dir, 'back', 'back.db') }
    for (const [from, to] of [
      [first.config, postgres],
      [postgres, back],
    ] as const) {
      const startedAtMs = performance.now()
      const { rows } = await moveInstallation(places, { config, masterKey, from, to })
      const seconds = ((performance.now() - startedAtMs) / 1000).toFixed(1)
      process.stdout.write(`${from.kind} → ${to.kind}: ${rows} rows in ${seconds} s\n`)
      expect(rows).toBeGreaterThan(TOKENS)
      await within(to, masterKey, async ({ core }) => {
        for (const { secret, isRevoked } of samples) {
          const { active } = await core.verifier.verify(secret)
          expect(active).toBe(!isRevoked)
        }
      })
    }
  } finally {
    await server.stop()
    rmSync(dir, { recursive: true, force: true })
  }
})

/** Copies one token a million times, each with a secret of its own; every tenth is revoked. */
function fill(
  file: string,
  model: string,
  pepper: { pepperId: string; mac: (text: string) => string },
): { secret: string; isRevoked: boolean }[] {
  const db = new DatabaseSync(file)
  const row = db.prepare('select * from token where id = ?').get(model) ?? {}
  const computed = db
    .prepare('pragma table_xinfo(token)')
    .all()
    .filter(({ hidden }) => hidden !== 0)
  const columns = Object.keys(row).filter((name) => !computed.some((each) => each.name === name))
  const insert = db.prepare(
    `insert into token (${columns.map((name) => `"${name}"`).join()}) values (${columns.map(() => '?').join()})`,
  )
  const samples: { secret: string; isRevoked: boolean }[] = []
  db.exec('pragma synchronous = off; begin')
  for (let i = 0; i < TOKENS; i++) {
    const secret = makeSecret('mintmark', 'api', randomBytes)
    const isRevoked = i % 10 === 0
    const own: Record<string, string | number | null> = {
      id: `f${String(i).padStart(7, '0')}-0000-7000-8000-000000000000`,
      serial: 1000 + i,
      name: `copy ${i}`,
      name_key: `copy ${i}`,
      digest: pepper.mac(secret),
      pepper_id: pepper.pepperId,
      revoked_at_ms: isRevoked ? 1 : null,
    }
    own.family_id = own.id ?? null
    insert.run(...columns.map((name) => (name in own ? own[name] : row[name]) ?? null))
    if (i % Math.ceil(TOKENS / SAMPLES) < 2) samples.push({ secret, isRevoked })
  }
  db.prepare("update counter set value = ? where name = 'token'").run(1000 + TOKENS)
  db.exec('commit')
  db.close()
  return samples
}
