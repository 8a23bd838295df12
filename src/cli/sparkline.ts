const LEVELS = '▁▂▃▄▅▆▇█'

/**
 * Numbers as a line of bars of one character each, the largest full, at most `width` of them: where
 * there are more numbers, neighbours are added. Nothing at all is a blank, so that one use is seen.
 */
export function sparkline(numbers: readonly number[], width: number): string {
  const each = Math.max(1, Math.ceil(numbers.length / width))
  const sums: number[] = []
  for (let i = 0; i < numbers.length; i += each) {
    sums.push(numbers.slice(i, i + each).reduce((sum, number) => sum + number, 0))
  }
  const most = Math.max(...sums, 1)
  return sums
    .map((sum) => (sum === 0 ? ' ' : LEVELS[Math.ceil((sum / most) * LEVELS.length) - 1]))
    .join('')
}
