import { shortened, visible, widthOf } from './text.ts'

export interface Column<T> {
  title: string
  of: (row: T) => string
  /** Never shortened: an id is copied or it is useless. */
  whole?: boolean
  /** Left out, from the right, where the terminal is too narrow. */
  extra?: boolean
}

const GAP = '  '
const LEAST_WIDTH = 8

/**
 * Aligned columns that fit into `width`; undefined: as wide as they are, for pipes and files.
 * `titleStyle` decorates the first line once its width is settled.
 */
export function table<T>(
  rows: readonly T[],
  {
    columns,
    width,
    titleStyle = (line) => line,
  }: {
    columns: readonly Column<T>[]
    width: number | undefined
    titleStyle?: (line: string) => string
  },
): string {
  const measured = columns.map((column) => {
    const cells = rows.map((row) => visible(column.of(row)))
    return { ...column, cells, width: Math.max(...[column.title, ...cells].map(widthOf)) }
  })
  const fitted = width === undefined ? measured : narrowed(measured, width)
  const line = (cellOf: (column: (typeof fitted)[number]) => string) =>
    fitted
      .map((column) => padded(shortened(cellOf(column), column.width), column.width))
      .join(GAP)
      .trimEnd()
  return [
    titleStyle(line(({ title }) => title)),
    ...rows.map((_, i) => line(({ cells }) => cells[i] ?? '')),
  ].join('\n')
}

interface Measured {
  width: number
  whole?: boolean
  extra?: boolean
}

/** Leaves extra columns out, then narrows the widest ones, until the line fits or nothing is left to do. */
function narrowed<C extends Measured>(columns: C[], width: number): C[] {
  const kept = columns.map((column) => ({ ...column }))
  const least = (column: C) => (column.whole ? column.width : Math.min(column.width, LEAST_WIDTH))
  while (total(kept.map(least)) > width) {
    const last = kept.findLastIndex((column) => column.extra === true)
    if (last < 0) break
    kept.splice(last, 1)
  }
  while (total(kept.map((column) => column.width)) > width) {
    const [widest] = kept
      .filter((column) => column.width > least(column))
      .sort((a, b) => b.width - a.width)
    if (widest === undefined) break
    widest.width--
  }
  return kept
}

function total(widths: number[]): number {
  return widths.reduce((sum, each) => sum + each, GAP.length * (widths.length - 1))
}

function padded(text: string, width: number): string {
  return text + ' '.repeat(Math.max(0, width - widthOf(text)))
}

/** Label and value in lines, for one thing; what is undefined is left out. */
export function facts(pairs: readonly (readonly [label: string, value: string | undefined])[]) {
  const known = pairs.flatMap(([label, value]) => (value === undefined ? [] : [{ label, value }]))
  const width = Math.max(...known.map(({ label }) => label.length))
  return known.map(({ label, value }) => `${label.padEnd(width)}${GAP}${visible(value)}`).join('\n')
}
