import { expect, it } from 'vitest'
import { barColumn } from './bars.ts'

it('draws numbers beside the largest, to the eighth of a character', () => {
  const numbers = [24, 12, 3.25, 0.001, 0]
  const { of } = barColumn(numbers, (number) => number)
  expect(numbers.map(of)).toEqual(['█'.repeat(24), '█'.repeat(12), '███▎', '▏', ''])
})

it('draws nothing where there is nothing', () => {
  expect(barColumn([0], (number) => number).of(0)).toBe('')
})
