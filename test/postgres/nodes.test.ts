import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import type { TokenId } from '../../src/core/id.ts'
import { LAX } from '../../src/core/policy/rule.ts'
import { lockedBy, lockTable } from '../support/cut-off.ts'
import { type Node, type Nodes, openNodes } from '../support/nodes.ts'

let t: Nodes
afterEach(() => t.close())

const until = async (what: () => boolean | Promise<boolean>) => {
  while (!(await what())) await sleep(5)
}
const revoke = (node: Node, id: string) =>
  node.core.write((w) => w.revokeToken({ caller: t.admin, id: id as never, reason: '' }))
const states = async () =>
  Object.fromEntries((await t.nodes[0].store.nodes.list()).map(({ id, state }) => [id, state]))

describe('a revocation', () => {
  it('is acknowledged by all nodes, none of which says yes again', async () => {
    t = await openNodes(3)
    const [one, ...others] = t.nodes
    for (let round = 0; round < 30; round++) {
      const { token, secret } = await t.issue()
      for (const node of t.nodes) expect(await node.state(secret)).toBe('active')
      await revoke(one, token.id)
      const found = await one.store.nodes.acknowledged(one.committed(), 2000)
      for (const node of others) expect(await node.state(secret)).toBe('revoked')
      expect(found).toEqual({ acknowledged: 3, nodes: 3 })
    }
  })

  it('is acknowledged within two polling intervals where no notices come', async () => {
    t = await openNodes(3, { notices: false, pollMs: 200 })
    const [one, ...others] = t.nodes
    const tookMs: number[] = []
    for (let round = 0; round < 5; round++) {
      const { token, secret } = await t.issue()
      for (const node of t.nodes) expect(await node.state(secret)).toBe('active')
      await revoke(one, token.id)
      const began = performance.now()
      const found = await one.store.nodes.acknowledged(one.committed(), 2000)
      tookMs.push(performance.now() - began)
      for (const node of others) expect(await node.state(secret)).toBe('revoked')
      expect(found).toEqual({ acknowledged: 3, nodes: 3 })
    }
    // The median: a busy machine holds some of them up.
    expect(tookMs.toSorted((a, b) => a - b)[2]).toBeLessThan(400)
  })

  it('that is asked for again is acknowledged when the first one is', async () => {
    t = await openNodes(3)
    const { token, secret } = await t.issue()
    for (const node of t.nodes) expect(await node.state(secret)).toBe('active')
    await revoke(t.nodes[0], token.id)
    const found = await t.nodes[1].store.nodes.acknowledged('everything', 2000)
    for (const node of t.nodes) expect(await node.state(secret)).toBe('revoked')
    expect(found).toEqual({ acknowledged: 3, nodes: 3 })
  })

  it('does not wait for nodes that have left, and for new ones at once', async () => {
    t = await openNodes(3)
    const [one, two] = t.nodes
    await t.nodes[2]?.store.close()
    const { token } = await t.issue()
    await revoke(one, token.id)
    expect(await one.store.nodes.acknowledged(one.committed(), 2000)).toEqual({
      acknowledged: 2,
      nodes: 2,
    })
    expect(Object.values(await states())).toEqual(['live', 'live'])
    await two.store.nodes.announce({ address: 'http://two.example.com', draining: true })
    const listed = await one.store.nodes.list()
    expect(listed.find(({ id }) => id === two.store.nodes.id)).toMatchObject({
      address: 'http://two.example.com',
      state: 'draining',
    })
  })

  it('that only adds something asks nobody to wait', async () => {
    t = await openNodes(2)
    const [one] = t.nodes
    const before = one.committed()
    await one.core.write((w) =>
      w.createUser({ caller: t.admin, wish: { username: 'somebody new' } }),
    )
    expect(one.committed()).toBe(before)
  })
})

