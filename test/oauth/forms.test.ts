import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { Browser, Page } from '../support/browser.ts'
import {
  begin,
  type OauthServer,
  PASSWORD,
  type RegisteredClient,
  signIn,
  startOauth,
} from '../support/oauth.ts'
import {
  ask,
  asksForConsent,
  asksForPassword,
  DEVICE_CODE,
  expectErrorPage,
  openLoggedIn,
  readable,
} from '../support/oauth-steps.ts'
import { setPolicy } from '../support/people.ts'
import { startServer } from '../support/server.ts'

let oauth: OauthServer
let app: RegisteredClient

beforeAll(async () => {
  oauth = await startOauth()
  await oauth.makePerson('alice')
  app = await oauth.register()
})
afterAll(() => oauth.close())

const cookieOf = ({ cookies }: Browser) =>
  [...cookies].map(([name, value]) => `${name}=${value}`).join('; ')

const field = ({ text }: Page, name: string) =>
  new RegExp(`name="${name}" value="([^"]*)"`).exec(text)?.[1] ?? ''

/** Posts what a form holds, with headers of the test's choosing. */
async function post(
  browser: Browser,
  page: Page,
  fields: Record<string, string>,
  headers: Record<string, string> = {},
): Promise<Response> {
  return fetch(new URL(/<form[^>]*action="([^"]*)"/.exec(page.text)?.[1] ?? '', page.url), {
    method: 'POST',
    redirect: 'manual',
    headers: { cookie: cookieOf(browser), ...headers },
    body: new URLSearchParams(fields),
  })
}

const CREDENTIALS = { username: 'alice', password: PASSWORD }

describe('posting a form', () => {
  it('is answered with 303, so that no browser posts the password on (bar 87)', async () => {
    const browser = oauth.browser()
    const { page } = await ask(browser, app)
    const login = await browser.submit(page, CREDENTIALS)
    expect(login.trail[0]).toBe(303)
    expect(login.trail.slice(0, -1).every((status) => status === 303)).toBe(true)
    const allowed = await browser.submit(login, { decision: 'allow' })
    expect(allowed.trail.every((status) => status === 303)).toBe(true)
    const account = await oauth.browser().open('/account/grants')
    const visitor = oauth.browser()
    const again = await visitor.submit({ ...account, headers: account.headers }, CREDENTIALS)
    expect(again.trail[0]).toBe(303)
  })

  it('takes each field once, and forms only', async () => {
    const browser = oauth.browser()
    const { page } = await ask(browser, app)
    const twice = new URLSearchParams({ csrf: field(page, 'csrf'), ...CREDENTIALS })
    twice.append('username', 'bob')
    const url = page.url
    const headers = { cookie: cookieOf(browser) }
    const send = (body: string | URLSearchParams, type?: string) =>
      fetch(url, {
        method: 'POST',
        redirect: 'manual',
        headers: { ...headers, ...(type === undefined ? {} : { 'content-type': type }) },
        body,
      }).then(({ status }) => status)
    expect(await send(twice)).toBe(400)
    expect(await send(JSON.stringify(CREDENTIALS), 'application/json')).toBe(415)
    expect(await send('csrf=x', 'text/plain')).toBe(415)
    expect(await send(new URLSearchParams({ csrf: 'x'.repeat(100_000) }))).toBe(413)
  })

  it('shows what was typed as text, and never the password', async () => {
    const browser = oauth.browser()
    const { page } = await ask(browser, app)
    const typed = { username: '"><script>alert(1)</script>', password: 'sesame-open-sesame' }
    const again = await browser.submit(page, typed)
    expect(again.status).toBe(400)
    expect(again.text).not.toContain('<script>alert')
    expect(again.text).not.toContain(typed.password)
    const evil = await oauth.register({ name: '<img src=x onerror=alert(1)>' })
    const shown = await ask(await openLoggedIn(oauth), evil)
    expect(asksForConsent(shown.page)).toBe(true)
    expect(shown.page.text).not.toContain('<img')
  })
})

