import { decodeJwt, SignJWT } from 'jose'
import * as client from 'openid-client'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Browser, openBrowser, type Page } from '../support/browser.ts'
import { type OauthServer, type RegisteredClient, signIn, startOauth } from '../support/oauth.ts'
import {
  ask,
  asksForPassword,
  expectErrorPage,
  expectRefused,
  readable,
} from '../support/oauth-steps.ts'

const BACK = 'https://app.example.com/goodbye'
const END = '/oauth2/session/end'

let oauth: OauthServer
let app: RegisteredClient

beforeAll(async () => {
  oauth = await startOauth()
  await oauth.makePerson('alice')
  await oauth.makePerson('bob')
  app = await oauth.register({ postLogoutRedirectUris: [BACK] })
})
afterAll(() => oauth.close())

async function begun(username = 'alice') {
  const browser = oauth.browser()
  const tokens = await signIn(oauth, app, { browser, username })
  return { browser, tokens, idToken: tokens.id_token ?? '' }
}

const endUrl = (parameters: Record<string, string>) =>
  client.buildEndSessionUrl(app.config, parameters)

async function isLoggedIn(browser: Browser): Promise<boolean> {
  const { page } = await ask(browser, app, { prompt: 'none' })
  return page.url.searchParams.get('error') !== 'login_required'
}

const asksToSignOut = (page: Page) => readable(page).includes('Sign out?')

