import { DatabaseSync } from 'node:sqlite'
import { Kysely, SqliteDialect } from 'kysely'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import type { Client } from '../../src/core/clients/client.ts'
import type { ClientTokenFilter, ClientTokenOrder } from '../../src/core/tokens/store.ts'
import type { User } from '../../src/core/users/user.ts'
import type { Schema } from '../../src/store/schema.ts'
import { tokenStore } from '../../src/store/tokens.ts'
import { openTestCore, type TestCore } from '../support/core.ts'
import { DATABASE, kyselyOver } from '../support/database.ts'
import { type OauthSeed, oauthSeed } from '../support/oauth-seed.ts'

const DEFAULT_ORDER: ClientTokenOrder[] = [
  { by: 'client', descending: false },
  { by: 'expiry', descending: false },
]
type Query = Record<string, (...parameters: unknown[]) => unknown>
const FILTER: ClientTokenFilter = { kind: 'oauth_access', withSpent: true }

let test: TestCore
let seed: OauthSeed
let owners: User[]
let clients: Client[]

beforeAll(async () => {
  test = await openTestCore()
  const service = await test.makeUser({ username: 'service', kind: 'service' })
  seed = oauthSeed({
    transaction: (work) => test.store.transaction(work),
    keyring: () => test.core.keyring,
    clock: test.clock,
    serviceUserId: service.id,
  })
  owners = []
  clients = []
  for (let i = 0; i < 20; i++) {
    const owner = await test.makeUser({ username: `user-${i}` })
    const group = await test.makeGroup(`group-${i}`)
    await test.write((w) =>
      w.setMembership({
        caller: test.admin,
        wish: { userId: owner.id, groupId: group.id, mode: 'READ' },
      }),
    )
    owners.push(owner)
    clients.push(await seed.client())
  }
  for (const [i, owner] of owners.entries()) {
    const client = clients[i]
    if (client === undefined) throw new Error('There are as many clients as owners.')
    for (const kind of ['oauth_access', 'oauth_refresh', 'oauth_code'] as const) {
      await seed.token({ kind, ownerId: owner.id, client })
    }
  }
})
afterAll(() => test.close())

it('a page takes as many queries whatever it shows', async () => {
  const { tokens, users, groups, clients: clientRows } = test.store
  // Watched, not replaced; each is an object of functions.
  const repositories = [tokens, users, groups, clientRows] as unknown as Query[]
  const queries = repositories.flatMap((repository) =>
    Object.keys(repository).map((name) => vi.spyOn(repository, name)),
  )
  const callsFor = async (limit: number) => {
    for (const query of queries) query.mockClear()
    const { items } = await test.core.read.clientTokens(test.admin, {
      filter: FILTER,
      order: DEFAULT_ORDER,
      spanOf: () => ({ offset: 0, limit }),
    })
    expect(items).toHaveLength(limit)
    for (const { groups, token, owner } of items) {
      expect(owner.id).toBe(token.ownerId)
      expect(groups).toHaveLength(1)
    }
    return queries.map(({ mock }) => mock.calls.length)
  }
  const forTwo = await callsFor(2)
  expect(await callsFor(20)).toEqual(forTwo)
  expect(forTwo.reduce((sum, calls) => sum + calls, 0)).toBeLessThanOrEqual(7)
  vi.restoreAllMocks()
})

// PostgreSQL plans by how many rows there are, and for these few it needs no index.
describe.runIf(DATABASE === 'sqlite')('every query finds its rows through an index', () => {
  function fileOf({ database: { config } }: TestCore): string {
    if (config.kind !== 'sqlite') throw new Error('There is no file.')
    return config.file
  }

  /** How SQLite would run what a list of these asks for. */
  async function plansOf(filter: ClientTokenFilter, order: ClientTokenOrder[]): Promise<string[]> {
    const asked: { sql: string; parameters: readonly unknown[] }[] = []
    const db = new Kysely<Schema>({
      dialect: new SqliteDialect({ database: kyselyOver(fileOf(test)) }),
      log: ({ query }) => {
        asked.push(query)
      },
    })
    await tokenStore(db).listOfClients(filter, order, { offset: 0, limit: 100 })
    await tokenStore(db).countOfClients(filter)
    await db.destroy()
    const file = new DatabaseSync(fileOf(test))
    const plans = asked.map(({ sql, parameters }) =>
      file
        .prepare(`explain query plan ${sql}`)
        .all(...(parameters as string[]))
        .map(({ detail }) => String(detail))
        .join('; '),
    )
    file.close()
    return plans
  }

  const orders: [string, ClientTokenOrder[]][] = [
    ['the default', DEFAULT_ORDER],
    ['by owner', [{ by: 'owner', descending: true }]],
    ['by expiry', [{ by: 'expiry', descending: true }]],
    ['by serial', [{ by: 'serial', descending: false }]],
  ]

  it.each(orders)('%s', async (_, order) => {
    const ownerId = owners[0]?.id
    const clientId = clients[0]?.id
    if (ownerId === undefined || clientId === undefined) throw new Error('Nothing was seeded.')
    const cases: [ClientTokenFilter, RegExp][] = [
      [FILTER, /token USING INDEX token_kind/],
      [{ ...FILTER, ownerId }, /token USING INDEX token_owner/],
      [{ ...FILTER, clientId }, /token USING INDEX token_client/],
      [{ ...FILTER, ownerId, clientId }, /token USING INDEX token_(owner|client)/],
    ]
    for (const [filter, index] of cases) {
      const [ids, rows, count] = await plansOf(filter, order)
      expect(ids).toMatch(index)
      expect(rows).toMatch(/SEARCH token USING INDEX .*\(id=\?\)/)
      expect(count).toMatch(index)
      expect([ids, rows, count].join('; ')).not.toMatch(/SCAN (token|user|owner)/)
    }
  })
})
