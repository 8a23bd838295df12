import { randomBytes } from 'node:crypto'
import { createCore } from '../src/core/core.ts'
import type { Position } from '../src/core/page.ts'
import type { InventoryWish } from '../src/core/tokens/inventory.ts'
import { openStore } from '../src/store/database.ts'
import type { Filled } from './inventory-rows.ts'

const PAGE = 100
const DEEP_PAGE = 1000
const ROUNDS = 30

/** Queries whose first page an index serves in its order, or narrows to few. */
const QUERIES = [
  '',
  'owner:user-7',
  'owner:robot',
  'creator:robot',
  'kind:api',
  'state:active',
  'state:expired',
  'state:revoked',
  'state:superseded',
  'via:bootstrap',
  'access:full_access',
  'client:portal',
  'client:rare',
  'role:deployer',
  'scope:write',
  'scope:rare',
  'group:ops',
  'name:"token 4711"',
  'ip:10.1.2.0/24',
  'ip:10.0.0.0/8',
  'created:<=2030-01-01',
  'used:<1d',
  'used:never sort:created',
  'used:>90d sort:used',
  'used:never sort:used',
  'expires:<14d state:active sort:expires',
  'expires:never sort:expires',
  'revoked:<1d',
  'sort:created',
  'sort:used',
  'sort:-used',
  'sort:expires',
  'sort:-expires',
  'sort:name',
  'sort:-name',
  'owner:robot scope:rare',
  'owner:robot kind:session state:active',
  'owner:robot state:active',
  'state:active used:>90d,never created:>90d',
  'client:portal state:active sort:created',
  'kind:session expires:>1d',
  'owner:robot kind:session state:revoked expires:>1d',
  'scope:write kind:session expires:>1d',
  '-kind:session access:read_only',
  'owner:user-7 or owner:user-8 sort:expires',
  'scope:write group:ops state:active sort:-used',
]
/** Queries that no index narrows, or not enough: what the walk to their first page costs. */
const WALKS = ['text~"4711"', 'used:>90d', 'text~nowhere', 'owner:robot text~nowhere']
const FIGURES = ['kind', 'state', 'owner', 'scope', 'month'] as const

/** Prints what each query costs. They go the way that those of the server go, without HTTP. */
export async function measureQueries({ config, masterKey, adminToken }: Filled): Promise<void> {
  const clock = { now: () => Date.now() }
  const store = await openStore(config, clock)
  const core = await createCore({ store, clock, random: randomBytes, masterKey })
  const verdict = await core.verifier.verify(adminToken)
  if (!verdict.active) throw new Error('The bootstrap token is not active.')
  const origin = { ip: undefined, requestId: undefined, via: 'api' } as const
  const caller = { principal: verdict.principal, origin }
  const wishOf = (query: string): InventoryWish => ({ query, filter: {} })
  const pageAt = (query: string, from: Position | undefined) =>
    core.read.inventory(caller, { ...wishOf(query), from, size: PAGE })

  heading(
    'query',
    'page 1 min ms',
    'p50 ms',
    'p95 ms',
    'CPU ms',
    `page ${DEEP_PAGE} min ms`,
    'p50 ms',
    'p95 ms',
    'CPU ms',
    'ratio of min',
  )
  for (const query of [...QUERIES, ...WALKS]) {
    const rounds = WALKS.includes(query) ? 3 : ROUNDS
    const deep = rounds === ROUNDS ? await cursorAt(query) : undefined
    const first = await timed(rounds, () => pageAt(query, undefined))
    const later = deep === undefined ? undefined : await timed(rounds, () => pageAt(query, deep))
    row(
      query === '' ? '(none)' : query,
      ...costs(first),
      ...(later === undefined ? ['-', '-', '-', '-', '-'] : costs(later)),
      ...(later === undefined ? [] : [(later.least / first.least).toFixed(2)]),
    )
  }
  heading('count', 'p50 ms', 'CPU ms', 'longest turn ms', 'CPU ms')
  for (const query of ['', 'state:active', 'owner:robot', 'text~"4711"']) {
    const took = await timed(3, () => core.read.inventoryCount(caller, wishOf(query)))
    row(query === '' ? '(none)' : query, ...turns(took))
  }
  heading('figures by', 'p50 ms', 'CPU ms', 'longest turn ms', 'CPU ms')
  for (const by of FIGURES) {
    const took = await timed(3, () => core.read.inventoryFigures(caller, { ...wishOf(''), by }))
    row(by, ...turns(took))
  }
  await store.close()

  /** Where a deep page begins; undefined: there are not so many. */
  async function cursorAt(query: string): Promise<Position | undefined> {
    let from: Position | undefined
    for (let page = 1; page < DEEP_PAGE; page += 10) {
      const wish = { ...wishOf(query), from, size: PAGE * Math.min(10, DEEP_PAGE - page) }
      from = (await core.read.inventory(caller, wish)).next
      if (from === undefined) return undefined
    }
    return from
  }
}

interface Timing {
  /** What it takes when nobody disturbs it. */
  least: number
  p50: number
  p95: number
  /** Median of the CPU time, which other work on the machine disturbs least. */
  cpu: number
  /** For how long nobody else got an answer; on a busy machine more than its own doing. */
  longestTurn: number
  longestTurnCpu: number
}

async function timed(rounds: number, work: () => Promise<unknown>): Promise<Timing> {
  const took: number[] = []
  const cpu: number[] = []
  let longestTurn = 0
  let longestTurnCpu = 0
  const ticking = { on: true }
  await work()
  let turnAtMs = performance.now()
  let turnAtCpu = threadCpu()
  const tick = () => {
    const nowMs = performance.now()
    const cpu = threadCpu()
    longestTurn = Math.max(longestTurn, nowMs - turnAtMs)
    longestTurnCpu = Math.max(longestTurnCpu, cpu - turnAtCpu)
    turnAtMs = nowMs
    turnAtCpu = cpu
    if (ticking.on) setImmediate(tick)
  }
  setImmediate(tick)
  for (let i = 0; i < rounds; i++) {
    const startedAtMs = performance.now()
    const before = process.cpuUsage()
    await work()
    took.push(performance.now() - startedAtMs)
    const { user, system } = process.cpuUsage(before)
    cpu.push((user + system) / 1000)
  }
  ticking.on = false
  took.sort((a, b) => a - b)
  cpu.sort((a, b) => a - b)
  const at = (share: number) => took[Math.min(rounds - 1, Math.floor(rounds * share))] ?? Number.NaN
  return {
    least: at(0),
    p50: at(0.5),
    p95: at(0.95),
    cpu: cpu[rounds >> 1] ?? Number.NaN,
    longestTurn,
    longestTurnCpu,
  }
}

/** Milliseconds that this thread has computed for. */
function threadCpu(): number {
  const { user, system } = process.threadCpuUsage()
  return (user + system) / 1000
}

const costs = ({ least, p50, p95, cpu }: Timing) => [ms(least), ms(p50), ms(p95), ms(cpu)]
const turns = ({ p50, cpu, longestTurn, longestTurnCpu }: Timing) =>
  [p50, cpu, longestTurn, longestTurnCpu].map(ms)

const ms = (value: number) => value.toFixed(value < 10 ? 2 : 0)

function heading(...titles: string[]): void {
  process.stdout.write('\n')
  row(...titles)
  process.stdout.write(`|${titles.map((_, i) => (i === 0 ? '---' : '---:')).join('|')}|\n`)
}

function row(...cells: string[]): void {
  process.stdout.write(`| ${cells.join(' | ')} |\n`)
}
