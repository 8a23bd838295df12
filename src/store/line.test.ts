import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { type Line, line } from './line.ts'

let overdue: string[]
let waiting: Line<string>
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance'] })
  overdue = []
  waiting = line({ max: 3, waitMs: 2000 }, (item) => overdue.push(item))
})
afterEach(() => {
  vi.useRealTimers()
})

it('serves in the order of coming, and what is vital first', () => {
  for (const item of ['a', 'b']) waiting.join(item, false)
  for (const item of ['A', 'B']) waiting.join(item, true)
  expect([waiting.next(), waiting.next(), waiting.next(), waiting.next()]).toEqual([
    'A',
    'B',
    'a',
    'b',
  ])
  expect(waiting.next()).toBeUndefined()
  expect(waiting.isEmpty()).toBe(true)
})

it('gives a turn that is kept for what is vital to nobody else', () => {
  waiting.join('a', false)
  expect(waiting.next(true)).toBeUndefined()
  waiting.join('A', true)
  expect(waiting.next(true)).toBe('A')
  expect(waiting.next()).toBe('a')
})

it('has no room for more than its maximum of either kind', () => {
  for (const item of ['a', 'b', 'c']) expect(waiting.join(item, false)).toBe(true)
  expect(waiting.join('d', false)).toBe(false)
  expect(waiting.join('A', true)).toBe(true)
  waiting.leave('b')
  expect(waiting.join('e', false)).toBe(true)
  expect(waiting.all()).toEqual(['A', 'a', 'c', 'e'])
})

it('lets a burst wait for long', () => {
  waiting.join('a', false)
  vi.advanceTimersByTime(450)
  expect(waiting.next()).toBe('a')
  expect(overdue).toEqual([])
})

it('turns away who has waited too long', () => {
  waiting.join('a', false)
  waiting.join('b', true)
  vi.advanceTimersByTime(2001)
  expect(waiting.next()).toBe('b')
  expect(waiting.next()).toBeUndefined()
  expect(overdue).toEqual(['a'])
})

it('in a line that stands, waits no longer than makes sense', () => {
  waiting.join('a', false)
  vi.advanceTimersByTime(450)
  waiting.join('b', false)
  vi.advanceTimersByTime(400)
  expect(waiting.next()).toBe('b')
  expect(overdue).toEqual(['a'])
})
