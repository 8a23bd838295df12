import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Client } from '../../src/core/clients/client.ts'
import type { GrantId, TokenId, UserId } from '../../src/core/id.ts'
import type { EngineToken, OauthKind } from '../../src/core/oauth/tokens.ts'
import { makeSecret, Secret } from '../../src/core/secret.ts'
import type { Token } from '../../src/core/tokens/token.ts'
import type { User } from '../../src/core/users/user.ts'
import { HOUR_MS, ORIGIN, outcomes } from '../support/core.ts'
import { type Node, type Nodes, openNodes } from '../support/nodes.ts'

// A token request on one node and what ends it on another: only the database can keep them apart.

let t: Nodes
let one: Node
let two: Node
beforeAll(async () => {
  t = await openNodes(2)
  ;[one, two] = t.nodes
})
afterAll(() => t.close())

const PAIRS = 50
let names = 0

interface Family {
  user: User
  client: Client
  grantId: GrantId
  refresh: Token
  secret: Secret
}

const makeClient = async (node = one) => {
  const wish = { name: `client ${++names}`, grants: ['client_credentials'] as const }
  const { client } = await node.core.write((w) => w.createClient({ caller: t.admin, wish }))
  return client
}

function engineToken(
  node: Node,
  kind: OauthKind,
  { user, client, grantId }: Pick<Family, 'user' | 'client' | 'grantId'>,
  parentId?: TokenId,
): EngineToken {
  return {
    id: node.core.oauth.newId() as TokenId,
    kind,
    secret: new Secret(makeSecret('mintmark', kind, node.core.random)),
    clientId: client.id,
    ownerId: user.id,
    grantId,
    parentId,
    scopes: ['openid'],
    audience: undefined,
    boundKey: undefined,
    expiresAtMs: Date.now() + HOUR_MS,
    record: { kind: 'RefreshToken' },
  }
}

async function makeFamily({ parentId }: { parentId?: TokenId } = {}): Promise<Family> {
  const user = await t.makeUser({})
  const client = await makeClient()
  const { oauth } = one.core
  const grantId = oauth.newId() as GrantId
  await oauth.saveGrant({ origin: ORIGIN, grant: grantOf({ user, client, grantId }), record: {} })
  const token = engineToken(one, 'oauth_refresh', { user, client, grantId }, parentId)
  const refresh = await oauth.saveToken({ origin: ORIGIN, token })
  if (token.secret === undefined) throw new Error('A refresh token has a secret.')
  return { user, client, grantId, refresh, secret: token.secret }
}

const grantOf = ({ user, client, grantId }: Pick<Family, 'user' | 'client' | 'grantId'>) => ({
  id: grantId,
  userId: user.id as UserId,
  clientId: client.id,
  sessionId: undefined,
  scopes: ['openid'],
  resources: [],
  expiresAtMs: Date.now() + HOUR_MS,
})

/** Spends the refresh token for a new one and an access token, as the token endpoint does. */
function refreshOn(node: Node, family: Family) {
  const { parentId } = family.refresh
  const saves = (['oauth_access', 'oauth_refresh'] as const).map((kind) =>
    engineToken(node, kind, family, parentId),
  )
  return node.core.oauth.exchange({
    origin: ORIGIN,
    spends: family.refresh,
    consumes: undefined,
    saves,
    retry: undefined,
  })
}

/** Exchanges the refresh token's access for a child of it in a family of its own (RFC 8693). */
function deriveOn(node: Node, family: Family) {
  const token = engineToken(node, 'oauth_access', family, family.refresh.id)
  return node.core.oauth.exchange({
    origin: ORIGIN,
    spends: undefined,
    consumes: undefined,
    saves: [token],
    retry: undefined,
  })
}

const alive = ({ user }: Family) =>
  t.database.query(
    `select id, kind from token where owner_id = '${user.id}' and revoked_at_ms is null`,
  )

/** How often transactions waited for each other until PostgreSQL ended one of them. */
async function deadlocks(): Promise<number> {
  // Each connection tells of its transactions with the next one, a second later at most.
  await new Promise((resolve) => setTimeout(resolve, 1100))
  await Promise.all(t.nodes.flatMap(({ store }) => [store.ping(), store.ping(), store.ping()]))
  const [row] = await t.database.query(
    'select deadlocks from pg_stat_database where datname = current_database()',
  )
  return Number(row?.deadlocks)
}

/** Starts all, each a little later than the one before, in an order that turns. */
async function race(round: number, runners: (() => Promise<unknown>)[]): Promise<string[]> {
  const started: Promise<unknown>[] = []
  const first = round % runners.length
  for (let i = 0; i < runners.length; i++) {
    const at = (first + i) % runners.length
    const apart = (round % 5) * 2
    if (i > 0 && apart > 0) await new Promise((resolve) => setTimeout(resolve, apart))
    const running = runners[at]?.() ?? Promise.resolve()
    // Looked at when all have been started.
    running.catch(() => undefined)
    started[at] = running
  }
  return outcomes(started)
}

