import * as client from 'openid-client'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Browser } from '../support/browser.ts'
import {
  type OauthServer,
  PASSWORD,
  post,
  REDIRECT_URI,
  type RegisteredClient,
  signIn,
  startOauth,
} from '../support/oauth.ts'
import {
  ask,
  asksForPassword,
  codeFor,
  DEVICE_CODE,
  expectErrorPage,
  expectRefused,
  TOKEN_EXCHANGE,
} from '../support/oauth-steps.ts'
import { isAlive } from '../support/people.ts'

const SCOPES = ['openid', 'offline_access', 'mintmark']
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'

let oauth: OauthServer
beforeAll(async () => {
  oauth = await startOauth()
})
afterAll(() => oauth.close())

interface Stage {
  userId: string
  username: string
  app: RegisteredClient
  browser: Browser
  access: string
  refresh: string
  exchanged: string
  code: Record<string, string>
  deviceCode: string
}

let made = 0

/** A user with everything that a client can hold for one: tokens, a code, a device waiting, a login. */
async function stage(): Promise<Stage> {
  const username = `user${++made}`
  const { id: userId } = await oauth.makePerson(username)
  const app = await oauth.register({
    grants: [
      'authorization_code',
      'refresh_token',
      'client_credentials',
      DEVICE_CODE,
      TOKEN_EXCHANGE,
    ],
    scopes: SCOPES,
  })
  const browser = oauth.browser()
  const parameters = { scope: SCOPES.join(' '), prompt: 'consent' }
  const tokens = await signIn(oauth, app, { browser, username, parameters })
  const exchanged = await post(
    oauth,
    '/oauth2/token',
    {
      grant_type: TOKEN_EXCHANGE,
      subject_token: tokens.access_token,
      subject_token_type: ACCESS_TOKEN,
      scope: 'mintmark',
    },
    app,
  )
  oauth.server.remember(String(exchanged.body.access_token))
  const { code, request } = await codeFor(oauth, app, { browser, parameters: { scope: 'openid' } })
  const device = await client.initiateDeviceAuthorization(app.config, { scope: 'openid' })
  const entered = await browser.submit(await browser.open('/device'), {
    user_code: device.user_code,
  })
  const consent = await browser.submit(entered, { confirm: 'yes' })
  if (consent.text.includes('name="decision"')) await browser.submit(consent, { decision: 'allow' })
  return {
    userId,
    username,
    app,
    browser,
    access: tokens.access_token,
    refresh: tokens.refresh_token ?? '',
    exchanged: String(exchanged.body.access_token),
    code: {
      grant_type: 'authorization_code',
      code,
      redirect_uri: REDIRECT_URI,
      code_verifier: request.verifier,
    },
    deviceCode: device.device_code,
  }
}

/** Introspection by somebody who is not affected. */
async function activeTokens({ access, refresh, exchanged }: Stage): Promise<string[]> {
  const active: string[] = []
  for (const [name, token] of Object.entries({ access, refresh, exchanged })) {
    const bearer = { authorization: `Bearer ${oauth.server.adminToken}` }
    const { body } = await post(oauth, '/oauth2/introspect', { token }, {}, bearer)
    if (body.active) active.push(name)
  }
  return active
}

async function expectNothingLeft(s: Stage, error: 'invalid_grant' | 'invalid_client') {
  const status = error === 'invalid_client' ? 401 : 400
  expect(await activeTokens(s)).toEqual([])
  for (const token of [s.access, s.exchanged]) {
    expect(await isAlive(oauth.server, token)).toBe(false)
    const bearer = { authorization: `Bearer ${token}` }
    expect((await fetch(`${oauth.issuer}/oauth2/userinfo`, { headers: bearer })).status).toBe(401)
  }
  const tries: Record<string, string>[] = [
    { grant_type: 'refresh_token', refresh_token: s.refresh },
    s.code,
    { grant_type: DEVICE_CODE, device_code: s.deviceCode },
    {
      grant_type: TOKEN_EXCHANGE,
      subject_token: s.access,
      subject_token_type: ACCESS_TOKEN,
    },
  ]
  for (const fields of tries) {
    const answer = await post(oauth, '/oauth2/token', fields, s.app)
    const said = { status: answer.status, error: answer.body.error }
    expect(said, fields.grant_type).toEqual({ status, error })
  }
}

