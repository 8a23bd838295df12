import { execFileSync } from 'node:child_process'
import { cpus, loadavg, release, totalmem, type } from 'node:os'

/** What one slice of load measured. */
export interface Slice {
  perSecond: number
  p50Ms: number
  p99Ms: number
  /** CPU time of the server per request; undefined where the system does not tell. */
  cpuMicroseconds: number | undefined
}

/** Two slices that followed each other, so that the machine's moods cancel out. */
export interface Pair {
  bare: Slice
  mintmark: Slice
}

export interface ScenarioResult {
  scenario: string
  summary: string
  pairs: Pair[]
}

/** Everything that a run leaves behind. */
export interface BenchRecord {
  at: string
  commit: string
  machine: ReturnType<typeof machine>
  options: { connections: number; tokens: number; pairs: number; sliceSeconds: number }
  results: ScenarioResult[]
}

/** What the figures were measured on. */
export function machine() {
  return {
    node: process.version,
    system: `${type()} ${release()} ${process.arch}`,
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    loadBefore: Number(loadavg()[0]?.toFixed(2)),
  }
}

/** The commit that runs, marked when the tree differs from it. */
export function commit(): string {
  try {
    return execFileSync('git', ['describe', '--always', '--dirty', '--exclude=*'], {
      encoding: 'utf8',
    }).trim()
  } catch {
    return 'unknown'
  }
}

interface Spread {
  median: number
  least: number
  most: number
}

function spreadOf(values: number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  const lower = sorted[middle - 1] ?? upper
  return {
    median: sorted.length % 2 === 1 ? upper : (lower + upper) / 2,
    least: sorted[0] ?? Number.NaN,
    most: sorted.at(-1) ?? Number.NaN,
  }
}

function median(pairs: Pair[], pick: (pair: Pair) => number | undefined): number {
  return spreadOf(pairs.map(pick).filter((value) => value !== undefined)).median
}

/** Mintmark's share of what the bare server does, pair by pair: 1 is as good as bare. */
function ratio(pairs: Pair[], pick: (pair: Pair) => number | undefined): string {
  const { median, least, most } = spreadOf(pairs.map(pick).filter((value) => value !== undefined))
  if (Number.isNaN(median)) return 'n/a'
  const digits = median < 0.1 ? 3 : 2
  const [middle, from, to] = [median, least, most].map((value) => value.toFixed(digits))
  return `${middle} (${from}–${to})`
}

const whole = (value: number) => (Number.isNaN(value) ? 'n/a' : value.toFixed(0))
const milliseconds = (value: number) => value.toFixed(2)

const COLUMNS: [string, (result: ScenarioResult) => string][] = [
  ['scenario', ({ scenario }) => scenario],
  ['bare req/s', ({ pairs }) => whole(median(pairs, ({ bare }) => bare.perSecond))],
  ['Mintmark req/s', ({ pairs }) => whole(median(pairs, ({ mintmark }) => mintmark.perSecond))],
  [
    'throughput ratio',
    ({ pairs }) => ratio(pairs, ({ bare, mintmark }) => mintmark.perSecond / bare.perSecond),
  ],
  ['bare CPU µs', ({ pairs }) => whole(median(pairs, ({ bare }) => bare.cpuMicroseconds))],
  [
    'Mintmark CPU µs',
    ({ pairs }) => whole(median(pairs, ({ mintmark }) => mintmark.cpuMicroseconds)),
  ],
  ['CPU ratio', ({ pairs }) => ratio(pairs, cpuRatio)],
  ['p50 ms', ({ pairs }) => milliseconds(median(pairs, ({ mintmark }) => mintmark.p50Ms))],
  ['p99 ms', ({ pairs }) => milliseconds(median(pairs, ({ mintmark }) => mintmark.p99Ms))],
  ['bare p99 ms', ({ pairs }) => milliseconds(median(pairs, ({ bare }) => bare.p99Ms))],
]

function cpuRatio({ bare, mintmark }: Pair): number | undefined {
  if (bare.cpuMicroseconds === undefined || mintmark.cpuMicroseconds === undefined) return undefined
  return bare.cpuMicroseconds / mintmark.cpuMicroseconds
}

/** The results as a Markdown table that also reads well in a terminal. */
export function table(results: ScenarioResult[]): string {
  const rows = [
    COLUMNS.map(([title]) => title),
    ...results.map((result) => COLUMNS.map(([, cell]) => cell(result))),
  ]
  const widths = COLUMNS.map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)))
  const line = (row: string[]) =>
    `| ${row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join(' | ')} |`
  const [head = [], ...body] = rows
  const rule = `|${widths.map((width, i) => (i === 0 ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`)).join('|')}|`
  return [line(head), rule, ...body.map(line)].join('\n')
}

/** Machine, versions and conditions, in lines. */
export function heading({ at, commit, machine, options }: Omit<BenchRecord, 'results'>): string {
  return [
    `Mintmark ${commit}, Node ${machine.node}, ${at}`,
    `${machine.cores} × ${machine.cpu}, ${machine.memoryGiB} GiB, ${machine.system}, load ${machine.loadBefore} before`,
    `${options.connections} connections, ${options.tokens} tokens, ${options.pairs} pairs of ${options.sliceSeconds} s slices`,
  ].join('\n')
}
