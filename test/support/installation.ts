import { randomBytes } from 'node:crypto'
import type { DatabaseConfig } from '../../src/config.ts'
import type { Caller } from '../../src/core/caller.ts'
import { type Core, createCore } from '../../src/core/core.ts'
import type { TokenId, UserId } from '../../src/core/id.ts'
import { Secret } from '../../src/core/secret.ts'
import type { Store } from '../../src/core/store.ts'
import { UNLIMITED } from '../../src/core/tokens/token.ts'
import { openStore } from '../../src/store/database.ts'
import { ADMIN_PASSWORD, ORIGIN } from './core.ts'
import type { TestDatabase } from './database.ts'

/** An installation with something in every table, and what must be true of it wherever it is carried. */
export interface Inhabited {
  adminSecret: string
  alive: { secret: string; id: TokenId }[]
  revoked: { secret: string; id: TokenId }[]
  rotated: { secret: string; id: TokenId }
  alice: UserId
  bob: UserId
}

const clock = { now: () => Date.now() }

/** Opens a database as a server does, works, and closes it. */
export async function within<T>(
  database: DatabaseConfig,
  masterKey: Secret,
  work: (parts: {
    core: Core
    store: Store
    admin: (secret: string) => Promise<Caller>
  }) => Promise<T>,
): Promise<T> {
  const store = await openStore(database, clock)
  try {
    const core = await createCore({ store, clock, random: randomBytes, masterKey })
    const admin = async (secret: string): Promise<Caller> => {
      const verdict = await core.verifier.verify(secret, { ip: ORIGIN.ip })
      if (!verdict.active) throw new Error(`The admin's token is ${verdict.reason}.`)
      return { principal: verdict.principal, origin: ORIGIN }
    }
    return await work({ core, store, admin })
  } finally {
    await store.close()
  }
}

/** Lives in an empty database for a while. */
export async function inhabit(
  database: TestDatabase,
  masterKey: Secret,
  { tokens = 30 }: { tokens?: number } = {},
): Promise<Inhabited> {
  const adminSecret = randomBytes(32).toString('base64url')
  const lived = await within(database.config, masterKey, async ({ core, admin }) => {
    await core.bootstrap({
      username: 'root',
      password: new Secret(ADMIN_PASSWORD),
      token: new Secret(adminSecret),
    })
    const caller = await admin(adminSecret)
    const write = core.write
    await write((w) =>
      w.createRole({
        caller,
        role: { name: 'deployer', description: '', scopes: ['deploy', 'read'] },
      }),
    )
    const user = (username: string) =>
      write((w) => w.createUser({ caller, wish: { username, roles: ['deployer'] } }))
    const alice = await user('alice')
    const bob = await user('bob — 🗝 ü')
    const group = await write((w) =>
      w.createGroup({ caller, wish: { name: 'builders', description: 'Żółć\n"quoted" \\ \t' } }),
    )
    for (const { id: userId } of [alice, bob]) {
      await write((w) =>
        w.setMembership({ caller, wish: { groupId: group.id, userId, mode: 'WRITE' } }),
      )
    }
    await write((w) => w.updatePolicy({ caller, edit: { maxTokenTtlSeconds: 10_000_000 } }))
    const issue = (name: string, ownerId = alice.id) =>
      write((w) =>
        w.issueToken({
          caller,
          via: 'api',
          wish: {
            kind: 'api',
            name,
            ownerId,
            expires: 'default',
            metadata: { n: 1, deep: { list: [1, 'ü', null] } },
            limits: {
              ...UNLIMITED,
              roles: ['deployer'],
              scopes: ['deploy'],
              groups: [{ id: group.id, mode: 'READ' }],
            },
          },
        }),
      )
    const made: { secret: string; id: TokenId }[] = []
    for (let i = 0; i < tokens; i++) {
      const { token, secret } = await issue(`token ${i}`, i % 2 === 0 ? alice.id : bob.id)
      made.push({ id: token.id, secret: secret.reveal() })
    }
    const revoked = made.splice(0, 5)
    for (const { id } of revoked) await write((w) => w.revokeToken({ caller, id, reason: 'test' }))
    const old = await issue('old')
    const next = await write((w) =>
      w.rotateToken({ caller, wish: { id: old.token.id, overlapSeconds: 0 }, via: 'api' }),
    )
    made.push({ id: next.token.id, secret: next.secret.reveal() })
    await core.writeOnce(
      { caller, key: 'a-repeated-request', request: ['anything'] },
      async () => ({ done: true }),
    )
    await core
      .login({ name: 'alice', password: 'wrong', via: 'api', origin: ORIGIN })
      .catch(() => undefined)
    await core.flushUsage()
    await core.checkpoint()
    return {
      adminSecret,
      alive: made,
      revoked,
      rotated: { id: old.token.id, secret: old.secret.reveal() },
      alice: alice.id,
      bob: bob.id,
    }
  })
  for (const sql of OTHERS) await database.tamper(sql)
  return lived
}

/** What it takes a browser to fill. */
const OTHERS = [
  `insert into user_identity (issuer, subject, user_id, created_at_ms)
    select 'https://login.example.com', 'a-1', id, 1 from "user" where username = 'alice'`,
  `insert into client (id, serial, client_id, name, name_key, type, redirect_uris,
      post_logout_redirect_uris, grants, scopes, resources, serves, code_ttl, access_token_ttl,
      refresh_token_ttl, subject_mode, signing_algorithm, require_pkce, service_user_id, active,
      created_at_ms, updated_at_ms)
    select 'c-1', 1, 'app', 'App', 'app', 'confidential', '[]', '[]', '[]', '[]', '[]', '[]', '60',
      '60', '60', 'public', 'RS256', 1, id, 1, 5, 5 from "user" where username = 'alice'`,
  `insert into "grant" (id, user_id, client_id, scopes, resources, engine_record, created_at_ms,
      updated_at_ms, expires_at_ms)
    select 'g-1', id, 'c-1', '[]', '[]', '', 1, 1, 9007199254740991 from "user"
    where username = 'alice'`,
  `insert into oauth_record (digest, model, sealed, expires_at_ms)
    values ('d-1', 'Session', 's', 9007199254740991)`,
]