describe('a form from elsewhere changes nothing', () => {
  const elsewhere: [string, Record<string, string>][] = [
    ['another origin', { origin: 'https://evil.example.com' }],
    ['the origin null', { origin: 'null' }],
    ['another site', { 'sec-fetch-site': 'cross-site' }],
    ['a sibling site', { 'sec-fetch-site': 'same-site' }],
  ]

  it.each(['login', 'consent'])('the %s form', async (which) => {
    const browser = which === 'login' ? oauth.browser() : await openLoggedIn(oauth)
    const own = await oauth.register({ name: 'Own' })
    const { page } = await ask(browser, own)
    const fields: Record<string, string> = which === 'login' ? CREDENTIALS : { decision: 'allow' }
    const stranger = await ask(oauth.browser(), own)
    const csrf = field(page, 'csrf')
    for (const wrong of [
      undefined,
      '',
      'x',
      `${csrf}x`,
      csrf.slice(1),
      field(stranger.page, 'csrf'),
    ]) {
      const sent = { ...fields, ...(wrong === undefined ? {} : { csrf: wrong }) }
      const response = await post(browser, page, sent)
      expect(response.status, wrong).toBe(403)
      expect(response.headers.getSetCookie().join()).not.toContain('mintmark_login')
    }
    for (const [name, headers] of elsewhere) {
      expect((await post(browser, page, { ...fields, csrf }, headers)).status, name).toBe(403)
    }
    const right = { origin: oauth.issuer, 'sec-fetch-site': 'same-origin' }
    expect((await post(browser, page, { ...fields, csrf }, right)).status).toBe(303)
  })

  it('the forms of the account page', async () => {
    const fresh = oauth.browser()
    const login = await fresh.open('/account/grants')
    const csrf = field(login, 'csrf')
    for (const [name, headers] of elsewhere) {
      const sent = await post(fresh, login, { ...CREDENTIALS, csrf }, headers)
      expect(sent.status, name).toBe(403)
    }
    expect((await post(fresh, login, CREDENTIALS)).status).toBe(403)

    const [mine, other] = [await openLoggedIn(oauth), await openLoggedIn(oauth)]
    await signIn(oauth, app, { browser: mine })
    const page = await mine.open('/account/grants')
    const grant = field(page, 'grant')
    const foreign = field(await other.open('/account/grants'), 'csrf')
    for (const wrong of ['', 'x', foreign]) {
      expect((await post(mine, page, { grant, csrf: wrong })).status).toBe(403)
    }
    for (const [name, headers] of elsewhere) {
      const sent = await post(mine, page, { grant, csrf: field(page, 'csrf') }, headers)
      expect(sent.status, name).toBe(403)
    }
    expect((await mine.open('/account/grants')).text).toContain(grant)
  })

  it('the device form', async () => {
    const tv = await oauth.register({ type: 'public', redirectUris: [], grants: [DEVICE_CODE] })
    const device = await fetch(`${oauth.issuer}/oauth2/device`, {
      method: 'POST',
      body: new URLSearchParams({ client_id: tv.clientId, scope: 'openid' }),
    })
    const { user_code } = (await device.json()) as { user_code: string }
    const browser = oauth.browser()
    const page = await browser.open('/device')
    const xsrf = field(page, 'xsrf')
    for (const [name, headers] of elsewhere) {
      const sent = await post(browser, page, { user_code, xsrf, confirm: 'yes' }, headers)
      expect(sent.status, name).toBe(403)
      expect(sent.headers.get('content-type')).toContain('text/html')
    }
    const right = { origin: oauth.issuer, 'sec-fetch-site': 'same-origin' }
    expect((await post(browser, page, { user_code, xsrf }, right)).status).toBe(200)
  })
})

