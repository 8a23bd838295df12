import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync, type SQLInputValue } from 'node:sqlite'
import { type CompiledQuery, Kysely, SqliteDialect } from 'kysely'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ClientId, GrantId, TokenId, UserId } from '../../src/core/id.ts'
import type { TokenStore } from '../../src/core/tokens/store.ts'
import { openStore } from '../../src/store/database.ts'
import type { Schema } from '../../src/store/schema.ts'
import { openSqlite, type SqliteFiles } from '../../src/store/sqlite.ts'
import { tokenStore } from '../../src/store/tokens.ts'

const ID = '01900000-0000-7100-8000-000000000000'
const id = ID as TokenId
const revocation = { by: undefined, reason: '', atMs: 1 }

let dir: string
let files: SqliteFiles
let db: Kysely<Schema>
let raw: DatabaseSync
let ran: CompiledQuery[] = []

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'mintmark-plans-'))
  const file = join(dir, 'mintmark.db')
  await (await openStore({ kind: 'sqlite', file }, { now: () => 0 })).close()
  raw = new DatabaseSync(file)
  files = openSqlite(file)
  db = new Kysely<Schema>({
    dialect: new SqliteDialect({ database: files.writer }),
    log: ({ query }) => {
      ran.push(query)
    },
  })
})
afterAll(async () => {
  await db.destroy()
  files.reader.close()
  files.unlock()
  raw.close()
  rmSync(dir, { recursive: true, force: true })
})

/** What one change does, and the indexes by which it may find tokens. */
const CHANGES: [name: string, work: (tokens: TokenStore) => Promise<unknown>, by: string[]][] = [
  ['revoking one', (tokens) => tokens.revokeAlone(id, revocation), ['id', 'parent_id']],
  [
    'revoking a tree',
    (tokens) => tokens.revokeTree(id, revocation),
    ['id', 'parent_id', 'family_id'],
  ],
  [
    'revoking what is derived',
    (tokens) => tokens.revokeDerived(id, revocation),
    ['id', 'parent_id', 'family_id'],
  ],
  [
    'revoking all of an owner',
    (tokens) => tokens.revokeOwned({ ownerId: ID as UserId }, revocation),
    ['id', 'parent_id', 'family_id', 'owner_id'],
  ],
  [
    'revoking all of a client',
    (tokens) => tokens.revokeOfClient(ID as ClientId, revocation),
    ['id', 'parent_id', 'family_id', 'client_id'],
  ],
  [
    'revoking what came of a grant',
    (tokens) => tokens.revokeFamily(ID as GrantId, revocation),
    ['id', 'parent_id', 'family_id'],
  ],
  ['superseding one', (tokens) => tokens.supersede(id, { by: id, atMs: 1, endsAtMs: 1 }), ['id']],
  ['spending one', (tokens) => tokens.spend(id, undefined, 1), ['id']],
  [
    'noting a use',
    (tokens) =>
      tokens.recordUse([
        {
          tokenId: id,
          lastUsedAtMs: 1,
          lastUsedIp: '127.0.0.1',
          lastUsedVia: 'api',
          lastUsedAgent: undefined,
          count: 1,
        },
      ]),
    ['id'],
  ],
]

describe.each(CHANGES)('%s', (_, work, by) => {
  it('finds its tokens by index, and looks at no others', async () => {
    ran = []
    await work(tokenStore(db))
    for (const { sql, parameters } of ran) {
      const steps = raw.prepare(`explain query plan ${sql}`).all(...(parameters as SQLInputValue[]))
      for (const step of steps) {
        const detail = String(step.detail)
        const found = /^(SCAN|SEARCH) (?:token|child)\b(?:.*\((\w+)=)?/.exec(detail)
        if (found === null) continue
        expect(by, detail).toContain(found[2])
      }
    }
    expect(ran.length).toBeGreaterThan(0)
  })
})

it('finds what retention no longer keeps by the indexes of what has ended', async () => {
  ran = []
  await tokenStore(db).purge(1, 10)
  const [query] = ran
  const plan = raw
    .prepare(`explain query plan ${query?.sql}`)
    .all(...((query?.parameters ?? []) as SQLInputValue[]))
    .map(({ detail }) => detail)
    .join('\n')
  expect(plan).toContain('token_revocation (revoked_at_ms<?)')
  expect(plan).toContain('token_supersession (superseded_at_ms<?)')
  expect(plan).not.toMatch(/SCAN token/)
})
