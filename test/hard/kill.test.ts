import { expect, test } from 'vitest'
import { seedOfRun } from '../support/dice.ts'
import { killRepeatedly } from '../support/kill.ts'
import { OPERATIONS } from '../support/ledger.ts'

const ROUNDS = 200

test(`no acknowledged change is lost, and no revoked token lives, in ${ROUNDS} kills`, async () => {
  const seed = seedOfRun()
  process.stdout.write(`Repeat this run with MINTMARK_TEST_SEED=${seed} npm run test:hard\n`)
  const report = await killRepeatedly({
    rounds: ROUNDS,
    seed,
    onRound: ({ rounds, acknowledged, cutThere, cutAbsent }) => {
      if (rounds % 10 > 0) return
      const total = Object.values(acknowledged).reduce((sum, count) => sum + count, 0)
      process.stdout.write(
        `${rounds} kills: ${total} acknowledged changes, ${cutThere} cut off and there, ${cutAbsent} cut off and absent\n`,
      )
    },
  })
  expect(report.problems, `seed ${seed}`).toEqual([])
  expect(report.rounds).toBe(ROUNDS)
  for (const operation of OPERATIONS) {
    expect(report.acknowledged[operation], operation).toBeGreaterThan(10)
  }
  expect(report.cutThere).toBeGreaterThan(0)
  expect(report.cutAbsent).toBeGreaterThan(0)
})