describe('signing out', () => {
  it('asks first when nobody says who wants it, and changes nothing until then', async () => {
    const { browser } = await begun()
    const page = await browser.open(END)
    expect(asksToSignOut(page)).toBe(true)
    expect(readable(page)).toContain('Signed in as alice')
    expect(await isLoggedIn(browser)).toBe(true)
    const stay = await browser.submit(await browser.open(END), {})
    expect(stay.trail[0]).toBe(303)
    expect(await isLoggedIn(browser)).toBe(true)
    const out = await browser.submit(await browser.open(END), { logout: 'yes' })
    expect(out.trail[0]).toBe(303)
    expect(readable(out)).toContain('You are signed out.')
    expect(await isLoggedIn(browser)).toBe(false)
    expect(asksForPassword(await browser.open('/account/grants'))).toBe(true)
  })

  it('leads back to the client that sent its ID token, with its state', async () => {
    const { browser, idToken, tokens } = await begun()
    const url = endUrl({ id_token_hint: idToken, post_logout_redirect_uri: BACK, state: 'a b&c' })
    const page = await browser.open(url)
    expect(asksToSignOut(page)).toBe(true)
    const end = await browser.submit(page, { logout: 'yes' })
    expect(end.url.href).toBe(`${BACK}?state=a+b%26c`)
    expect(await isLoggedIn(browser)).toBe(false)
    for (const token of [tokens.access_token, tokens.refresh_token ?? '']) {
      expect(await client.tokenIntrospection(app.config, token)).toEqual({ active: false })
    }
  })

  it('takes an ID token that has expired: it is a hint, and the user is asked', async () => {
    const { browser, idToken } = await begun()
    oauth.advance(2 * 3_600_000)
    const page = await browser.open(
      endUrl({ id_token_hint: idToken, post_logout_redirect_uri: BACK }),
    )
    // Idle for longer than a login may be, so there may be nothing left to ask about.
    expect(page.status === 0 || asksToSignOut(page)).toBe(true)
    if (page.status !== 0) await browser.submit(page, { logout: 'yes' })
    expect(await isLoggedIn(browser)).toBe(false)
  })

  it.each([
    ['forged by a key of its own', (token: string) => resigned(token)],
    ['with another signature', (token: string) => `${token.slice(0, -8)}AAAAAAAA`],
    ['without a signature', (token: string) => `${token.split('.').slice(0, 2).join('.')}.`],
    ['that is garbage', () => 'garbage'],
    ['of the algorithm none', (token: string) => unsigned(token)],
  ])('shows an error page for a hint %s', async (_, forge) => {
    const { browser, idToken } = await begun()
    const hint = await forge(idToken)
    const page = await browser.open(
      endUrl({ id_token_hint: hint, post_logout_redirect_uri: BACK, client_id: app.clientId }),
    )
    expectErrorPage(page)
    expect(await isLoggedIn(browser)).toBe(true)
  })

  it('shows an error page when hint and client do not go together', async () => {
    const other = await oauth.register({ name: 'Other', postLogoutRedirectUris: [BACK] })
    const { browser, idToken } = await begun()
    const query = new URLSearchParams({ id_token_hint: idToken, client_id: other.clientId })
    expectErrorPage(await browser.open(`${END}?${query}`))
    expectErrorPage(await browser.open(`${END}?client_id=nobody`))
    expect(await isLoggedIn(browser)).toBe(true)
  })

  it.each([
    `${BACK}/`,
    `${BACK}?x=1`,
    `${BACK}#x`,
    'https://APP.example.com/goodbye',
    'https://app.example.com:443/goodbye',
    'https://app.example.com@evil.example.com/goodbye',
    'https://app.example.com/callback',
    'http://app.example.com/goodbye',
    'https://evil.example.com/',
    '//evil.example.com/',
    'javascript:alert(1)',
  ])('leads nowhere but where the client registered: %s', async (uri) => {
    const { browser, idToken } = await begun()
    for (const wish of [{ id_token_hint: idToken }, { client_id: app.clientId }]) {
      const query = new URLSearchParams({ ...wish, post_logout_redirect_uri: uri } as Record<
        string,
        string
      >)
      expectErrorPage(await browser.open(`${END}?${query}`))
    }
    // Without a client there is nobody whose word counts.
    const page = await browser.open(
      `${END}?${new URLSearchParams({ post_logout_redirect_uri: uri })}`,
    )
    const end = await browser.submit(page, { logout: 'yes' })
    expect(end.url.origin).toBe(oauth.issuer)
  })

  it('is done by the form of this browser only', async () => {
    const { browser } = await begun()
    const page = await browser.open(END)
    const xsrf = /name="xsrf" value="([^"]*)"/.exec(page.text)?.[1] ?? ''
    expect(xsrf).not.toBe('')
    const cookie = [...browser.cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    const other = await begun('bob')
    const foreign = /name="xsrf" value="([^"]*)"/.exec((await other.browser.open(END)).text)?.[1]
    const send = (fields: Record<string, string>, headers: Record<string, string> = {}) =>
      fetch(`${oauth.issuer}${END}/confirm`, {
        method: 'POST',
        redirect: 'manual',
        headers: { cookie, ...headers },
        body: new URLSearchParams({ logout: 'yes', ...fields }),
      })
    const cross: Record<string, string>[] = [
      { origin: 'https://evil.example.com' },
      { 'sec-fetch-site': 'cross-site' },
      { 'sec-fetch-site': 'same-site' },
    ]
    for (const headers of cross) {
      expect((await send({ xsrf }, headers)).status, JSON.stringify(headers)).toBe(403)
    }
    for (const fields of [{}, { xsrf: 'wrong' }, { xsrf: foreign ?? '' }]) {
      expect((await send(fields as Record<string, string>)).status).toBe(400)
    }
    expect(await isLoggedIn(browser)).toBe(true)
  })

  it('cannot be done by a link', async () => {
    const { browser } = await begun()
    for (const path of [`${END}?logout=yes`, `${END}/confirm?logout=yes`, `${END}/success`]) {
      await browser.open(path)
    }
    expect(await isLoggedIn(browser)).toBe(true)
  })

  it('leaves nothing of use in a cookie that was copied before', async () => {
    const { browser } = await begun()
    const stolen = new Map(browser.cookies)
    const page = await browser.open(END)
    await browser.submit(page, { logout: 'yes' })
    const thief = openBrowser(oauth.issuer)
    thief.headers.cookie = [...stolen].map(([name, value]) => `${name}=${value}`).join('; ')
    const silent = await ask(thief, app, { prompt: 'none' })
    expectRefused(silent.page, oauth, 'login_required')
    const response = await fetch(`${oauth.issuer}/account/grants`, {
      headers: { cookie: thief.headers.cookie },
    })
    expect(await response.text()).toContain('name="password"')
  })

  it('of one browser leaves the other logins of the user alone', async () => {
    const [first, second] = [await begun(), await begun()]
    await first.browser.submit(await first.browser.open(END), { logout: 'yes' })
    expect(await isLoggedIn(first.browser)).toBe(false)
    expect(await isLoggedIn(second.browser)).toBe(true)
    const seen = await client.tokenIntrospection(app.config, second.tokens.access_token)
    expect(seen.active).toBe(true)
  })

  it('is over in both ways: an ended login ends the session of the engine', async () => {
    const { browser, tokens } = await begun()
    const { body } = await oauth.server.call('GET', '/api/v1/tokens?kind=session&limit=100')
    for (const { id } of body.items.filter((each: { via?: string }) => each.via === 'oauth')) {
      await oauth.server.call('POST', `/api/v1/tokens/${id}/revoke`)
    }
    expect(await isLoggedIn(browser)).toBe(false)
    const { page } = await ask(browser, app)
    expect(asksForPassword(page)).toBe(true)
    const seen = await client.tokenIntrospection(app.config, tokens.access_token)
    expect(seen).toEqual({ active: false })
  })
})

async function resigned(token: string): Promise<string> {
  const key = new TextEncoder().encode('x'.repeat(32))
  return new SignJWT(decodeJwt(token)).setProtectedHeader({ alg: 'HS256' }).sign(key)
}

function unsigned(token: string): string {
  const header = Buffer.from(JSON.stringify({ alg: 'none' })).toString('base64url')
  return `${header}.${token.split('.')[1]}.`
}
