/**
 * `npm run bench:scale`: what it costs to have many tokens. Inventories are written straight into the
 * tables; all else is asked of a server as shipped, over HTTP.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { postgresDatabase, sqliteDatabase, type TestDatabase } from '../test/support/database.ts'
import { startPostgres } from '../test/support/postgres-server.ts'
import { type BulkResult, measureBulk } from './bulk.ts'
import { addLeaver, type Filled, fill } from './inventory-rows.ts'
import { type Loader, startLoader } from './loader.ts'
import { type Line, plot } from './plot.ts'
import { measureQueries } from './queries.ts'
import { commit, machine, markdownTable } from './report.ts'
import { get, verify } from './scenarios.ts'
import { type Server, startServer } from './subjects.ts'

const HELP = `npm run bench:scale [-- options]

  --sizes LIST      tokens, comma-separated; default 1e4,1e5
  --database KIND   sqlite (default) or postgres, a server of its own
  --queries         also what each query of the inventory costs
  --json FILE       also write a record
  --svg FILE        also plot cost against size
`

const CACHED = 100_000
/** The least that may be configured. */
const UNCACHED = 100
const WARM_TOKENS = 1000
const PAGE = 100
const DEEP_PAGE = 1000
const STARTS = 3
/** As many at each size. */
const BULK_TOKENS = 5000
const SECONDS = 3

const { values: flags } = parseArgs({
  options: {
    sizes: { type: 'string', default: '1e4,1e5' },
    database: { type: 'string', default: 'sqlite' },
    queries: { type: 'boolean', default: false },
    json: { type: 'string' },
    svg: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
})

/** What a request costs. */
interface Cost {
  p50Ms: number
  p99Ms: number
  /** Of the server, per request; undefined where the system does not tell. */
  cpuMicroseconds: number | undefined
}

interface SizeResult {
  tokens: number
  loadSeconds: number
  /** The median of a few starts. */
  startMs: number
  residentMiB: number | undefined
  /** With `cached` tokens in the cache. */
  warmResidentMiB: number | undefined
  cached: number
  costs: Record<string, Cost>
  bulk: BulkResult
}

const DATABASES = ['sqlite', 'postgres']

if (flags.help) process.stdout.write(HELP)
else await main()

async function main(): Promise<void> {
  const sizes = flags.sizes.split(',').map(Number)
  if (!sizes.every((size) => Number.isSafeInteger(size) && size >= UNCACHED)) throw new Error(HELP)
  if (!DATABASES.includes(flags.database)) throw new Error(HELP)
  const about = {
    at: new Date().toISOString(),
    commit: commit(),
    machine: machine(),
    database: flags.database,
  }
  const { cpu, cores, memoryGiB, node, loadBefore } = about.machine
  process.stdout.write(
    `Mintmark ${about.commit}, Node ${node}, ${about.at}, ${about.database}\n${cores} × ${cpu}, ${memoryGiB} GiB, load ${loadBefore} before\n\n`,
  )
  const loader = startLoader()
  const results: SizeResult[] = []
  try {
    for (const size of sizes) results.push(await onDatabase((to) => measure(to, { size, loader })))
  } finally {
    loader.stop()
  }
  process.stdout.write(`${tables(results)}\n`)
  if (flags.svg !== undefined) write(flags.svg, plotOf(results))
  if (flags.json !== undefined) {
    write(flags.json, `${JSON.stringify({ ...about, results }, undefined, 2)}\n`)
  }
}

function write(file: string, text: string): void {
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, text)
}

async function onDatabase<T>(work: (database: TestDatabase) => Promise<T>): Promise<T> {
  const dir = mkdtempSync(join(tmpdir(), 'mintmark-scale-'))
  const server = flags.database === 'postgres' ? await startPostgres() : undefined
  const database =
    server === undefined ? sqliteDatabase(join(dir, 'mintmark.db')) : postgresDatabase(server.url)
  try {
    return await work(database)
  } finally {
    await database.drop()
    await server?.stop()
    rmSync(dir, { recursive: true, force: true })
  }
}