describe('a page', () => {
  it('is in no frame, no cache, and names its own policy', async () => {
    const nobody = oauth.browser()
    const alice = await openLoggedIn(oauth)
    const fresh = await oauth.register({ name: 'Fresh' })
    const pages: Record<string, Page> = {
      login: (await ask(nobody, app)).page,
      consent: (await ask(alice, fresh)).page,
      account: await alice.open('/account/grants'),
      'account login': await nobody.open('/account/grants'),
      device: await nobody.open('/device'),
      logout: await alice.open('/oauth2/session/end'),
      'logged out': await nobody.open('/oauth2/session/end/success'),
      error: await nobody.open('/oauth2/authorize?client_id=nobody'),
      over: await nobody.open('/oauth2/interaction/none'),
    }
    for (const [name, page] of Object.entries(pages)) {
      const policy = page.headers.get('content-security-policy') ?? ''
      expect(policy, name).toContain("frame-ancestors 'none'")
      expect(policy, name).toContain("default-src 'none'")
      expect(policy, name).toContain("base-uri 'none'")
      expect(policy, name).not.toMatch(/unsafe|\*|http:(?!\/\/127)/)
      expect(page.headers.get('x-frame-options'), name).toMatch(/^(DENY|SAMEORIGIN)$/)
      expect(page.headers.get('x-content-type-options'), name).toBe('nosniff')
      expect(page.headers.get('cache-control'), name).toContain('no-store')
      expect(page.text, name).not.toMatch(/<script|onclick|javascript:/i)
      expect(page.text, name).toMatch(/<html lang="en"/)
    }
    expect(pages.login && asksForPassword(pages.login)).toBe(true)
  })

  it('keeps its cookies to itself: for HTTP, for this site, over https only there', async () => {
    const { url } = await begin(app.config)
    const plain = await fetch(url, { redirect: 'manual' })
    expect(plain.headers.getSetCookie().length).toBeGreaterThan(0)
    for (const cookie of plain.headers.getSetCookie()) {
      expect(cookie).toMatch(/; httponly/i)
      expect(cookie).toMatch(/; samesite=lax/i)
      expect(cookie).not.toMatch(/domain=/i)
    }
    const server = await startServer({ MINTMARK_PUBLIC_URL: 'https://auth.example.com' })
    try {
      const answer = await server.call('GET', '/device', { token: null })
      const cookies = [answer.headers['set-cookie'] ?? []].flat().map(String)
      expect(cookies.length).toBeGreaterThan(0)
      for (const cookie of cookies) expect(cookie).toMatch(/; secure/i)
      const page = await server.call('GET', '/account/grants', { token: null })
      const login = await server.call('POST', '/account/login', {
        token: null,
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
        rawBody: new URLSearchParams({
          csrf: /name="csrf" value="([^"]*)"/.exec(page.text)?.[1] ?? '',
          username: 'admin',
          password: server.adminPassword,
        }).toString(),
      })
      const own = [login.headers['set-cookie'] ?? []].flat().map(String)
      expect(own.join()).toMatch(/^__Host-mintmark_login=[^;]+; .*Path=\/.*HttpOnly.*Secure/i)
      server.remember(/login=([^;]+)/.exec(own.join())?.[1] ?? '-')
    } finally {
      await server.close()
    }
  })
})

