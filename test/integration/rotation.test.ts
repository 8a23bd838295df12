import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { TokenId } from '../../src/core/id.ts'
import type { Issued } from '../../src/core/tokens/issue.ts'
import {
  DAY_MS,
  HOUR_MS,
  openTestCore,
  outcomes,
  SECOND_MS,
  type TestCore,
} from '../support/core.ts'

let t: TestCore
beforeAll(async () => {
  t = await openTestCore()
})
afterAll(() => t.close())

const rotate = (id: TokenId, overlapSeconds?: number) =>
  t.write((w) =>
    w.rotateToken({
      caller: t.admin,
      wish: { id, ...(overlapSeconds === undefined ? {} : { overlapSeconds }) },
      via: 'api',
    }),
  )
const finish = (id: TokenId) => t.write((w) => w.finishRotation({ caller: t.admin, id }))
const extend = (id: TokenId, overlapSeconds: number) =>
  t.write((w) => w.extendRotation({ caller: t.admin, id, overlapSeconds }))
const rotation = (id: TokenId) => t.core.read.rotation(t.admin, id)
const states = (...issued: Pick<Issued, 'secret'>[]) =>
  Promise.all(issued.map(({ secret }) => t.state(secret)))
const code = (code: string, message?: RegExp) =>
  expect.objectContaining({ code, ...(message && { message: expect.stringMatching(message) }) })
const listed = async (query: string) =>
  (
    await t.core.read.inventory(t.admin, { query, filter: {}, from: undefined, size: 1000 })
  ).items.map(({ id }) => id)
const listedBy = async (state: 'active' | 'superseded') =>
  (
    await t.core.read.tokens(t.admin, { filter: { states: [state] }, from: undefined, size: 1000 })
  ).items.map(({ id }) => id)