async function measure(
  database: TestDatabase,
  { size, loader }: { size: number; loader: Loader },
): Promise<SizeResult> {
  const sinceMs = performance.now()
  const onProgress = (tokens: number) => say(`${size} tokens: ${tokens} written`)
  const filled = await fill(database, { tokens: size, wantedSecrets: CACHED, onProgress })
  const loadSeconds = (performance.now() - sinceMs) / 1000
  const stage: Stage = { database, filled, loader }

  const startsMs: number[] = []
  for (let i = 0; i < STARTS; i++) {
    say(`${size} tokens: start ${i + 1} of ${STARTS}`)
    startsMs.push(await withServer(stage, CACHED, async ({ startedInMs }) => startedInMs))
  }
  const warm = await withServer(stage, CACHED, (server) => measureWarm(stage, server))
  const cold = await withServer(stage, UNCACHED, (server) => measureCold(stage, server))
  if (flags.queries) await measureQueries(filled)
  // The last, because it leaves another inventory behind.
  say(`${size} tokens: bulk revocation`)
  const query = await addLeaver(database, BULK_TOKENS)
  const secrets = filled.secrets.slice(0, WARM_TOKENS)
  const about = { loader, token: filled.adminToken, secrets, query, count: BULK_TOKENS }
  const bulk = await withServer(stage, CACHED, (server) => measureBulk(server, about))
  return {
    tokens: size,
    loadSeconds,
    startMs: startsMs.toSorted((a, b) => a - b)[STARTS >> 1] ?? Number.NaN,
    residentMiB: warm.residentMiB,
    warmResidentMiB: warm.warmResidentMiB,
    cached: warm.cached,
    costs: { ...warm.costs, ...cold },
    bulk,
  }
}

interface Stage {
  database: TestDatabase
  filled: Filled
  loader: Loader
}

async function withServer<T>(
  { database, filled }: Stage,
  maxCachedTokens: number,
  work: (server: Server) => Promise<T>,
): Promise<T> {
  const dataDir = mkdtempSync(join(tmpdir(), 'mintmark-scale-data-'))
  const server = await startServer({
    ...database.env,
    MINTMARK_DATA_DIR: dataDir,
    MINTMARK_MASTER_KEY: filled.masterKey.reveal(),
    MINTMARK_MAX_CACHED_TOKENS: String(maxCachedTokens),
  })
  try {
    return await work(server)
  } finally {
    await server.stop()
    rmSync(dataDir, { recursive: true, force: true })
  }
}

async function measureWarm({ filled, loader }: Stage, server: Server) {
  const { adminToken: token, secrets } = filled
  const ask = (title: string, requests: string[], connections = 1) =>
    costOf(title, { server, loader, requests, connections })
  const residentMiB = mebibytes(server.residentBytes())
  const warmUp = secrets.slice(0, WARM_TOKENS).map((secret) => verify(token, secret))
  await ask('warming up', warmUp, 32)
  const costs: Record<string, Cost> = { 'warm verify': await ask('warm verify', warmUp, 32) }
  const page = (query: string) => [get(`/api/v1/tokens?limit=${PAGE}${query}`, { token })]
  costs['first page'] = await ask('first page', page(''))
  const cursor = await cursorAt(server.url, token)
  if (cursor !== undefined) {
    costs[`page ${DEEP_PAGE}`] = await ask(`page ${DEEP_PAGE}`, page(`&cursor=${cursor}`))
  }
  const filter = `&q=${encodeURIComponent('owner:robot state:active scope:write')}`
  costs['filtered page'] = await ask('filtered page', page(filter))
  costs.count = await ask('count', [get('/api/v1/tokens/count', { token })])
  say('filling the cache')
  await loader.run({
    port: server.port,
    requests: secrets.map((secret) => verify(token, secret)),
    connections: 32,
    seconds: Number.MAX_SAFE_INTEGER,
    once: true,
  })
  const warmResidentMiB = mebibytes(server.residentBytes())
  return { residentMiB, warmResidentMiB, cached: Math.min(CACHED, secrets.length), costs }
}

/** In an order that the cache cannot follow. */
async function measureCold({ filled, loader }: Stage, server: Server) {
  const { adminToken: token, secrets } = filled
  const requests = secrets.map((secret) => verify(token, secret))
  const ask = (title: string) => costOf(title, { server, loader, requests, connections: 32 })
  await ask('warming up')
  return { 'cold verify': await ask('cold verify') }
}

