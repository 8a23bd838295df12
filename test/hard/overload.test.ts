import { describe, expect, it } from 'vitest'
import type { LoadResult } from '../support/load-job.ts'
import { type OverloadTrial, tryOverload } from '../support/overload-trial.ts'
import { startPostgres } from '../support/postgres-server.ts'
import { temporaryDirectory } from '../support/temporary.ts'

const SECONDS = Number(process.env.MINTMARK_TEST_SECONDS ?? 20)
const FACTORS = [1, 2, 5]
const ACCEPTED_P99_MS = 1000
const VITAL_P99_MS = 1000
const RECOVERY_MS = 10_000
/** What the server may hold; it takes about half of it when it has just enough to do. */
const MAX_RSS_MIB = 1000

const tell = (line: string) => process.stdout.write(`${line}\n`)

describe(`offered more than it can do, for ${SECONDS} seconds each, a server`, () => {
  it('on SQLite goes on doing what it can', async () => {
    holds(
      await tryOverload({
        dataDir: temporaryDirectory(),
        factors: FACTORS,
        seconds: SECONDS,
        tell,
      }),
    )
  })

  it('on PostgreSQL goes on doing what it can', async () => {
    const postgres = await startPostgres()
    try {
      const env = {
        MINTMARK_DATABASE_URL: postgres.url,
        MINTMARK_MASTER_KEY: 'a-master-key-for-the-server-of-the-trial',
      }
      holds(
        await tryOverload({
          dataDir: temporaryDirectory(),
          factors: FACTORS,
          seconds: SECONDS,
          env,
          tell,
        }),
      )
    } finally {
      await postgres.stop()
    }
  })
})

function holds({ saturation, phases, recoveryMs }: OverloadTrial): void {
  const peak = Math.max(saturation, phases[0]?.goodput ?? 0)
  for (const { name, goodput, load, vital, rssMiB } of phases) {
    // At saturation itself the generator takes its part of the machine.
    if (name !== '1x') expect.soft(goodput, `${name}: goodput`).toBeGreaterThan(0.8 * peak)
    for (const [kind, { acceptedP99Ms, other }] of Object.entries(load.kinds)) {
      expect.soft(acceptedP99Ms, `${name}: p99 of ${kind}`).toBeLessThanOrEqual(ACCEPTED_P99_MS)
      // Whatever is not done is refused, with the time to come again.
      expect.soft(other, `${name}: ${kind}`).toEqual({})
    }
    for (const [act, { count, p99Ms, failed }] of Object.entries(vital)) {
      expect.soft(count, `${name}: ${act}`).toBeGreaterThan(0)
      expect.soft(failed, `${name}: ${act} failed`).toBe(0)
      expect.soft(p99Ms, `${name}: p99 of ${act}`).toBeLessThanOrEqual(VITAL_P99_MS)
    }
    expect.soft(rssMiB, `${name}: MiB in memory`).toBeLessThan(MAX_RSS_MIB)
  }
  expect.soft(refusedIn(phases.at(-1)?.load), 'refused').toBeGreaterThan(0)
  expect.soft(recoveryMs, 'recovery').toBeLessThan(RECOVERY_MS)
}

function refusedIn(load: LoadResult | undefined): number {
  return Object.values(load?.kinds ?? {}).reduce((sum, { refused }) => sum + refused, 0)
}
