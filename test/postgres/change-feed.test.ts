import { afterEach, describe, expect, it } from 'vitest'
import type { Change } from '../../src/core/store.ts'
import { type Node, type Nodes, openNodes } from '../support/nodes.ts'

let t: Nodes
afterEach(() => t.close())

const until = async (what: () => boolean | Promise<boolean>) => {
  while (!(await what())) await new Promise((resolve) => setTimeout(resolve, 5))
}
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
const revoke = (node: Node, id: string) =>
  node.core.write((w) => w.revokeToken({ caller: t.admin, id: id as never, reason: '' }))
const listenerOf = `from pg_stat_activity where query like 'listen%' or query like '%left join change%'
  and datname = current_database() and pid <> pg_backend_pid()`

/** Everything that a node hears, in order. */
function heard(node: Node): Change[] {
  const changes: Change[] = []
  node.store.onChange((some) => {
    changes.push(...some)
  })
  return changes
}

describe('what one node changes', () => {
  it('binds on the others at once, though they know better from their caches', async () => {
    // Polling alone would take a minute.
    t = await openNodes(3, { pollMs: 60_000 })
    const [one, ...others] = t.nodes
    for (let round = 0; round < 20; round++) {
      const { token, secret } = await t.issue()
      await t.caughtUp()
      for (const { state } of t.nodes) expect(await state(secret)).toBe('active')
      await revoke(one, token.id)
      expect(await one.state(secret)).toBe('revoked')
      await t.caughtUp()
      for (const { state } of others) expect(await state(secret)).toBe('revoked')
    }
  })

  it('binds within the polling interval when no notice comes', async () => {
    t = await openNodes(2, { pollMs: 100 })
    const [one, two] = t.nodes
    const { token, secret } = await t.issue()
    await t.caughtUp()
    expect(await two.state(secret)).toBe('active')
    // What a notice that was lost on its way, or a pooler that hands the session to others, leaves.
    await t.database.tamper(
      `update token set revoked_at_ms = 1, revoke_reason = '' where id = '${token.id}';
      with next as (update counter set value = value + 1 where name = 'change' returning value)
      insert into change select value, 'token', '${token.id}', 0 from next`,
    )
    const began = performance.now()
    await until(async () => (await two.state(secret)) === 'revoked')
    expect(performance.now() - began).toBeLessThan(1000)
    expect(await one.state(secret)).toBe('revoked')
  })

  it('is heard by all, own and foreign', async () => {
    t = await openNodes(2)
    const [one, two] = t.nodes
    const [atOne, atTwo] = [heard(one), heard(two)]
    await Promise.all(Array.from({ length: 40 }, () => t.makeUser({})))
    await t.caughtUp()
    const rows = await t.database.query(
      "select subject_id from change where subject = 'user' order by sequence desc limit 40",
    )
    const ids = rows.map(({ subject_id }) => String(subject_id)).reverse()
    for (const all of [atOne, atTwo]) {
      expect(new Set(all.map(({ id }) => id))).toEqual(new Set(ids))
    }
  })

  it('is in force on the node itself before the call returns', async () => {
    t = await openNodes(2, { pollMs: 60_000 })
    const [one] = t.nodes
    const before = one.store.changes.position()
    await one.core.write((w) => w.updatePolicy({ caller: t.admin, edit: { lockoutAttempts: 77 } }))
    expect(one.core.policy().lockoutAttempts).toBe(77)
    await t.caughtUp()
    expect(one.store.changes.position()).toBe(before + 1)
    expect(t.nodes[1].core.policy().lockoutAttempts).toBe(77)
  })
})

describe('a node that missed something', () => {
  it('because its connection was cut hears of it once it is back', async () => {
    t = await openNodes(2, { pollMs: 100 })
    const [one, two] = t.nodes
    for (let round = 0; round < 5; round++) {
      const { token, secret } = await t.issue()
      await t.caughtUp()
      expect(await two.state(secret)).toBe('active')
      await t.database.query(`select pg_terminate_backend(pid) ${listenerOf}`)
      await revoke(one, token.id)
      const began = performance.now()
      await until(async () => (await two.state(secret)) === 'revoked')
      expect(performance.now() - began).toBeLessThan(2000)
    }
  })

  it('because the log was pruned counts everything as changed', async () => {
    t = await openNodes(2, { pollMs: 200 })
    const [one, two] = t.nodes
    const { token, secret } = await t.issue()
    await t.caughtUp()
    expect(await two.state(secret)).toBe('active')
    const all = heard(two)
    await t.database.tamper(`update token set revoked_at_ms = 1, revoke_reason = '' where id = '${token.id}';
      update policy set value = '78' where name = 'lockoutAttempts';
      insert into policy (name, value, updated_at_ms) values ('lockoutAttempts', '78', 0)
        on conflict (name) do update set value = excluded.value;
      update counter set value = value + 5 where name = 'change'`)
    await t.caughtUp()
    expect(await two.state(secret)).toBe('revoked')
    expect(two.core.policy().lockoutAttempts).toBe(78)
    expect(all.map(({ id }) => id)).toContain('*')
    // From there on it follows as before.
    const next = await t.issue()
    await t.caughtUp()
    expect(await two.state(next.secret)).toBe('active')
    await revoke(one, next.token.id)
    await t.caughtUp()
    expect(await two.state(next.secret)).toBe('revoked')
  })

  it('because part of the log was pruned counts everything as changed, too', async () => {
    t = await openNodes(2, { pollMs: 200 })
    const two = t.nodes[1]
    const all = heard(two)
    await t.database.tamper(`with next as (
        update counter set value = value + 3 where name = 'change' returning value)
      insert into change select value, 'user', 'somebody', 0 from next`)
    await t.caughtUp()
    expect(all.map(({ id }) => id)).toEqual(expect.arrayContaining(['*', 'somebody']))
  })

  it('because an older backup was restored follows that', async () => {
    t = await openNodes(2, { pollMs: 50 })
    const two = t.nodes[1]
    for (let i = 0; i < 5; i++) await t.makeUser({})
    await t.caughtUp()
    const all = heard(two)
    await t.database.tamper(`update counter set value = value - 3 where name = 'change';
      delete from change where sequence > (select value from counter where name = 'change')`)
    await until(() => all.some(({ id }) => id === '*'))
    await pause(100)
    const { id } = await t.makeUser({})
    await until(() => all.some((change) => change.id === id))
  })
})

describe('many changes at once', () => {
  it('are all heard, in pages', async () => {
    t = await openNodes(2, { pollMs: 60_000 })
    const [one, two] = t.nodes
    const all = heard(two)
    const ids = Array.from({ length: 3500 }, (_, i) => `user ${i}`)
    await one.store.transaction(async (tx) => {
      for (const id of ids) await tx.changes.append({ subject: 'user', id })
    })
    await t.caughtUp()
    expect(all.map(({ id }) => id)).toEqual(ids)
  })

  it('that are rolled back leave no trace and no gap', async () => {
    t = await openNodes(2)
    const [one, two] = t.nodes
    const all = heard(two)
    const failed = one.store.transaction(async (tx) => {
      await tx.changes.append({ subject: 'user', id: 'nobody' })
      throw new Error('no')
    })
    await expect(failed).rejects.toThrow('no')
    await t.makeUser({})
    await t.caughtUp()
    expect(all.map(({ id }) => id)).not.toContain('nobody')
    expect(all.map(({ id }) => id)).not.toContain('*')
  })
})
