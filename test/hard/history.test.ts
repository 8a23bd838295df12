import { expect, test } from 'vitest'
import { seedOfRun } from '../support/dice.ts'
import { type History, problemsOf } from '../support/history.ts'
import { FAULTS } from '../support/history-cluster.ts'
import { type HistoryReport, recordHistory } from '../support/history-trial.ts'

// In the manner of Jepsen: three servers and a PostgreSQL, ten clients, faults by the dice, and a checker
// of what the clients saw. MINTMARK_TEST_SEED repeats the dice, MINTMARK_TEST_SECONDS changes the length.

const SECONDS = Number(process.env.MINTMARK_TEST_SECONDS ?? 180)
const seed = seedOfRun()

function tell(what: string, { history, strikes, counts }: HistoryReport): void {
  const count = (wanted: History['operations'][number]['what']) =>
    history.operations.filter((operation) => operation.what === wanted).length
  process.stdout.write(
    `${what}, seed ${seed}: ${count('create')} creates, ${count('rotate')} rotations, ` +
      `${count('revoke')} revocations, ${count('verify')} verdicts\n` +
      `  struck ${JSON.stringify(strikes)}\n  answered ${JSON.stringify(counts)}\n`,
  )
}

test(`no promise is broken in ${SECONDS} s of faults`, async () => {
  const report = await recordHistory({ seed, seconds: SECONDS, faults: FAULTS })
  tell('Faults', report)
  expect(problemsOf(report.history), `seed ${seed}`).toEqual([])
  expect(report.hung).toEqual([])
  for (const what of ['create', 'rotate', 'revoke', 'verify']) {
    const done = report.history.operations.filter((operation) => operation.what === what)
    expect(done.length, what).toBeGreaterThan(SECONDS / 5)
  }
})

test('overlaps end on time on steady clocks', async () => {
  const seconds = Math.min(SECONDS, 30)
  const faults = FAULTS.filter((fault) => fault !== 'step')
  const report = await recordHistory({ seed, seconds, faults })
  tell('Steady clocks', report)
  expect(problemsOf(report.history), `seed ${seed}`).toEqual([])
})

test('a node that does not follow the changes is found', async () => {
  const report = await recordHistory({ seed, seconds: 10, faults: [], deaf: true })
  tell('One node deaf', report)
  const problems = problemsOf(report.history)
  expect(problems.length).toBeGreaterThan(0)
  for (const problem of problems) expect(problem).toMatch(/^(Stale yes|Revived): verify on node 3 /)
})
