import { expect, test } from 'vitest'
import { STYLE, THEMES } from './style.ts'

type Colour = keyof (typeof THEMES)['light']

/** WCAG 2.2, "relative luminance". */
function luminance(colour: string): number {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((at) => {
    const channel = Number.parseInt(colour.slice(at, at + 2), 16) / 255
    return channel <= 0.04045 ? channel / 12.92 : ((channel + 0.055) / 1.055) ** 2.4
  })
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue
}

function contrast(one: string, other: string): number {
  const [dark = 0, light = 0] = [luminance(one), luminance(other)].sort((a, b) => a - b)
  return (light + 0.05) / (dark + 0.05)
}

const TEXT: [Colour, Colour][] = [
  ['text', 'surface'],
  ['text', 'page'],
  ['text', 'warning-surface'],
  ['muted', 'surface'],
  ['muted', 'page'],
  ['brand', 'surface'],
  ['brand-hover', 'surface'],
  ['on-brand', 'brand'],
  ['on-brand', 'brand-hover'],
  ['danger', 'surface'],
  ['danger', 'danger-surface'],
  ['warning', 'surface'],
  ['warning', 'warning-surface'],
  ['good', 'good-surface'],
  ['brand', 'page'],
]
const EDGES: [Colour, Colour][] = [
  ['field', 'surface'],
  ['focus', 'surface'],
  ['focus', 'page'],
  ['danger', 'surface'],
]

for (const [theme, colours] of Object.entries(THEMES)) {
  test.each(TEXT)(`${theme}: %s on %s can be read`, (front, back) => {
    expect(contrast(colours[front], colours[back])).toBeGreaterThanOrEqual(4.5)
  })
  test.each(EDGES)(`${theme}: %s can be seen on %s`, (front, back) => {
    expect(contrast(colours[front], colours[back])).toBeGreaterThanOrEqual(3)
  })
}

test('the stylesheet asks nobody for anything and names only colours that there are', () => {
  expect(STYLE).not.toMatch(/url\(|@import|@font-face|https?:/)
  const used = [...STYLE.matchAll(/var\(--([a-z-]+)\)/g)].map(([, name]) => name)
  expect(Object.keys(THEMES.light)).toEqual(expect.arrayContaining(used))
  expect(Object.keys(THEMES.dark)).toEqual(Object.keys(THEMES.light))
})

test('it is small', () => {
  expect(STYLE.length).toBeLessThan(8000)
})
