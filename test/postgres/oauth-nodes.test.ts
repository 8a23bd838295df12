import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import type { RegisteredClient } from '../support/oauth.ts'
import { type OauthServer, signIn, startOauth } from '../support/oauth.ts'
import { startServer, type TestServer } from '../support/server.ts'

// What is changed on one node holds on the other within a poll, though nobody has told it.

const RESOURCE = 'https://api.example.com'
/** A few polls: the machine does other things as well. */
const SOON = { timeout: 2000, interval: 20 }

let oauth: OauthServer
let one: TestServer
let two: TestServer

beforeAll(async () => {
  oauth = await startOauth()
  one = oauth.server
  two = await startServer(
    { MINTMARK_PUBLIC_URL: oauth.issuer },
    { clock: { now: () => Date.now(), advance: oauth.advance }, beside: one },
  )
  await oauth.makePerson('alice')
})
afterAll(async () => {
  await two.close()
  await oauth.close()
})

const soon = (check: () => Promise<void>) => vi.waitFor(check, SOON)

function ask(
  node: TestServer,
  fields: Record<string, string>,
  {
    path = '/oauth2/token',
    by,
  }: { path?: string; by?: Pick<RegisteredClient, 'clientId' | 'secret'> } = {},
) {
  const credentials = Buffer.from(`${by?.clientId}:${by?.secret}`).toString('base64')
  return node.call('POST', path, {
    ...(by === undefined ? {} : { token: null }),
    headers: {
      'content-type': 'application/x-www-form-urlencoded',
      ...(by === undefined ? {} : { authorization: `Basic ${credentials}` }),
    },
    rawBody: new URLSearchParams(fields).toString(),
  })
}

const MACHINE = { grants: ['client_credentials'], redirectUris: [] }
const tokenFor = (node: TestServer, by: RegisteredClient, scope = '') =>
  ask(node, { grant_type: 'client_credentials', ...(scope === '' ? {} : { scope }) }, { by })
const edit = (id: string, body: unknown) => one.call('PATCH', `/api/v1/clients/${id}`, { body })
const isActive = async (node: TestServer, token: string, audience?: string) => {
  const body = { token, ...(audience === undefined ? {} : { audience }) }
  const verified = await node.call('POST', '/api/v1/tokens/verify', { body })
  const introspected = await ask(node, { token }, { path: '/oauth2/introspect' })
  expect(introspected.body.active).toBe(verified.body.active)
  return verified.body.active as boolean
}

describe('a client that is changed on one node', () => {
  it('is refused on the other once it is disabled, with all that it was given', async () => {
    const app = await oauth.register(MACHINE)
    const { status, body } = await tokenFor(two, app)
    expect(status).toBe(200)
    expect(await isActive(two, body.access_token)).toBe(true)
    expect((await edit(app.id, { active: false })).status).toBe(200)
    await soon(async () => expect((await tokenFor(two, app)).status).toBe(401))
    await soon(async () => expect(await isActive(two, body.access_token)).toBe(false))
  })

  it('is refused on the other once it is deleted', async () => {
    const app = await oauth.register(MACHINE)
    expect((await tokenFor(two, app)).status).toBe(200)
    expect((await one.call('DELETE', `/api/v1/clients/${app.id}`)).status).toBe(204)
    await soon(async () => expect((await tokenFor(two, app)).status).toBe(401))
  })

  it('is known on the other by its new secret alone', async () => {
    const app = await oauth.register(MACHINE)
    expect((await tokenFor(two, app)).status).toBe(200)
    const { body } = await one.call('POST', `/api/v1/clients/${app.id}/secret`)
    one.remember(body.secret)
    two.remember(body.secret)
    await soon(async () => expect((await tokenFor(two, app)).status).toBe(401))
    expect((await tokenFor(two, { ...app, secret: body.secret })).status).toBe(200)
  })

  it('may ask the other for a scope that no client had before', async () => {
    const app = await oauth.register(MACHINE)
    expect((await tokenFor(two, app, 'harbour:read')).status).toBe(400)
    expect((await edit(app.id, { scopes: ['harbour:read'] })).status).toBe(200)
    await soon(async () =>
      expect(await tokenFor(two, app, 'harbour:read')).toMatchObject({
        status: 200,
        body: { scope: 'harbour:read' },
      }),
    )
  })
})

