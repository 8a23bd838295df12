import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { idMaker, isId, madeAtMs } from './id.ts'

describe('ids', () => {
  it('are UUIDv7, never twice the same, and sort by the time they were made', () => {
    let nowMs = Date.UTC(2030, 0, 1)
    const newId = idMaker({ now: () => nowMs }, randomBytes)
    const ids = Array.from({ length: 2000 }, () => {
      nowMs += 1
      return newId()
    })
    expect(ids[0]).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    expect(new Set(ids).size).toBe(ids.length)
    expect([...ids].sort()).toEqual(ids)
    expect(madeAtMs(ids.at(-1) ?? '')).toBe(nowMs)
  })

  it('made within one millisecond differ', () => {
    const newId = idMaker({ now: () => 1 }, randomBytes)
    expect(new Set(Array.from({ length: 5000 }, newId)).size).toBe(5000)
  })

  it('have one spelling', () => {
    const id = '0190b2a0-7c3e-7abc-8def-0123456789ab'
    expect(isId(id)).toBe(true)
    const spellings = [
      id.toUpperCase(),
      `{${id}}`,
      `${id} `,
      id.slice(1),
      id.replaceAll('-', ''),
      '',
    ]
    for (const text of spellings) expect(isId(text), text).toBe(false)
  })
})
