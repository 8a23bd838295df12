import { afterEach, beforeEach, expect, it } from 'vitest'
import { nameOf } from '../../src/core/revocations/feed.ts'
import type { Token } from '../../src/core/tokens/token.ts'
import { HOUR_MS, MINUTE_MS, openTestCore, type TestCore } from '../support/core.ts'

let t: TestCore
beforeEach(async () => {
  t = await openTestCore()
})
afterEach(() => t.close())

const read = (cursor?: string) => t.core.revocations.read(cursor)
const revoke = ({ id }: Token) => t.write((w) => w.revokeToken({ caller: t.admin, id, reason: '' }))
const newToken = async () => (await t.issue(undefined)).token

it('tells what came after a cursor, and nothing of tokens that were only made', async () => {
  const [one, two] = [await newToken(), await newToken()]
  const start = await read()
  expect(start.full).toBe(true)
  await revoke(one)
  await newToken()
  const first = await read(start.next)
  expect(first).toMatchObject({ full: false, everything: 0 })
  expect([...first.ended.keys()]).toEqual([nameOf(one.id)])
  await revoke(two)
  const second = await read(first.next)
  expect([...second.ended.keys()]).toEqual([nameOf(two.id)])
  expect((await read(second.next)).ended.size).toBe(0)
  const all = await read()
  expect(all.full).toBe(true)
  expect([...all.ended.keys()]).toEqual(expect.arrayContaining([nameOf(one.id), nameOf(two.id)]))
})

it('is the same after a restart, and what is signed then does not count as old', async () => {
  const token = await newToken()
  const { next } = await read()
  await revoke(token)
  await t.reopen()
  const after = await read(next)
  expect(after.full).toBe(false)
  expect([...after.ended.keys()]).toEqual([nameOf(token.id)])
  const live = await t.issue(undefined)
  const signed = await t.core.sign(await t.callerOf(live.secret), { audience: 'x', limits: {} })
  expect(signed.position).toBeGreaterThanOrEqual(Number.parseInt((await read()).next, 10))
  await t.reopen()
  const again = await t.core.sign(await t.callerOf(live.secret), { audience: 'x', limits: {} })
  expect(again.position).toBe(signed.position)
})

it('forgets what no signed token can outlive, and then goes on from anywhere', async () => {
  const token = await newToken()
  await revoke(token)
  const { next } = await read()
  t.clock.advance(21 * MINUTE_MS)
  expect(await read()).toMatchObject({ ended: new Map(), everything: 0 })
  expect((await read(next)).full).toBe(false)
  t.clock.advance(2 * HOUR_MS)
  await t.core.purge()
  // The row under the cursor is gone: everything once, and then no more than news.
  const once = await read(next)
  expect(once.full).toBe(true)
  expect((await read(once.next)).full).toBe(false)
  const other = await newToken()
  await revoke(other)
  expect([...(await read(once.next)).ended.keys()]).toContain(nameOf(other.id))
})

it('answers a cursor of another history, or of none, with everything', async () => {
  const token = await newToken()
  await revoke(token)
  const { next } = await read()
  const [sequence] = next.split('.')
  for (const cursor of [`${sequence}.abcdefghijkl`, `${Number(sequence) + 9}.x`, '0.0', 'x', '']) {
    const answer = await read(cursor)
    expect(answer.full, cursor).toBe(true)
    expect(answer.ended.has(nameOf(token.id))).toBe(true)
  }
})

it('ends everything rather than grow without bound', async () => {
  const { next } = await read()
  const end = Number.parseInt(next, 10)
  const rows = Array.from(
    { length: 10_001 },
    (_, i) => `(${end + 1 + i}, 'user', 'user-${i}', ${t.clock.now()})`,
  )
  await t.tamper(`insert into change (sequence, subject, subject_id, at_ms) values ${rows};
    update counter set value = ${end + 10_001} where name = 'change'`)
  const answer = await read(next)
  expect(answer.everything).toBeGreaterThan(end)
  expect(answer.ended.size).toBeLessThan(10_000)
})
