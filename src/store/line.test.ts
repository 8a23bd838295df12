import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { type Asker, type Line, line } from './line.ts'

let overdue: string[]
let waiting: Line<string>
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance', 'setTimeout'] })
  overdue = []
  waiting = line({ max: 3, waitMs: 2000, least: 1, standingMs: 500 }, (item) => overdue.push(item))
})
afterEach(() => {
  vi.useRealTimers()
})

/** `agoMs`: how long ago its request came. */
const asker = (given: Partial<Asker> = {}, agoMs = 0): Asker => ({
  isVital: false,
  hasBegun: false,
  patienceMs: 700,
  sinceMs: performance.now() - agoMs,
  ...given,
})
const vital = () => asker({ isVital: true })

function served(): string[] {
  const items: string[] = []
  for (let item = waiting.next(); item !== undefined; item = waiting.next()) items.push(item)
  return items
}

it('serves in the order of coming: what is vital, what has begun, who was here before, the rest', () => {
  const known = asker()
  waiting.passed(known)
  waiting.join('a', asker())
  waiting.join('b', undefined)
  waiting.join('known', known)
  for (const item of ['begun 1', 'begun 2']) waiting.join(item, asker({ hasBegun: true }))
  for (const item of ['A', 'B']) waiting.join(item, vital())
  expect(served()).toEqual(['A', 'B', 'begun 1', 'begun 2', 'known', 'a', 'b'])
  expect(waiting.isEmpty()).toBe(true)
})

it('goes by when a request came, not by when it got here', () => {
  waiting.join('late', asker())
  waiting.join('early', asker({}, 100))
  expect(served()).toEqual(['early', 'late'])
})

it('gives a turn that is kept for what is vital to nobody else', () => {
  waiting.join('a', asker())
  waiting.join('b', asker({ hasBegun: true }))
  expect(waiting.next(true)).toBeUndefined()
  waiting.join('A', vital())
  expect(waiting.next(true)).toBe('A')
  expect(served()).toEqual(['b', 'a'])
})

it('has no room for more than its maximum of each kind', () => {
  for (const item of ['a', 'b', 'c']) expect(waiting.join(item, asker())).toBe(true)
  expect(waiting.join('d', asker())).toBe(false)
  expect(waiting.join('A', vital())).toBe(true)
  expect(waiting.all()).toEqual(['A', 'a', 'b', 'c'])
})

it('lets a short line wait for long', () => {
  waiting = line({ max: 3, waitMs: 2000, least: 2 }, (item) => overdue.push(item))
  waiting.join('a', asker())
  vi.advanceTimersByTime(1900)
  expect(waiting.next()).toBe('a')
  expect(overdue).toEqual([])
})

it('lets a burst wait for long', () => {
  waiting.join('a', asker())
  vi.advanceTimersByTime(450)
  expect(waiting.next()).toBe('a')
  expect(overdue).toEqual([])
})

it('begins nothing in a long line for whom an answer would come too late anyhow', () => {
  waiting = line({ max: 9, waitMs: 2000, least: 2 }, (item) => overdue.push(item))
  waiting.join('a', asker({ patienceMs: 400 }, 500))
  vi.advanceTimersByTime(80)
  waiting.join('b', asker({ patienceMs: 400 }))
  waiting.join('c', undefined)
  vi.advanceTimersByTime(40)
  expect(served()).toEqual(['c', 'b'])
  expect(overdue).toEqual(['a'])
})

it('turns away who has waited too long, also while nobody is served', () => {
  waiting.join('a', asker())
  waiting.join('A', vital())
  vi.advanceTimersByTime(950)
  expect(overdue).toEqual(['a'])
  vi.advanceTimersByTime(1200)
  expect(overdue).toEqual(['a', 'A'])
  expect(waiting.next()).toBeUndefined()
})

it('lets those wait who go first, where it was told to', () => {
  waiting = line({ max: 3, waitMs: 2000, firstWaitMs: Number.POSITIVE_INFINITY }, (item) =>
    overdue.push(item),
  )
  waiting.join('A', vital())
  waiting.join('b', asker({ hasBegun: true }))
  vi.advanceTimersByTime(60_000)
  expect(served()).toEqual(['A', 'b'])
})

it('in a line that stands, counts what a request has waited elsewhere', () => {
  waiting.join('a', asker())
  vi.advanceTimersByTime(450)
  waiting.join('b', asker({}, 600))
  waiting.join('c', asker())
  vi.advanceTimersByTime(250)
  expect(served()).toEqual(['c', 'a'])
  expect(overdue).toEqual(['b'])
})

it('where more come than can be served, serves the latest of those who are new', () => {
  waiting.join('a', asker())
  vi.advanceTimersByTime(700)
  const known = asker()
  waiting.passed(known)
  waiting.join('b', asker())
  waiting.join('c', asker())
  waiting.join('known', known)
  vi.advanceTimersByTime(150)
  expect(served()).toEqual(['known', 'c', 'b'])
  expect(overdue).toEqual(['a'])
  waiting.join('d', asker())
  waiting.join('e', asker())
  vi.advanceTimersByTime(1100)
  expect(served()).toEqual([])
})

it('serves the latest where a line has been long for a moment, and turns nobody away for it', () => {
  waiting = line({ max: 9, waitMs: 2000, least: 2, standingMs: 1000 }, (item) => overdue.push(item))
  for (const item of ['a', 'b', 'c', 'd']) waiting.join(item, asker())
  vi.advanceTimersByTime(240)
  expect(waiting.next()).toBe('a')
  vi.advanceTimersByTime(20)
  expect(waiting.next()).toBe('d')
  vi.advanceTimersByTime(600)
  expect(served()).toEqual(['c', 'b'])
  expect(overdue).toEqual([])
})

it('is in order again when all are served in time', () => {
  waiting.join('a', asker())
  vi.advanceTimersByTime(1000)
  expect(overdue).toEqual(['a'])
  vi.advanceTimersByTime(1000)
  waiting.join('b', asker())
  waiting.join('c', asker())
  expect(served()).toEqual(['b', 'c'])
})
