import { afterAll, beforeAll, expect, it } from 'vitest'
import { LAX } from '../../src/core/policy/rule.ts'
import { type Nodes, openNodes } from '../support/nodes.ts'

let all: Nodes

beforeAll(async () => {
  all = await openNodes(4)
})
afterAll(() => all.close())

async function rate(requests: number, windowSeconds: number) {
  const { id } = await all.nodes[0].core.write((w) =>
    w.createGroup({ caller: all.admin, wish: { name: `group ${Math.random()}` } }),
  )
  const user = await all.makeUser({})
  await all.nodes[0].core.write((w) =>
    w.setMembership({ caller: all.admin, wish: { groupId: id, userId: user.id, mode: 'READ' } }),
  )
  await all.nodes[0].core.write((w) =>
    w.updatePolicy({
      caller: all.admin,
      edit: {
        tokenRules: [{ ...LAX, name: 'fair', groups: [id], rate: { requests, windowSeconds } }],
      },
    }),
  )
  const { secret } = await all.issue(user)
  await all.caughtUp()
  return secret
}

/** Uses that were allowed, of `count` on each node at once. */
async function allowed(secret: Awaited<ReturnType<typeof rate>>, count: number) {
  const heard = await Promise.all(
    all.nodes.flatMap((node) => Array.from({ length: count }, () => node.state(secret))),
  )
  expect(new Set(heard)).toEqual(new Set(['active', 'rate_limited']))
  return heard.filter((state) => state === 'active').length
}

it('is shared by all nodes: together they allow no more than one would', async () => {
  const secret = await rate(40, 3600)
  const uses = await allowed(secret, 100)
  expect(uses).toBeLessThanOrEqual(44)
  // Shares that a node did not use are lost, until the budget is whole again; the slower the nodes, the more.
  expect(uses).toBeGreaterThanOrEqual(20)
})

it('is kept while it flows, at most a tenth more on many nodes', async () => {
  const secret = await rate(100, 2)
  const startedAt = performance.now()
  let uses = 0
  let asked = 0
  while (performance.now() - startedAt < 4000) {
    const heard = await Promise.all(all.nodes.map((node) => node.state(secret)))
    asked += heard.length
    uses += heard.filter((state) => state === 'active').length
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
  const seconds = (performance.now() - startedAt) / 1000
  const one = 100 + 50 * seconds
  expect(uses).toBeLessThanOrEqual(one * 1.1)
  expect(uses).toBeGreaterThanOrEqual(Math.min(one, asked) * 0.5)
})

it('a change of the policy binds on the other nodes', async () => {
  const secret = await rate(1, 3600)
  const [first, second] = all.nodes
  expect(await first.state(secret)).toBe('active')
  expect(await second.state(secret)).toBe('rate_limited')
  await first.core.write((w) => w.updatePolicy({ caller: all.admin, edit: { tokenRules: [] } }))
  await all.caughtUp()
  expect(await second.state(secret)).toBe('active')
})