describe('keys that are rotated on one node', () => {
  it('sign and verify on the other', async () => {
    const app = await oauth.register({ resources: [RESOURCE] })
    const parameters = { resource: RESOURCE }
    const before = await signIn(oauth, app, { parameters })
    expect(await isActive(two, before.access_token, RESOURCE)).toBe(true)
    for (const purpose of ['oauth', 'pepper', 's7']) {
      const rotated = await one.call('POST', '/api/v1/keys/rotate', { body: { purpose } })
      expect(rotated.status).toBe(200)
    }
    const after = await signIn(oauth, app, { parameters })
    const kid = (jwt: string) =>
      JSON.parse(Buffer.from(jwt.split('.')[0] ?? '', 'base64url').toString()).kid as string
    expect(kid(after.access_token)).not.toBe(kid(before.access_token))
    await soon(async () => expect(await isActive(two, after.access_token, RESOURCE)).toBe(true))
    expect(await isActive(two, before.access_token, RESOURCE)).toBe(true)
    const { keys } = (await two.call('GET', '/oauth2/jwks', { token: null })).body
    expect(keys).toEqual((await one.call('GET', '/oauth2/jwks', { token: null })).body.keys)
    expect(keys.map((key: { kid: string }) => key.kid)).toEqual(
      expect.arrayContaining([kid(before.access_token), kid(after.access_token)]),
    )
    // A refresh token digested under the new pepper, spent on the other node.
    const { status, body } = await ask(
      two,
      { grant_type: 'refresh_token', refresh_token: after.refresh_token ?? '' },
      { by: app },
    )
    expect(status).toBe(200)
    expect(kid(body.access_token)).toBe(kid(after.access_token))
    expect(await isActive(one, body.access_token, RESOURCE)).toBe(true)
  })
})

describe('a login and its grants', () => {
  it('made on one node pass on the other, and end there when they are withdrawn here', async () => {
    const app = await oauth.register()
    const tokens = await signIn(oauth, app)
    expect(await isActive(two, tokens.access_token)).toBe(true)
    const grants = await two.call('GET', '/api/v1/grants')
    const [grant] = grants.body.items
    expect((await one.call('DELETE', `/api/v1/grants/${grant.id}`)).status).toBeLessThan(300)
    await soon(async () => expect(await isActive(two, tokens.access_token)).toBe(false))
    const again = await ask(
      two,
      { grant_type: 'refresh_token', refresh_token: tokens.refresh_token ?? '' },
      { by: app },
    )
    expect(again).toMatchObject({ status: 400, body: { error: 'invalid_grant' } })
  })
})

describe('what is answered is known to a node that hears late', () => {
  let late: TestServer

  beforeAll(async () => {
    late = await startServer(
      {
        MINTMARK_PUBLIC_URL: oauth.issuer,
        MINTMARK_POLL_MS: '1000',
        MINTMARK_DATABASE_NOTICES: 'false',
      },
      { clock: { now: () => Date.now(), advance: oauth.advance }, beside: one },
    )
  })
  afterAll(() => late.close())

  /** Tokens that it remembers as good, though it was told all that was changed so far. */
  async function remembered(browser = oauth.browser()) {
    const app = await oauth.register({ postLogoutRedirectUris: ['https://app.example.com/bye'] })
    const tokens = await signIn(oauth, app, { browser })
    const access = tokens.access_token
    const refresh = tokens.refresh_token ?? ''
    await one.app.core.nodes.acknowledged('everything', 5000)
    expect(await isActive(late, access)).toBe(true)
    expect(await introspected(refresh)).toBe(true)
    return { app, access, refresh, idToken: tokens.id_token ?? '' }
  }
  const introspected = async (token: string) =>
    (await ask(late, { token }, { path: '/oauth2/introspect' })).body.active

  it('when a client revokes a token', async () => {
    const { app, access, refresh } = await remembered()
    const path = '/oauth2/revoke'
    expect((await ask(one, { token: refresh }, { path, by: app })).status).toBe(200)
    expect([await introspected(refresh), await introspected(access)]).toEqual([false, false])
  })

  it('when a refresh token is spent, and when it comes again', async () => {
    const { app, access, refresh } = await remembered()
    const spend = () =>
      ask(one, { grant_type: 'refresh_token', refresh_token: refresh }, { by: app })
    const spent = await spend()
    expect(spent.status, spent.text).toBe(200)
    expect(await introspected(refresh)).toBe(false)
    const next = spent.body.refresh_token
    one.remember(next)
    await one.app.core.nodes.acknowledged('everything', 5000)
    expect([await introspected(next), await introspected(access)]).toEqual([true, true])
    oauth.advance(60_000)
    expect((await spend()).status).toBe(400)
    expect([await introspected(next), await introspected(access)]).toEqual([false, false])
  })

  it('when somebody signs out', async () => {
    const browser = oauth.browser()
    const { app, access, idToken } = await remembered(browser)
    const page = await browser.open(
      `/oauth2/session/end?${new URLSearchParams({ id_token_hint: idToken, client_id: app.clientId })}`,
    )
    expect((await browser.submit(page, { logout: 'yes' })).trail[0]).toBe(303)
    expect(await introspected(access)).toBe(false)
  })

  it('when somebody withdraws what they allowed', async () => {
    const browser = oauth.browser()
    const { app, access, refresh } = await remembered(browser)
    const page = await browser.open('/account/grants')
    expect(page.text).toContain('<form')
    await browser.submit(page, { client: app.id })
    expect([await introspected(refresh), await introspected(access)]).toEqual([false, false])
  })
})
