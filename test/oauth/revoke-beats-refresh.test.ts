import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Dice, dice, seedOfRun } from '../support/dice.ts'
import { type OauthServer, post, type RegisteredClient, startOauth } from '../support/oauth.ts'
import {
  doorsOpenTo,
  type Family,
  type FamilyMaker,
  familyMaker,
  type Presented,
  refresh,
  rowsOf,
} from '../support/oauth-family.ts'

const ROUNDS = 100
const IN_FLIGHT = 5
/** The shortest that one side may wait for the other to be ahead. */
const HEAD_START_MS = 12
const TIMEOUT_MS = 180_000
const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
const RESOURCE = 'https://api.example.com'
const SETTINGS = {
  grants: ['authorization_code', 'refresh_token', TOKEN_EXCHANGE],
  resources: [RESOURCE],
}

let oauth: OauthServer
let app: RegisteredClient
let aliceId: string
let make: FamilyMaker
let made = 0

beforeAll(async () => {
  oauth = await startOauth()
  aliceId = (await oauth.makePerson('alice')).id
  app = await oauth.register(SETTINGS)
  make = await familyMaker(oauth, app)
})
afterAll(() => oauth.close())

/** A way to end a family; answers the status that says that it is done. */
interface Way {
  setUp(): Promise<Family>
  end(family: Family): Promise<{ status: number }>
}

const ofAlice = () => make({ userId: aliceId, client: app })

async function ofSomebody(): Promise<Family> {
  const username = `somebody-${++made}`
  const { body } = await oauth.server.call('POST', '/api/v1/users', { body: { username } })
  return make({ userId: body.id, client: app })
}

/** Made without discovery, which is the same for every client. */
async function ofAnotherClient(): Promise<Family> {
  const { body } = await oauth.server.call('POST', '/api/v1/clients', {
    body: { name: `App ${++made}`, redirectUris: ['https://app.example.com/'], ...SETTINGS },
  })
  oauth.server.remember(body.secret)
  return make({ userId: aliceId, client: { ...body, config: app.config } })
}

async function api(method: string, path: string, body?: unknown): Promise<{ status: number }> {
  const response = await fetch(`${oauth.issuer}/api/v1${path}`, {
    method,
    headers: {
      authorization: `Bearer ${oauth.server.adminToken}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  await response.arrayBuffer()
  return response
}

const WAYS: Record<string, Way> = {
  'its client revokes the refresh token': {
    setUp: ofAlice,
    end: ({ client, refresh }) => post(oauth, '/oauth2/revoke', { token: refresh }, client),
  },
  'an administrator revokes it by its id': {
    setUp: ofAlice,
    end: ({ refreshId }) => api('POST', `/tokens/${refreshId}/revoke`),
  },
  'the grant is withdrawn': {
    setUp: ofAlice,
    end: ({ grantId }) => api('DELETE', `/grants/${grantId}`),
  },
  'the client is disabled': {
    setUp: ofAnotherClient,
    end: ({ client }) => api('PATCH', `/clients/${client.id}`, { active: false }),
  },
  'the user is deleted': {
    setUp: ofSomebody,
    end: ({ userId }) => api('DELETE', `/users/${userId}`),
  },
}

/** What an answer of the token endpoint gave out. */
function givenOut(body: Record<string, unknown>, audience?: string): Presented[] {
  return [body.access_token, body.refresh_token].flatMap((secret) => {
    if (typeof secret !== 'string') return []
    oauth.server.remember(secret)
    return [{ secret, ...(audience === undefined ? {} : { audience }) }]
  })
}

const exchange = ({ client, access }: Family) =>
  post(
    oauth,
    '/oauth2/token',
    {
      grant_type: TOKEN_EXCHANGE,
      subject_token: access,
      subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      resource: RESOURCE,
    },
    client,
  )

/** What one side waits at most: about what a refresh takes, here and now. */
let headStartMs = HEAD_START_MS

async function timedRefresh(family: Family) {
  const startMs = performance.now()
  const answer = await refresh(family, oauth)
  headStartMs = Math.max(HEAD_START_MS, performance.now() - startMs, headStartMs * 0.9)
  return answer
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

/** One race; answers who won, and what is alive afterwards. */
async function race(way: Way, luck: Dice) {
  const family = await way.setUp()
  const most = Math.ceil(headStartMs)
  const [ahead, exchangeAhead] = [luck.number(2 * most), luck.number(most)]
  const [revoked, refreshed, exchanged] = await Promise.all([
    pause(Math.max(0, most - ahead)).then(() => way.end(family)),
    pause(Math.max(0, ahead - most)).then(() => timedRefresh(family)),
    pause(exchangeAhead).then(() => exchange(family)),
  ])
  expect([200, 204]).toContain(revoked.status)
  const members: Presented[] = [
    { secret: family.refresh },
    { secret: family.access },
    ...givenOut(refreshed.body),
    ...givenOut(exchanged.body, RESOURCE),
  ]
  const alive: string[] = []
  for (const member of members) alive.push(...(await doorsOpenTo(oauth, member)))
  const live = `select id from token where family_id = '${family.grantId}' and revoked_at_ms is null`
  alive.push(...(await oauth.server.database.query(live)).map(({ id }) => `row ${id}`))
  return { alive, refreshed: refreshed.status, exchanged: exchanged.status, family }
}

it('has something to end: every member of a family passes before', async () => {
  const family = await ofAlice()
  const exchanged = await exchange(family)
  const refreshed = await refresh(family, oauth)
  expect([exchanged.status, refreshed.status]).toEqual([200, 200])
  const [jwt, access, child] = [
    ...givenOut(exchanged.body, RESOURCE),
    ...givenOut(refreshed.body),
  ].map((member) => doorsOpenTo(oauth, member))
  expect(await jwt).toEqual(['introspect', 'verify'])
  expect(await access).toEqual(['introspect', 'verify', 'userinfo'])
  expect(await child).toEqual(['introspect'])
  expect(await oauth.server.database.query(rowsOf(family.grantId, 'oauth_refresh'))).toHaveLength(2)
})

it.each(Object.keys(WAYS))(
  `nothing is alive in ${ROUNDS} races once %s`,
  {
    timeout: TIMEOUT_MS,
  },
  async (name) => {
    const way = WAYS[name] as Way
    const seed = seedOfRun()
    const wins = { refresh: 0, revoke: 0 }
    async function runner(luck: Dice, rounds: number): Promise<void> {
      for (let round = 0; round < rounds; round++) {
        const { alive, refreshed, family } = await race(way, luck)
        expect(alive, `grant ${family.grantId}, MINTMARK_TEST_SEED=${seed}`).toEqual([])
        expect([200, 400, 401]).toContain(refreshed)
        wins[refreshed === 200 ? 'refresh' : 'revoke']++
      }
    }
    await Promise.all(
      Array.from({ length: IN_FLIGHT }, (_, i) => runner(dice(seed + i), ROUNDS / IN_FLIGHT)),
    )
    // Otherwise the trial would have shown one order only.
    expect(wins.refresh, JSON.stringify(wins)).toBeGreaterThan(0)
    expect(wins.revoke, JSON.stringify(wins)).toBeGreaterThan(0)
  },
)
