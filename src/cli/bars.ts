const EIGHTHS = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉']
const WIDTH = 24

/**
 * A column that draws a number as a bar beside the largest of all, for tables of figures. What is not nothing
 * is seen.
 */
export function barColumn<T>(rows: readonly T[], numberOf: (row: T) => number) {
  const most = Math.max(1, ...rows.map(numberOf))
  return {
    title: '',
    of: (row: T) => barOf(numberOf(row) / most),
    whole: true,
    extra: true,
  }
}

function barOf(share: number): string {
  const eighths = share === 0 ? 0 : Math.max(1, Math.round(share * WIDTH * 8))
  return '█'.repeat(Math.floor(eighths / 8)) + (EIGHTHS[eighths % 8] ?? '')
}
