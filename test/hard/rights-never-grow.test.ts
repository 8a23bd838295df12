import { afterAll, beforeAll, it } from 'vitest'
import { openTestCore, type TestCore } from '../support/core.ts'
import { dice, seedOfRun } from '../support/dice.ts'
import { prepareWalks, type WalkFigures, walkRights } from '../support/rights-walk.ts'

const RUNS = 10_000

let t: TestCore
let groups: string[]
beforeAll(async () => {
  t = await openTestCore()
  groups = await prepareWalks(t)
})
afterAll(() => t.close())

it(`${RUNS} random chains of credentials end in none beyond its maker or owner`, async () => {
  const seed = seedOfRun()
  const figures: WalkFigures = {}
  process.stdout.write(`MINTMARK_TEST_SEED=${seed}\n`)
  for (let run = 0; run < RUNS; run++) {
    await walkRights(t, { dice: dice(seed + run), steps: 14, groups, figures }).catch((error) => {
      throw new Error(`MINTMARK_TEST_SEED=${seed}, run ${run}`, { cause: error })
    })
  }
  process.stdout.write(`${JSON.stringify(figures)}\n`)
})