const call = (method: string, path: string, body?: unknown) =>
  oauth.server.call(method, `/api/v1${path}`, body === undefined ? {} : { body })

describe('a user', () => {
  it('who is disabled: tokens are dead, logins useless, and none can be made', async () => {
    const s = await stage()
    expect((await activeTokens(s)).sort()).toEqual(['access', 'exchanged', 'refresh'])
    expect((await call('PATCH', `/users/${s.userId}`, { active: false })).status).toBe(200)
    await expectNothingLeft(s, 'invalid_grant')
    const silent = await ask(s.browser, s.app, { prompt: 'none', scope: 'openid' })
    expectRefused(silent.page, oauth, 'login_required')
    const { page } = await ask(s.browser, s.app, { scope: 'openid' })
    expect(asksForPassword(page)).toBe(true)
    const refused = await s.browser.submit(page, { username: s.username, password: PASSWORD })
    expect(refused.status).toBe(400)
    expect(asksForPassword(await s.browser.open('/account/grants'))).toBe(true)
  })

  it('who is enabled again must log in again', async () => {
    const s = await stage()
    await call('PATCH', `/users/${s.userId}`, { active: false })
    await call('PATCH', `/users/${s.userId}`, { active: true })
    const silent = await ask(s.browser, s.app, { prompt: 'none', scope: 'openid' })
    expectRefused(silent.page, oauth, 'login_required')
    expect(asksForPassword(await s.browser.open('/account/grants'))).toBe(true)
  })

  it('who is deleted: the same, and the name brings nothing back', async () => {
    const s = await stage()
    expect((await call('DELETE', `/users/${s.userId}`)).status).toBe(204)
    await expectNothingLeft(s, 'invalid_grant')
    await oauth.makePerson(s.username)
    await expectNothingLeft(s, 'invalid_grant')
    const silent = await ask(s.browser, s.app, { prompt: 'none', scope: 'openid' })
    expectRefused(silent.page, oauth, 'login_required')
    const again = await signIn(oauth, s.app, {
      browser: s.browser,
      username: s.username,
      parameters: { scope: 'openid' },
    })
    expect(again.claims()?.sub).toBeDefined()
    expect(again.refresh_token).not.toBe(s.refresh)
  })

  it('whose password is reset by an administrator is logged out', async () => {
    const s = await stage()
    const { body } = await call('POST', `/users/${s.userId}/one-time-password`)
    oauth.server.remember(body.oneTimePassword)
    const silent = await ask(s.browser, s.app, { prompt: 'none', scope: 'openid' })
    expectRefused(silent.page, oauth, 'login_required')
  })
})

