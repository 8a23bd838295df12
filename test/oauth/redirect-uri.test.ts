import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Browser } from '../support/browser.ts'
import { begin, type OauthServer, type RegisteredClient, startOauth } from '../support/oauth.ts'
import { ask, expectErrorPage, openLoggedIn } from '../support/oauth-steps.ts'

const REGISTERED = 'https://app.example.com/callback'

let oauth: OauthServer
let app: RegisteredClient
let native: RegisteredClient
let browser: Browser

beforeAll(async () => {
  oauth = await startOauth()
  await oauth.makePerson('alice')
  app = await oauth.register({ redirectUris: [REGISTERED, 'https://app.example.com/other?a=b'] })
  native = await oauth.register({
    type: 'public',
    redirectUris: ['http://127.0.0.1/callback', 'http://[::1]/callback', 'com.example.app:/back'],
  })
  browser = await openLoggedIn(oauth)
})
afterAll(() => oauth.close())

describe('a redirect URI is compared as it is written (bar 75)', () => {
  it.each([
    'https://app.example.com/Callback',
    'https://APP.example.com/callback',
    'HTTPS://app.example.com/callback',
    'https://app.example.com/callback/',
    'https://app.example.com/callback?',
    'https://app.example.com/callback?next=1',
    'https://app.example.com/callback#',
    'https://app.example.com/callback#top',
    'https://app.example.com:443/callback',
    'https://app.example.com:8443/callback',
    'https://app%2eexample.com/callback',
    'https://app.example.com/%63allback',
    'https://app.example.com/callback%2e',
    'https://app.example.com/callback%00',
    'https://app.example.com@evil.example.com/callback',
    'https://app.example.com:x@evil.example.com/callback',
    'https://evil.app.example.com/callback',
    'https://example.com/callback',
    'https://appxexample.com/callback',
    'https://app.example.com.evil.example.com/callback',
    'http://app.example.com/callback',
    'https://app.example.cоm/callback',
    'https://app.example.com/x/../callback',
    'https://app.example.com/callback/../../evil',
    'https://app.example.com//callback',
    'https://app.example.com\\@evil.example.com/callback',
    'https://app.example.com/callback https://evil.example.com',
    ' https://app.example.com/callback',
    'https://app.example.com/callback\n',
    '//app.example.com/callback',
    '/callback',
    'javascript:alert(1)',
    'data:text/html,x',
    'https://app.example.com/*',
    'https://app.example.com/other',
    'https://app.example.com/other?a=b&c=d',
    'https://app.example.com/other?a=B',
    'null',
    '',
  ])('%j leads to an error page', async (redirect_uri) => {
    const { page } = await ask(browser, app, { redirect_uri })
    expectErrorPage(page)
    expect(page.text).not.toMatch(/ (?:href|action|src)="(?!data:image)/)
  })

  it('leads there when it is exact', async () => {
    for (const redirect_uri of [REGISTERED, 'https://app.example.com/other?a=b']) {
      const { page } = await ask(browser, app, { redirect_uri, prompt: 'none' })
      expect(page.url.href.startsWith(redirect_uri)).toBe(true)
      expect(page.url.searchParams.get('error')).toMatch(/_required$/)
    }
  })

  it('may not be left out, nor come twice', async () => {
    expectErrorPage((await ask(browser, app, { redirect_uri: undefined })).page)
    for (const second of [REGISTERED, 'https://evil.example.com/callback']) {
      for (const order of [
        [REGISTERED, second],
        [second, REGISTERED],
      ]) {
        const { url } = await begin(app.config, { redirect_uri: undefined })
        for (const uri of order) url.searchParams.append('redirect_uri', uri)
        expectErrorPage(await browser.open(url))
      }
    }
  })

  it('is not learnt from a client that registered none', async () => {
    const worker = await oauth.register({ redirectUris: [], grants: ['client_credentials'] })
    for (const redirect_uri of [REGISTERED, undefined]) {
      for (let time = 0; time < 2; time++) {
        expectErrorPage((await ask(browser, worker, { redirect_uri })).page)
      }
    }
  })

  it('of another client is a stranger, and so is an unknown client', async () => {
    const other = await oauth.register({ redirectUris: ['https://other.example.com/callback'] })
    const { page } = await ask(browser, other, { redirect_uri: REGISTERED })
    expectErrorPage(page)
    const { url } = await begin(app.config)
    url.searchParams.set('client_id', 'nobody')
    const unknown = await browser.open(url)
    expectErrorPage(unknown)
    url.searchParams.delete('client_id')
    expectErrorPage(await browser.open(url))
  })

  it('is dropped from a client: the next request with it is refused', async () => {
    const own = await oauth.register({
      redirectUris: [REGISTERED, 'https://old.example.com/callback'],
    })
    const old = { redirect_uri: 'https://old.example.com/callback', prompt: 'none' }
    expect((await ask(browser, own, old)).page.status).toBe(0)
    await oauth.server.call('PATCH', `/api/v1/clients/${own.id}`, {
      body: { redirectUris: [REGISTERED] },
    })
    expectErrorPage((await ask(browser, own, old)).page)
  })
})

describe('a native client', () => {
  it.each([
    'http://127.0.0.1:51234/callback',
    'http://127.0.0.1/callback',
    'http://[::1]:8000/callback',
  ])('may use any port of the loopback address: %s', async (redirect_uri) => {
    const { page } = await ask(browser, native, { redirect_uri })
    expect(page.status).toBe(200)
    expect(page.text).toContain('a program on this computer')
  })

  it.each([
    'http://127.0.0.1:51234/other',
    'http://127.0.0.1:51234/callback?x=1',
    'http://127.0.0.2:51234/callback',
    'http://localhost:51234/callback',
    'https://127.0.0.1:51234/callback',
    'http://127.0.0.1:51234@evil.example.com/callback',
    'http://127.0.0.1.evil.example.com:51234/callback',
    'http://0.0.0.0:51234/callback',
    'com.example.app:/back/x',
    'com.example.app2:/back',
    'com.example.app://back',
  ])('may vary nothing else: %s', async (redirect_uri) => {
    expectErrorPage((await ask(browser, native, { redirect_uri })).page)
  })

  it('gets no other port for a web client, even on loopback', async () => {
    const web = await oauth.register({ redirectUris: ['http://127.0.0.1:3000/callback'] })
    const other = { redirect_uri: 'http://127.0.0.1:3001/callback' }
    expectErrorPage((await ask(browser, web, other)).page)
  })
})

describe('nothing here sends a browser where a stranger wants it', () => {
  it.each([
    '/oauth2/session/end?post_logout_redirect_uri=https://evil.example.com/',
    '/oauth2/session/end/success?post_logout_redirect_uri=https://evil.example.com/',
    '/oauth2/session/end?client_id=nobody&post_logout_redirect_uri=https://evil.example.com/',
    '/account/grants?next=https://evil.example.com/&return_to=//evil.example.com',
    '/device?redirect_uri=https://evil.example.com/',
    '/oauth2/authorize?redirect_uri=https://evil.example.com/',
    '/oauth2/authorize?request_uri=https://evil.example.com/request.jwt&client_id=x',
    '/oauth2/authorize/anything?redirect_uri=https://evil.example.com/',
  ])('%s', async (path) => {
    for (const visitor of [oauth.browser(), await openLoggedIn(oauth)]) {
      const page = await visitor.open(path)
      expect(page.url.origin).toBe(oauth.issuer)
      expect(page.text).not.toMatch(/(?:href|action)="[^"]*evil/)
    }
  })

  it('a foreign Host header leads nowhere either', async () => {
    const answer = await oauth.server.call('GET', '/oauth2/session/end', {
      token: null,
      headers: { host: 'evil.example.com', 'x-forwarded-host': 'evil.example.com' },
    })
    expect(answer.text).not.toContain('evil.example.com')
    const { url } = await begin(app.config)
    const start = await oauth.server.call('GET', `${url.pathname}${url.search}`, {
      token: null,
      headers: { host: 'evil.example.com', 'x-forwarded-host': 'evil.example.com' },
    })
    expect(start.status).toBe(303)
    expect(String(start.headers.location)).not.toContain('evil')
  })
})
