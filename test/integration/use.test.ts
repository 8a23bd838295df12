import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Issued } from '../../src/core/tokens/issue.ts'
import type { UseStep } from '../../src/core/tokens/use.ts'
import type { UseBy } from '../../src/core/tokens/use-store.ts'
import {
  DAY_MS,
  HOUR_MS,
  MINUTE_MS,
  openTestCore,
  SECOND_MS,
  type TestCore,
} from '../support/core.ts'

let t: TestCore
beforeAll(async () => {
  t = await openTestCore()
})
afterAll(() => t.close())

const seriesOf = (issued: Issued, step: UseStep, fromMs?: number) =>
  t.core.read.use(t.admin, { id: issued.token.id, span: { fromMs, toMs: undefined, step } })
const figuresBy = (by: UseBy, query?: string, caller = t.admin) =>
  t.core.read.useFigures(caller, {
    by,
    query,
    filter: {},
    span: { fromMs: undefined, toMs: undefined, step: 'hour' },
  })

describe('the use of a token', () => {
  it('is counted by minute with refusals by reason, and shown in every step', async () => {
    const issued = await t.issue(undefined, { limits: { allowedIps: ['192.0.2.0/24'] } })
    const startMs = t.clock.now()
    const use = (ip: string) => t.verify(issued.secret, { ip, via: 'api', userAgent: 'curl/8' })
    for (let i = 0; i < 5; i++) await use('192.0.2.1')
    for (let i = 0; i < 3; i++) await use('203.0.113.1')
    t.clock.advance(2 * MINUTE_MS)
    await t.core.flushUsage()
    await use('192.0.2.2')
    await t.core.flushUsage()
    for (const step of ['minute', 'hour', 'day'] as const) {
      expect(await seriesOf(issued, step)).toMatchObject({
        uses: 6,
        refused: 3,
        refusals: [{ reason: 'ip_not_allowed', count: 3 }],
      })
    }
    const { points } = await seriesOf(issued, 'minute', startMs)
    expect(points.map(({ uses, refused }) => [uses, refused])).toEqual([
      [5, 3],
      [0, 0],
      [1, 0],
    ])
    expect(await t.core.read.token(t.admin, issued.token.id)).toMatchObject({
      lastUsedIp: '192.0.2.2',
      lastUsedVia: 'api',
      lastUsedAgent: 'curl/8',
      useCount: 6,
    })
  })

  it('is shown to those who see the token, in a span that makes sense', async () => {
    const alice = await t.makeUser({ username: 'alice' })
    const own = await t.issue(alice)
    const caller = await t.callerOf(own.secret)
    const other = await t.issue(undefined)
    const span = { fromMs: undefined, toMs: undefined, step: 'hour' as const }
    const { id } = other.token
    await expect(t.core.read.use(caller, { id, span })).rejects.toMatchObject({ code: 'not_found' })
    const nowMs = t.clock.now()
    for (const wrong of [
      { fromMs: nowMs, toMs: nowMs - HOUR_MS, step: 'hour' as const },
      { fromMs: nowMs - 30 * DAY_MS, toMs: nowMs, step: 'minute' as const },
    ]) {
      await expect(t.core.read.use(t.admin, { id, span: wrong })).rejects.toMatchObject({
        code: 'invalid_input',
      })
    }
    await t.core.flushUsage()
    const { figures } = await figuresBy('owner', undefined, caller)
    expect(figures).toEqual([{ value: alice.id, uses: 1, refused: 0 }])
  })
})

