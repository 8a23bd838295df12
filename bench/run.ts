/**
 * `npm run bench`: how much of the limit's own speed is left. A subject (Mintmark or a peer) and its
 * limit (a bare HTTP server, raw commits, raw signatures) run as separate processes and are driven in
 * turn, in pairs of slices, from a third process.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { type Loader, startLoader } from './loader.ts'
import { startGlewlwyd } from './peers/glewlwyd.ts'
import {
  type BenchRecord,
  commit,
  heading,
  machine,
  missingLines,
  type Pair,
  peakOf,
  peerLines,
  type ScenarioResult,
  type Slice,
  stallLine,
  table,
} from './report.ts'
import { creation, type Limit, SCENARIOS, type Scenario } from './scenarios.ts'
import {
  type Mintmark,
  type Subject,
  startBare,
  startMintmark,
  startPeer,
  startRaw,
} from './subjects.ts'

const CONNECTIONS = 32
/** The least that may be configured, a tenth and less of the tokens that are asked about in turn. */
const COLD_CACHE = 100
const BARE_QUESTION = 'POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}'

const HELP = `npm run bench [-- options]

  --quick           short slices: under two minutes instead of a quarter of an hour
  --json FILE       also write a record; a name that ends in / is a directory
  --only NAMES      some scenarios, comma-separated: ${SCENARIOS.map(({ name }) => name).join(', ')}
  --profile DIR     also write a CPU profile of Mintmark into DIR

Glewlwyd is measured where its Debian package is installed, or unpacked with all that it depends on into
the folder that MINTMARK_BENCH_GLEWLWYD names.
`

const { values: flags } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    json: { type: 'string' },
    only: { type: 'string' },
    profile: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
})

interface Bench {
  loader: Loader
  options: BenchRecord['options']
  /** Started when they are first needed. */
  mintmark: Mintmark
  bare: Subject
  started: { stop(): Promise<void> }[]
  cold?: Mintmark
}

if (flags.help) process.stdout.write(HELP)
else await main()

async function main(): Promise<void> {
  const options = flags.quick
    ? { connections: CONNECTIONS, tokens: 1000, pairs: 3, sliceSeconds: 0.5 }
    : { connections: CONNECTIONS, tokens: 4000, pairs: 7, sliceSeconds: 3 }
  const about = { at: new Date().toISOString(), commit: commit(), machine: machine(), options }
  const names = flags.only?.split(',')
  const chosen = SCENARIOS.filter(({ name }) => names === undefined || names.includes(name))
  if (chosen.length < (names?.length ?? 1)) throw new Error(`There is no such scenario.\n${HELP}`)

  progress('starting the servers and making tokens')
  const mintmark = await startMintmark({ tokens: options.tokens, profileDir: flags.profile })
  const bare = await startBare(mintmark.answer)
  const loader = startLoader()
  const bench: Bench = { loader, options, mintmark, bare, started: [bare, mintmark] }
  const results: ScenarioResult[] = []
  try {
    for (const scenario of chosen) results.push(await measure(scenario, bench))
  } finally {
    progress('')
    loader.stop()
    for (const { stop } of bench.started) await stop()
  }
  const lines = [
    heading(about),
    '',
    table(results),
    '',
    ...peerLines(results),
    ...missingLines(results),
    stallLine(results),
  ]
  process.stdout.write(`${lines.join('\n')}\n`)
  if (flags.json !== undefined) record(flags.json, { ...about, results })
}

/** What is sent in a slice of so many seconds. */
type Requests = (seconds: number) => Promise<string[]>

/** Works for so many seconds, as fast as it can unless a rate is given. */
type Slicer = (seconds: number, perSecond?: number) => Promise<Slice>

async function measure(scenario: Scenario, bench: Bench): Promise<ScenarioResult> {
  const { options } = bench
  const { name, summary, limit = 'bare' } = scenario
  progress(`${name}: warming up`)
  const found = await subjectFor(scenario, bench)
  if (found === undefined) {
    return { scenario: name, summary, limit, pairs: [], missing: 'not installed' }
  }
  const { subject, requests } = found
  const { version } = subject
  const about = { scenario: name, summary, limit, ...(version === undefined ? {} : { version }) }
  const ofSubject: Slicer = (seconds, perSecond) =>
    runSlice(subject, { bench, scenario, requests, seconds, perSecond, status: scenario.status })
  const ofLimit = await slicerFor(limit, { bench, scenario, requests })
  // Until the compilers have seen everything; also asks about every token once.
  await ofLimit(options.sliceSeconds)
  await ofSubject(options.sliceSeconds * 2)
  const take = async (title: string, perSecond?: number) => {
    const pairs: Pair[] = []
    for (let i = 0; i < options.pairs; i++) {
      progress(`${name}: ${title}, pair ${i + 1} of ${options.pairs}`)
      pairs.push({
        limit: await ofLimit(options.sliceSeconds, perSecond),
        subject: await ofSubject(options.sliceSeconds, perSecond),
      })
    }
    return pairs
  }
  const pairs = await take(summary)
  if (scenario.isPaced !== true) return { ...about, pairs }
  const perSecond = Math.round(peakOf(pairs) / 2)
  const halfRate = await take(`at ${perSecond} a second`, perSecond)
  return { ...about, pairs, halfRate }
}

