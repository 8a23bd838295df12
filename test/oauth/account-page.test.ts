import * as client from 'openid-client'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Browser, Page } from '../support/browser.ts'
import {
  type OauthServer,
  post,
  type RegisteredClient,
  signIn,
  startOauth,
} from '../support/oauth.ts'
import {
  ask,
  asksForConsent,
  asksForPassword,
  openLoggedIn,
  readable,
} from '../support/oauth-steps.ts'

const GRANTS = '/account/grants'

let oauth: OauthServer
let app: RegisteredClient
let phone: RegisteredClient

beforeAll(async () => {
  oauth = await startOauth()
  await oauth.makePerson('alice')
  await oauth.makePerson('bob')
  app = await oauth.register({ name: 'Calendar' })
  phone = await oauth.register({ name: 'Phone', type: 'public' })
})
afterAll(() => oauth.close())

/** The ids of the clients whose access the page offers to withdraw. */
const listed = ({ text }: Page) =>
  [...text.matchAll(/name="client" value="([^"]*)"/g)].map(([, id]) => id ?? '')

const csrf = ({ text }: Page) => /name="csrf" value="([^"]*)"/.exec(text)?.[1] ?? ''

const cookieOf = ({ cookies }: Browser) =>
  [...cookies].map(([name, value]) => `${name}=${value}`).join('; ')

async function withdraw(browser: Browser, page: Page, id: string) {
  return fetch(`${oauth.issuer}${GRANTS}`, {
    method: 'POST',
    redirect: 'manual',
    headers: { cookie: cookieOf(browser), origin: oauth.issuer },
    body: new URLSearchParams({ csrf: csrf(page), client: id }),
  })
}

it('whoever opens the address of the server finds the way from there', async () => {
  const front = await oauth.browser().open('/')
  expect(front.status).toBe(200)
  expect(front.headers.get('content-security-policy')).toContain("default-src 'none'")
  const links = [...front.text.matchAll(/<a href="([^"]*)"/g)].map(([, href]) => href ?? '')
  expect(links).toEqual([GRANTS, '/device', '/docs'])
  for (const link of links) {
    expect((await fetch(`${oauth.issuer}${link}`)).status).toBe(200)
  }
})

it('an application that nobody knows is told of in words', async () => {
  const page = await oauth.browser().open('/oauth2/authorize?client_id=nobody&response_type=code')
  expect(readable(page)).toContain('is not registered with this server')
})

