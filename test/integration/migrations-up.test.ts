import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { openStore } from '../../src/store/database.ts'
import { within } from '../support/installation.ts'
import {
  contentOf,
  databaseAt,
  type Lived,
  livedIn,
  STEPS,
  schemaOf,
  settle,
  stepsOf,
} from '../support/older-database.ts'

const dir = mkdtempSync(join(tmpdir(), 'mintmark-migrations-'))
let lived: Lived
let newest: string[]

beforeAll(async () => {
  lived = await livedIn(dir)
  const fresh = await databaseAt(join(dir, 'fresh'), STEPS.at(-1) ?? '')
  newest = await schemaOf(fresh)
  await fresh.drop()
})
afterAll(() => rmSync(dir, { recursive: true, force: true }))

/** Each has a database of its own, which takes seconds: all of them with MINTMARK_TEST_EVERY_STEP. */
const chosen = STEPS.filter(
  (_, i) =>
    process.env.MINTMARK_TEST_EVERY_STEP !== undefined || i % 4 === 0 || i >= STEPS.length - 3,
)

it.each(chosen)(
  'from %s on, no row is lost, no value changed, and secrets are what they were',
  async (step) => {
    const database = await databaseAt(join(dir, step), step)
    try {
      await settle(database, lived)
      const before = await contentOf(database)
      for (const [table, rows] of Object.entries(before)) {
        expect(rows.length, `rows of ${table}`).toBeGreaterThan(0)
      }
      await (await openStore(database.config, { now: () => Date.now() })).close()
      expect(await stepsOf(database)).toEqual(STEPS)
      expect(await schemaOf(database)).toEqual(newest)
      expect(await contentOf(database, before)).toEqual(before)
      await within(database.config, lived.masterKey, async ({ core, admin }) => {
        const state = async (secret: string) => {
          const verdict = await core.verifier.verify(secret)
          return verdict.active ? 'active' : verdict.reason
        }
        for (const { secret } of lived.alive) expect(await state(secret)).toBe('active')
        for (const { secret } of lived.revoked) expect(await state(secret)).toBe('revoked')
        expect(await state(lived.rotated.secret)).toBe('superseded')
        // What came along is worked with, not only looked at.
        const caller = await admin(lived.adminSecret)
        const [token] = lived.alive
        if (token === undefined) throw new Error('No token.')
        await core.write((w) => w.revokeToken({ caller, id: token.id, reason: 'moved on' }))
        expect(await state(token.secret)).toBe('revoked')
      })
    } finally {
      await database.drop()
    }
  },
)