describe('a node that cannot reach the database', () => {
  it('stops answering when its lease ends, and answers rightly once it is back', async () => {
    t = await openNodes(2, { leaseMs: 1000, pollMs: 100 })
    const [one, two] = t.nodes
    const { token, secret } = await t.issue()
    for (const node of t.nodes) expect(await node.state(secret)).toBe('active')
    const unlock = await lockTable(t.database, 'counter')
    const began = performance.now()
    await until(async () => {
      const state = await two.state(secret).catch((error: { code: string }) => error.code)
      expect(['active', 'unavailable']).toContain(state)
      return state === 'unavailable'
    })
    // The lease, and as long as a node waits that may only have been asleep.
    expect(performance.now() - began).toBeLessThan(2500)
    expect(two.store.nodes.figures().leaseLeftMs).toBe(0)
    await unlock()
    await until(() => two.store.changes.isCurrent())
    expect(await two.state(secret)).toBe('active')
    await until(() => one.store.changes.isCurrent())
    await revoke(one, token.id)
    await t.caughtUp()
    expect(await two.state(secret)).toBe('revoked')
  })

  it('is waited for, then counted as gone, and joins again by itself', async () => {
    t = await openNodes(2, { leaseMs: 1000, pollMs: 100 })
    const [one, two] = t.nodes
    const { token, secret } = await t.issue()
    expect(await two.state(secret)).toBe('active')
    // Its row can be read, but its beats wait: as after SIGSTOP, but for this node alone.
    const unlock = await lockedBy(
      t.database,
      `select from node where id = '${two.store.nodes.id}' for update`,
    )
    await revoke(one, token.id)
    expect(await one.store.nodes.acknowledged(one.committed(), 200)).toEqual({
      acknowledged: 1,
      nodes: 2,
    })
    await until(async () => {
      const answer = await two.state(secret).catch((error: { code: string }) => error.code)
      return answer === 'unavailable'
    })
    await unlock()
    await until(() => two.store.changes.isCurrent())
    expect(await two.state(secret)).toBe('revoked')
  })

  it('that others have given up reads the log anew before it answers', async () => {
    t = await openNodes(2, { leaseMs: 1000, pollMs: 100 })
    const [one, two] = t.nodes
    const id = two.store.nodes.id
    await t.database.tamper(`update node set gone_at_ms = 1 where id = '${id}'`)
    await until(async () => (await states())[id ?? ''] === 'live')
    await until(() => two.store.changes.isCurrent())
    const { token, secret } = await t.issue()
    expect(await two.state(secret)).toBe('active')
    await revoke(one, token.id)
    expect(await one.store.nodes.acknowledged(one.committed(), 2000)).toEqual({
      acknowledged: 2,
      nodes: 2,
    })
    expect(await two.state(secret)).toBe('revoked')
  })

  it('whose clock is behind takes no rotation at once for an overlap', async () => {
    t = await openNodes(2, { behindMs: 60_000 })
    const [one, two] = t.nodes
    const rotate = (id: TokenId, overlapSeconds: number) =>
      one.core.write((w) =>
        w.rotateToken({ caller: t.admin, wish: { id, overlapSeconds }, via: 'api' }),
      )
    const first = await t.issue()
    expect(await two.state(first.secret)).toBe('active')
    const second = await rotate(first.token.id, 3600)
    const third = await rotate(second.token.id, 0)
    await t.caughtUp()
    for (const { secret } of [first, second]) {
      expect(await one.state(secret)).toBe('superseded')
      expect(await two.state(secret)).toBe('superseded')
    }
    expect(await two.state(third.secret)).toBe('active')
  })

  it('is not given up because the clock of the database was set', async () => {
    t = await openNodes(2, { leaseMs: 1000, pollMs: 100 })
    const [one, two] = t.nodes
    await t.database.tamper('update node set seen_at_ms = 0')
    await sleep(600)
    expect(Object.values(await states())).toEqual(['live', 'live'])
    // And one that rests is, though its clock says that it is alive.
    await t.database.tamper(`insert into node
      values ('00000000-0000-0000-0000-000000000000', null, '0', 1000, 0, 9e15, 1, 0, 0, null)`)
    const { token } = await t.issue()
    await revoke(one, token.id)
    expect(await one.store.nodes.acknowledged(one.committed(), 100)).toEqual({
      acknowledged: 2,
      nodes: 3,
    })
    expect(await one.store.nodes.acknowledged('everything', 5000)).toEqual({
      acknowledged: 2,
      nodes: 2,
    })
    expect(two.store.changes.isCurrent()).toBe(true)
  })
})

describe('a token that may not stand idle', () => {
  it('is good on a node that has not seen it for so long, while it is used on another', async () => {
    t = await openNodes(2)
    const [one, two] = t.nodes
    const rule = { ...LAX, name: 'busy', kinds: ['api' as const], idleSeconds: 3 }
    await one.core.write((w) => w.updatePolicy({ caller: t.admin, edit: { tokenRules: [rule] } }))
    await t.caughtUp()
    const { secret } = await t.issue(await t.makeUser({}))
    expect(await two.state(secret)).toBe('active')
    await sleep(1600)
    expect(await one.state(secret)).toBe('active')
    await one.core.flushUsage()
    await sleep(1600)
    expect(await two.state(secret)).toBe('active')
    await two.core.flushUsage()
    await sleep(3100)
    for (const node of t.nodes) expect(await node.state(secret)).toBe('idle')
  })
})