describe('a password that was made for one use', () => {
  async function withOneTimePassword(username: string): Promise<string> {
    const { body: user } = await oauth.server.call('POST', '/api/v1/users', { body: { username } })
    const { body } = await oauth.server.call('POST', `/api/v1/users/${user.id}/one-time-password`)
    oauth.server.remember(body.oneTimePassword)
    return body.oneTimePassword
  }

  it('is replaced in the form, on the way to the client', async () => {
    const password = await withOneTimePassword('newcomer')
    const browser = oauth.browser()
    const { page } = await ask(browser, app)
    const choose = await browser.submit(page, { username: 'newcomer', password })
    expect(choose.status).toBe(200)
    expect(readable(choose)).toContain('Choose a new password')
    expect(choose.text).not.toContain(password)
    const step = { username: 'newcomer', password }
    const pair = (first: string, second = first) => ({
      ...step,
      new_password: first,
      new_password_again: second,
    })
    const differs = await browser.submit(choose, pair('a quiet harbour at dusk', 'another one'))
    expect(readable(differs)).toContain('The two new passwords differ.')
    for (const weak of ['short', password, 'newcomer newcomer', 'passwordpassword']) {
      const refused = await browser.submit(differs, pair(weak))
      expect(refused.status, weak).toBe(400)
      expect(readable(refused)).toContain('Choose a new password')
    }
    const wrong = await browser.submit(differs, {
      ...pair('a quiet harbour at dusk'),
      password: 'x',
    })
    expect(wrong.status).toBe(400)
    const consent = await browser.submit(differs, pair('a quiet harbour at dusk'))
    expect(asksForConsent(consent)).toBe(true)
    const end = await browser.submit(consent, { decision: 'allow' })
    expect(end.url.searchParams.has('code')).toBe(true)

    const late = oauth.browser()
    const again = await late.submit((await ask(late, app)).page, { username: 'newcomer', password })
    expect(again.status).toBe(400)
    oauth.server.remember('a quiet harbour at dusk')
  })

  it('opens nothing by itself: the step cannot be left out', async () => {
    const password = await withOneTimePassword('skipper')
    const browser = oauth.browser()
    const { page, request } = await ask(browser, app)
    await browser.submit(page, { username: 'skipper', password })
    expect(asksForPassword(await browser.open(request.url))).toBe(true)
    expect(asksForPassword(await browser.open('/account/grants'))).toBe(true)
    const resume = page.url.href.replace('interaction', 'authorize')
    expect((await browser.open(resume)).url.searchParams.has('code')).toBe(false)
  })
})

describe('wrong passwords', () => {
  afterEach(() => setPolicy(oauth.server, { lockoutAttempts: 10 }))

  it('lock the account in the form, the right one included, and time opens it', async () => {
    await oauth.makePerson('locked')
    await setPolicy(oauth.server, { lockoutAttempts: 3 })
    const browser = oauth.browser()
    let { page } = await ask(browser, app)
    for (let i = 0; i < 3; i++) {
      page = await browser.submit(page, { username: 'locked', password: `wrong ${i}` })
      expect(page.status).toBe(400)
    }
    const shut = await browser.submit(page, { username: 'locked', password: PASSWORD })
    expect(shut.status).toBe(429)
    expect(Number(shut.headers.get('retry-after'))).toBeGreaterThan(0)
    expect(readable(shut)).toContain('Too many wrong passwords')
    oauth.advance(901_000)
    const open = await browser.submit((await ask(browser, app)).page, {
      username: 'locked',
      password: PASSWORD,
    })
    expect(asksForConsent(open)).toBe(true)
  })

  it('and unknown names sound the same', async () => {
    const said = async (username: string) => {
      const browser = oauth.browser()
      const page = await browser.submit((await ask(browser, app)).page, {
        username,
        password: 'wrong',
      })
      return { status: page.status, text: readable(page) }
    }
    expect(await said('alice')).toEqual(await said('nobody'))
  })

  it('from one address are slowed down', async () => {
    const slow = await startOauth({ MINTMARK_LOGIN_RATE_LIMIT: '5' })
    try {
      const own = await slow.register()
      const browser = slow.browser()
      const { page } = await ask(browser, own)
      const statuses: number[] = []
      for (let i = 0; i < 7; i++) {
        statuses.push((await browser.submit(page, { username: `user${i}`, password: 'x' })).status)
      }
      expect(statuses.slice(-1)).toEqual([429])
      expect(statuses.filter((status) => status === 429).length).toBeGreaterThanOrEqual(2)
    } finally {
      await slow.close()
    }
  })
})

it('a sign-in that is over, or of another browser, says so', async () => {
  const { page } = await ask(oauth.browser(), app)
  const elsewhere = await oauth.browser().open(page.url)
  expect(elsewhere.status).toBe(404)
  expectErrorPage(elsewhere)
  expect(readable(elsewhere)).toContain('begun in another browser')
})
