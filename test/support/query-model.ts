import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import type { Kysely } from 'kysely'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Position } from '../../src/core/page.ts'
import { FIGURES_BY, type InventoryStore } from '../../src/core/tokens/inventory-store.ts'
import { orderOf, parseQuery } from '../../src/core/tokens/query.ts'
import { resolveQuery } from '../../src/core/tokens/resolve.ts'
import { clientStore } from '../../src/store/clients.ts'
import { openStore } from '../../src/store/database.ts'
import { groupStore } from '../../src/store/groups.ts'
import { inventoryStore } from '../../src/store/inventory.ts'
import type { Schema } from '../../src/store/schema.ts'
import type { SearchSizes } from '../../src/store/token-search.ts'
import { userStore } from '../../src/store/users.ts'
import { newDatabase, type TestDatabase } from './database.ts'
import { dice, seedOfRun } from './dice.ts'
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
} from './token-model.ts'
import { insertClient, insertGroup, insertTokens, insertUser, type TokenRow } from './token-rows.ts'

const TOKENS = 300

interface Opened {
  db: Kysely<Schema>
  database: TestDatabase
  dir: string
  rows: TokenRow[]
}

/** A database of its own with these tokens, and with whom they name. */
export async function openInventory(rows: TokenRow[]): Promise<Opened> {
  const dir = mkdtempSync(join(tmpdir(), 'mintmark-query-'))
  const database = await newDatabase(dir)
  await (await openStore(database.config, { now: () => NOW_MS })).close()
  await database.transaction(async (tx) => {
    for (const user of users) await insertUser(tx, user)
    for (const group of groups) await insertGroup(tx, group)
    for (const client of clients) {
      await insertClient(tx, { ...client, userId: users[0]?.id ?? '' })
    }
    await insertTokens(tx, rows)
  })
  return { db: database.connect(), database, dir, rows }
}

export async function closeInventory({ db, database, dir }: Opened): Promise<void> {
  await db.destroy()
  await database.drop()
  rmSync(dir, { recursive: true, force: true })
}

/** Sizes at which every way to a token is taken, with as few tokens as there are here. */
const SIZES: Record<string, SearchSizes> = {
  'what is few is sorted': { probe: 0.01, few: 5000, compared: 5000, step: 20_000 },
  'everything is walked along an index, in many steps': {
    probe: 0.01,
    few: 1,
    compared: 5000,
    step: 25,
  },
  'both, as it comes': { probe: 2, few: 40, compared: 60, step: 50 },
  'the first rows are enough': { probe: 20, few: 5000, compared: 5000, step: 20_000 },
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

/** How often each property is tried. */
export interface Runs {
  selects: number
  pages: number
  figures: number
}

/** Holds the query language against the model. The seed is printed; MINTMARK_TEST_SEED repeats a run. */
export function describeQueryModel(runs: Runs): void {
  const seed = seedOfRun()
  const opened: Opened[] = []

  beforeAll(async () => {
    process.stderr.write(`MINTMARK_TEST_SEED=${seed}\n`)
    for (let i = 0; i < 3; i++) {
      opened.push(await openInventory(randomTokens(TOKENS, dice(seed + i))))
    }
  })
  afterAll(async () => {
    for (const each of opened) await closeInventory(each)
  })

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
        { numRuns: runs.selects, seed },
      )
      // A test about nothing, or about everything, would show little.
      expect(some).toBeGreaterThan(runs.selects / 3)
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
        { numRuns: runs.pages, seed },
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
        { numRuns: runs.figures, seed },
      )
    })
  })
}
