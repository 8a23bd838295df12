/**
 * `npm run bench`: how much of the runtime's own speed is left. A bare HTTP server and Mintmark run as
 * separate processes and are driven in turn, in pairs of slices, from a third process.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import type { Job, JobResult } from './load.ts'
import {
  type BenchRecord,
  commit,
  heading,
  machine,
  type Pair,
  type ScenarioResult,
  type Slice,
  table,
} from './report.ts'
import { SCENARIOS, type Scenario } from './scenarios.ts'
import { type Mintmark, type Subject, startBare, startMintmark } from './subjects.ts'

const CONNECTIONS = 32

const HELP = `npm run bench [-- options]

  --quick           short slices: about a minute instead of five
  --json FILE       also write a record; a name that ends in / is a directory
  --only NAME       one scenario: ${SCENARIOS.map(({ name }) => name).join(', ')}
  --profile DIR     also write a CPU profile of Mintmark into DIR
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
  loader: ChildProcess
  bare: Subject
  mintmark: Mintmark
  options: BenchRecord['options']
}

if (flags.help) process.stdout.write(HELP)
else await main()

async function main(): Promise<void> {
  const options = flags.quick
    ? { connections: CONNECTIONS, tokens: 1000, pairs: 3, sliceSeconds: 1.5 }
    : { connections: CONNECTIONS, tokens: 4000, pairs: 7, sliceSeconds: 3 }
  const about = { at: new Date().toISOString(), commit: commit(), machine: machine(), options }
  const chosen = SCENARIOS.filter(({ name }) => flags.only === undefined || name === flags.only)
  if (chosen.length === 0) throw new Error(`There is no scenario "${flags.only}".\n${HELP}`)

  progress('starting the servers and making tokens')
  const mintmark = await startMintmark({ tokens: options.tokens, profileDir: flags.profile })
  const bare = await startBare(mintmark.answer)
  const loader = fork(fileURLToPath(new URL('load.ts', import.meta.url)))
  const results: ScenarioResult[] = []
  try {
    for (const scenario of chosen) {
      results.push(await measure(scenario, { loader, bare, mintmark, options }))
    }
  } finally {
    progress('')
    loader.kill()
    await bare.stop()
    await mintmark.stop()
  }
  process.stdout.write(`${heading(about)}\n\n${table(results)}\n`)
  if (flags.json !== undefined) record(flags.json, { ...about, results })
}

async function measure(scenario: Scenario, bench: Bench): Promise<ScenarioResult> {
  const { options } = bench
  const requests = scenario.requests(bench.mintmark.fixture)
  const pairs: Pair[] = []
  const slice = (subject: Subject, seconds: number) =>
    runSlice(subject, { bench, scenario, requests, seconds })
  // Until the compilers have seen everything; also asks about every token once.
  progress(`${scenario.name}: warming up`)
  await slice(bench.bare, options.sliceSeconds)
  await slice(bench.mintmark, options.sliceSeconds)
  for (let i = 0; i < options.pairs; i++) {
    progress(`${scenario.name}: ${scenario.summary}, pair ${i + 1} of ${options.pairs}`)
    pairs.push({
      bare: await slice(bench.bare, options.sliceSeconds),
      mintmark: await slice(bench.mintmark, options.sliceSeconds),
    })
  }
  return { scenario: scenario.name, summary: scenario.summary, pairs }
}

async function runSlice(
  subject: Subject,
  {
    bench,
    scenario,
    requests,
    seconds,
  }: { bench: Bench; scenario: Scenario; requests: string[]; seconds: number },
): Promise<Slice> {
  const { loader, options } = bench
  const before = subject.cpuMicroseconds()
  const job = { port: subject.port, requests, connections: options.connections, seconds }
  const result = await runJob(loader, job)
  const after = subject.cpuMicroseconds()
  const expected = subject === bench.bare ? 200 : scenario.status
  if (result.statuses[expected] !== result.answered) {
    throw new Error(
      `${subject.name} answered ${scenario.name} with ${JSON.stringify(result.statuses)}.`,
    )
  }
  return {
    perSecond: result.answered / result.seconds,
    p50Ms: result.p50Ms,
    p99Ms: result.p99Ms,
    cpuMicroseconds:
      before === undefined || after === undefined ? undefined : (after - before) / result.answered,
  }
}

function runJob(loader: ChildProcess, job: Job): Promise<JobResult> {
  return new Promise((resolve, reject) => {
    loader.once('message', (message: JobResult | { error: string }) => {
      if ('error' in message) reject(new Error(message.error))
      else resolve(message)
    })
    loader.send(job)
  })
}

/** One line that is written over, for people who watch; nothing in a file or a pipe. */
function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${text}`)
}

function record(target: string, bench: BenchRecord): void {
  const name = `${bench.at.slice(0, 10)}-${bench.commit}.json`
  const file = target.endsWith('/') ? join(target, name) : target
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, `${JSON.stringify(bench, undefined, 2)}\n`)
  process.stdout.write(`\nRecorded in ${file}\n`)
}
