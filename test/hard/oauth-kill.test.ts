import { expect, test } from 'vitest'
import { seedOfRun } from '../support/dice.ts'
import { killUnderOauth } from '../support/oauth-kill.ts'

const ROUNDS = 100

test(`no family of tokens is left half alive or half dead in ${ROUNDS} kills`, async () => {
  const seed = seedOfRun()
  process.stdout.write(`Repeat this run with MINTMARK_TEST_SEED=${seed} npm run test:hard\n`)
  const report = await killUnderOauth({
    rounds: ROUNDS,
    seed,
    onRound: ({ problems: _, ...seen }) => {
      if (seen.rounds % 10 === 0) process.stdout.write(`${JSON.stringify(seen)}\n`)
    },
  })
  expect(report.problems, `seed ${seed}`).toEqual([])
  expect(report.rounds).toBe(ROUNDS)
  for (const count of ['refreshed', 'revoked', 'lostThere', 'lostAbsent', 'retried'] as const) {
    expect(report[count], count).toBeGreaterThan(0)
  }
})
