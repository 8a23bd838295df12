import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import fc from 'fast-check'
import { Kysely, SqliteDialect } from 'kysely'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Position } from '../../src/core/page.ts'
import { FIGURES_BY, type InventoryStore } from '../../src/core/tokens/inventory-store.ts'
import { orderOf, parseQuery } from '../../src/core/tokens/query.ts'
import { resolveQuery } from '../../src/core/tokens/resolve.ts'
import { clientStore } from '../../src/store/clients.ts'
import { openStore } from '../../src/store/database.ts'
import { groupStore } from '../../src/store/groups.ts'
import { type InventorySizes, inventoryStore } from '../../src/store/inventory.ts'
import type { Schema } from '../../src/store/schema.ts'
import { openSqlite, type SqliteFiles } from '../../src/store/sqlite.ts'
import { userStore } from '../../src/store/users.ts'
import { dice, seedOfRun } from '../support/dice.ts'
import {
  type Asked,
  clients,
  flatQueries,
  groups,
  NOW_MS,
  queries,
  randomTokens,
  type Sorted,
  sorts,
  users,
  VALUES,
} from '../support/token-model.ts'
import {
  insertClient,
  insertGroup,
  insertTokens,
  insertUser,
  type TokenRow,
} from '../support/token-rows.ts'

const TOKENS = 300
const seed = seedOfRun()

interface Opened {
  db: Kysely<Schema>
  files: SqliteFiles
  dir: string
  rows: TokenRow[]
}

const opened: Opened[] = []

async function open(inventory: number): Promise<Opened> {
  const dir = mkdtempSync(join(tmpdir(), 'mintmark-query-'))
  const file = join(dir, 'mintmark.db')
  await (await openStore({ kind: 'sqlite', file }, { now: () => NOW_MS })).close()
  const rows = randomTokens(TOKENS, dice(seed + inventory))
  const raw = new DatabaseSync(file)
  for (const user of users) insertUser(raw, user)
  for (const group of groups) insertGroup(raw, group)
  for (const client of clients) insertClient(raw, { ...client, userId: users[0]?.id ?? '' })
  insertTokens(raw, rows)
  raw.close()
  const files = openSqlite(file)
  const db = new Kysely<Schema>({ dialect: new SqliteDialect({ database: files.reader }) })
  return { db, files, dir, rows }
}

beforeAll(async () => {
  process.stderr.write(`MINTMARK_TEST_SEED=${seed}\n`)
  for (let i = 0; i < 3; i++) opened.push(await open(i))
})
afterAll(async () => {
  for (const { db, files, dir } of opened) {
    await db.destroy()
    files.writer.close()
    files.unlock()
    rmSync(dir, { recursive: true, force: true })
  }
})

/** Sizes at which every way to a token is taken, with as few tokens as there are here. */
const SIZES: Record<string, InventorySizes> = {
  'what is few is sorted': { few: 5000, step: 20_000, askingStep: 4000 },
  'everything is walked along an index, in many steps': { few: 1, step: 40, askingStep: 25 },
  'both, as it comes': { few: 40, step: 100, askingStep: 50 },
}

async function compiled({ db }: Opened, text: string) {
  const store = { users: userStore(db), groups: groupStore(db), clients: clientStore(db) }
  const parsed = parseQuery(text)
  const tokens = await resolveQuery({ store, nowMs: NOW_MS }, parsed.filter)
  return { tokens, order: orderOf(parsed) }
}

const idsOf = (rows: readonly { id: string }[]) => rows.map(({ id }) => id)

function expected({ rows }: Opened, asked: Asked, sorted: Sorted): TokenRow[] {
  return rows.filter(asked.fits).sort(sorted.compare)
}

const asks = fc.record({
  inventory: fc.nat(2),
  asked: fc.oneof(queries, flatQueries),
  sorted: sorts,
  sortFirst: fc.boolean(),
})

function textOf({
  asked,
  sorted,
  sortFirst,
}: {
  asked: Asked
  sorted: Sorted
  sortFirst: boolean
}) {
  return sortFirst ? `${sorted.text} ${asked.text}` : `${asked.text} ${sorted.text}`
}

describe.each(Object.keys(SIZES))('a query, where %s,', (name) => {
  const storeOf = (at: Opened): InventoryStore => inventoryStore(at.db, SIZES[name])

  it('selects exactly what the model selects, in its order', { timeout: 300_000 }, async () => {
    let some = 0
    await fc.assert(
      fc.asyncProperty(asks, async (ask) => {
        const at = opened[ask.inventory] as Opened
        const { tokens, order } = await compiled(at, textOf(ask))
        const wish = { order, from: undefined, size: 1000, nowMs: NOW_MS }
        const found = await storeOf(at).find(tokens, wish)
        const wanted = expected(at, ask.asked, ask.sorted)
        expect(found.map(({ token }) => token.id)).toEqual(idsOf(wanted))
        expect(await storeOf(at).countTokens(tokens, NOW_MS)).toBe(wanted.length)
        if (wanted.length > 0 && wanted.length < TOKENS) some++
      }),
      { numRuns: 1000, seed },
    )
    // A test about nothing, or about everything, would show little.
    expect(some).toBeGreaterThan(500)
  })

  it('comes in pages, and back', { timeout: 300_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(asks, fc.integer({ min: 1, max: 60 }), async (ask, size) => {
        const at = opened[ask.inventory] as Opened
        const { tokens, order } = await compiled(at, textOf(ask))
        const wanted = idsOf(expected(at, ask.asked, ask.sorted))
        const pages = async (direction: Position['direction'], start: Position | undefined) => {
          const ids: string[] = []
          for (let from = start; ; ) {
            const found = await storeOf(at).find(tokens, { order, from, size, nowMs: NOW_MS })
            ids.push(...found.map(({ token }) => token.id))
            const last = found.at(-1)
            if (last === undefined) return { ids, from }
            from = { at: last.at, id: last.token.id, direction }
          }
        }
        const forth = await pages('after', undefined)
        expect(forth.ids).toEqual(wanted)
        const { from } = forth
        if (from === undefined) return
        const back = await pages('before', { ...from, direction: 'before' })
        expect(back.ids).toEqual(wanted.slice(0, -1).reverse())
      }),
      { numRuns: 100, seed },
    )
  })

  it('has the figures of the model', { timeout: 300_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(asks, fc.constantFrom(...FIGURES_BY), async (ask, by) => {
        const at = opened[ask.inventory] as Opened
        const { tokens } = await compiled(at, textOf(ask))
        const counts = new Map<string | undefined, number>()
        for (const row of expected(at, ask.asked, ask.sorted)) {
          for (const value of VALUES[by]?.(row) ?? []) {
            counts.set(value, (counts.get(value) ?? 0) + 1)
          }
        }
        const figures = await storeOf(at).figures(tokens, by, NOW_MS)
        expect(new Map(figures.map(({ value, count }) => [value, count]))).toEqual(counts)
      }),
      { numRuns: 250, seed },
    )
  })
})
