import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { cursorsFor, type Page, type Position, pageOf } from './page.ts'

const key = Buffer.alloc(32, 1)
const tokens = cursorsFor(key, 'tokens')
const refused = expect.objectContaining({ code: 'invalid_input' })

const positions = fc.record<Position>({
  at: fc.oneof(
    fc.maxSafeNat(),
    fc.string({ unit: 'binary' }).map((text) => text.toWellFormed()),
  ),
  id: fc.string({ unit: 'binary' }).map((text) => text.toWellFormed()),
  direction: fc.constantFrom('after', 'before'),
})

describe('cursors', () => {
  it('lead there and back', () => {
    fc.assert(
      fc.property(positions, (position) => {
        expect(tokens.decode(tokens.encode(position))).toEqual(position)
      }),
    )
  })

  it('of another list or another server are refused', () => {
    const cursor = tokens.encode({ at: 1, id: 'a', direction: 'after' })
    expect(() => cursorsFor(key, 'users').decode(cursor)).toThrow(refused)
    expect(() => cursorsFor(key, 'token').decode(cursor)).toThrow(refused)
    expect(() => cursorsFor(key, 'tokens\n').decode(cursor)).toThrow(refused)
    expect(() => cursorsFor(Buffer.alloc(32, 2), 'tokens').decode(cursor)).toThrow(refused)
  })

  it('of another principal or another query are refused', () => {
    const position = { at: 'a name', id: 'a', direction: 'after' } as const
    const alices = tokens.within(['alice', { q: 'kind:api' }])
    const cursor = alices.encode(position)
    expect(tokens.within(['alice', { q: 'kind:api' }]).decode(cursor)).toEqual(position)
    for (const other of [
      tokens,
      tokens.within(['bob', { q: 'kind:api' }]),
      tokens.within(['alice', { q: 'kind:api ' }]),
      tokens.within(['alice', {}]),
      cursorsFor(key, 'users').within(['alice', { q: 'kind:api' }]),
    ]) {
      expect(() => other.decode(cursor)).toThrow(refused)
      expect(() => alices.decode(other.encode(position))).toThrow(refused)
    }
  })

  it('altered in any byte or cut anywhere are refused', () => {
    const bytes = Buffer.from(tokens.encode({ at: 1, id: 'a', direction: 'after' }), 'base64url')
    for (let i = 0; i < bytes.length; i++) {
      const altered = Buffer.from(bytes)
      altered.writeUInt8(bytes.readUInt8(i) ^ 1, i)
      expect(() => tokens.decode(altered.toString('base64url'))).toThrow(refused)
      expect(() => tokens.decode(bytes.subarray(0, i).toString('base64url'))).toThrow(refused)
    }
  })

  it('made up are refused', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.base64String()), (text) => {
        expect(() => tokens.decode(text)).toThrow(refused)
      }),
    )
    const forged = Buffer.from(`${'\0'.repeat(16)}[1,"' OR 1=1--",0]`).toString('base64url')
    expect(() => tokens.decode(forged)).toThrow(refused)
  })
})

describe('pageOf', () => {
  const rows = Array.from({ length: 10 }, (_, i) => 10 - i)
  /** Rows newest first, as a store answers: at most `size + 1` beyond `from`. */
  const fetch = (from: Position | undefined, size: number) =>
    from?.direction === 'before'
      ? rows
          .filter((row) => row > Number(from.at))
          .reverse()
          .slice(0, size + 1)
      : rows.filter((row) => from === undefined || row < Number(from.at)).slice(0, size + 1)
  const page = (from: Position | undefined, size: number): Page<number> =>
    pageOf(fetch(from, size), { size, from, positionOf: (row) => [row, `${row}`] })

  it('walks forth over every row once, and back the same way', () => {
    for (let size = 1; size <= 11; size++) {
      const forth: number[][] = []
      let last: Page<number> | undefined
      for (let from: Position | undefined, more = true; more; ) {
        last = page(from, size)
        forth.push(last.items)
        from = last.next
        more = from !== undefined
      }
      expect(forth.flat()).toEqual(rows)

      const back: number[][] = [last?.items ?? []]
      for (let from = last?.previous; from !== undefined; ) {
        const earlier: Page<number> = page(from, size)
        back.unshift(earlier.items)
        from = earlier.previous
      }
      expect(back.flat()).toEqual(rows)
    }
  })

  it('has no neighbours when everything fits', () => {
    expect(page(undefined, 10)).toEqual({ items: rows, next: undefined, previous: undefined })
    expect(pageOf([], { size: 5, from: undefined, positionOf: () => [0, ''] })).toEqual({
      items: [],
      next: undefined,
      previous: undefined,
    })
  })
})
