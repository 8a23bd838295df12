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
    'page 1 p50 ms',
    'p95 ms',
    'CPU ms',
    `page ${DEEP_PAGE} p50 ms`,
    'p95 ms',
    'CPU ms',
    'CPU ratio',
  )
  for (const query of [...QUERIES, ...WALKS]) {
    const rounds = WALKS.includes(query) ? 3 : ROUNDS
    const deep = rounds === ROUNDS ? await cursorAt(query) : undefined
    const first = await timed(rounds, () => pageAt(query, undefined))
    const later = deep === undefined ? undefined : await timed(rounds, () => pageAt(query, deep))
    row(
      query === '' ? '(none)' : query,
      ms(first.p50),
      ms(first.p95),
      ms(first.cpu),
      later === undefined ? '-' : ms(later.p50),
      later === undefined ? '-' : ms(later.p95),
      later === undefined ? '-' : ms(later.cpu),
      later === undefined ? '-' : (later.cpu / first.cpu).toFixed(2),
    )
  }
  heading('count', 'p50 ms', 'longest turn ms')
  for (const query of ['', 'state:active', 'owner:robot', 'text~"4711"']) {
    const took = await timed(3, () => core.read.inventoryCount(caller, wishOf(query)))
    row(query === '' ? '(none)' : query, ms(took.p50), ms(took.longestTurn))
  }
  heading('figures by', 'p50 ms', 'longest turn ms')
  for (const by of FIGURES) {
    const took = await timed(3, () => core.read.inventoryFigures(caller, { ...wishOf(''), by }))
    row(by, ms(took.p50), ms(took.longestTurn))
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
  p50: number
  p95: number
  /** Median of the CPU time, which other work on the machine disturbs least. */
  cpu: number
  /** For how long nobody else got an answer. */
  longestTurn: number
}

async function timed(rounds: number, work: () => Promise<unknown>): Promise<Timing> {
  const took: number[] = []
  const cpu: number[] = []
  let longestTurn = 0
  let turnAtMs = performance.now()
  const ticking = { on: true }
  const tick = () => {
    const now = performance.now()
    longestTurn = Math.max(longestTurn, now - turnAtMs)
    turnAtMs = now
    if (ticking.on) setImmediate(tick)
  }
  await work()
  turnAtMs = performance.now()
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
  return { p50: at(0.5), p95: at(0.95), cpu: cpu[rounds >> 1] ?? Number.NaN, longestTurn }
}

const ms = (value: number) => value.toFixed(value < 10 ? 2 : 0)

function heading(...titles: string[]): void {
  process.stdout.write('\n')
  row(...titles)
  process.stdout.write(`|${titles.map((_, i) => (i === 0 ? '---' : '---:')).join('|')}|\n`)
}

function row(...cells: string[]): void {
  process.stdout.write(`| ${cells.join(' | ')} |\n`)
}
