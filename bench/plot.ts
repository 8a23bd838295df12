/** What one kind of request costs at each size. */
export interface Line {
  name: string
  points: { tokens: number; microseconds: number }[]
}

const WIDTH = 720
const HEIGHT = 400
const BOX = { left: 64, right: 560, top: 44, bottom: 348 }
/** Distances between the names of lines that end close to each other. */
const LABEL_GAP = 15
/** Readable on white and on black, and by those who cannot tell red from green. */
const COLOURS = ['#0077bb', '#ee7733', '#009988', '#aa3377', '#888888', '#997700', '#cc3311']

/** Cost against size, both in powers of ten, as an SVG that follows the reader's choice of light or dark. */
export function plot({ title, lines }: { title: string; lines: Line[] }): string {
  const drawn = lines.filter(({ points }) => points.length > 0)
  const all = drawn.flatMap(({ points }) => points)
  const xs = decades(all.map(({ tokens }) => tokens))
  const ys = decades(all.map(({ microseconds }) => microseconds))
  const x = scale(xs, BOX.left, BOX.right)
  const y = scale(ys, BOX.bottom, BOX.top)
  const ends = spread(drawn.map(({ points }) => y(points.at(-1)?.microseconds ?? 1)))
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escaped(title)}">
<style>
  svg { background: #fff; font: 12px system-ui, sans-serif }
  text { fill: #222 } .grid { stroke: #ddd } .title { font-weight: 600 }
  @media (prefers-color-scheme: dark) {
    svg { background: #111 } text { fill: #ddd } .grid { stroke: #333 }
  }
</style>
<text class="title" x="${BOX.left}" y="22">${escaped(title)}</text>
${xs.map((at) => gridLine({ x1: x(at), x2: x(at), y1: BOX.top, y2: BOX.bottom }) + label(x(at), BOX.bottom + 18, 'middle', `${power(at)} tokens`)).join('\n')}
${ys.map((at) => gridLine({ x1: BOX.left, x2: BOX.right, y1: y(at), y2: y(at) }) + label(BOX.left - 6, y(at) + 4, 'end', duration(at))).join('\n')}
${drawn.map((line, i) => drawnLine(line, { x, y, colour: COLOURS[i % COLOURS.length] ?? '', labelY: ends[i] ?? 0 })).join('\n')}
</svg>
`
}

function drawnLine(
  { name, points }: Line,
  style: {
    x: (tokens: number) => number
    y: (microseconds: number) => number
    colour: string
    labelY: number
  },
): string {
  const { x, y, colour, labelY } = style
  const at = points.map(({ tokens, microseconds }) => [x(tokens), y(microseconds)].map(rounded))
  const path = at.map((point) => point.join(',')).join(' ')
  const dots = at.map(([cx, cy]) => `<circle cx="${cx}" cy="${cy}" r="3" fill="${colour}"/>`)
  return `<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2"/>${dots.join('')}<text x="${BOX.right + 10}" y="${rounded(labelY + 4)}" style="fill:${colour}">${escaped(name)}</text>`
}

function gridLine({ x1, x2, y1, y2 }: Record<'x1' | 'x2' | 'y1' | 'y2', number>): string {
  return `<line class="grid" x1="${rounded(x1)}" x2="${rounded(x2)}" y1="${rounded(y1)}" y2="${rounded(y2)}"/>`
}

function label(x: number, y: number, anchor: 'middle' | 'end', text: string): string {
  return `<text x="${rounded(x)}" y="${rounded(y)}" text-anchor="${anchor}">${text}</text>`
}

/** The powers of ten that hold all values, two at least. */
function decades(values: number[]): number[] {
  const from = Math.floor(Math.log10(Math.min(...values)))
  const to = Math.max(from + 1, Math.ceil(Math.log10(Math.max(...values))))
  return Array.from({ length: to - from + 1 }, (_, i) => 10 ** (from + i))
}

function scale(marks: number[], from: number, to: number): (value: number) => number {
  const least = Math.log10(marks[0] ?? 1)
  const most = Math.log10(marks.at(-1) ?? 10)
  return (value) => from + ((Math.log10(value) - least) / (most - least)) * (to - from)
}

/** Moves names apart that would lie on each other. */
function spread(ends: number[]): number[] {
  const order = ends.map((at, i) => ({ at, i })).toSorted((a, b) => a.at - b.at)
  const moved: number[] = []
  let last = Number.NEGATIVE_INFINITY
  for (const { at, i } of order) {
    last = Math.max(at, last + LABEL_GAP)
    moved[i] = last
  }
  return moved
}

const rounded = (value: number) => Math.round(value * 10) / 10
const SUPERSCRIPTS = '⁰¹²³⁴⁵⁶⁷⁸⁹'
const power = (value: number) => `10${SUPERSCRIPTS[Math.round(Math.log10(value))] ?? ''}`

function duration(microseconds: number): string {
  if (microseconds < 1000) return `${microseconds} µs`
  return microseconds < 1_000_000 ? `${microseconds / 1000} ms` : `${microseconds / 1_000_000} s`
}

const escaped = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
