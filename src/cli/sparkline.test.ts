import { expect, it } from 'vitest'
import { sparkline } from './sparkline.ts'

it('draws each number as high as it is beside the largest', () => {
  expect(sparkline([0, 1, 2, 4, 8], 80)).toBe(' ▁▂▄█')
})

it('adds neighbours where there is no room for all', () => {
  expect(sparkline([1, 1, 2, 2, 0, 0], 3)).toBe('▄█ ')
})

it('shows a single use beside a million, and nothing as nothing', () => {
  expect(sparkline([1, 1_000_000], 80)).toBe('▁█')
  expect(sparkline([0, 0], 80)).toBe('  ')
})