describe('a client', () => {
  it('that is disabled: nothing of it works, and its users see an error page', async () => {
    const s = await stage()
    const own = await client.clientCredentialsGrant(s.app.config, { scope: 'mintmark' })
    oauth.server.remember(own.access_token)
    expect((await call('PATCH', `/clients/${s.app.id}`, { active: false })).status).toBe(200)
    await expectNothingLeft(s, 'invalid_client')
    expect(await isAlive(oauth.server, own.access_token)).toBe(false)
    expectErrorPage((await ask(s.browser, s.app, { scope: 'openid' })).page, 'invalid_client')
    // Enabled again it begins anew.
    await call('PATCH', `/clients/${s.app.id}`, { active: true })
    await expectNothingLeft(s, 'invalid_grant')
    expect(await isAlive(oauth.server, own.access_token)).toBe(false)
  })

  it('that is deleted: the same, and its id brings nothing back', async () => {
    const s = await stage()
    expect((await call('DELETE', `/clients/${s.app.id}`)).status).toBe(204)
    await expectNothingLeft(s, 'invalid_client')
    expectErrorPage((await ask(s.browser, s.app, { scope: 'openid' })).page, 'invalid_client')
    const page = await s.browser.open('/account/grants')
    expect(page.text).not.toContain(s.app.clientId)
    const twin = await call('POST', '/clients', {
      name: 'Twin',
      clientId: s.app.clientId,
      redirectUris: [REDIRECT_URI],
      scopes: SCOPES,
    })
    if (twin.status === 201) expect(await activeTokens(s)).toEqual([])
    else expect(twin.status).toBe(409)
  })

  it('that is disabled while its user is at the form gets nothing', async () => {
    const s = await stage()
    const { page } = await ask(oauth.browser(), s.app, { scope: 'openid' })
    const browser = oauth.browser()
    const begun = await ask(browser, s.app, { scope: 'openid' })
    expect(asksForPassword(page)).toBe(true)
    await call('PATCH', `/clients/${s.app.id}`, { active: false })
    const end = await browser.submit(begun.page, { username: s.username, password: PASSWORD })
    expectNoCode(end.url)
    expect(end.status).toBeGreaterThanOrEqual(400)
  })
})

describe('a login', () => {
  it('that stood idle for too long is over, and what hung on it, too', async () => {
    const { username, app } = await stage()
    const browser = oauth.browser()
    const tokens = await signIn(oauth, app, { browser, username, parameters: { scope: 'openid' } })
    oauth.advance(3_601_000)
    const { page } = await ask(browser, app, { prompt: 'none', scope: 'openid' })
    expectRefused(page, oauth, 'login_required')
    const seen = await client.tokenIntrospection(app.config, tokens.access_token)
    expect(seen.active).toBe(false)
  })

  it('that is in use is over after its time, however busy', async () => {
    const { username, app } = await stage()
    const browser = oauth.browser()
    await signIn(oauth, app, { browser, username, parameters: { scope: 'openid' } })
    const silently = async () => (await ask(browser, app, { prompt: 'none', scope: 'openid' })).page
    for (let hour = 0; hour < 23; hour++) {
      oauth.advance(1_800_000)
      expect((await silently()).url.searchParams.has('code'), `half hour ${hour}`).toBe(true)
    }
    oauth.advance(1_801_000)
    expectRefused(await silently(), oauth, 'login_required')
  })
})

function expectNoCode({ searchParams }: URL): void {
  expect(searchParams.has('code')).toBe(false)
}

it('a token that was quarantined alone is not released while the login it came from is', async () => {
  const { server } = oauth
  await oauth.makePerson('quinn')
  const app = await oauth.register()
  const { access_token: access } = await signIn(oauth, app, { username: 'quinn' })
  const isActive = async () => (await client.tokenIntrospection(app.config, access)).active
  expect(await isActive()).toBe(true)
  const listed = await server.call('GET', '/api/v1/tokens?q=owner:quinn')
  const { id: token } = listed.body.items.find(
    ({ kind }: { kind: string }) => kind === 'oauth_access',
  )
  const [row] = await server.database.query(`select parent_id from token where id = '${token}'`)
  const login = String(row?.parent_id)
  const act = (id: string, verb: string) =>
    server.call('POST', `/api/v1/tokens/${id}/${verb}`, { body: { reason: 'odd' } })
  expect((await act(token, 'quarantine')).body.tokens).toEqual([token])
  expect((await act(login, 'quarantine')).status).toBe(200)
  expect(await act(token, 'release')).toMatchObject({ status: 409, body: { code: 'conflict' } })
  expect(await isActive()).toBe(false)
  expect((await act(login, 'release')).body.tokens).not.toContain(token)
  expect(await isActive()).toBe(false)
  expect((await act(token, 'release')).body.tokens).toEqual([token])
  expect(await isActive()).toBe(true)
})
