import { randomBytes } from 'node:crypto'
import { type Kysely, sql } from 'kysely'
import { createCore } from '../src/core/core.ts'
import { digestOf, makeSecret, Secret } from '../src/core/secret.ts'
import { openStore } from '../src/store/database.ts'
import type { Schema } from '../src/store/schema.ts'
import type { TestDatabase } from '../test/support/database.ts'
import { dice } from '../test/support/dice.ts'
import {
  insertClient,
  insertGroup,
  insertTokens,
  insertUser,
  type TokenRow,
} from '../test/support/token-rows.ts'

const DAY_MS = 86_400_000

const id = (n: number, block: string) =>
  `01900000-0000-7${block}-8000-${n.toString(16).padStart(12, '0')}`

const USERS = 2000
const ROBOT = id(0, '001')
const LEAVER = id(USERS, '001')

/** An inventory as years of use leave it: one owner with very many, sessions that ended, a few rarities. */
function* rowsOf(count: number, nowMs: number): Generator<TokenRow> {
  const { number, chance, pick } = dice(1)
  const one = <T>(list: readonly T[]) => pick(list) as T
  for (let i = 0; i < count; i++) {
    const createdAtMs = nowMs - Math.floor(((count - i) / count) * 1000 * DAY_MS)
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
    const usedAtMs = chance(0.6) ? createdAtMs + number(nowMs - createdAtMs) : undefined
    const isRevoked = chance(0.2)
    yield {
      id: id(i, '100'),
      digest: randomBytes(32).toString('base64url'),
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
      revokedAtMs: isRevoked ? createdAtMs + number(nowMs - createdAtMs) : undefined,
      supersededAtMs: !isRevoked && chance(0.1) ? createdAtMs + 1 : undefined,
    }
  }
}

/** The same as a token that nothing has ended. */
function living(row: TokenRow): TokenRow {
  return {
    ...row,
    kind: 'api',
    clientId: undefined,
    expiresAtMs: undefined,
    revokedAtMs: undefined,
    supersededAtMs: undefined,
  }
}

/** A database full of tokens, and what it takes to ask about them. */
export interface Filled {
  config: TestDatabase['config']
  masterKey: Secret
  adminToken: string
  /** Of live tokens from all over the inventory. */
  secrets: string[]
}

/** Rows per transaction: a larger one would only make the write-ahead log longer. */
const CHUNK = 100_000

/** Writes an inventory straight into the tables; at most `wantedSecrets` of its tokens have one that is known. */
export async function fill(
  database: TestDatabase,
  wish: { tokens: number; wantedSecrets: number; onProgress: (tokens: number) => void },
): Promise<Filled> {
  const clock = { now: () => Date.now() }
  const masterKey = new Secret(randomBytes(32).toString('base64url'))
  const adminToken = randomBytes(32).toString('base64url')
  const empty = await openStore(database.config, clock)
  const core = await createCore({ store: empty, clock, random: randomBytes, masterKey })
  await core.bootstrap({
    username: 'root',
    password: new Secret('kites over the harbour'),
    token: new Secret(adminToken),
  })
  const pepper = core.keyring.pepper()
  await empty.close()

  await database.transaction(fillDirectories)
  const restoreIndexes = await dropIndexes(database)
  const secrets: string[] = []
  const every = Math.max(1, Math.floor(wish.tokens / wish.wantedSecrets))
  const rows = rowsOf(wish.tokens, clock.now())
  for (let done = 0; done < wish.tokens; done += CHUNK) {
    const chunk: TokenRow[] = []
    for (let i = done; i < Math.min(done + CHUNK, wish.tokens); i++) {
      const { value: row } = rows.next()
      if (row === undefined) break
      chunk.push(i % every === 0 ? alive(row) : row)
    }
    await database.transaction(async (tx) => {
      if (database.config.kind === 'sqlite') await sql`pragma cache_size = -1000000`.execute(tx)
      await insertTokens(tx, chunk)
    })
    wish.onProgress(done + chunk.length)
  }
  await restoreIndexes()
  // As it does by itself in time; SQLite never does.
  if (database.config.kind === 'postgres') await database.tamper('analyze')
  return { config: database.config, masterKey, adminToken, secrets }

  function alive(row: TokenRow): TokenRow {
    const secret = makeSecret('mintmark', 'api', randomBytes)
    secrets.push(secret)
    return { ...living(row), digest: digestOf(secret, pepper), pepperId: pepper.id }
  }
}

/** Gives a new user `count` live tokens of all ages. Returns the query that selects them. */
export async function addLeaver(database: TestDatabase, count: number): Promise<string> {
  await database.transaction(async (tx) => {
    await insertUser(tx, { id: LEAVER, username: 'leaver' })
    await insertTokens(tx, rowsOfLeaver(count, Date.now()))
  })
  return 'owner:leaver'
}

function* rowsOfLeaver(count: number, nowMs: number): Generator<TokenRow> {
  let i = 0
  for (const row of rowsOf(count, nowMs)) {
    const own = id(i++, '101')
    yield { ...living(row), id: own, familyId: own, ownerId: LEAVER }
  }
}

/** Sorting all at the end takes a fraction of the time that keeping order takes. Returns how to. */
async function dropIndexes(database: TestDatabase) {
  if (database.config.kind !== 'sqlite') return async () => {}
  const indexes = (await database.query(
    "select name, sql from sqlite_master where tbl_name like 'token%' and type = 'index' and sql is not null",
  )) as { name: string; sql: string }[]
  for (const { name } of indexes) await database.tamper(`drop index "${name}"`)
  return async () => {
    for (const { sql } of indexes) {
      await database.tamper(`pragma cache_size = -1000000; pragma temp_store = file; ${sql}`)
    }
  }
}

async function fillDirectories(db: Kysely<Schema>): Promise<void> {
  for (let i = 0; i < USERS; i++) {
    await insertUser(db, { id: id(i, '001'), username: i === 0 ? 'robot' : `user-${i}` })
  }
  for (const [i, name] of ['ops', 'dev'].entries()) {
    await insertGroup(db, { id: id(i, '002'), name })
  }
  for (const [i, clientId] of ['portal', 'rare'].entries()) {
    await insertClient(db, { id: id(i, '003'), clientId, userId: ROBOT })
  }
}
