import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { makeSecret } from '../../core/secret.ts'
import { createFinder, type Hit } from './finder.ts'

const ours = (kind = 'api') => makeSecret('mintmark', kind, randomBytes)
const both = ['hex', 'uuid'] as const

/** What is found in the bytes when they come in pieces of these lengths, the last one over and over. */
function found(
  bytes: Buffer | string,
  { cuts = [1 << 20], also = [] as readonly 'hex'[] | typeof both } = {},
) {
  const hits: Hit[] = []
  const finder = createFinder({ also, onHit: (hit) => hits.push(hit) })
  const rest = [...cuts]
  const last = cuts.at(-1) ?? 1
  let left = Buffer.from(bytes)
  while (left.length > 0) {
    // A copy that is destroyed afterwards, as the reader of files does with its memory.
    const piece = Buffer.from(left.subarray(0, rest.shift() ?? last))
    left = left.subarray(piece.length)
    finder.push(piece)
    piece.fill('x')
  }
  finder.end()
  return hits
}

/** The same by one look at the whole text. */
function expected(text: string): Hit[] {
  const patterns = [
    { pattern: /mm_([a-z]+(?:_[a-z]+)?)_[0-9A-Za-z]{49}/g },
    { pattern: /(?<![0-9A-Za-z])[0-9a-f]{32}(?![0-9A-Za-z])/g, kind: 'hex' },
    {
      pattern:
        /(?<![0-9A-Za-z])[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}(?![0-9A-Za-z])/g,
      kind: 'uuid',
    },
  ]
  return patterns
    .flatMap(({ pattern, kind }) =>
      [...text.matchAll(pattern)].map(({ 0: secret, 1: own = '', index }) => {
        const before = text.slice(0, index).split('\n')
        return {
          index,
          hit: {
            secret,
            kind: kind ?? own,
            isCandidate: kind !== undefined,
            line: before.length,
            column: [...(before.at(-1) ?? '')].length + 1,
          },
        }
      }),
    )
    .sort((a, b) => a.index - b.index)
    .map(({ hit }) => hit)
}

const bytes = (length: number) =>
  fc.uint8Array({ minLength: length, maxLength: length }).map((array) => Buffer.from(array))
const someOurs = fc
  .tuple(fc.constantFrom('api', 'service', 'oauth_refresh', 'x'), bytes(32))
  .map(([kind, random]) => makeSecret('mintmark', kind, () => random))
const someHex = bytes(16).map((random) => makeSecret('hex', 'api', () => random))
const someUuid = bytes(16).map((random) => makeSecret('uuid', 'api', () => random))
// No letters and digits, so that the text around decides nothing; those are below.
const noise = fc.oneof(
  fc.constantFrom('\n', '\r\n', ' ', 'é', '令牌', '😀', '"', '\n\n', '____', '-'.repeat(140)),
  fc.nat({ max: 300 }).map((length) => '. '.repeat(length)),
)
const text = fc
  .array(fc.tuple(noise, fc.oneof(someOurs, someHex, someUuid, noise), noise), { maxLength: 12 })
  .map((parts) => parts.flat().join(''))
const cuts = fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1, maxLength: 30 })

describe('a finder', () => {
  it('finds the same wherever the borders of the pieces are', () => {
    fc.assert(
      fc.property(text, cuts, (text, cuts) => {
        expect(found(text, { cuts, also: both })).toEqual(expected(text))
      }),
      { numRuns: 500 },
    )
  })

  it('finds a secret across every border, and once', () => {
    const secret = ours('oauth_refresh')
    const line = `first\n  ${secret}, ${'z'.repeat(300)}`
    for (let border = 1; border < line.length; border++) {
      expect(found(line, { cuts: [border, 1 << 20] })).toMatchObject([
        { secret, kind: 'oauth_refresh', line: 2, column: 3 },
      ])
    }
    expect(found(line, { cuts: [1] })).toHaveLength(1)
  })

  it('finds what stands between letters, because the checksum says where it ends', () => {
    const [one, two] = [ours(), ours('session')]
    for (const line of [
      `"line\\n${one}\\n${two}"`,
      `https://x:${one}@example.com/?t=${two}`,
      `${one}${two}`,
      `mm_${one}mm_${two}mm_`,
      `mm_mm_${one}A${two}_`,
      `\0\xff${one}\0${two}\0`,
    ]) {
      expect(
        found(line).map(({ secret }) => secret),
        line,
      ).toEqual([one, two])
    }
  })

  it('takes nothing for ours whose checksum does not fit', () => {
    const secret = ours()
    const last = secret.endsWith('0') ? '1' : '0'
    for (const line of [secret.slice(0, -1), secret.slice(0, -1) + last, secret.toUpperCase()]) {
      expect(found(`${line} mm_api_${'0'.repeat(49)}`)).toEqual([])
    }
  })

  it('takes for candidates only what stands alone, and only when asked', () => {
    const hex = makeSecret('hex', 'api', randomBytes)
    const uuid = makeSecret('uuid', 'service', randomBytes)
    const line = `${hex} token_${uuid}, ${hex}0 x${hex} ${uuid}a 0${uuid} ${hex.repeat(9)}`
    expect(found(line)).toEqual([])
    expect(found(line, { also: ['hex'] })).toMatchObject([{ kind: 'hex', isCandidate: true }])
    expect(found(line, { also: both, cuts: [7] }).map(({ secret }) => secret)).toEqual([hex, uuid])
    const others = [
      hex.toUpperCase(),
      `${uuid.slice(0, 14)}7${uuid.slice(15)}`,
      uuid.replaceAll('-', '_'),
    ]
    expect(found(others.join(' '), { also: both })).toEqual([])
  })

  it.each(['utf16le', 'utf16be'])('reads %s, which shells of Windows write', (encoding) => {
    const secret = ours()
    const little = Buffer.from(`\ufeffé令\n😀 令${secret}\r\n`, 'utf16le')
    const bytes = encoding === 'utf16le' ? little : Buffer.from(little).swap16()
    for (const cuts of [[1 << 20], [1], [3, 50]]) {
      expect(found(bytes, { cuts })).toMatchObject([{ secret, line: 2, column: 4 }])
    }
    const foreign = Buffer.from(`\ufeff${secret.replace('m', 'ŭ')}`, 'utf16le')
    expect(found(foreign)).toEqual([])
  })

  it('has nothing to say of nothing', () => {
    for (const text of ['', 'm', 'mm_', '\n']) expect(found(text, { also: both })).toEqual([])
  })
})
