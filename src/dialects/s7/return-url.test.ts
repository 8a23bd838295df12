import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { allowedReturn } from './return-url.ts'

const allowed = ['https://portal.example/app/', 'https://portal.example/exact']

describe('allowedReturn', () => {
  it('allows what is below a prefix and what is exactly there', () => {
    for (const url of ['https://portal.example/app/', 'https://portal.example/app/a?b#c']) {
      expect(allowedReturn(url, allowed)).toBe(url)
    }
    expect(allowedReturn('https://portal.example/exact', allowed)).toBe(allowed[1])
  })

  it('allows a whole origin when told so, and nothing when told nothing', () => {
    const url = 'https://portal.example/anything'
    expect(allowedReturn(url, ['https://portal.example/'])).toBe(url)
    expect(allowedReturn(url, [])).toBeUndefined()
    expect(allowedReturn(url, ['not a url/'])).toBeUndefined()
  })

  it('never leads to another origin or out of the prefix, whatever is asked', () => {
    const piece = fc.constantFrom(
      ...['https:', 'http:', '//', '/', '\\', '@', ':', '.', '..', '%2e', '%2f', '%5c', '?', '#'],
      ...['portal.example', 'evil.example', 'app', 'exact', 'javascript:', '\t', '\n', ' ', ';'],
    )
    const wishes = fc.oneof(
      fc.array(piece, { maxLength: 12 }).map((pieces) => pieces.join('')),
      fc.array(piece, { maxLength: 8 }).map((pieces) => `${allowed[0]}${pieces.join('')}`),
      fc.array(piece, { maxLength: 8 }).map((pieces) => `https://portal.example${pieces.join('')}`),
    )
    fc.assert(
      fc.property(wishes, (wish) => {
        const url = allowedReturn(wish, allowed)
        if (url === undefined) return
        const { origin, pathname, username, password } = new URL(url)
        expect([origin, username, password]).toEqual(['https://portal.example', '', ''])
        expect(pathname === '/exact' || pathname.startsWith('/app/')).toBe(true)
      }),
      { numRuns: 5000 },
    )
  })
})
