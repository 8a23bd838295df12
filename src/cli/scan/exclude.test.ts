import { describe, expect, it } from 'vitest'
import { excluder } from './exclude.ts'

describe('an exclusion', () => {
  it.each([
    ['node_modules', 'node_modules'],
    ['node_modules', 'a/node_modules/b/c.js'],
    ['*.pdf', 'a/b.pdf'],
    ['*.pdf', 'b.pdf/inside'],
    ['docs/**/*.md', 'docs/a/b.md'],
    ['docs/**', 'docs/a'],
    ['./docs/', 'docs/a/b'],
    ['a/{b,c}', 'a/c/d'],
  ])('%s leaves out %s', (glob, path) => {
    expect(excluder([glob])(path)).toBe(true)
  })

  it.each([
    ['node_modules', 'node_modules.txt'],
    ['*.pdf', 'b.pdfs'],
    ['docs/*.md', 'a/docs/b.md'],
    ['docs/*.md', 'docs/a/b.md'],
  ])('%s keeps %s', (glob, path) => {
    expect(excluder([glob])(path)).toBe(false)
  })

  it('by one of several is enough, and by none is none', () => {
    expect(excluder(['x', 'y'])('a/y')).toBe(true)
    expect(excluder([])('a/y')).toBe(false)
  })
})
