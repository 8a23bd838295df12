import { expect, it } from 'vitest'
import type { UserId } from '../id.ts'
import type { Owner } from '../rights.ts'
import { ANY, type Change, type ChangeListener } from '../store.ts'
import { ownerCache } from './owner-cache.ts'

const alice = 'alice' as UserId
const bob = 'bob' as UserId

function stage() {
  const loads: UserId[] = []
  let listener: ChangeListener = () => undefined
  let onLoad: () => void = () => undefined
  const { byId: ownerOf, clear } = ownerCache(
    {
      onChange(listen) {
        listener = listen
        return () => undefined
      },
    },
    async (id) => {
      loads.push(id)
      onLoad()
      return id === 'nobody' ? undefined : ({ user: { id } } as Owner)
    },
  )
  const tell = async (...changes: Change[]) => {
    await listener(changes)
  }
  return {
    loads,
    ownerOf,
    clear,
    tell,
    duringLoad(work: () => void) {
      onLoad = work
    },
  }
}

it('reads an owner once, and shares it', async () => {
  const { loads, ownerOf } = stage()
  expect(await ownerOf(alice)).toBe(await ownerOf(alice))
  expect(loads).toEqual([alice])
})

it('does not remember that there is none', async () => {
  const { loads, ownerOf } = stage()
  expect(await ownerOf('nobody' as UserId)).toBeUndefined()
  await ownerOf('nobody' as UserId)
  expect(loads).toHaveLength(2)
})

it('reads a changed user again, and no other', async () => {
  const { loads, ownerOf, tell } = stage()
  await ownerOf(alice)
  await ownerOf(bob)
  await tell({ subject: 'user', id: alice })
  await ownerOf(alice)
  await ownerOf(bob)
  expect(loads).toEqual([alice, bob, alice])
})

it.each(['group', 'role', 'client', 'key'] as const)('forgets all with a %s', async (subject) => {
  const { loads, ownerOf, tell } = stage()
  await ownerOf(alice)
  await tell({ subject, id: 'some' })
  await ownerOf(alice)
  expect(loads).toEqual([alice, alice])
})

it('forgets all when anything may have changed', async () => {
  const { loads, ownerOf, tell } = stage()
  await ownerOf(alice)
  await tell({ subject: 'user', id: ANY })
  await ownerOf(alice)
  expect(loads).toEqual([alice, alice])
})

it('keeps owners when only tokens or the policy change', async () => {
  const { loads, ownerOf, tell } = stage()
  await ownerOf(alice)
  await tell({ subject: 'token', id: 'some' }, { subject: 'policy', id: ANY })
  await ownerOf(alice)
  expect(loads).toEqual([alice])
})

it('does not keep what was read while something changed', async () => {
  const { loads, ownerOf, tell, duringLoad } = stage()
  duringLoad(() => void tell({ subject: 'user', id: bob }))
  await ownerOf(alice)
  duringLoad(() => undefined)
  await ownerOf(alice)
  expect(loads).toEqual([alice, alice])
})

it('forgets all when asked to', async () => {
  const { loads, ownerOf, clear } = stage()
  await ownerOf(alice)
  clear()
  await ownerOf(alice)
  expect(loads).toEqual([alice, alice])
})

it('reads an owner once for all who ask at the same time', async () => {
  const { loads, ownerOf } = stage()
  const [one, other] = await Promise.all([ownerOf(alice), ownerOf(alice)])
  expect(one).toBe(other)
  expect(loads).toEqual([alice])
})

it('reads anew for who asks after a change, though others still wait', async () => {
  const { loads, ownerOf, tell } = stage()
  const before = ownerOf(alice)
  await tell({ subject: 'user', id: alice })
  await Promise.all([before, ownerOf(alice)])
  await ownerOf(alice)
  expect(loads).toEqual([alice, alice])
})
