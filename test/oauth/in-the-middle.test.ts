import * as client from 'openid-client'
import { afterAll, beforeAll, expect, it } from 'vitest'
import {
  begin,
  goThrough,
  type OauthServer,
  post,
  REDIRECT_URI,
  type RegisteredClient,
  signIn,
  startOauth,
} from '../support/oauth.ts'
import { openLoggedIn } from '../support/oauth-steps.ts'

const RESOURCE = 'https://api.example.com'
const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'

let oauth: OauthServer

beforeAll(async () => {
  oauth = await startOauth()
  await oauth.makePerson('alice')
  await oauth.makePerson('bob')
})
afterAll(() => oauth.close())

const change = async ({ id }: RegisteredClient, edit: Record<string, unknown>) => {
  const { status } = await oauth.server.call('PATCH', `/api/v1/clients/${id}`, { body: edit })
  expect(status).toBe(200)
}
const elsewhere = { redirectUris: ['https://app.example.com/elsewhere'] }

it('a redirect URI that is taken out during the login gets no answer any more', async () => {
  const app = await oauth.register()
  const browser = oauth.browser()
  const request = await begin(app.config)
  const page = await browser.open(request.url)
  await change(app, elsewhere)
  const end = await goThrough(browser, page)
  expect(end).toMatchObject({ status: 400, url: { origin: oauth.issuer } })
  expect(end.text).toContain('invalid_redirect_uri')
})

it('nor is a code redeemed that went there before', async () => {
  const app = await oauth.register()
  const browser = await openLoggedIn(oauth)
  const request = await begin(app.config)
  const { url } = await goThrough(browser, await browser.open(request.url))
  await change(app, elsewhere)
  const fields = {
    grant_type: 'authorization_code',
    code: url.searchParams.get('code') ?? '',
    redirect_uri: REDIRECT_URI,
    code_verifier: request.verifier,
  }
  const { body } = await post(oauth, '/oauth2/token', fields, app)
  expect(body.error).toBe('invalid_grant')
})

it('a client that loses the grant during the login gets no code', async () => {
  const app = await oauth.register({ grants: ['authorization_code', 'client_credentials'] })
  const browser = oauth.browser()
  const page = await browser.open((await begin(app.config)).url)
  await change(app, { grants: ['client_credentials'] })
  const end = await goThrough(browser, page)
  expect(end.url.searchParams.get('code')).toBeNull()
})

it('a request without a scope is refused before anybody signs in, and says why', async () => {
  const app = await oauth.register()
  const request = await begin(app.config, { scope: undefined, nonce: undefined })
  const { url } = await oauth.browser().open(request.url)
  expect(url.searchParams.get('error')).toBe('invalid_scope')
  expect(url.searchParams.get('error_description')).toMatch(/scope/)
})

it('with id_token_hint nobody but that user gets an answer', async () => {
  const app = await oauth.register()
  const tokens = await signIn(oauth, app, { username: 'bob' })
  const hinted = { id_token_hint: tokens.id_token }
  const asAlice = oauth.browser()
  const first = await asAlice.open((await begin(app.config, hinted)).url)
  const refused = await goThrough(asAlice, first, { username: 'alice' })
  expect(refused.url.searchParams.get('error')).toBe('login_required')
  const asBob = oauth.browser()
  const second = await asBob.open((await begin(app.config, hinted)).url)
  const answered = await goThrough(asBob, second, { username: 'bob' })
  expect(answered.url.searchParams.get('code')).toMatch(/^mm_oauth_code_/)
})

it('prompt=select_account asks who it is, although somebody is logged in', async () => {
  const app = await oauth.register()
  const browser = await openLoggedIn(oauth)
  const request = await begin(app.config, { prompt: 'select_account' })
  const page = await browser.open(request.url)
  expect(page.text).toContain('name="password"')
  const end = await goThrough(browser, page)
  expect(end.url.searchParams.get('code')).toMatch(/^mm_oauth_code_/)
})

it('a token for one resource is never exchanged for one that opens our APIs, or for everything', async () => {
  const scopes = ['openid', 'mintmark', 'orders']
  await oauth.server.call('POST', '/api/v1/roles', { body: { name: 'clerk', scopes: ['orders'] } })
  const { body } = await oauth.server.call('GET', '/api/v1/users?text=alice')
  const id = body.items[0]?.id
  await oauth.server.call('PATCH', `/api/v1/users/${id}`, { body: { roles: ['clerk'] } })
  const app = await oauth.register({ scopes, resources: [RESOURCE] })
  const api = await oauth.register({
    scopes,
    serves: [RESOURCE],
    resources: [RESOURCE],
    grants: ['client_credentials', EXCHANGE],
  })
  const parameters = { scope: 'openid mintmark orders', resource: RESOURCE }
  const { access_token } = await signIn(oauth, app, { parameters })
  const exchange = (more: Record<string, string>) =>
    post(
      oauth,
      '/oauth2/token',
      {
        grant_type: EXCHANGE,
        subject_token: access_token,
        subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
        ...more,
      },
      api,
    )
  expect((await exchange({})).body.error).toBe('invalid_target')
  expect((await exchange({ scope: 'mintmark', resource: RESOURCE })).body.error).toBe(
    'invalid_scope',
  )
  const narrow = await exchange({ scope: 'orders', resource: RESOURCE })
  expect(narrow.status).toBe(200)
  oauth.server.remember(String(narrow.body.access_token))
  const token = String(narrow.body.access_token)
  expect((await oauth.server.call('GET', '/api/v1/tokens', { token })).status).toBe(401)
  expect((await client.tokenIntrospection(api.config, token)).aud).toBe(RESOURCE)
})

it('a browser application may give its tokens back', async () => {
  const app = await oauth.register({ name: 'Page', type: 'public' })
  const tokens = await signIn(oauth, app)
  const origin = new URL(REDIRECT_URI).origin
  const answer = await post(
    oauth,
    '/oauth2/revoke',
    { token: tokens.refresh_token ?? '' },
    { clientId: app.clientId },
    { origin },
  )
  expect(answer.status).toBe(200)
  expect(answer.headers.get('access-control-allow-origin')).toBe(origin)
  const foreign = await post(
    oauth,
    '/oauth2/revoke',
    { token: 'x' },
    { clientId: app.clientId },
    { origin: 'https://evil.example' },
  )
  expect(foreign.headers.get('access-control-allow-origin')).toBeNull()
})
