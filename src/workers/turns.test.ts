import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { turnTaker } from './turns.ts'

const noted = () => {
  const events: string[] = []
  const writer = (id: string) => ({
    grant: () => events.push(`grant ${id}`),
    end: () => events.push(`end ${id}`),
  })
  return { events, writer }
}

it('one writes at a time, in the order in which they came', () => {
  const { events, writer } = noted()
  const turns = turnTaker(60_000)
  for (const id of ['a', 'b', 'c']) turns.want(id, writer(id))
  expect(events).toEqual(['grant a'])
  turns.over('a')
  turns.want('a', writer('a'))
  turns.over('b')
  turns.over('c')
  expect(events).toEqual(['grant a', 'grant b', 'grant c', 'grant a'])
})

it('whoever ends passes the turn on, and waits no more', () => {
  const { events, writer } = noted()
  const turns = turnTaker(60_000)
  for (const id of ['a', 'b', 'c']) turns.want(id, writer(id))
  turns.leave('b')
  turns.leave('a')
  // Not its turn: says nothing about that of another.
  turns.over('a')
  expect(events).toEqual(['grant a', 'grant c'])
})

it('whoever keeps the turn for too long is ended', async () => {
  const { events, writer } = noted()
  const turns = turnTaker(20)
  turns.want('a', writer('a'))
  turns.want('b', writer('b'))
  await sleep(60)
  expect(events).toEqual(['grant a', 'end a'])
  turns.leave('a')
  turns.over('b')
  await sleep(60)
  expect(events).toEqual(['grant a', 'end a', 'grant b'])
})
