import { afterAll, beforeAll, expect, it } from 'vitest'
import { openTestCore, type TestCore } from '../support/core.ts'
import { dice, seedOfRun } from '../support/dice.ts'
import { prepareWalks, type WalkFigures, walkRights } from '../support/rights-walk.ts'

const RUNS = 120

let t: TestCore
let groups: string[]
beforeAll(async () => {
  t = await openTestCore()
  groups = await prepareWalks(t)
})
afterAll(() => t.close())

// The long trial of it is test/hard/rights-never-grow.
it(`${RUNS} random chains of credentials end in none beyond its maker or owner`, async () => {
  const seed = seedOfRun()
  const figures: WalkFigures = {}
  for (let run = 0; run < RUNS; run++) {
    const context = `MINTMARK_TEST_SEED=${seed}, run ${run}`
    await walkRights(t, { dice: dice(seed + run), steps: 14, groups, figures }).catch((error) => {
      throw new Error(context, { cause: error })
    })
  }
  for (const way of ['create', 'child', 'rotate', 'update', 'exchange', 'offline', 'imported']) {
    expect(figures[way], `${way} ${JSON.stringify(figures)}`).toBeGreaterThan(RUNS / 10)
  }
  expect(figures.beyond_rights).toBeGreaterThan(RUNS / 10)
}, 120_000)