const write: Node['core']['write'] = (work) => one.core.write(work)
const WAYS: Record<string, (family: Family) => Promise<unknown>> = {
  'its grant is withdrawn': ({ grantId: id }) =>
    write((w) => w.withdrawGrant({ caller: t.admin, id, reason: '' })),
  'its client is disabled': ({ client: { id } }) =>
    write((w) => w.updateClient({ caller: t.admin, id, edit: { active: false } })),
  'its client is deleted': ({ client: { id } }) =>
    write((w) => w.deleteClient({ caller: t.admin, id })),
  'its user is deleted': ({ user: { id } }) => write((w) => w.deleteUser({ caller: t.admin, id })),
  'its token is revoked by an administrator': ({ refresh: { id } }) =>
    write((w) => w.revokeToken({ caller: t.admin, id, reason: '' })),
  'its token is revoked by its client': ({ refresh: token }) =>
    one.core.oauth.revokeForClient({ origin: ORIGIN, token }),
  'its token is found to be used twice': ({ refresh: token }) =>
    one.core.oauth.punishReuse({ origin: ORIGIN, token }),
}

describe('once it has ended on one node, nothing lives that a request on another makes', () => {
  it.each(Object.keys(WAYS))(`%s, ${PAIRS} times`, async (name) => {
    const end = WAYS[name]
    if (end === undefined) throw new Error(`No way ${name}.`)
    const before = await deadlocks()
    let made = 0
    for (let round = 0; round < PAIRS; round++) {
      const family = await makeFamily()
      const [ended, refreshed, derived] = await race(round, [
        () => end(family),
        () => refreshOn(two, family),
        () => deriveOn(two, family),
      ])
      expect(ended).toBe('ok')
      for (const outcome of [refreshed, derived]) {
        expect(['ok', 'token_not_active', 'conflict']).toContain(outcome)
      }
      if (refreshed === 'ok') made++
      expect(await alive(family), `round ${round}`).toEqual([])
    }
    expect((await deadlocks()) - before).toBe(0)
    // The request was in time now and then, or there was no race.
    expect(made).toBeGreaterThan(0)
  })

  it(`the login that it hangs on, ${PAIRS} times`, async () => {
    const before = await deadlocks()
    for (let round = 0; round < PAIRS; round++) {
      const { secret } = await t.issue()
      const from = await one.callerOf(secret)
      const login = await one.core.openSessionFromToken({
        caller: from,
        via: 'oauth',
        format: 'mintmark',
      })
      const caller = await one.callerOf(login.secret)
      const family = await makeFamily({ parentId: login.token.id })
      const [ended, refreshed] = await race(round, [
        () => one.core.oauth.endLogin(caller),
        () => refreshOn(two, family),
      ])
      expect(ended).toBe('ok')
      expect(['ok', 'token_not_active', 'conflict']).toContain(refreshed)
      expect(await alive(family), `round ${round}`).toEqual([])
    }
    expect((await deadlocks()) - before).toBe(0)
  })
})

describe('what is used once', () => {
  it(`is spent by one of two nodes, ${PAIRS} times`, async () => {
    for (let round = 0; round < PAIRS; round++) {
      const family = await makeFamily()
      const results = await Promise.all([refreshOn(one, family), refreshOn(two, family)])
      expect(results.toSorted()).toEqual(['done', 'spent'])
      expect(await alive(family)).toHaveLength(3)
    }
  })

  it(`is recorded and consumed by one of two nodes, ${PAIRS} times`, async () => {
    for (let round = 0; round < PAIRS; round++) {
      const record = {
        model: 'DeviceCode',
        id: `device-${round}`,
        payload: {},
        expiresAtMs: Date.now() + HOUR_MS,
      }
      const nodes = [one, two, one, two]
      const added = await Promise.all(nodes.map(({ core }) => core.oauth.addRecord(record)))
      expect(added.filter(Boolean)).toHaveLength(1)
      const consumed = await Promise.all(nodes.map(({ core }) => core.oauth.consumeRecord(record)))
      expect(consumed.filter(Boolean)).toHaveLength(1)
    }
  })
})

describe('a key', () => {
  it('is rotated by one of two nodes, and the other follows', async () => {
    for (const purpose of ['pepper', 'oauth', 's7'] as const) {
      for (let round = 0; round < 3; round++) {
        const before = await retiredKeys()
        const ended = await outcomes(
          [one, two].map(({ core }) => core.rotateKeys({ caller: t.admin, purpose })),
        )
        const wins = ended.filter((outcome) => outcome === 'ok').length
        // Who begins when the other has ended makes a rotation of their own.
        expect(wins).toBeGreaterThan(0)
        expect(ended.filter((outcome) => outcome === 'conflict')).toHaveLength(2 - wins)
        expect((await retiredKeys()) - before).toBe(wins * (purpose === 'oauth' ? 2 : 1))
        await t.caughtUp()
        expect(await currentKeys()).toEqual([
          'jwt-es256',
          'oauth-es256',
          'oauth-rs256',
          'pepper',
          'root',
          's7-jwt',
        ])
        const ids = [one, two].map(({ core: { keyring } }) => [
          keyring.pepper().id,
          keyring.s7Keys().map(({ id }) => id),
          keyring.oauthKeys().map(({ id }) => id),
        ])
        expect(ids[0]).toEqual(ids[1])
      }
    }
    expect(await one.core.verifyAudit()).toMatchObject({ intact: true })
  })

  const retiredKeys = async () =>
    (await t.database.query('select id from key where retired_at_ms is not null')).length

  const currentKeys = async () => {
    const found = await t.database.query('select purpose from key where retired_at_ms is null')
    return found.map(({ purpose }) => String(purpose)).sort()
  }
})
