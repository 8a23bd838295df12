import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Kysely } from 'kysely'
import { createCore } from '../src/core/core.ts'
import type { Position } from '../src/core/page.ts'
import { Secret } from '../src/core/secret.ts'
import type { InventoryWish } from '../src/core/tokens/inventory.ts'
import { openStore } from '../src/store/database.ts'
import type { Schema } from '../src/store/schema.ts'
import { postgresDatabase, sqliteDatabase, type TestDatabase } from '../test/support/database.ts'
import { dice } from '../test/support/dice.ts'
import { startPostgres } from '../test/support/postgres-server.ts'
import {
  insertClient,
  insertGroup,
  insertTokens,
  insertUser,
  type TokenRow,
} from '../test/support/token-rows.ts'
import { commit, machine } from './report.ts'

const HELP = `Measures the query language: node bench/query.ts [tokens, default 100000] [sqlite or postgres]

The tokens are written straight into a database in a temporary directory. The queries go the way that
those of the server go, without HTTP.`

const PAGE = 100
const DEEP_PAGE = 1000
const ROUNDS = 30
const NOW_MS = Date.UTC(2030, 5, 15)
const DAY_MS = 86_400_000

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

const id = (n: number, block: string) =>
  `01900000-0000-7${block}-8000-${n.toString(16).padStart(12, '0')}`

const USERS = 2000
const ROBOT = id(0, '001')

/** An inventory as years of use leave it: one owner with very many, sessions that ended, a few rarities. */
function* rowsOf(count: number): Generator<TokenRow> {
  const { number, chance, pick } = dice(1)
  const one = <T>(list: readonly T[]) => pick(list) as T
  for (let i = 0; i < count; i++) {
    const createdAtMs = NOW_MS - Math.floor(((count - i) / count) * 1000 * DAY_MS)
    const kind = one([
      'api',
      'api',
      'service',
      'session',
      'session',
      'oauth_access',
      'oauth_refresh',
    ])
    const isShort = kind === 'session' || kind === 'oauth_access'
    const usedAtMs = chance(0.6) ? createdAtMs + number(NOW_MS - createdAtMs) : undefined
    const isRevoked = chance(0.2)
    yield {
      id: id(i, '100'),
      kind,
      ownerId: chance(0.2) ? ROBOT : id(number(USERS), '001'),
      creatorId: chance(0.2) ? ROBOT : id(number(USERS), '001'),
      clientId: kind.startsWith('oauth') ? id(chance(0.0005) ? 1 : 0, '003') : undefined,
      via: i === 0 ? 'bootstrap' : one(['api', 's7', 'xms', 'oauth']),
      accessLevel: one(['READ_ONLY', 'FULL_ACCESS']),
      name: `token ${i}`,
      description: chance(0.5) ? '' : `made for build ${number(count)}`,
      familyId: id(i, '100'),
      parentId: undefined,
      roles: chance(0.5) ? null : ['deployer'],
      scopes: chance(0.3) ? null : chance(0.0002) ? ['rare'] : ['read', 'write'],
      groups: chance(0.5) ? null : [id(chance(0.3) ? 0 : 1, '002')],
      createdAtMs,
      usedAtMs,
      ip: usedAtMs === undefined ? undefined : `10.${number(250)}.${number(250)}.${number(250)}`,
      expiresAtMs: isShort
        ? createdAtMs + DAY_MS
        : chance(0.5)
          ? createdAtMs + (1 + number(2000)) * DAY_MS
          : undefined,
      revokedAtMs: isRevoked ? createdAtMs + number(NOW_MS - createdAtMs) : undefined,
      supersededAtMs: !isRevoked && chance(0.1) ? createdAtMs + 1 : undefined,
    }
  }
}

async function load(db: Kysely<Schema>, count: number): Promise<void> {
  for (let i = 0; i < USERS; i++) {
    await insertUser(db, { id: id(i, '001'), username: i === 0 ? 'robot' : `user-${i}` })
  }
  for (const [i, name] of ['ops', 'dev'].entries()) {
    await insertGroup(db, { id: id(i, '002'), name })
  }
  for (const [i, clientId] of ['portal', 'rare'].entries()) {
    await insertClient(db, { id: id(i, '003'), clientId, userId: ROBOT })
  }
  await insertTokens(db, rowsOf(count))
}

async function main(): Promise<void> {
  const [wanted = '100000', kind = 'sqlite'] = process.argv.slice(2)
  const count = Number(wanted)
  if (!Number.isSafeInteger(count) || count < 1) throw new Error(HELP)
  const dir = mkdtempSync(join(tmpdir(), 'mintmark-query-bench-'))
  const server = kind === 'postgres' ? await startPostgres() : undefined
  try {
    await measure(
      server === undefined
        ? sqliteDatabase(join(dir, 'mintmark.db'))
        : postgresDatabase(server.url),
      count,
    )
  } finally {
    await server?.stop()
    rmSync(dir, { recursive: true, force: true })
  }
}

async function measure(database: TestDatabase, count: number): Promise<void> {
  const clock = { now: () => NOW_MS }
  const masterKey = new Secret(randomBytes(32).toString('base64url'))
  const adminToken = randomBytes(32).toString('base64url')
  const empty = await openStore(database.config, clock)
  await (await createCore({ store: empty, clock, random: randomBytes, masterKey })).bootstrap({
    username: 'root',
    password: new Secret('kites over the harbour'),
    token: new Secret(adminToken),
  })
  await empty.close()
  const startedAtMs = performance.now()
  await database.transaction((tx) => load(tx, count))
  // As it does by itself in time; SQLite never does.
  if (database.config.kind === 'postgres') await database.tamper('analyze')
  const { cpu, cores, node, loadBefore } = machine()
  process.stdout.write(
    `Mintmark ${commit()}, Node ${node}, ${cores} × ${cpu}, load ${loadBefore}
${count} tokens in ${database.config.kind}, written in ${Math.round((performance.now() - startedAtMs) / 1000)} s; pages of ${PAGE}, ${ROUNDS} rounds\n\n`,
  )
  const store = await openStore(database.config, clock)
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

await main()
