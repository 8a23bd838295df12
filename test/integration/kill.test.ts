import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import { seedOfRun } from '../support/dice.ts'
import { killRepeatedly } from '../support/kill.ts'
import type { HeldToken, Ledger } from '../support/ledger.ts'

const TIMEOUT_MS = 60_000

test('no acknowledged change is lost when the server is killed', {
  timeout: TIMEOUT_MS,
}, async () => {
  const seed = seedOfRun()
  const report = await killRepeatedly({ rounds: 4, seed })
  expect(report.problems, `MINTMARK_TEST_SEED=${seed}`).toEqual([])
  expect(report.rounds).toBe(4)
  expect(report.acknowledged.create).toBeGreaterThan(0)
})

/** Damage that a lost or half-done write would leave, and what the checks must say of it. */
interface Damage {
  sql: string
  /** The row to damage. */
  victim: (ledger: Ledger) => { id: string } | undefined
  expected: (id: string) => string
}

const live = ({ owner }: HeldToken) => owner.state === 'active'
const token = (state: HeldToken['state'], place: number) => (ledger: Ledger) =>
  ledger.tokens.filter((token) => token.state === state && live(token)).at(place)

const DAMAGES: Damage[] = [
  {
    sql: `update token set revoked_at_ms = null, superseded_at_ms = null, name_key = null
      where id = ?`,
    victim: token('revoked', 0),
    expected: (id) => `wrong verdict: token ${id} .* is active`,
  },
  {
    sql: 'update token set superseded_at_ms = null, name_key = null where id = ?',
    victim: token('superseded', 0),
    expected: (id) => `wrong verdict: token ${id} .* is active`,
  },
  {
    sql: `update token set revoked_at_ms = 1, revoke_reason = '' where id = ?`,
    victim: token('active', 0),
    expected: (id) => `wrong verdict: token ${id} .* is not active`,
  },
  {
    sql: 'delete from token where id = ?',
    victim: token('active', 1),
    expected: (id) => `lost: token ${id}`,
  },
  {
    sql: `update token set name = 'other' where id = ?`,
    victim: token('active', 2),
    expected: (id) => `unexpected: token ${id} "other"`,
  },
  {
    sql: 'update user set active = 0 where id = ?',
    victim: ({ users }) => users.findLast(({ state }) => state === 'active'),
    expected: (id) => `lost: user ${id} .* active`,
  },
  {
    sql: `delete from audit where action in ('token.created', 'token.rotated') and subject_id = ?`,
    victim: token('active', 3),
    expected: (id) => `a token without its audit record: ${id}`,
  },
  {
    sql: 'update audit set at_ms = at_ms + 1 where sequence = ?',
    victim: () => ({ id: '2' }),
    expected: () => 'audit chain at 2: A record was altered',
  },
]

test('a lost or half-done write would be noticed', { timeout: TIMEOUT_MS }, async () => {
  const expected: RegExp[] = []
  const { problems } = await killRepeatedly({
    rounds: 3,
    seed: seedOfRun(),
    tamper(dataDir, ledger) {
      const db = new DatabaseSync(join(dataDir, 'mintmark.db'))
      for (const { sql, victim, expected: pattern } of DAMAGES) {
        const id = victim(ledger)?.id
        if (id === undefined) throw new Error(`Nothing was made that could be damaged by ${sql}`)
        db.prepare(sql).run(id)
        expected.push(new RegExp(pattern(id)))
      }
      db.close()
    },
  })
  expect(expected).toHaveLength(DAMAGES.length)
  for (const pattern of expected) {
    expect(problems).toContainEqual(expect.stringMatching(pattern))
  }
})