describe('while old and new secret overlap', () => {
  it('both work, until the old one stops by itself to the millisecond', async () => {
    const old = await t.issue(undefined, { name: 'overlap' })
    expect(await t.state(old.secret)).toBe('active')
    const next = await rotate(old.token.id)
    const endsAtMs = t.clock.now() + DAY_MS
    expect(next.token).toMatchObject({
      name: 'overlap',
      serial: old.token.serial,
      limits: old.token.limits,
      overlapEndsAtMs: endsAtMs,
    })
    expect(await t.core.read.token(t.admin, old.token.id)).toMatchObject({
      supersededAtMs: endsAtMs,
      supersededBy: next.token.id,
    })
    for (const list of [await listed('state:active'), await listedBy('active')]) {
      expect(list).toEqual(expect.arrayContaining([old.token.id, next.token.id]))
    }
    t.clock.advance(DAY_MS - 1)
    expect(await states(old, next)).toEqual(['active', 'active'])
    expect(await listed('state:superseded')).not.toContain(old.token.id)
    t.clock.advance(1)
    expect(await states(old, next)).toEqual(['superseded', 'active'])
    for (const list of [await listed('state:superseded'), await listedBy('superseded')]) {
      expect(list).toContain(old.token.id)
    }
    for (const list of [await listed('state:active'), await listedBy('active')]) {
      expect(list).not.toContain(old.token.id)
    }
  })

  it('the end binds after a restart, too, with nothing written in between', async () => {
    const old = await t.issue(undefined)
    const next = await rotate(old.token.id, 60)
    await t.reopen()
    expect(await states(old, next)).toEqual(['active', 'active'])
    await t.reopen()
    t.clock.advance(60 * SECOND_MS)
    expect(await states(old, next)).toEqual(['superseded', 'active'])
  })

  it('without an overlap the old secret is dead at once', async () => {
    const old = await t.issue(undefined)
    expect(await t.state(old.secret)).toBe('active')
    const next = await rotate(old.token.id, 0)
    expect(await states(old, next)).toEqual(['superseded', 'active'])
    expect(next.token.overlapEndsAtMs).toBeUndefined()
  })

  it('the policy says how long, and the old token never outlives its own end', async () => {
    await t.write((w) =>
      w.updatePolicy({ caller: t.admin, edit: { rotationOverlapSeconds: 7200 } }),
    )
    const short = await t.issue(undefined, { expires: t.clock.now() + HOUR_MS })
    const long = await t.issue(undefined)
    const nextOfShort = await rotate(short.token.id)
    const nextOfLong = await rotate(long.token.id)
    expect(nextOfShort.token.overlapEndsAtMs).toBe(t.clock.now() + HOUR_MS)
    expect(nextOfLong.token.overlapEndsAtMs).toBe(t.clock.now() + 2 * HOUR_MS)
    await expect(extend(short.token.id, 86_400)).rejects.toThrow(code('invalid_input', /expires/))
    await t.write((w) =>
      w.updatePolicy({ caller: t.admin, edit: { rotationOverlapSeconds: 86_400 } }),
    )
    for (const seconds of [-1, 1.5, 30 * 86_400 + 1]) {
      await expect(rotate(nextOfLong.token.id, seconds)).rejects.toThrow(code('invalid_input'))
    }
  })

  it('the successor ends no later than the policy gives by now', async () => {
    const old = await t.issue(undefined)
    await t.write((w) =>
      w.updatePolicy({ caller: t.admin, edit: { maxTokenTtlSeconds: 30 * 86_400 } }),
    )
    const next = await rotate(old.token.id)
    await t.write((w) => w.updatePolicy({ caller: t.admin, edit: { maxTokenTtlSeconds: null } }))
    expect(next.token.expiresAtMs).toBe(t.clock.now() + 30 * DAY_MS)
  })

  it('it is not rotated again, but its successor is', async () => {
    const old = await t.issue(undefined)
    const next = await rotate(old.token.id)
    await expect(rotate(old.token.id)).rejects.toThrow(code('conflict', /Finish that rotation/))
    const third = await rotate(next.token.id)
    expect(await states(old, next, third)).toEqual(['active', 'active', 'active'])
    // "At once" leaves one secret of the whole family.
    const fourth = await rotate(third.token.id, 0)
    expect(await states(old, next, third, fourth)).toEqual([
      'superseded',
      'superseded',
      'superseded',
      'active',
    ])
  })

  it('is ended by a rotation "at once" although the old secret is quarantined, and by finishing', async () => {
    const quarantine = (id: TokenId) =>
      t.write((w) => w.quarantineToken({ caller: t.admin, id, reason: 'seen in a log' }))
    const release = (id: TokenId) =>
      t.write((w) => w.releaseToken({ caller: t.admin, id, reason: 'false alarm' }))
    const old = await t.issue(undefined)
    const next = await rotate(old.token.id)
    await quarantine(old.token.id)
    await rotate(next.token.id, 0)
    await release(old.token.id)
    expect(await states(old, next)).toEqual(['superseded', 'superseded'])
    const other = await t.issue(undefined)
    await rotate(other.token.id)
    await quarantine(other.token.id)
    await finish(other.token.id)
    await release(other.token.id)
    expect(await states(other)).toEqual(['superseded'])
  })

  it('what the old secret makes meanwhile ends with it', async () => {
    const old = await t.issue(undefined)
    const other = await t.issue(undefined)
    await rotate(old.token.id, 600)
    const caller = await t.callerOf(old.secret)
    const endsAtMs = t.clock.now() + 600 * SECOND_MS
    const made = await t.write((w) =>
      w.issueToken({
        caller,
        wish: { kind: 'api', name: 'made meanwhile', limits: old.token.limits, expires: 'never' },
        via: 'api',
      }),
    )
    expect(made.token.expiresAtMs).toBe(endsAtMs)
    const rotated = await t.write((w) =>
      w.rotateToken({ caller, wish: { id: other.token.id }, via: 'api' }),
    )
    expect(rotated.token.expiresAtMs).toBe(endsAtMs)
  })

  it('of many that rotate at once one wins', async () => {
    for (let i = 0; i < 10; i++) {
      const old = await t.issue(undefined)
      const attempts = Array.from({ length: 4 }, () => rotate(old.token.id))
      expect((await outcomes(attempts)).toSorted()).toEqual([
        'conflict',
        'conflict',
        'conflict',
        'ok',
      ])
      expect(await t.state(old.secret)).toBe('active')
    }
  })

  it('revoking either kills both', async () => {
    for (const which of ['old', 'next'] as const) {
      const old = await t.issue(undefined)
      const next = await rotate(old.token.id)
      expect(await states(old, next)).toEqual(['active', 'active'])
      const { id } = { old, next }[which].token
      await t.write((w) => w.revokeToken({ caller: t.admin, id, reason: 'lost' }))
      expect(await states(old, next)).toEqual(['revoked', 'revoked'])
    }
  })

  it('a secret on its way out counts as limited', async () => {
    const old = await t.issue(undefined)
    await rotate(old.token.id)
    const caller = await t.callerOf(old.secret)
    const root = caller.principal.user.id
    await expect(t.core.resetPassword({ caller, id: root } as never)).rejects.toThrow(
      code('forbidden'),
    )
  })
})

describe('what was derived from the old token', () => {
  const session = async ({ secret }: Issued) => {
    const caller = await t.callerOf(secret)
    return t.core.openSessionFromToken({ caller, via: 'xms', format: 'hex' })
  }

  it('ends with the overlap, whenever it was made, and lives as long as that is extended', async () => {
    const old = await t.issue(undefined)
    const before = await session(old)
    const next = await rotate(old.token.id, 600)
    const during = await session(old)
    const ofDuring = await session(during)
    const all = [before, during, ofDuring]
    t.clock.advance(599 * SECOND_MS)
    expect(await states(...all)).toEqual(['active', 'active', 'active'])
    await extend(next.token.id, 600)
    t.clock.advance(599 * SECOND_MS)
    // What something derived makes in turn has its end for good.
    expect(await states(...all, old)).toEqual(['active', 'active', 'expired', 'active'])
    t.clock.advance(SECOND_MS)
    expect(await states(before, during, old)).toEqual(['superseded', 'superseded', 'superseded'])
    expect(await states(next)).toEqual(['active'])
  })

  it('is dead when the rotation is finished', async () => {
    const old = await t.issue(undefined)
    const next = await rotate(old.token.id)
    const made = await session(old)
    const ofNew = await session(next)
    expect(await states(made)).toEqual(['active'])
    await finish(old.token.id)
    expect(await states(old, made)).toEqual(['superseded', 'revoked'])
    expect(await states(next, ofNew)).toEqual(['active', 'active'])
  })
})

