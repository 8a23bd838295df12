import { afterAll, beforeAll, expect, it } from 'vitest'
import { nameOf } from '../../src/core/revocations/feed.ts'
import { type Nodes, openNodes } from '../support/nodes.ts'

let t: Nodes
beforeAll(async () => {
  t = await openNodes(3)
})
afterAll(() => t.close())

it('misses nothing that any node revokes, whichever node is asked, and from wherever', async () => {
  const issued = []
  for (let i = 0; i < 60; i++) issued.push(await t.issue())
  const names = new Set(issued.map(({ token }) => nameOf(token.id)))
  const heard = new Set<string>()
  let cursor: string | undefined
  const listen = async () => {
    const { core } = t.next()
    const { ended, next } = await core.revocations.read(cursor)
    for (const name of ended.keys()) heard.add(name)
    cursor = next
  }
  await listen()
  heard.clear()
  let isDone = false
  const listening = (async () => {
    while (!isDone) await listen()
  })()
  // Those that take longer commit later than some with a higher number would, if numbers had gaps.
  await Promise.all(
    issued.map(({ token }) =>
      t.next().core.write((w) => w.revokeToken({ caller: t.admin, id: token.id, reason: 'feed' })),
    ),
  )
  isDone = true
  await listening
  await listen()
  expect([...names].filter((name) => !heard.has(name))).toEqual([])
})

it('says what was revoked before the answer came, on every node', async () => {
  for (const { core } of t.nodes) {
    const before = await core.revocations.read(undefined)
    const { token } = await t.issue()
    await t.nodes[0].core.write((w) =>
      w.revokeToken({ caller: t.admin, id: token.id, reason: 'feed' }),
    )
    const after = await core.revocations.read(before.next)
    expect(after.full).toBe(false)
    expect([...after.ended.keys()]).toContain(nameOf(token.id))
  }
})
