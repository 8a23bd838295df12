import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createCore } from '../../src/core/core.ts'
import type { Job } from '../../src/core/jobs/job.ts'
import type { BulkWish } from '../../src/core/jobs/manage.ts'
import { openStore } from '../../src/store/database.ts'
import { openTestCore, type TestCore } from '../support/core.ts'
import { DATABASE } from '../support/database.ts'
import { insertTokens } from '../support/token-rows.ts'

let t: TestCore
beforeAll(async () => {
  t = await openTestCore()
})
afterAll(() => t.close())

const stopwatch = () => 0

let made = 0
/** Tokens of somebody new, written behind the server's back. */
async function ownerOf(count: number): Promise<{ username: string; ids: string[] }> {
  const user = await t.makeUser({ username: `robot-${made}` })
  const rows = Array.from({ length: count }, () => {
    const id = `01900000-0000-7100-8000-${String(made++).padStart(12, '0')}`
    return {
      id,
      familyId: id,
      ownerId: user.id,
      creatorId: user.id,
      kind: 'api',
      clientId: undefined,
      parentId: undefined,
      via: 'api',
      accessLevel: 'READ_ONLY',
      name: `made ${id}`,
      description: '',
      roles: [],
      scopes: [],
      groups: [],
      // Many of the same instant: a page may end between them.
      createdAtMs: t.clock.now() - (made % 3),
      usedAtMs: undefined,
      ip: undefined,
      expiresAtMs: undefined,
      revokedAtMs: undefined,
      supersededAtMs: undefined,
    }
  })
  await t.database.transaction((tx) => insertTokens(tx, rows))
  return { username: user.username, ids: rows.map(({ id }) => id) }
}

async function begin(wish: Partial<BulkWish> & { query: string }): Promise<Job> {
  const whole: BulkWish = { action: 'revoke', reason: 'tidying', ...wish }
  const plan = await t.core.planBulk(t.admin, whole)
  return t.write((w) => w.createJob({ caller: t.admin, plan }))
}

const job = (id: Job['id']) => t.core.read.job(t.admin, id)
const revoked = async () =>
  Number(
    (await t.query("select count(*) as n from audit where action = 'token.revoked'"))[0]?.n ?? 0,
  )

it('a job goes on where a server stopped, and reaches each of its tokens once', async () => {
  const { username, ids } = await ownerOf(1300)
  const before = await revoked()
  const { id } = await begin({ query: `owner:${username}` })
  for (let steps = 0; (await job(id)).finishedAtMs === undefined; steps++) {
    expect(steps).toBeLessThan(1000)
    // A worker of a new process each time; the one before it is gone without a word.
    await t.reopen()
    t.clock.advance(31_000)
    const worker = t.core.worker({ stopwatch })
    for (let i = 0; i < 5; i++) await worker.step()
  }
  expect(await job(id)).toMatchObject({ state: 'done', total: 1300, done: 1300, changed: 1300 })
  expect((await revoked()) - before).toBe(1300)
  const [left] = await t.query(
    `select count(*) as n from token where revoked_at_ms is null and id in ('${ids.join("','")}')`,
  )
  expect(Number(left?.n)).toBe(0)
  expect(await t.query('select * from bulk_job_token')).toEqual([])
  expect(await t.verifyChain()).toMatchObject({ intact: true })
}, 120_000)

it('what the query selected is acted on, whatever becomes of it meanwhile', async () => {
  const { username } = await ownerOf(20)
  const { id } = await begin({ query: `owner:${username} used:never` })
  const worker = t.core.worker({ stopwatch })
  while ((await job(id)).state === 'selecting') await worker.step()
  // Too late to escape, and too late to be caught.
  await t.tamper(`update token set last_used_at_ms = ${t.clock.now()}`)
  const user = await t.core.read.userByName(t.admin, username)
  const later = await t.issue(user)
  while ((await job(id)).finishedAtMs === undefined) await worker.step()
  expect(await job(id)).toMatchObject({ total: 20, changed: 20 })
  expect(await t.state(later.secret)).toBe('active')
})

it('a cancelled job stops, and what was left to do is forgotten', async () => {
  const { username } = await ownerOf(300)
  const { id } = await begin({ query: `owner:${username}` })
  const worker = t.core.worker({ stopwatch })
  while ((await job(id)).done === 0) await worker.step()
  const cancelled = await t.write((w) => w.cancelJob({ caller: t.admin, id }))
  expect(cancelled.state).toBe('cancelled')
  expect(await worker.step()).toBeUndefined()
  const { done, changed } = await job(id)
  expect(done).toBeLessThan(300)
  expect(changed).toBe(done)
  expect(await t.query('select * from bulk_job_token')).not.toEqual([])
  await t.core.purge()
  expect(await t.query('select * from bulk_job_token')).toEqual([])
})

it('several jobs take turns', async () => {
  const first = await begin({ query: `owner:${(await ownerOf(400)).username}` })
  const second = await begin({ query: `owner:${(await ownerOf(10)).username}` })
  const worker = t.core.worker({ stopwatch })
  while ((await job(second.id)).finishedAtMs === undefined) {
    t.clock.advance(1)
    await worker.step()
  }
  expect((await job(first.id)).finishedAtMs).toBeUndefined()
  await t.write((w) => w.cancelJob({ caller: t.admin, id: first.id }))
})

it('a disabled asker ends the job', async () => {
  const { username } = await ownerOf(30)
  const boss = await t.makeUser({ username: 'boss', globalRole: 'ADMIN' })
  const caller = await t.callerOf((await t.issue(boss)).secret)
  const plan = await t.core.planBulk(caller, {
    action: 'revoke',
    query: `owner:${username}`,
    reason: '',
  })
  const { id } = await t.write((w) => w.createJob({ caller, plan }))
  await t.write((w) => w.updateUser({ caller: t.admin, id: boss.id, edit: { active: false } }))
  const worker = t.core.worker({ stopwatch })
  await worker.step()
  expect(await job(id)).toMatchObject({ state: 'failed', changed: 0 })
})

it('nobody has more than ten under way', async () => {
  const jobs: Job[] = []
  for (let i = 0; i < 10; i++) jobs.push(await begin({ query: 'name:nothing' }))
  await expect(begin({ query: 'name:nothing' })).rejects.toMatchObject({
    code: 'too_many_requests',
  })
  for (const { id } of jobs) await t.write((w) => w.cancelJob({ caller: t.admin, id }))
})

it.runIf(DATABASE === 'postgres')('of two nodes one has a job at a time', async () => {
  const { username } = await ownerOf(500)
  const store = await openStore(t.database.config, t.clock)
  const { masterKey, clock } = t
  const other = await createCore({ store, clock, random: randomBytes, masterKey })
  const before = await revoked()
  const { id } = await begin({ query: `owner:${username}` })
  const workers = [t.core.worker({ stopwatch }), other.worker({ stopwatch })]
  while ((await job(id)).finishedAtMs === undefined) {
    await Promise.all(workers.map((worker) => worker.step()))
    // Now and then a node is thought dead, though it is not.
    if (Math.random() < 0.3) t.clock.advance(31_000)
  }
  expect(await job(id)).toMatchObject({ total: 500, done: 500, changed: 500, skipped: 0 })
  expect((await revoked()) - before).toBe(500)
  await store.close()
})
