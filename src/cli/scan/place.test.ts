import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { codePointsIn, newlinesIn } from './place.ts'

/** Bytes that are close to those that count, at every alignment. */
const bytes = fc
  .tuple(
    fc.array(
      fc.oneof(fc.constantFrom(0x0a, 0x0b, 0x8a, 0x00, 0x80, 0x7f, 0xbf, 0xc0), fc.nat(255)),
      { maxLength: 3000 },
    ),
    fc.nat(3),
  )
  .map(([values, offset]) => Buffer.from([...Array(offset).fill(10), ...values]).subarray(offset))
const range = fc.tuple(fc.nat(3000), fc.nat(3000))

function counted(bytes: Buffer, isCounted: (byte: number) => boolean): number {
  return [...bytes].filter(isCounted).length
}

describe('counting by words', () => {
  it('is counting byte by byte', () => {
    fc.assert(
      fc.property(bytes, range, (bytes, [a, b]) => {
        const from = Math.min(a, b, bytes.length)
        const to = Math.min(Math.max(a, b), bytes.length)
        const part = bytes.subarray(from, to)
        expect(newlinesIn(bytes, from, to)).toBe(counted(part, (byte) => byte === 10))
        expect(codePointsIn(bytes, from, to)).toBe(counted(part, (byte) => byte >> 6 !== 2))
      }),
      { numRuns: 300 },
    )
  })

  it('does not overflow', () => {
    const lines = Buffer.alloc(1 << 20, '\n')
    expect(newlinesIn(lines, 0, lines.length)).toBe(lines.length)
    expect(codePointsIn(Buffer.alloc(1 << 20, 0x80), 1, lines.length)).toBe(0)
  })
})