it('is summed up by token, owner, group and kind, as a query narrows', async () => {
  const bob = await t.makeUser({ username: 'bob' })
  const groups = [await t.makeGroup('ops'), await t.makeGroup('dev')]
  for (const { id: groupId } of groups) {
    await t.write((w) =>
      w.setMembership({ caller: t.admin, wish: { groupId, userId: bob.id, mode: 'READ' } }),
    )
  }
  const of = (ids: number[]) => ({
    limits: { groups: ids.map((i) => ({ id: (groups[i] ?? never()).id, mode: 'READ' as const })) },
  })
  const both = await t.issue(bob, of([0, 1]))
  const one = await t.issue(bob, of([1]))
  for (let i = 0; i < 3; i++) await t.verify(both.secret)
  await t.verify(one.secret)
  await t.core.flushUsage()
  const by = async (what: UseBy) => {
    const { figures, series } = await figuresBy(what, 'owner:bob')
    return { figures: figures.map(({ value, uses }) => [value, uses]), uses: series.uses }
  }
  const [ops, dev] = groups.map(({ id }) => id)
  expect(await by('token')).toEqual({
    figures: [
      [both.token.id, 3],
      [one.token.id, 1],
    ],
    uses: 4,
  })
  expect(await by('owner')).toEqual({ figures: [[bob.id, 4]], uses: 4 })
  expect(await by('kind')).toEqual({ figures: [['api', 4]], uses: 4 })
  expect(await by('group')).toEqual({
    figures: [
      [dev, 4],
      [ops, 3],
    ],
    uses: 4,
  })
})

function never(): never {
  throw new Error('There is no such group.')
}

describe('rolling up', () => {
  const totals = async () =>
    (await t.query('select step, sum(count) as total from use_count group by step')).map((row) => [
      row.step,
      Number(row.total),
    ])
  const sums = async (issued: Issued) =>
    (
      await t.query(`select outcome, sum(count) as total from use_count
        where token_id = '${issued.token.id}' group by outcome order by outcome`)
    ).map((row) => [row.outcome, Number(row.total)])

  it('changes no sum, whenever it comes and however often', async () => {
    const keepDays = (days: number) =>
      t.write((w) => w.updatePolicy({ caller: t.admin, edit: { useDaysSeconds: days * 86_400 } }))
    // Nothing must be forgotten on the way.
    await keepDays(3650)
    const tokens = [
      await t.issue(undefined, { limits: { allowedIps: ['192.0.2.0/24'] } }),
      await t.issue(undefined),
    ]
    const expected = tokens.map(() => new Map<string, number>())
    const steps = fc.oneof(
      fc.record({ do: fc.constant('use' as const), which: fc.nat(1), good: fc.boolean() }),
      fc.record({
        do: fc.constant('wait' as const),
        ms: fc.constantFrom(20 * SECOND_MS, HOUR_MS, DAY_MS, 9 * DAY_MS),
      }),
      fc.record({ do: fc.constant('flush' as const) }),
      fc.record({ do: fc.constant('purge' as const) }),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(steps, { minLength: 5, maxLength: 40 }), async (walk) => {
        for (const step of walk) {
          if (step.do === 'wait') t.clock.advance(step.ms)
          else if (step.do === 'flush') await t.core.flushUsage()
          else if (step.do === 'purge') await t.core.purge()
          else {
            const ip = step.good ? '192.0.2.1' : '203.0.113.1'
            const issued = tokens[step.which]
            if (issued === undefined) return
            const verdict = await t.verify(issued.secret, { ip })
            const counts = expected[step.which]
            const outcome = verdict.active ? 'used' : verdict.reason
            counts?.set(outcome, (counts.get(outcome) ?? 0) + 1)
          }
        }
        await t.core.flushUsage()
        for (const [i, issued] of tokens.entries()) {
          expect(await sums(issued)).toEqual([...(expected[i] ?? [])].toSorted())
        }
      }),
      { numRuns: 12 },
    )
    await keepDays(730)
  })

  it('makes minutes hours, hours days, and forgets days, as the policy says', async () => {
    const issued = await t.issue(undefined)
    await t.verify(issued.secret)
    await t.core.flushUsage()
    const stepsOf = async () =>
      (await t.query(`select step from use_count where token_id = '${issued.token.id}'`)).map(
        ({ step }) => step,
      )
    expect(await stepsOf()).toEqual(['minute'])
    t.clock.advance(2 * DAY_MS + HOUR_MS)
    await t.core.purge()
    expect(await stepsOf()).toEqual(['hour'])
    expect((await seriesOf(issued, 'hour', t.clock.now() - 4 * DAY_MS)).uses).toBe(1)
    t.clock.advance(60 * DAY_MS)
    await t.core.purge()
    expect(await stepsOf()).toEqual(['day'])
    t.clock.advance(731 * DAY_MS)
    await t.core.purge()
    expect(await stepsOf()).toEqual([])
    expect(await totals()).toEqual([])
  })
})
