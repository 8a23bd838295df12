import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { csvLine } from './csv.ts'

/** A reader by the letter of RFC 4180. */
function cellsOf(line: string): string[] {
  const cells: string[] = []
  let rest = line.slice(0, -2)
  for (;;) {
    const [whole = '', quoted, plain] = /^(?:"((?:[^"]|"")*)"|([^",\r\n]*))(?:,|$)/.exec(rest) ?? []
    cells.push(quoted === undefined ? (plain ?? '') : quoted.replaceAll('""', '"'))
    if (!whole.endsWith(',') || whole === rest.slice(0, -1)) {
      if (whole.length === rest.length && !whole.endsWith(',')) return cells
    }
    rest = rest.slice(whole.length)
    if (rest === '') return [...cells, '']
  }
}

describe('csvLine', () => {
  it('is read back as it was written', () => {
    const texts = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.constantFrom('', ',', '"', '""', '\r\n', 'a,b', 'a"b', ' a '),
    )
    fc.assert(
      fc.property(fc.array(texts, { minLength: 1 }), (cells) => {
        const read = cellsOf(csvLine(cells)).map((cell) =>
          cell.replace(/^'(?=[=+\-@\t\r\n＝＋－＠])/, ''),
        )
        expect(read).toEqual(cells.map((cell) => cell.replace(/^'(?=[=+\-@\t\r\n＝＋－＠])/, '')))
      }),
      { numRuns: 1000 },
    )
  })

  it.each(['=1+1', '+1', '-1', '@SUM(A1)', '\t=1', '\r=1', "=cmd|' /C calc'!A0", '＝1'])(
    'lets no spreadsheet calculate %j',
    (text) => {
      expect(csvLine([text]).replace(/^"/, '')).toMatch(/^'/)
    },
  )

  it('ends each record with CRLF and quotes where it must', () => {
    expect(csvLine(['a', 'b c', 'd,e', 'f"g', 'h\ni'])).toBe('a,b c,"d,e","f""g","h\ni"\r\n')
  })
})
