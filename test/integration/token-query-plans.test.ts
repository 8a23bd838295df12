import type { CompiledQuery, Kysely } from 'kysely'
import { CompiledQuery as Compiled, sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { orderOf, parseQuery } from '../../src/core/tokens/query.ts'
import { resolveQuery } from '../../src/core/tokens/resolve.ts'
import { clientStore } from '../../src/store/clients.ts'
import { groupStore } from '../../src/store/groups.ts'
import { inventoryStore } from '../../src/store/inventory.ts'
import type { Schema } from '../../src/store/schema.ts'
import { userStore } from '../../src/store/users.ts'
import { DATABASE } from '../support/database.ts'
import { dice } from '../support/dice.ts'
import { closeInventory, openInventory } from '../support/query-model.ts'
import { NOW_MS, randomTokens } from '../support/token-model.ts'

let opened: Awaited<ReturnType<typeof openInventory>>
let db: Kysely<Schema>
let ran: CompiledQuery[] = []

beforeAll(async () => {
  opened = await openInventory(randomTokens(300, dice(1)))
  db = opened.database.connect((query) => {
    ran.push(query)
  })
})
afterAll(async () => {
  await db.destroy()
  await closeInventory(opened)
})

/** How the database goes about each statement that a query needs. */
async function plansOf(text: string, few: number): Promise<string[]> {
  const store = { users: userStore(db), groups: groupStore(db), clients: clientStore(db) }
  const parsed = parseQuery(text)
  const query = await resolveQuery({ store, nowMs: NOW_MS }, parsed.filter)
  ran = []
  const inventory = inventoryStore(db, { probe: 1, few, compared: 100, step: 40 })
  const wish = { order: orderOf(parsed), size: 10, nowMs: NOW_MS }
  const [first] = await inventory.find(query, { ...wish, from: undefined })
  if (first !== undefined) {
    const from = { at: first.at, id: first.token.id, direction: 'after' } as const
    await inventory.find(query, { ...wish, from })
  }
  await inventory.countTokens(query, NOW_MS)
  const asked = ran
  return opened.database.transaction(async (tx) => {
    if (DATABASE === 'postgres') await makeShortcutsDear(tx)
    const plans: string[] = []
    for (const each of asked) plans.push(await planOf(tx, each))
    return plans
  })
}

/**
 * PostgreSQL rather reads and sorts a table as small as this one. What it does where it must not shows
 * which index there is to do it with, as it will once the table is large.
 */
async function makeShortcutsDear(tx: Kysely<Schema>): Promise<void> {
  for (const shortcut of ['seqscan', 'bitmapscan', 'sort', 'hashjoin', 'mergejoin']) {
    await sql`set local ${sql.raw(`enable_${shortcut}`)} = off`.execute(tx)
  }
}

async function planOf(
  tx: Kysely<Schema>,
  { sql: statement, parameters }: CompiledQuery,
): Promise<string> {
  const explain = DATABASE === 'postgres' ? 'explain' : 'explain query plan'
  const { rows } = await tx.executeQuery<Record<string, unknown>>(
    Compiled.raw(`${explain} ${statement}`, [...parameters]),
  )
  return rows.map((row) => String(row.detail ?? row['QUERY PLAN'])).join('\n')
}

const ID = '01900000-0000-7100-8000-000000000000'

const LABELS = 'token_label_created|sqlite_autoindex_token_label_1|token_label_pkey|token_label_key'

/** Each filter, the index that has what passes it, and how SQLite uses it. */
const FILTERS: [query: string, index: string, use: RegExp][] = [
  [`id:${ID}`, 'sqlite_autoindex_token_1|token_pkey', /\(id=\?\)/],
  ['name:ci', 'token_named', /\(name_order=\?\)/],
  ['owner:alice', 'token_owner', /\(owner_id=\?/],
  ['creator:alice', 'token_creator', /\(creator_id=\?/],
  ['client:grafana', 'token_client', /\(client_id=\?/],
  ['kind:api', 'token_kind', /\(kind=\?/],
  ['via:xms', 'token_via', /\(via=\?/],
  ['access:read_only', 'token_access', /\(access_level=\?/],
  [`family:${ID}`, 'token_family', /\(family_id=\?/],
  [`parent:${ID}`, 'token_parent', /\(parent_id=\?/],
  ['role:read', LABELS, /\(type=\? AND value=\?/],
  ['scope:read', LABELS, /\(type=\? AND value=\?/],
  ['group:ops', LABELS, /\(type=\? AND value=\?/],
  ['state:active', 'token_standing\\w*', /\(standing=\? AND kind=\? AND expires_order>\?\)/],
  ['state:expired', 'token_standing\\w*', /\(standing=\? AND kind=\? AND expires_order<\?\)/],
  ['state:revoked', 'token_standing\\w*', /\(standing=\?/],
  ['state:superseded', 'token_standing\\w*', /\(standing=\?/],
  ['created:<30d', 'token_created', /\(/],
  ['used:<30d sort:created', 'token_used', /\(used_order>\?/],
  ['used:never', 'token_used', /\(used_order=\?\)/],
  ['expires:<30d', 'token_expires', /\(expires_order>\? AND expires_order<\?\)/],
  ['expires:never', 'token_expires', /\(expires_order=\?\)/],
  ['revoked:<30d', 'token_revocation', /\(revoked_at_ms>\?\)/],
  ['superseded:>30d', 'token_supersession', /\(superseded_at_ms<\?\)/],
  ['ip:10.0.0.0/8', 'token_address', /\(last_used_ip_key>\? AND last_used_ip_key<\?\)/],
]

function expectNoFullScan(plans: string[]): void {
  for (const plan of plans) {
    // An index that is read from one end until the page is full is no scan of the table.
    expect(plan).not.toMatch(/SCAN (token|token_label|walked)(?! USING)/)
    expect(plan).not.toMatch(/AUTOMATIC/)
    expect(plan).not.toMatch(/Seq Scan on (token|token_label)\b/)
  }
}

function expectIndex(plans: string[], index: string, use: RegExp): void {
  const expected =
    DATABASE === 'postgres'
      ? new RegExp(`using (${index}) on token.*\\n *Index Cond`)
      : new RegExp(`(${index}) ${use.source}`)
  expect(plans.join('\n\n')).toMatch(expected)
}

function expectNoSort(plans: string[]): void {
  expect(plans.join('\n')).not.toMatch(/TEMP B-TREE|\bSort\b/)
}

describe.each(FILTERS)('%s', (query, index, use) => {
  it('is narrowed by its index where that leaves few', async () => {
    // With a second filter that no index helps, so that nothing is walked right away.
    const plans = await plansOf(`${query} text~a`, 5000)
    expectIndex(plans, index, use)
    expectNoFullScan(plans)
  })

  it('alone is answered without looking at other tokens, or walked in its order', async () => {
    const plans = await plansOf(query, 1)
    expectNoFullScan(plans)
    expectNoSort(plans)
  })
})

/** What is walked in its own order, so that the thousandth page costs what the first does. */
const WALKS: [query: string, index: string, use: RegExp][] = [
  ['', 'token_created', /\(\(created_at_ms,id\)<\(\?,\?\)\)/],
  ['sort:created', 'token_created', /\(\(created_at_ms,id\)>\(\?,\?\)\)/],
  ['sort:used', 'token_used', /\(\(used_order,id\)>\(\?,\?\)\)/],
  ['sort:-used', 'token_used', /\(\(used_order,id\)<\(\?,\?\)\)/],
  ['sort:expires', 'token_expires', /\(\(expires_order,id\)>\(\?,\?\)\)/],
  ['sort:-expires', 'token_expires', /\(\(expires_order,id\)<\(\?,\?\)\)/],
  ['sort:name', 'token_named', /\(\(name_order,id\)>\(\?,\?\)\)/],
  ['owner:alice', 'token_owner', /\(owner_id=\? AND \(created_at_ms,id\)<\(\?,\?\)\)/],
  ['creator:alice', 'token_creator', /\(creator_id=\? AND \(created_at_ms,id\)<\(\?,\?\)\)/],
  ['client:portal', 'token_client', /\(client_id=\? AND \(created_at_ms,id\)<\(\?,\?\)\)/],
  ['kind:session', 'token_kind', /\(kind=\? AND \(created_at_ms,id\)<\(\?,\?\)\)/],
  ['via:xms', 'token_via', /\(via=\? AND \(created_at_ms,id\)<\(\?,\?\)\)/],
  ['access:read_only', 'token_access', /\(access_level=\? AND \(created_at_ms,id\)<\(\?,\?\)\)/],
  ['scope:read', 'token_label_created', /\(type=\? AND value=\? AND \(created_at_ms,token_id\)</],
  ['role:read', 'token_label_created', /\(type=\? AND value=\? AND \(created_at_ms,token_id\)</],
  ['group:ops', 'token_label_created', /\(type=\? AND value=\? AND \(created_at_ms,token_id\)</],
  ['state:revoked', 'token_standing', /\(standing=\? AND \(created_at_ms,id\)<\(\?,\?\)\)/],
  ['state:superseded', 'token_standing', /\(standing=\? AND \(created_at_ms,id\)<\(\?,\?\)\)/],
  ['state:active', 'token_created', /\(\(created_at_ms,id\)<\(\?,\?\)\)/],
  ['state:active sort:expires', 'token_expires', /\(\(expires_order,id\)>/],
  ['expires:<90d state:active sort:expires', 'token_expires', /\(\(expires_order/],
  ['used:>10d sort:used', 'token_used', /\(\(used_order,id\)>\(\?,\?\) AND \(used_order,id\)</],
  ['created:>10d', 'token_created', /\(\(created_at_ms,id\)</],
  ['-kind:session text~a', 'token_created', /\(\(created_at_ms,id\)</],
  [
    'owner:alice kind:api,service -state:revoked',
    'token_owner',
    /\(owner_id=\? AND \(created_at_ms,id\)</,
  ],
]

it.each(WALKS)('"%s" is walked along an index in its order', async (query, index, use) => {
  const plans = await plansOf(query, 1)
  expectIndex(plans, index, use)
  expectNoSort(plans)
  expectNoFullScan(plans)
})

it.each([
  ['state:active kind:session owner:alice'],
  ['state:active text~a sort:name'],
  ['scope:read,write expires:<90d sort:expires'],
])('"%s" looks at few tokens by their ids, wherever the page begins', async (query) => {
  const plans = await plansOf(query, 5000)
  const ofFew = plans.filter(
    (plan) => plan.includes('picked') && /token_pkey|autoindex_token_1 /.test(plan),
  )
  // The first page, the one after it, and the count.
  expect(ofFew).toHaveLength(3)
  // Either would read all tokens to find a few.
  for (const plan of ofFew) expect(plan).not.toMatch(/MERGE|token_(created|named) /)
})