/** Where a deep page begins; undefined: there are not so many. */
async function cursorAt(url: string, token: string): Promise<string | undefined> {
  const headers = { authorization: `Bearer ${token}` }
  let cursor: string | null = null
  for (let page = 1; page < DEEP_PAGE; ) {
    const pages = Math.min(10, DEEP_PAGE - page)
    const from: string = cursor === null ? '' : `&cursor=${cursor}`
    const response = await fetch(`${url}/api/v1/tokens?limit=${PAGE * pages}${from}`, { headers })
    const body = (await response.json()) as { nextCursor: string | null }
    cursor = body.nextCursor
    if (cursor === null) return undefined
    page += pages
  }
  return cursor ?? undefined
}

async function costOf(
  title: string,
  work: { server: Server; loader: Loader; requests: string[]; connections: number },
): Promise<Cost> {
  const { server, loader, requests, connections } = work
  say(title)
  const before = server.cpuMicroseconds()
  const result = await loader.run({ port: server.port, requests, connections, seconds: SECONDS })
  const after = server.cpuMicroseconds()
  if (result.statuses[200] !== result.answered) {
    throw new Error(`${title} was answered with ${JSON.stringify(result.statuses)}.`)
  }
  return {
    p50Ms: result.p50Ms,
    p99Ms: result.p99Ms,
    cpuMicroseconds:
      before === undefined || after === undefined ? undefined : (after - before) / result.answered,
  }
}

function mebibytes(bytes: number | undefined): number | undefined {
  return bytes === undefined ? undefined : Math.round(bytes / 2 ** 20)
}

function tables(results: SizeResult[]): string {
  const known = (value: number | undefined, digits = 0) => value?.toFixed(digits) ?? 'n/a'
  const sizes = markdownTable([
    ['tokens', 'load s', 'start ms', 'MiB', 'MiB with cached', 'cached'],
    ...results.map((result) => [
      String(result.tokens),
      known(result.loadSeconds),
      known(result.startMs),
      known(result.residentMiB),
      known(result.warmResidentMiB),
      String(result.cached),
    ]),
  ])
  const costs = markdownTable([
    ['p50 ms / p99 ms / CPU µs', ...results.map(({ tokens }) => String(tokens))],
    ...costNames(results).map((name) => [
      name,
      ...results.map(({ costs }) => {
        const cost = costs[name]
        if (cost === undefined) return '-'
        return `${known(cost.p50Ms, 2)} / ${known(cost.p99Ms, 2)} / ${known(cost.cpuMicroseconds)}`
      }),
    ]),
  ])
  const bulk = markdownTable([
    [
      'tokens',
      'revoked in bulk',
      's per 1000',
      'CPU µs each',
      'longest stall ms',
      'verify p99 ms meanwhile',
      'alone',
    ],
    ...results.map(({ tokens, bulk }) => [
      String(tokens),
      String(bulk.revoked),
      known(bulk.secondsPerThousand, 2),
      known(bulk.cpuMicroseconds),
      known(bulk.longestStallMs),
      known(bulk.verifyP99Ms, 2),
      known(bulk.aloneP99Ms, 2),
    ]),
  ])
  return `${sizes}\n\n${costs}\n\n${bulk}`
}

function costNames(results: SizeResult[]): string[] {
  return [...new Set(results.flatMap(({ costs }) => Object.keys(costs)))]
}

function plotOf(results: SizeResult[]): string {
  const line = (name: string, cpuOf: (result: SizeResult) => number | undefined): Line => ({
    name,
    points: results.flatMap((result) => {
      const microseconds = cpuOf(result)
      return microseconds === undefined ? [] : [{ tokens: result.tokens, microseconds }]
    }),
  })
  return plot({
    title: `CPU time per request by number of tokens (${flags.database})`,
    lines: [
      ...costNames(results).map((name) => line(name, ({ costs }) => costs[name]?.cpuMicroseconds)),
      line('bulk revoke, a token', ({ bulk }) => bulk.cpuMicroseconds),
    ],
  })
}

/** To people who watch. */
function say(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${text}`)
}
