import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { ClientId, UserId } from '../../src/core/id.ts'
import { ADMIN_PASSWORD, ORIGIN } from '../support/core.ts'
import { type Nodes, openNodes } from '../support/nodes.ts'

const MAKERS = 12
const HOLD_MS = 40
/** A few turns of those who were there first. */
const BOUND_MS = 1500

let t: Nodes
beforeAll(async () => {
  t = await openNodes(3)
})
afterAll(() => t.close())

/** What every new token of the user takes. */
const originsOf = (ownerId: UserId) => ({
  ownerId,
  // There is none: the row of the user is what matters.
  clientId: '' as ClientId,
  grantId: undefined,
  parentId: undefined,
})

it('whoever makes tokens without a pause cannot keep others from disabling the user', async () => {
  const user = await t.makeUser({ globalRole: 'ADMIN' })
  let running = true
  let made = 0
  // From several nodes, and so that there is always somebody who has it.
  const makers = Array.from({ length: MAKERS }, async () => {
    while (running) {
      await t.next().store.transaction(async (tx) => {
        await tx.tokens.hold(originsOf(user.id))
        await sleep(HOLD_MS)
      })
      made++
    }
  })
  while (made < MAKERS) await sleep(5)
  const beganMs = performance.now()
  await t
    .next()
    .core.write((w) => w.updateUser({ caller: t.admin, id: user.id, edit: { active: false } }))
  const tookMs = performance.now() - beganMs
  running = false
  await Promise.all(makers)
  expect(tookMs).toBeLessThan(BOUND_MS)
})

it('a login does not wait for the tokens of its user, and its time is noted afterwards', async () => {
  const { core, store } = t.next()
  const { user } = t.admin.principal
  const made = Promise.withResolvers<void>()
  const holding = Promise.withResolvers<void>()
  const making = store.transaction(async (tx) => {
    await tx.tokens.hold(originsOf(user.id))
    holding.resolve()
    await made.promise
  })
  await holding.promise
  const noted = async () => (await store.users.byId(user.id))?.lastLoginAtMs
  const before = await noted()
  await core.login({ name: user.username, password: ADMIN_PASSWORD, origin: ORIGIN, via: 'api' })
  expect(await noted()).toBe(before)
  made.resolve()
  await making
  await core.flushUsage()
  expect(await noted()).toBeGreaterThan(before ?? 0)
})
