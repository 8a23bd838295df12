import { afterAll, beforeAll, expect, test } from 'vitest'
import { makeClient, seedFamily } from '../support/clients.ts'
import { type OauthSeed, seedServer } from '../support/oauth-seed.ts'
import { EVERYTHING, makeGroup, makeRole, makeToken } from '../support/people.ts'
import { TO_LOOPBACK } from '../support/receiver.ts'
import { isOauth, isWrite, pathOf, type Route, startWithRoutes } from '../support/routes.ts'
import type { TestServer } from '../support/server.ts'
import { snapshot } from '../support/tables.ts'

/** What a request can be about; made afresh for each, so that every one of them could succeed. */
interface Subject {
  user: { id: string; name: string }
  token: { id: string; serial: string }
  /** A token that is being rotated. */
  rotated: string
  secret: string
  group: { id: string; name: string }
  role: string
  refreshToken: string
  /** Serials of what a client was given, by authentik's name for it. */
  grants: Record<string, string>
  client: string
  grant: string
  webhook: string
  delivery: string
  newName: string
}

/** A request that succeeds for whoever may: its body by route. Routes that need none are left out. */
const BODIES: Record<string, (subject: Subject) => unknown> = {
  'POST /api/v1/me/password': () => ({ currentPassword: 'a', newPassword: 'b' }),
  'POST /api/v1/tokens': ({ newName }) => ({ name: newName }),
  'PATCH /api/v1/tokens/:id': ({ newName }) => ({ name: newName }),
  'POST /api/v1/tokens/verify': () => ({ token: 'x' }),
  'POST /api/v1/tokens/verify::batch': () => ({ questions: ['x'] }),
  'POST /api/v1/tokens::bulk': () => ({ action: 'revoke', q: 'name:nobody' }),
  'POST /api/v1/tokens/explain': ({ token }) => ({ tokenId: token.id }),
  'POST /api/v1/tokens/self/children': ({ newName }) => ({ name: newName }),
  'POST /api/v1/tokens/self/jwt': () => ({ audience: 'https://deploy.example.com' }),
  'POST /api/v1/users': ({ newName }) => ({ username: newName }),
  'PATCH /api/v1/users/:id': () => ({ globalRole: 'ADMIN' }),
  'POST /api/v1/groups': ({ newName }) => ({ name: newName }),
  'PATCH /api/v1/groups/:id': () => ({ description: 'changed' }),
  'PUT /api/v1/groups/:id/members/:userId': () => ({ mode: 'ADMIN' }),
  'POST /api/v1/imports': ({ newName }) => ({
    importId: 'all-routes',
    createOwners: 'service',
    rows: [{ row: 1, name: newName, owner: newName, secret: `foreign-${newName}-0123456789` }],
  }),
  'POST /api/v1/roles': ({ newName }) => ({ name: newName }),
  'PATCH /api/v1/roles/:name': () => ({ description: 'changed' }),
  'POST /api/v1/clients': ({ newName }) => ({ name: newName, grants: ['client_credentials'] }),
  'PATCH /api/v1/clients/:id': ({ newName }) => ({ name: newName }),
  'POST /api/v1/webhooks': () => ({ url: 'https://hooks.example.com/' }),
  'PATCH /api/v1/webhooks/:id': () => ({ description: 'changed' }),
  'POST /api/v1/leaks': ({ secret }) => ({ secrets: [secret] }),
  'PATCH /api/v1/policy': () => ({ lockoutAttempts: 7 }),
  'PUT /api/v1/policy/rules/:name': () => ({ description: 'changed' }),
  'POST /api/v1/policy::test': () => ({}),
  'POST /api/auth/v1/admin/users': ({ newName }) => ({ userId: newName }),
  'PUT /api/auth/v1/admin/users/:userId': ({ user }) => ({
    userId: user.name,
    globalRole: 'ADMIN',
  }),
  'POST /api/v1/tokens/:id/rotation::extend': () => ({ overlapSeconds: 172_800 }),
  'POST /api/v1/keys/rotate': () => ({ purpose: 's7' }),
  'POST /api/auth/v1/admin/groups': ({ newName }) => ({ groupId: newName }),
  'PUT /api/auth/v1/admin/groups/:groupId': ({ group }) => ({
    groupId: group.name,
    description: 'changed',
  }),
  'POST /api/auth/v1/admin/refreshTokens': ({ newName }) => ({ tokenName: newName }),
  'POST /v1/access-tokens': ({ newName }) => ({
    access_token: { name: newName, roles: ['admin'] },
  }),
  'POST /v1/access-tokens/': ({ newName }) => ({
    access_token: { name: newName, roles: ['admin'] },
  }),
  'PATCH /v1/access-tokens/:id(^\\d+)': ({ newName }) => ({ access_token: { name: newName } }),
  'PATCH /v1/auth/security-policy': () => ({ auth_security_policy: { max_attempts: 9 } }),
}

