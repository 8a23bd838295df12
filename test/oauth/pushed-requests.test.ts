import * as client from 'openid-client'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Browser } from '../support/browser.ts'
import { makeClient } from '../support/clients.ts'
import {
  goThrough,
  type OauthServer,
  post,
  REDIRECT_URI,
  type RegisteredClient,
  redeem,
  startOauth,
} from '../support/oauth.ts'
import { expectErrorPage, openLoggedIn } from '../support/oauth-steps.ts'
import { startServer } from '../support/server.ts'

let oauth: OauthServer
let app: RegisteredClient
let browser: Browser

beforeAll(async () => {
  oauth = await startOauth()
  await oauth.makePerson('alice')
  app = await oauth.register()
  browser = await openLoggedIn(oauth)
})
afterAll(() => oauth.close())

/** Pushes a request as openid-client does. */
async function push(by = app, extra: Record<string, string> = {}) {
  const verifier = client.randomPKCECodeVerifier()
  const [state, nonce] = [client.randomState(), client.randomNonce()]
  const url = await client.buildAuthorizationUrlWithPAR(by.config, {
    redirect_uri: REDIRECT_URI,
    scope: 'openid profile',
    code_challenge: await client.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    state,
    nonce,
    ...extra,
  })
  return { url, verifier, state, nonce }
}

describe('a pushed authorization request', () => {
  it('leads to tokens', async () => {
    const pushed = await push()
    expect([...pushed.url.searchParams.keys()].sort()).toEqual(['client_id', 'request_uri'])
    const { url } = await goThrough(browser, await browser.open(pushed.url))
    const request = { ...pushed, url: new URL(`${pushed.url}&scope=openid`) }
    const tokens = await redeem(oauth, app, { request, callback: url })
    expect(tokens.claims()?.nonce).toBe(pushed.nonce)
  })

  it('is used once', async () => {
    const { url } = await push()
    const end = await goThrough(browser, await browser.open(url))
    expect(end.url.searchParams.has('code')).toBe(true)
    for (const visitor of [browser, oauth.browser()]) {
      const again = await visitor.open(url)
      expect(again.url.searchParams.has('code')).toBe(false)
      if (again.status === 0) {
        expect(again.url.searchParams.get('error')).toBe('invalid_request_uri')
      } else expectErrorPage(again, 'invalid_request_uri')
    }
  })

  it('is used once by fifty at the same time', async () => {
    const { url } = await push()
    const cookie = [...browser.cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    const answers = await Promise.all(
      Array.from({ length: 50 }, () => fetch(url, { headers: { cookie }, redirect: 'manual' })),
    )
    const codes = answers
      .map(({ headers }) => headers.get('location') ?? '')
      .filter((location) => location.includes('code=') || location.includes('/interaction/'))
    expect(codes).toHaveLength(1)
  })

  it('is soon too old', async () => {
    const { url } = await push()
    oauth.advance(61_000)
    expectErrorPage(await browser.open(url))
  })

  it('is for the client that pushed it', async () => {
    const other = await oauth.register({ name: 'Other' })
    const { url } = await push()
    url.searchParams.set('client_id', other.clientId)
    expectErrorPage(await browser.open(url))
  })

  it('is not changed by what the browser adds', async () => {
    const { url } = await push(app, { scope: 'openid' })
    url.searchParams.set('scope', 'openid email')
    url.searchParams.set('redirect_uri', 'https://evil.example.com/')
    url.searchParams.set('state', 'mine')
    const page = await goThrough(browser, await browser.open(url))
    if (page.status !== 0) return expectErrorPage(page)
    expect(page.url.href.startsWith(REDIRECT_URI)).toBe(true)
    expect(page.url.searchParams.get('state')).not.toBe('mine')
  })

  it.each([
    ['an unknown one', 'urn:ietf:params:oauth:request_uri:unknown'],
    ['a URL', 'https://evil.example.com/request.jwt'],
    ['nothing', ''],
  ])('cannot be made up: %s', async (_, request_uri) => {
    const query = new URLSearchParams({ client_id: app.clientId, request_uri })
    expectErrorPage(await browser.open(`/oauth2/authorize?${query}`))
  })
})

describe('pushing', () => {
  const fields = {
    response_type: 'code',
    redirect_uri: REDIRECT_URI,
    scope: 'openid',
    code_challenge: 'x'.repeat(43),
    code_challenge_method: 'S256',
  }

  it('needs the client itself', async () => {
    const tries = [
      { clientId: app.clientId, secret: 'wrong' },
      { clientId: app.clientId },
      { clientId: 'nobody', secret: 'x' },
    ]
    for (const who of tries) {
      const { status, body } = await post(oauth, '/oauth2/par', fields, who)
      expect({ status, error: body.error }).toEqual({ status: 401, error: 'invalid_client' })
    }
  })

  it.each([
    ['a redirect URI that is not registered', { redirect_uri: 'https://evil.example.com/' }],
    ['no challenge', { code_challenge: '' }],
    ['a plain challenge', { code_challenge_method: 'plain' }],
    ['another response type', { response_type: 'token' }],
    ['a request_uri in itself', { request_uri: 'urn:ietf:params:oauth:request_uri:x' }],
    ['another client', { client_id: 'nobody' }],
  ])('%s is refused at once', async (_, wrong) => {
    const { status, body } = await post(oauth, '/oauth2/par', { ...fields, ...wrong }, app)
    expect(status).toBe(400)
    expect(body).not.toHaveProperty('request_uri')
    expect(body.error).toMatch(/^(invalid_|unsupported_|request_uri_not_supported)/)
  })

  it('with a scope of another client is refused', async () => {
    const { body } = await post(oauth, '/oauth2/par', { ...fields, scope: 'openid mintmark' }, app)
    expect(body.error).toMatch(/^invalid_(scope|request)$/)
  })
})

it('by nobody in particular are so many a minute and address', async () => {
  const server = await startServer({ MINTMARK_LOGIN_RATE_LIMIT: '3' })
  const redirectUris = [REDIRECT_URI]
  const common = { grants: ['authorization_code'], redirectUris }
  const app = await makeClient(server, { ...common, type: 'public' })
  const shop = await makeClient(server, common)
  server.remember(shop.secret ?? '')
  const pushed = async (clientId: string, headers: Record<string, string> = {}) => {
    const fields = {
      client_id: clientId,
      response_type: 'code',
      redirect_uri: REDIRECT_URI,
      scope: 'openid',
      code_challenge: 'a'.repeat(43),
      code_challenge_method: 'S256',
    }
    return server.call('POST', '/oauth2/par', {
      token: null,
      headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
      rawBody: new URLSearchParams(fields).toString(),
    })
  }
  const statuses: number[] = []
  for (let i = 0; i < 4; i++) statuses.push((await pushed(app.clientId)).status)
  expect(statuses).toEqual([201, 201, 201, 429])
  const refused = await pushed(app.clientId)
  expect(refused.body.error).toBe('temporarily_unavailable')
  expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0)
  const authorization = `Basic ${btoa(`${shop.clientId}:${shop.secret}`)}`
  for (let i = 0; i < 4; i++) {
    expect((await pushed(shop.clientId, { authorization })).status).toBe(201)
  }
  await server.close()
})