/** Undefined: it is not installed. */
async function subjectFor(
  { subject = 'mintmark', requests, fresh }: Scenario,
  bench: Bench,
): Promise<{ subject: Subject; requests: Requests } | undefined> {
  if (subject !== 'mintmark' && subject !== 'cold') {
    const peer = subject === 'glewlwyd' ? await startGlewlwyd() : await startPeer(subject)
    if (peer === undefined) return undefined
    bench.started.push(peer)
    return { subject: peer, requests: async () => peer.requests }
  }
  const mintmark = subject === 'cold' ? await coldMintmark(bench) : bench.mintmark
  if (fresh === undefined) {
    const known = requests?.(mintmark.fixture, []) ?? []
    return { subject: mintmark, requests: async () => known }
  }
  return {
    subject: mintmark,
    async requests(seconds) {
      const ids = await makeIds(bench.loader, { mintmark, count: fresh(seconds) })
      return requests?.(mintmark.fixture, ids) ?? []
    },
  }
}

/** Tokens of which nobody has made use yet. */
async function makeIds(
  loader: Loader,
  { mintmark, count }: { mintmark: Mintmark; count: number },
): Promise<string[]> {
  const { ids } = await loader.run({
    port: mintmark.port,
    requests: Array.from({ length: count }, () => creation(mintmark.fixture)),
    connections: 64,
    seconds: Number.MAX_SAFE_INTEGER,
    once: true,
    wantsIds: true,
  })
  return ids
}

async function coldMintmark(bench: Bench): Promise<Mintmark> {
  const { tokens } = bench.options
  bench.cold ??= await startMintmark({
    tokens,
    profileDir: flags.profile,
    maxCachedTokens: COLD_CACHE,
  })
  bench.started.push(bench.cold)
  return bench.cold
}

async function slicerFor(
  limit: Limit,
  { bench, scenario, requests }: { bench: Bench; scenario: Scenario; requests: Requests },
): Promise<Slicer> {
  if (limit === 'bare') {
    // Counted in requests: what one of them stands for is the subject's merit.
    const alike = { ...scenario, counts: 1 }
    const same: Requests = scenario.counts === undefined ? requests : async () => [BARE_QUESTION]
    return (seconds, perSecond) =>
      runSlice(bench.bare, {
        bench,
        scenario: alike,
        requests: same,
        seconds,
        perSecond,
        status: 200,
      })
  }
  const raw = await startRaw(limit)
  bench.started.push(raw)
  return async (seconds) => {
    const before = raw.cpuMicroseconds()
    const result = await raw.run(seconds)
    const after = raw.cpuMicroseconds()
    return {
      perSecond: result.done / result.seconds,
      p50Ms: undefined,
      p99Ms: undefined,
      cpuMicroseconds: per(result.done, before, after),
    }
  }
}

async function runSlice(
  subject: Subject,
  {
    bench,
    scenario,
    requests,
    seconds,
    perSecond,
    status,
  }: {
    bench: Bench
    scenario: Scenario
    requests: Requests
    seconds: number
    perSecond: number | undefined
    status: number
  },
): Promise<Slice> {
  const { loader, options } = bench
  const job = {
    port: subject.port,
    requests: await requests(seconds),
    connections: scenario.connections ?? options.connections,
    seconds,
    once: scenario.once ?? false,
    chain: scenario.chain ?? false,
    ...(perSecond === undefined ? {} : { perSecond }),
  }
  await subject.longestStallMs?.()
  const before = subject.cpuMicroseconds()
  const result = await loader.run(job)
  const after = subject.cpuMicroseconds()
  const stallMs = await subject.longestStallMs?.()
  if (result.statuses[status] !== result.answered) {
    throw new Error(
      `${subject.name} answered ${scenario.name} with ${JSON.stringify(result.statuses)}.`,
    )
  }
  const counted = result.answered * (scenario.counts ?? 1)
  return {
    perSecond: counted / result.seconds,
    p50Ms: result.p50Ms,
    p99Ms: result.p99Ms,
    cpuMicroseconds: per(counted, before, after),
    ...(stallMs === undefined ? {} : { stallMs }),
  }
}

function per(count: number, before?: number, after?: number): number | undefined {
  return before === undefined || after === undefined ? undefined : (after - before) / count
}

/** One line that is written over, for people who watch; a line each in a file or a pipe. */
function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${text}`)
  else if (text !== '') process.stderr.write(`${text}\n`)
}

function record(target: string, bench: BenchRecord): void {
  const name = `${bench.at.slice(0, 10)}-${bench.commit}.json`
  const file = target.endsWith('/') ? join(target, name) : target
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, `${JSON.stringify(bench, undefined, 2)}\n`)
  process.stdout.write(`\nRecorded in ${file}\n`)
}