describe('finishing and extending', () => {
  it('binds at once, by the id of either, and is on record', async () => {
    const old = await t.issue(undefined)
    const next = await rotate(old.token.id, 60)
    await extend(next.token.id, 3600)
    t.clock.advance(120 * SECOND_MS)
    expect(await states(old, next)).toEqual(['active', 'active'])
    await expect(extend(old.token.id, 60)).rejects.toThrow(code('invalid_input', /already/))
    await finish(next.token.id)
    expect(await states(old, next)).toEqual(['superseded', 'active'])
    await expect(finish(old.token.id)).rejects.toThrow(code('conflict', /stopped/))
    await expect(extend(old.token.id, 60)).rejects.toThrow(code('conflict'))
    const trail = (await t.trail()).filter(({ subjectId }) => subjectId === old.token.id)
    expect(trail.map(({ action }) => action).slice(-2)).toEqual([
      'token.rotation_extended',
      'token.rotation_finished',
    ])
  })

  it('is for those who may rotate, and what was not rotated has no rotation', async () => {
    const user = await t.makeUser({ username: 'bob' })
    const own = await t.issue(user, { limits: { accessLevel: 'READ_ONLY' } })
    const caller = await t.callerOf(own.secret)
    const plain = await t.issue(user)
    await expect(rotation(plain.token.id)).rejects.toThrow(code('not_found', /not been rotated/))
    await rotate(plain.token.id)
    const { id } = plain.token
    await expect(t.write((w) => w.finishRotation({ caller, id }))).rejects.toThrow(
      code('forbidden'),
    )
    expect(await t.core.read.rotation(caller, id)).toMatchObject({ safeToFinish: false })
    const foreign = await t.issue(undefined)
    await rotate(foreign.token.id)
    await expect(t.core.read.rotation(caller, foreign.token.id)).rejects.toThrow(code('not_found'))
  })
})

describe('who still uses the old secret', () => {
  const use = (issued: Issued, ip: string, userAgent: string) =>
    t.verify(issued.secret, { ip, userAgent, via: 'api' })

  it('is told by address and agent, before and after it is written, also of the new one', async () => {
    const old = await t.issue(undefined)
    await use(old, '192.0.2.1', 'cron/1')
    const next = await rotate(old.token.id)
    await use(old, '192.0.2.1', 'cron/1')
    await t.core.flushUsage()
    t.clock.advance(SECOND_MS)
    await use(old, '192.0.2.1', 'cron/1')
    await use(old, '192.0.2.1', 'deploy/2')
    await use(next, '192.0.2.9', 'cron/1')
    const seen = async () => {
      const { oldCallers, newCallers } = await rotation(next.token.id)
      return [oldCallers, newCallers].map((callers) =>
        callers.map(({ ip, agent, uses }) => `${ip} ${agent} ${uses}`).toSorted(),
      )
    }
    const expected = [['192.0.2.1 cron/1 2', '192.0.2.1 deploy/2 1'], ['192.0.2.9 cron/1 1']]
    expect(await seen()).toEqual(expected)
    await t.core.flushUsage()
    await t.reopen()
    expect(await seen()).toEqual(expected)
  })

  it('is counted as "others" beyond a hundred, and the sum is right', async () => {
    const old = await t.issue(undefined)
    await rotate(old.token.id)
    for (let i = 0; i < 250; i++) {
      await use(old, `10.0.0.${i}`, 'swarm')
      if (i % 60 === 0) await t.core.flushUsage()
    }
    await t.core.flushUsage()
    const { oldCallers } = await rotation(old.token.id)
    expect(oldCallers).toHaveLength(101)
    expect(oldCallers.reduce((sum, { uses }) => sum + uses, 0)).toBe(250)
    expect(oldCallers.find(({ via }) => via === '*')?.uses).toBe(150)
  })

  it('decides whether it is safe to finish', async () => {
    const old = await t.issue(undefined)
    await use(old, '192.0.2.1', 'cron/1')
    const next = await rotate(old.token.id)
    const advice = () => rotation(old.token.id)
    expect(await advice()).toMatchObject({
      safeToFinish: false,
      reason: 'The old secret was used less than a minute ago from 192.0.2.1.',
    })
    t.clock.advance(2 * HOUR_MS)
    expect(await advice()).toMatchObject({
      safeToFinish: false,
      reason: expect.stringMatching(/new secret yet/),
    })
    await use(next, '192.0.2.1', 'cron/1')
    expect(await advice()).toMatchObject({ safeToFinish: true, silentForSeconds: 7200 })
    t.clock.advance(DAY_MS)
    expect(await advice()).toMatchObject({
      safeToFinish: true,
      reason: expect.stringMatching(/stopped already/),
    })
  })
})