describe('the account page', () => {
  it('asks who it is', async () => {
    const page = await oauth.browser().open(GRANTS)
    expect(asksForPassword(page)).toBe(true)
    expect(listed(page)).toEqual([])
  })

  it('lists what the user allowed, and a withdrawn client refreshes no more', async () => {
    const browser = await openLoggedIn(oauth)
    const calendar = await signIn(oauth, app, { browser, parameters: { scope: 'openid email' } })
    const other = await signIn(oauth, phone, { browser })
    const page = await browser.open(GRANTS)
    const text = readable(page)
    for (const fact of ['alice', 'Calendar', 'Phone', app.clientId, 'See your email address']) {
      expect(text).toContain(fact)
    }
    expect(listed(page)).toHaveLength(2)
    // Newest first.
    const [ofPhone = '', ofCalendar = ''] = listed(page)
    const done = await browser.submit(page, { client: ofCalendar })
    expect(done.trail[0]).toBe(303)
    expect(readable(done)).toContain('Withdrawn')
    expect(listed(done)).toEqual([ofPhone])

    const next = client.refreshTokenGrant(app.config, calendar.refresh_token ?? '')
    await expect(next).rejects.toMatchObject({ error: 'invalid_grant' })
    for (const token of [calendar.access_token, calendar.refresh_token ?? '']) {
      expect(await client.tokenIntrospection(app.config, token)).toEqual({ active: false })
    }
    const info = await fetch(`${oauth.issuer}/oauth2/userinfo`, {
      headers: { authorization: `Bearer ${calendar.access_token}` },
    })
    expect(info.status).toBe(401)
    // The other grant, and the login, go on.
    const kept = await client.refreshTokenGrant(phone.config, other.refresh_token ?? '')
    expect(kept.access_token).toBeDefined()
    // And the client must ask again.
    const again = await ask(browser, app, { scope: 'openid email' })
    expect(asksForConsent(again.page)).toBe(true)
  })

  it('shows an application once, and takes its access away in every login', async () => {
    const [first, second] = [await openLoggedIn(oauth), await openLoggedIn(oauth)]
    const own = await oauth.register({ name: 'Twice' })
    const given = [
      await signIn(oauth, own, { browser: first }),
      await signIn(oauth, own, { browser: second }),
    ]
    const page = await first.open(GRANTS)
    expect(readable(page).split('Twice')).toHaveLength(3)
    expect(listed(page).filter((id) => id === own.id)).toHaveLength(1)
    await first.submit(page, { client: own.id })
    for (const { access_token, refresh_token = '' } of given) {
      for (const token of [access_token, refresh_token]) {
        expect((await client.tokenIntrospection(own.config, token)).active).toBe(false)
      }
    }
    expect(asksForConsent((await ask(second, own, {})).page)).toBe(true)
  })

  it('shows and withdraws nothing of others', async () => {
    const alice = await openLoggedIn(oauth)
    const tokens = await signIn(oauth, app, { browser: alice })
    const [grant = ''] = listed(await alice.open(GRANTS))
    const bob = await openLoggedIn(oauth, 'bob')
    const page = await bob.open(GRANTS)
    expect(listed(page)).not.toContain(grant)
    // A page of bob's own has no form as long as there is nothing to withdraw.
    await signIn(oauth, phone, { browser: bob, username: 'bob' })
    const own = await bob.open(GRANTS)
    const foreign = await withdraw(bob, own, grant)
    const unknown = await withdraw(bob, own, '01b8dac5-b400-7000-8000-000000000000')
    expect(foreign.status).toBe(404)
    expect(unknown.status).toBe(404)
    for (const odd of ['', 'x', `${grant}x`, "' or 1=1"]) {
      expect((await withdraw(bob, own, odd)).status, odd).toBe(400)
    }
    const seen = await client.tokenIntrospection(app.config, tokens.access_token)
    expect(seen.active).toBe(true)
  })

  it('withdraws nothing without a login, nor for who is gone', async () => {
    const browser = await openLoggedIn(oauth)
    const tokens = await signIn(oauth, app, { browser })
    const page = await browser.open(GRANTS)
    const [grant = ''] = listed(page)
    const nobody = await withdraw(oauth.browser(), page, grant)
    expect(nobody.status).toBe(303)
    expect(nobody.headers.get('location')).toBe(GRANTS)
    const seen = await client.tokenIntrospection(app.config, tokens.access_token)
    expect(seen.active).toBe(true)
  })

  it('pages through many', async () => {
    const browser = await openLoggedIn(oauth, 'bob')
    for (let i = 0; i < 22; i++) {
      // A login has one grant for a client: the next one needs another client.
      const own = await oauth.register({ name: `Phone ${i}`, type: 'public' })
      await signIn(oauth, own, { browser, username: 'bob' })
    }
    const first = await browser.open(GRANTS)
    expect(listed(first)).toHaveLength(20)
    const href = /<a href="([^"]*)" rel="next"/.exec(first.text)?.[1] ?? ''
    const second = await browser.open(href.replaceAll('&amp;', '&'))
    expect(listed(second).length).toBeGreaterThan(0)
    expect(listed(second).some((id) => listed(first).includes(id))).toBe(false)
    expect((await browser.open(`${GRANTS}?after=x`)).status).toBe(400)
  })
})

describe('an administrator', () => {
  it('sees and withdraws the same grant through the API', async () => {
    const browser = await openLoggedIn(oauth)
    const tokens = await signIn(oauth, app, { browser })
    expect(listed(await browser.open(GRANTS))).toContain(app.id)
    const { body } = await oauth.server.call('GET', `/api/v1/grants?clientId=${app.id}`)
    for (const { id } of body.items) {
      expect((await oauth.server.call('DELETE', `/api/v1/grants/${id}`)).status).toBe(200)
    }
    expect(listed(await browser.open(GRANTS))).not.toContain(app.id)
    const fields = { grant_type: 'refresh_token', refresh_token: tokens.refresh_token ?? '' }
    const refused = await post(oauth, '/oauth2/token', fields, app)
    expect(refused.body.error).toBe('invalid_grant')
  })
})
