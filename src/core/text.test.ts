import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { checkJsonObject, checkName, checkProse, nameKey } from './text.ts'

const rules = { what: 'The name', maxLength: 20 }
const refused = expect.objectContaining({ code: 'invalid_input' })

describe('checkName', () => {
  it.each(['a', 'Ürsula', 'ci runner', 'a/b,c.*%_', '李', '🚀', "O'Brien", '..'])(
    'takes %s',
    (name) => {
      expect(checkName(name, rules)).toBe(name)
    },
  )

  it('stores one form of what looks the same', () => {
    expect(checkName('e\u0301', rules)).toBe('\u00e9')
  })

  it.each([
    ['nothing', ''],
    ['a space before', ' a'],
    ['a space behind', 'a '],
    ['only a wide space', '\u3000'],
    ['a no-break space behind', 'a\u00a0'],
    ['NUL', 'a\0b'],
    ['a line break', 'a\nb'],
    ['an escape sequence', 'a\u001b[31m'],
    ['DEL', 'a\u007f'],
    ['zero-width space', 'ro\u200bot'],
    ['zero-width joiner', 'ro\u200dot'],
    ['zero-width non-joiner', 'ro\u200cot'],
    ['soft hyphen', 'ro\u00adot'],
    ['byte order mark', '\ufeffroot'],
    ['right-to-left override', 'a\u202eb'],
    ['line separator', 'a\u2028b'],
    ['variation selector', 'root\ufe0f'],
    ['combining grapheme joiner', 'ro\u034fot'],
    ['Hangul filler', '\u3164'],
    ['half-width Hangul filler', 'a\uffa0'],
    ['Braille blank', '\u2800'],
    ['tag characters', 'a\u{e0061}'],
    ['private use', 'a\ue000'],
    ['unassigned', 'a\u0378'],
    ['lone high surrogate', 'a\ud83d'],
    ['lone low surrogate', '\ude00a'],
    ['too many characters', 'a'.repeat(21)],
  ])('refuses %s', (_, name) => {
    expect(() => checkName(name, rules)).toThrow(refused)
  })

  it('measures what is stored', () => {
    expect(checkName('e\u0301'.repeat(20), rules)).toHaveLength(20)
    expect(() => checkName('e\u0301'.repeat(21), rules)).toThrow(refused)
  })

  it('gives names that pass again as they are', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 10 }), (text) => {
        let name: string
        try {
          name = checkName(text, rules)
        } catch {
          return
        }
        expect(checkName(name, rules)).toBe(name)
        expect(name.isWellFormed()).toBe(true)
      }),
      { numRuns: 500 },
    )
  })
})

describe('nameKey', () => {
  it.each([
    ['case', 'Root', 'rOOT'],
    ['full width', 'ｒｏｏｔ', 'root'],
    ['composition', 'e\u0301', '\u00e9'],
    ['ligatures', 'oﬃce', 'office'],
    ['the Kelvin sign', '\u212a', 'k'],
    ['no-break spaces', 'a\u00a0b', 'a b'],
    ['superscripts', 'a²', 'a2'],
  ])('is the same across %s', (_, one, other) => {
    expect(nameKey(one)).toBe(nameKey(other))
  })

  it('keeps apart what is different', () => {
    const names = ['root', 'roоt' /* a Cyrillic о */, 'root_', 'root%', 'r-oot', 'rooot', '*']
    expect(new Set(names.map(nameKey)).size).toBe(names.length)
  })

  it('is its own key, so that it may be taken of a key again', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(nameKey(nameKey(text))).toBe(nameKey(text))
      }),
      { numRuns: 2000 },
    )
  })
})

describe('checkProse', () => {
  it('takes lines, joiners and other people’s scripts', () => {
    const text = 'first\r\n\tsecond 👩‍👩‍👧 \u200f עברית'
    expect(checkProse(text, { what: 'It', maxLength: 100 })).toBe(text)
  })

  it.each([
    ['NUL', 'a\0'],
    ['lone surrogates', 'a\udfff'],
    ['more than allowed', 'a'.repeat(101)],
  ])('refuses %s', (_, text) => {
    expect(() => checkProse(text, { what: 'It', maxLength: 100 })).toThrow(refused)
  })
})

describe('checkJsonObject', () => {
  it('gives JSON that reads back the same', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 3 })), (value) => {
        expect(JSON.parse(checkJsonObject(value, 'It'))).toEqual(JSON.parse(JSON.stringify(value)))
      }),
    )
  })

  it('refuses what a database cannot keep, in values and in keys', () => {
    for (const text of ['\0', 'a\ud800', '\udc00a']) {
      expect(() => checkJsonObject({ key: text }, 'It')).toThrow(refused)
      expect(() => checkJsonObject({ [text]: 1 }, 'It')).toThrow(refused)
      expect(() => checkJsonObject({ list: [{ deep: text }] }, 'It')).toThrow(refused)
    }
    expect(checkJsonObject({ key: '😀' }, 'It')).toBe('{"key":"😀"}')
  })

  it('refuses more than 16 KiB, counted in bytes', () => {
    expect(() => checkJsonObject({ a: 'x'.repeat(16_384) }, 'It')).toThrow(refused)
    expect(() => checkJsonObject({ a: 'ä'.repeat(9000) }, 'It')).toThrow(refused)
    expect(checkJsonObject({ a: 'x'.repeat(16_000) }, 'It')).toHaveLength(16_008)
  })

  it('refuses bottomless nesting rather than falling over', () => {
    let nested: unknown = 1
    for (let i = 0; i < 30_000; i++) nested = [nested]
    expect(() => checkJsonObject({ nested }, 'It')).toThrow(refused)
  })
})
