import fc from 'fast-check'
import { expect, test } from 'vitest'
import { shortened, visible } from './visible.ts'

test.each([
  ['a right-to-left override', 'exe\u202etxt', 'exe\\u{202e}txt'],
  ['a zero-width space', 'ad\u200bmin', 'ad\\u{200b}min'],
  ['a line break', 'a\nb', 'a\\u{a}b'],
  ['a NUL', 'a\u0000b', 'a\\u{0}b'],
  ['a lone surrogate', 'a\ud800b', 'a\\u{d800}b'],
  ['a letter that shows nothing', '\u3164', '\\u{3164}'],
  ['a tag character', '\u{e0041}', '\\u{e0041}'],
  ['the fifth mark on a letter', `a${'\u0301'.repeat(5)}`, `a${'\u0301'.repeat(4)}\\u{301}`],
])('%s is spelled out', (_, text, seen) => {
  expect(visible(text)).toBe(seen)
})

test('what people read stays as it is', () => {
  for (const text of ['Zoë', 'Nguyễn', 'עברית', '日本語', '🙂', '<b>&"\'']) {
    expect(visible(text)).toBe(text)
  }
})

test('nothing that hides or reorders is left, whatever comes in', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      expect(visible(text)).not.toMatch(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{DI}]/u)
    }),
  )
})

test('long text is cut between characters and says so', () => {
  expect(shortened('abc', 3)).toBe('abc')
  expect(shortened('abcd', 3)).toBe('ab…')
  expect(shortened('🙂🙂🙂', 3)).toBe('🙂🙂🙂')
  expect(shortened('🙂🙂🙂🙂', 3)).toBe('🙂🙂…')
  expect(shortened('x'.repeat(1_000_000), 3)).toBe('xx…')
})