/** Writing methods that change nothing for anybody who calls them with an API token. */
const CHANGES_NOTHING = [
  'POST /api/v1/logout',
  'POST /api/v1/me/password',
  'POST /api/v1/tokens/verify',
  'POST /api/v1/tokens/verify::batch',
  'POST /api/v1/tokens/explain',
  // Of a job that there is, in integration/api-jobs: a worker would change rows beside us.
  'POST /api/v1/jobs/:id/cancel',
  'POST /api/v1/tokens/self/jwt',
  'POST /api/v1/policy::test',
  'POST /v1/access-tokens::validate',
  'POST /v1/auth/tokens::logout',
]
/** A read of everything: that it was done is all that changes. */
const LEAVES_A_RECORD = 'GET /api/v1/tokens/export'
/** A holder may always throw the own credential away. */
const THROWS_AWAY = 'POST /api/v1/tokens/self/revoke'
/** These answer without a credential: a token in a header is nothing to them. */
const OPEN =
  /^POST (\/api\/v1\/(login|leaks\/github)|\/api\/auth\/v\d\/(login|refresh)|\/v1\/auth\/(tokens(::login)?|rsa-keys))$/
/** What these act on is not there afterwards, or not as it was. */
const ENDS_IT = /^DELETE |leaks|revoke|rotate|regenerate|finish/

let server: TestServer
let routes: Route[]
let seed: OauthSeed
let count = 0

beforeAll(async () => {
  const started = await startWithRoutes(TO_LOOPBACK)
  server = started.server
  routes = started.routes.filter((route) => !isOauth(route))
  seed = await seedServer(server)
})
afterAll(() => server.close())

const nameOf = ({ method, url }: Route) => `${method} ${url}`
const bodyOf = (route: Route, subject: Subject) =>
  BODIES[nameOf(route).replace('/v2/', '/v1/')]?.(subject)

async function newGrants(ownerId: string): Promise<Record<string, string>> {
  const client = await seed.client()
  const serialOf = async (kind: 'oauth_refresh' | 'oauth_access' | 'oauth_code') => {
    const { token, secret } = await seed.token({ kind, ownerId, client })
    server.remember(secret)
    return String(token.serial)
  }
  return {
    refresh_tokens: await serialOf('oauth_refresh'),
    access_tokens: await serialOf('oauth_access'),
    authorization_codes: await serialOf('oauth_code'),
  }
}

/** Of all subjects, until somebody deletes it. */
let told: { webhook: string; delivery: string } | undefined

const isThere = async (webhook: string) =>
  (await server.call('GET', `/api/v1/webhooks/${webhook}`)).status === 200

/** A webhook that leads nowhere, with a delivery that was given up. */
async function newDelivery(name: string): Promise<{ webhook: string; delivery: string }> {
  const made = await server.call('POST', '/api/v1/webhooks', {
    body: { url: 'http://127.0.0.1:1234/' },
  })
  server.remember(made.body.secret)
  const webhook = made.body.id as string
  await makeToken(server, { name: `${name}-told` })
  await server.app.core.deliverer.run()
  const { items } = (await server.call('GET', `/api/v1/deliveries?webhookId=${webhook}`)).body
  const delivery = items[0].id as string
  await server.database.tamper(
    `update delivery set state = 'dead' where webhook_id = '${webhook}';
    update webhook set state = 'disabled' where id = '${webhook}'`,
  )
  return { webhook, delivery }
}

async function newSubject(): Promise<Subject> {
  const name = `subject-${count++}`
  const { id: userId } = await server.makeUser({ username: `${name}-user` })
  const token = await makeToken(server, { name: `${name}-token` })
  const rotated = await makeToken(server, { name: `${name}-rotated` })
  await server.call('POST', `/api/v1/tokens/${rotated.id}/rotate`)
  await makeRole(server, `${name}-role`)
  const groupId = await makeGroup(server, `${name}-group`, { [userId]: 'READ' })
  const client = (await makeClient(server)).id
  const grant = (await seedFamily(server, { userId, clientId: client })).id
  if (told === undefined || !(await isThere(told.webhook))) told = await newDelivery(name)
  const { webhook, delivery } = told
  const service = await server.call('POST', '/api/auth/v1/admin/refreshTokens', {
    body: { tokenName: `${name}-service` },
  })
  const rows = ((await snapshot(server)).token ?? [])
    .map((row) => JSON.parse(row))
    .sort((a, b) => a.serial - b.serial)
  const row = rows.find(({ id }: { id: string }) => id === token.id)
  const refresh = rows.findLast(({ kind }: { kind: string }) => kind === 'service')
  if (service.status !== 200) throw new Error(`No service token: ${service.text}`)
  return {
    user: { id: userId, name: `${name}-user` },
    token: { id: token.id, serial: String(row.serial) },
    rotated: rotated.id,
    secret: token.secret,
    group: { id: groupId, name: `${name}-group` },
    role: `${name}-role`,
    refreshToken: refresh.id,
    client,
    grant,
    webhook,
    delivery,
    newName: `new-${name}`,
    grants: await newGrants(userId),
  }
}

