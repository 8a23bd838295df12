import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { together } from './together.ts'

test('what comes in one turn is done at its end, in order and once', async () => {
  const done: number[] = []
  const soon = together()
  for (let i = 0; i < 3; i++) soon(() => done.push(i))
  expect(done).toEqual([])
  await turn()
  expect(done).toEqual([0, 1, 2])
  await turn()
  expect(done).toHaveLength(3)
})

test('of many, none waits for all', async () => {
  const done: number[] = []
  const soon = together()
  for (let i = 0; i < 20; i++) soon(() => done.push(i))
  expect(done.length).toBeGreaterThan(10)
  await turn()
  expect(done).toEqual(Array.from({ length: 20 }, (_, i) => i))
})

test('what is put off meanwhile is done, too', async () => {
  const done: string[] = []
  const soon = together()
  soon(() => {
    done.push('first')
    soon(() => done.push('second'))
  })
  await turn()
  await turn()
  expect(done).toEqual(['first', 'second'])
})
