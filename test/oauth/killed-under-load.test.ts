import { expect, test } from 'vitest'
import { seedOfRun } from '../support/dice.ts'
import { killUnderOauth } from '../support/oauth-kill.ts'

const ROUNDS = 3

test('refreshes and revocations survive the death of the server', { timeout: 90_000 }, async () => {
  const seed = seedOfRun()
  const report = await killUnderOauth({ rounds: ROUNDS, seed })
  expect(report.problems, `MINTMARK_TEST_SEED=${seed}`).toEqual([])
  expect(report.rounds).toBe(ROUNDS)
  expect(report.refreshed).toBeGreaterThan(0)
  expect(report.revoked).toBeGreaterThan(0)
})
