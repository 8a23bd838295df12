import { expect, it } from 'vitest'
import { turns } from './turns.ts'

/** An event loop by hand: work takes 4 ms each, and a turn begins when we say so. */
function loop() {
  let nowMs = 0
  let deferred: (() => void)[] = []
  const done: string[] = []
  const inTurn = turns({ now: () => nowMs, defer: (work) => deferred.push(work) })
  return {
    done,
    ask(name: string) {
      inTurn(() => {
        nowMs += 4
        done.push(name)
      })
    },
    /** Others are heard; returns whether anything was put off until then. */
    nextTurn() {
      const due = deferred
      deferred = []
      for (const work of due) work()
      return due.length > 0
    },
  }
}

it('what comes to a young turn begins at once, the rest in turns to come, in order', () => {
  const { done, ask, nextTurn } = loop()
  for (const name of ['a', 'b', 'c', 'd', 'e', 'f', 'g']) ask(name)
  expect(done).toEqual(['a', 'b', 'c'])
  nextTurn()
  expect(done).toEqual(['a', 'b', 'c', 'd', 'e', 'f'])
  ask('h')
  nextTurn()
  expect(done).toEqual(['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'])
})

it('a turn with room takes what comes behind those that waited', () => {
  const { done, ask, nextTurn } = loop()
  for (const name of ['a', 'b', 'c', 'd']) ask(name)
  nextTurn()
  ask('e')
  expect(done).toEqual(['a', 'b', 'c', 'd', 'e'])
})

it('nothing is left to do once everything has begun', () => {
  const { ask, nextTurn } = loop()
  ask('a')
  expect(nextTurn()).toBe(true)
  expect(nextTurn()).toBe(false)
})
