import { expect, test } from 'vitest'
import { seedOfRun } from '../support/dice.ts'
import { problemsOf } from '../support/history.ts'
import { recordHistory } from '../support/history-trial.ts'

const ROUNDS = Number(process.env.MINTMARK_TEST_ROUNDS ?? 50)
const SECONDS_BETWEEN = 3

test(`nothing acknowledged is lost when PostgreSQL is killed ${ROUNDS} times under load`, async () => {
  const seed = seedOfRun()
  process.stdout.write(`Repeat this run with MINTMARK_TEST_SEED=${seed}\n`)
  const { history, strikes, counts } = await recordHistory({
    seed,
    seconds: ROUNDS * SECONDS_BETWEEN,
    faults: [],
    databaseKills: ROUNDS,
  })
  process.stdout.write(`${history.found?.length} tokens in the end: ${JSON.stringify(counts)}\n`)
  expect(problemsOf(history), `seed ${seed}`).toEqual([])
  expect(strikes).toEqual({ 'kill the database': ROUNDS })
  expect(counts['POST /tokens 201']).toBeGreaterThan(ROUNDS)
})
