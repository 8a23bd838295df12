import { describe, expect, it } from 'vitest'
import { facts, table } from './table.ts'
import { jsonText, shortened, visible, widthOf } from './text.ts'

const id = '0197f3a0-0000-7000-8000-000000000001'
const rows = [
  { id, name: 'deploy-to-production-cluster', note: 'x' },
  { id, name: 'ci', note: 'a longer note' },
]
const columns = [
  { title: 'ID', of: (row: (typeof rows)[number]) => row.id, whole: true },
  { title: 'NAME', of: (row: (typeof rows)[number]) => row.name },
  { title: 'NOTE', of: (row: (typeof rows)[number]) => row.note, extra: true },
]

describe('table', () => {
  it('aligns columns and shortens nothing when the width is free', () => {
    const lines = table(rows, { columns, width: undefined }).split('\n')
    expect(lines).toHaveLength(3)
    expect(new Set(lines.map((line) => line.search(/NAME|deploy|ci$|ci /)))).toEqual(new Set([38]))
    expect(lines[1]).toBe(`${id}  deploy-to-production-cluster  x`)
  })

  it('leaves extras out and shortens names, never ids, to fit a terminal', () => {
    const lines = table(rows, { columns, width: 50 }).split('\n')
    expect(lines[0]).toBe('ID                                    NAME')
    expect(lines[1]).toBe(`${id}  deploy-to-p…`)
    for (const line of lines) expect(widthOf(line)).toBeLessThanOrEqual(50)
  })

  it('spells out what a terminal would act on', () => {
    const evil = [{ id: '1', name: '\u001b[2Jgone\u202e', note: 'a\nb' }]
    const text = table(evil, { columns, width: undefined })
    expect(text.split('\n')[1]).toBe('1   \\u{1b}[2Jgone\\u{202e}  a\\u{a}b')
    expect(facts([['name', '\u009b31m']])).toBe('name  \\u{9b}31m')
  })
})

describe('text', () => {
  it('knows wide characters and cuts between them', () => {
    expect(widthOf('令牌')).toBe(4)
    expect(widthOf('e\u0301')).toBe(1)
    expect(shortened('令牌令牌', 5)).toBe('令牌…')
    expect(visible('令牌 é')).toBe('令牌 é')
  })

  it('prints JSON that is the same document and steers nothing', () => {
    const document = { name: '\u009b31m\u202e\u007f\u{e0001}' }
    const text = jsonText(document)
    expect(text).not.toMatch(/[\u007f-\u009f\p{Cf}]/u)
    expect(JSON.parse(text)).toEqual(document)
  })
})
