import { execFileSync } from 'node:child_process'
import { cpus, loadavg, release, totalmem, type } from 'node:os'

/** What one slice of load measured. */
export interface Slice {
  perSecond: number
  /** Undefined where nothing is asked and answered. */
  p50Ms: number | undefined
  p99Ms: number | undefined
  /** CPU time of the server per request; undefined where the system does not tell. */
  cpuMicroseconds: number | undefined
  /** The longest that the server's event loop was held up; absent where it does not tell. */
  stallMs?: number
}

/** Two slices that followed each other, so that the machine's moods cancel out. */
export interface Pair {
  limit: Slice
  subject: Slice
}

export interface ScenarioResult {
  scenario: string
  summary: string
  limit: string
  /** Empty: it was not measured, for what `missing` says. */
  pairs: Pair[]
  missing?: string
  /** Of a subject that no lock file pins. */
  version?: string
  /** Limit and subject, both at half of the subject's peak rate. */
  halfRate?: Pair[]
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

/** The subject's share of what the limit does, pair by pair: 1 is as good as the limit. */
function ratio(pairs: Pair[], pick: (pair: Pair) => number | undefined): string {
  const { median, least, most } = spreadOf(pairs.map(pick).filter((value) => value !== undefined))
  if (Number.isNaN(median)) return 'n/a'
  const digits = median < 0.1 ? 3 : 2
  const [middle, from, to] = [median, least, most].map((value) => value.toFixed(digits))
  return `${middle} (${from}–${to})`
}

const whole = (value: number) => (Number.isNaN(value) ? 'n/a' : value.toFixed(0))
const milliseconds = (value: number) => (Number.isNaN(value) ? 'n/a' : value.toFixed(2))
const microseconds = (value: number) => (Number.isNaN(value) ? 'n/a' : value.toFixed(1))

const COLUMNS: [string, (result: ScenarioResult) => string][] = [
  ['scenario', ({ scenario }) => scenario],
  ['beside', ({ limit, missing }) => missing ?? limit],
  ['limit /s', ({ pairs }) => whole(median(pairs, ({ limit }) => limit.perSecond))],
  ['here /s', ({ pairs }) => whole(median(pairs, ({ subject }) => subject.perSecond))],
  [
    'throughput ratio',
    ({ pairs }) => ratio(pairs, ({ limit, subject }) => subject.perSecond / limit.perSecond),
  ],
  [
    'limit CPU µs',
    ({ pairs }) => microseconds(median(pairs, ({ limit }) => limit.cpuMicroseconds)),
  ],
  [
    'here CPU µs',
    ({ pairs }) => microseconds(median(pairs, ({ subject }) => subject.cpuMicroseconds)),
  ],
  ['CPU ratio', ({ pairs }) => ratio(pairs, cpuRatio)],
  ['p50 ms', ({ pairs }) => milliseconds(median(pairs, ({ subject }) => subject.p50Ms))],
  ['p99 ms', ({ pairs }) => milliseconds(median(pairs, ({ subject }) => subject.p99Ms))],
  ['limit p99 ms', ({ pairs }) => milliseconds(median(pairs, ({ limit }) => limit.p99Ms))],
  ['p99 at half rate, × limit', ({ halfRate = [] }) => ratio(halfRate, p99Ratio)],
  ['limit stall ms', ({ pairs }) => milliseconds(longestStall(pairs.map(({ limit }) => limit)))],
  ['stall ms', ({ pairs }) => milliseconds(longestStall(pairs.map(({ subject }) => subject)))],
]

function p99Ratio({ limit, subject }: Pair): number | undefined {
  if (limit.p99Ms === undefined || subject.p99Ms === undefined) return undefined
  return subject.p99Ms / limit.p99Ms
}

function longestStall(slices: Slice[]): number {
  const stalls = slices.flatMap(({ stallMs }) => stallMs ?? [])
  return stalls.length === 0 ? Number.NaN : Math.max(...stalls)
}

/** Requests a second, in the middle of the pairs. */
export function peakOf(pairs: Pair[]): number {
  return median(pairs, ({ subject }) => subject.perSecond)
}

/** What was left out, and why. */
export function missingLines(results: ScenarioResult[]): string[] {
  return results.flatMap(({ scenario, missing }) =>
    missing === undefined ? [] : [`${scenario} was not measured: ${missing}.`],
  )
}

/** Which scenario held up the event loop for longest, and what the machine did to the limit meanwhile. */
export function stallLine(results: ScenarioResult[]): string {
  const all = results.flatMap(({ scenario, pairs, halfRate = [] }) => {
    const both = [...pairs, ...halfRate]
    const ms = longestStall(both.map(({ subject }) => subject))
    const limitMs = longestStall(both.map(({ limit }) => limit))
    return Number.isNaN(ms) ? [] : [{ scenario, ms, limitMs }]
  })
  const [worst] = all.toSorted((a, b) => b.ms - a.ms)
  if (worst === undefined) return ''
  const { scenario, ms } = worst
  const limitMs = Math.max(...all.map(({ limitMs }) => limitMs).filter(Number.isFinite))
  const bare = Number.isFinite(limitMs) ? `; of bare, ${limitMs.toFixed(0)} ms` : ''
  return `The longest stall of the event loop: ${ms.toFixed(0)} ms, in ${scenario}${bare}.`
}

function cpuRatio({ limit, subject }: Pair): number | undefined {
  if (limit.cpuMicroseconds === undefined || subject.cpuMicroseconds === undefined) return undefined
  return limit.cpuMicroseconds / subject.cpuMicroseconds
}

/** What of ours does the same as a peer. */
const PEERS: [ours: string, peer: string][] = [
  ['introspect', 'oidc-provider'],
  ['introspect-client', 'oidc-provider'],
  ['introspect', 'glewlwyd'],
  ['introspect-client', 'glewlwyd'],
  ['verify', 'better-auth'],
]

/** How many times as much we do as each peer, both taken relative to the bare server. */
export function peerLines(results: ScenarioResult[]): string[] {
  const share = (name: string, pick: (pair: Pair) => number | undefined) => {
    const found = results.find(({ scenario }) => scenario === name)
    return found === undefined ? Number.NaN : median(found.pairs, pick)
  }
  const throughput = ({ limit, subject }: Pair) => subject.perSecond / limit.perSecond
  return PEERS.flatMap(([ours, peer]) => {
    const times = share(ours, throughput) / share(peer, throughput)
    const cheaper = share(ours, cpuRatio) / share(peer, cpuRatio)
    if (Number.isNaN(times)) return []
    const version = results.find(({ scenario }) => scenario === peer)?.version
    const name = version === undefined ? peer : `${peer} ${version}`
    return [
      `${ours} is ${times.toFixed(1)} × ${name} in throughput, ${cheaper.toFixed(1)} × in CPU time.`,
    ]
  })
}

/** The results as a Markdown table that also reads well in a terminal. */
export function table(results: ScenarioResult[]): string {
  return markdownTable([
    COLUMNS.map(([title]) => title),
    ...results.map((result) => COLUMNS.map(([, cell]) => cell(result))),
  ])
}

/** Rows, of which the first is the head, with the first column to the left and all others to the right. */
export function markdownTable(rows: string[][]): string {
  const [head = [], ...body] = rows
  const widths = head.map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)))
  const line = (row: string[]) =>
    `| ${row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join(' | ')} |`
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