function fill({ url }: Route, subject: Subject): (name: string) => string {
  const isOurs = url.startsWith('/api/v1/')
  return (name) => {
    if (name === 'name') return subject.role
    if (name === 'userId') return isOurs ? subject.user.id : subject.user.name
    if (name === 'groupId') return subject.group.name
    if (name === 'tokenId') return subject.refreshToken
    if (name === 'token_id') return subject.token.id
    const [, grant] = /^\/api\/v3\/oauth2\/(\w+)/.exec(url) ?? []
    if (grant !== undefined) return subject.grants[grant] ?? ''
    if (!isOurs) return subject.token.serial
    if (url.includes('/users/')) return subject.user.id
    if (url.includes('/clients/')) return subject.client
    if (url.includes('/grants/')) return subject.grant
    if (url.includes('/rotation')) return subject.rotated
    if (url.includes('/webhooks/')) return subject.webhook
    if (url.includes('/deliveries/')) return subject.delivery
    return url.includes('/groups/') ? subject.group.id : subject.token.id
  }
}

function send(route: Route, subject: Subject, token: string) {
  const body = bodyOf(route, subject)
  const options = { token, ...(body === undefined ? {} : { body }) }
  return server.call(route.method, pathOf(route.url, fill(route, subject)), options)
}

// Every row is looked at after every request, and there are ever more of both.
const PATIENCE_MS = 60_000

test(
  'a READ_ONLY token of an administrator changes no row through any route',
  async () => {
    const readOnly = await makeToken(server, { ...EVERYTHING, accessLevel: 'READ_ONLY' })
    const subject = await newSubject()
    let before = await snapshot(server)
    for (const route of routes) {
      if (nameOf(route) === LEAVES_A_RECORD) {
        expect((await send(route, subject, readOnly.secret)).status).toBe(200)
        const after = await snapshot(server)
        const isNew = (row: string) => !before.audit?.includes(row)
        expect(after.audit?.filter(isNew)).toEqual([expect.stringContaining('"token.exported"')])
        expect({ ...after, audit: after.audit?.filter((row) => !isNew(row)) }).toEqual(before)
        before = after
        continue
      }
      if (nameOf(route) === THROWS_AWAY || OPEN.test(nameOf(route))) continue
      const { status, text } = await send(route, subject, readOnly.secret)
      // 501: a sign-in that this server is not set up for.
      if (status !== 501) expect(status, `${nameOf(route)}: ${text}`).toBeLessThan(500)
      if (isWrite(route) && !CHANGES_NOTHING.includes(nameOf(route))) {
        expect(status, `${nameOf(route)}: ${text}`).toBe(403)
      }
      expect(await snapshot(server), nameOf(route)).toEqual(before)
    }
  },
  PATIENCE_MS,
)

test('it cannot be exchanged for anything that writes', async () => {
  const readOnly = await makeToken(server, { ...EVERYTHING, accessLevel: 'READ_ONLY' })
  const before = await snapshot(server)
  const bodies = [{ auth: { identity: { token: { uuid: readOnly.secret } } } }]
  for (const body of bodies) {
    const { status } = await server.call('POST', '/v1/auth/tokens', { token: null, body })
    expect(status).toBe(403)
  }
  expect(await snapshot(server)).toEqual(before)
})

test(
  'the same requests succeed, and change something, with FULL_ACCESS',
  async () => {
    let subject = await newSubject()
    for (const route of routes.filter(isWrite)) {
      const name = nameOf(route)
      if (CHANGES_NOTHING.includes(name) || name === THROWS_AWAY || OPEN.test(name)) continue
      subject.newName = `another-${count++}`
      if (name.endsWith('/policy') || name.endsWith('/security-policy')) {
        await server.database.tamper("delete from policy where name = 'lockoutAttempts'")
      }
      const before = await snapshot(server)
      const { status, text } = await send(route, subject, server.adminToken)
      expect(status, `${name}: ${text}`).toBeLessThan(300)
      expect(await snapshot(server), name).not.toEqual(before)
      if (ENDS_IT.test(name)) subject = await newSubject()
    }
  },
  PATIENCE_MS,
)
