import { createHash } from 'node:crypto'
import { decodeJwt } from 'jose'
import * as client from 'openid-client'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  begin,
  goThrough,
  type OauthServer,
  PASSWORD,
  REDIRECT_URI,
  type RegisteredClient,
  redeem,
  signIn,
  startOauth,
} from '../support/oauth.ts'
import {
  ask,
  asksForConsent,
  asksForPassword,
  expectErrorPage,
  expectRefused,
  openLoggedIn,
  readable,
} from '../support/oauth-steps.ts'

let oauth: OauthServer
let app: RegisteredClient
let phone: RegisteredClient

beforeAll(async () => {
  oauth = await startOauth()
  await oauth.makePerson('alice')
  await oauth.makePerson('bob')
  app = await oauth.register()
  phone = await oauth.register({ name: 'Phone', type: 'public' })
})
afterAll(() => oauth.close())

describe('the answer to a client', () => {
  it('comes in the query, with state and issuer', async () => {
    const browser = oauth.browser()
    const { request, page } = await ask(browser, app)
    const { url } = await goThrough(browser, page)
    expect(url.href.split('?')[0]).toBe(REDIRECT_URI)
    expect(url.hash).toBe('')
    expect(url.searchParams.get('state')).toBe(request.state)
    expect(url.searchParams.get('iss')).toBe(oauth.issuer)
    const tokens = await redeem(oauth, app, { request, callback: url })
    expect(tokens.claims()?.nonce).toBe(request.nonce)
  })

  it('comes in the fragment when asked so', async () => {
    const browser = oauth.browser()
    const { request, page } = await ask(browser, app, { response_mode: 'fragment' })
    const { url } = await goThrough(browser, page)
    expect(url.search).toBe('')
    const said = new URLSearchParams(url.hash.slice(1))
    expect(said.get('iss')).toBe(oauth.issuer)
    const callback = new URL(`${REDIRECT_URI}?${said}`)
    expect((await redeem(oauth, app, { request, callback })).claims()?.nonce).toBe(request.nonce)
  })

  it('comes in a form when asked so, and the form may run its own script only', async () => {
    const browser = await openLoggedIn(oauth)
    await signIn(oauth, app, { browser })
    const { request, page } = await ask(browser, app, { response_mode: 'form_post' })
    expect(page.url.href).toBe(REDIRECT_URI)
    expect(page.posted?.get('iss')).toBe(oauth.issuer)
    expect(page.posted?.get('state')).toBe(request.state)
    const callback = new URL(`${REDIRECT_URI}?${page.posted}`)
    await redeem(oauth, app, { request, callback })

    const cookie = [...browser.cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    const again = await begin(app.config, { response_mode: 'form_post' })
    const sent = await fetch(again.url, { headers: { cookie }, redirect: 'manual' })
    const script = /<script>(.*?)<\/script>/s.exec(await sent.text())?.[1] ?? ''
    const digest = createHash('sha256').update(script).digest('base64')
    const policy = sent.headers.get('content-security-policy') ?? ''
    expect(policy).toContain(`'sha256-${digest}'`)
    expect(policy).not.toContain('unsafe')
    expect(policy).toContain("frame-ancestors 'none'")
  })

  it('is the same when the request was posted', async () => {
    const browser = await openLoggedIn(oauth)
    const request = await begin(app.config)
    const form = request.url.searchParams
    const posted = await fetch(`${oauth.issuer}/oauth2/authorize`, {
      method: 'POST',
      body: form,
      redirect: 'manual',
    })
    expect(posted.status).toBe(303)
    const link = posted.headers.get('location') ?? ''
    expect(Object.fromEntries(new URL(link).searchParams)).toEqual(Object.fromEntries(form))
    const { url } = await goThrough(browser, await browser.open(link))
    expect((await redeem(oauth, app, { request, callback: url })).access_token).toMatch(/^mm_/)

    const twice = new URLSearchParams([...form, ['scope', 'openid']])
    const refused = await fetch(`${oauth.issuer}/oauth2/authorize`, { method: 'POST', body: twice })
    expect(refused.status).toBe(400)
  })

  it('has no ID token without the scope openid, and the rest works', async () => {
    const tokens = await signIn(oauth, app, { parameters: { scope: 'profile', nonce: undefined } })
    expect(tokens.id_token).toBeUndefined()
    expect(tokens.scope).toBe('profile')
    const seen = await client.tokenIntrospection(app.config, tokens.access_token)
    expect(seen).toMatchObject({ active: true, scope: 'profile', client_id: app.clientId })
    const info = client.fetchUserInfo(app.config, tokens.access_token, client.skipSubjectCheck)
    await expect(info).rejects.toMatchObject({ status: 403 })
  })

  it('says who answers when the user cancels the login or denies', async () => {
    const browser = oauth.browser()
    const { request, page } = await ask(browser, app)
    const cancelled = await browser.submit(page, { action: 'cancel' })
    expect(expectRefused(cancelled, oauth, 'access_denied').get('state')).toBe(request.state)

    const fresh = await oauth.register({ name: 'Fresh' })
    const next = await ask(browser, fresh)
    const consent = await browser.submit(next.page, { username: 'alice', password: PASSWORD })
    expect(asksForConsent(consent)).toBe(true)
    const denied = await browser.submit(consent, { decision: 'deny' })
    expect(expectRefused(denied, oauth, 'access_denied').get('state')).toBe(next.request.state)
    // openid-client looks at iss and state before it believes an error.
    const heard = redeem(oauth, fresh, { request: next.request, callback: denied.url })
    await expect(heard).rejects.toMatchObject({ error: 'access_denied' })
  })

  it.each([
    ['an unknown response mode', { response_mode: 'smoke' }],
    ['an unknown prompt', { prompt: 'none login' }],
    ['a negative max_age', { max_age: '-1' }],
    ['a forged id_token_hint', { id_token_hint: 'e30.e30.e30' }],
    ['a request object', { request: 'e30.e30.' }],
  ])('is an error for %s', async (_, parameters) => {
    const { page } = await ask(oauth.browser(), app, parameters)
    if (page.status === 0) expect(page.url.searchParams.get('iss')).toBe(oauth.issuer)
    else expectErrorPage(page)
    expect(page.url.searchParams.has('code')).toBe(false)
    expect(page.url.hash).not.toContain('code=')
  })
})

describe('prompt and what decides about asking', () => {
  it('none: says that a login is needed, then that consent is, then answers', async () => {
    const browser = oauth.browser()
    const own = await oauth.register({ name: 'Silent' })
    const silently = (parameters = {}) => ask(browser, own, { prompt: 'none', ...parameters })

    const nobody = await silently()
    expect(nobody.page.trail).toEqual([303])
    expectRefused(nobody.page, oauth, 'login_required')

    await signIn(oauth, app, { browser })
    expectRefused((await silently()).page, oauth, 'consent_required')

    await signIn(oauth, own, { browser, parameters: { scope: 'openid email' } })
    const { request, page } = await silently({ scope: 'openid email' })
    expect(page.trail).toEqual([303])
    const tokens = await redeem(oauth, own, { request, callback: page.url })
    expect(tokens.id_token).toBeDefined()
    // More than was allowed is asked for.
    expectRefused(
      (await silently({ scope: 'openid email profile' })).page,
      oauth,
      'consent_required',
    )
  })

  it('login: asks for the password although somebody is logged in', async () => {
    const browser = oauth.browser()
    await signIn(oauth, app, { browser })
    const startedAt = Math.floor(Date.now() / 1000)
    oauth.advance(5_000)
    const { request, page } = await ask(browser, app, { prompt: 'login' })
    expect(asksForPassword(page)).toBe(true)
    const wrong = await browser.submit(page, { username: 'alice', password: 'wrong' })
    expect(asksForPassword(wrong)).toBe(true)
    const { url } = await goThrough(browser, wrong)
    const second = await redeem(oauth, app, { request, callback: url })
    expect(Number(second.claims()?.auth_time)).toBeGreaterThanOrEqual(startedAt + 5)
  })

  it('login: cannot be skipped by opening the form again', async () => {
    const browser = oauth.browser()
    await signIn(oauth, app, { browser })
    const { request, page } = await ask(browser, app, { prompt: 'login' })
    for (const url of [page.url, request.url, page.url]) {
      expect(asksForPassword(await browser.open(url))).toBe(true)
    }
  })

  it('consent: asks again for what is allowed already', async () => {
    const browser = oauth.browser()
    await signIn(oauth, app, { browser })
    const { page } = await ask(browser, app, { prompt: 'consent' })
    expect(asksForConsent(page)).toBe(true)
    expect(readable(page)).toContain('See your email address')
    const { url } = await browser.submit(page, { decision: 'allow' })
    expect(url.searchParams.has('code')).toBe(true)
  })

  it('max_age: a login that is too old must be renewed, and auth_time tells', async () => {
    const browser = oauth.browser()
    await signIn(oauth, app, { browser })
    const young = await ask(browser, app, { max_age: '60' })
    const tokens = await redeem(oauth, app, { request: young.request, callback: young.page.url })
    const { auth_time: first } = decodeJwt(tokens.id_token ?? '')
    oauth.advance(61_000)
    const { request, page } = await ask(browser, app, { max_age: '60' })
    expect(asksForPassword(page)).toBe(true)
    const silent = await ask(browser, app, { max_age: '60', prompt: 'none' })
    expectRefused(silent.page, oauth, 'login_required')
    const again = await goThrough(browser, await browser.open(request.url))
    const renewed = await redeem(oauth, app, {
      request,
      callback: again.url,
    })
    expect(Number(renewed.claims()?.auth_time)).toBeGreaterThanOrEqual(Number(first) + 61)
  })

  it('login_hint: fills in the name, as text', async () => {
    const { page } = await ask(oauth.browser(), app, { login_hint: 'bob"><script>' })
    expect(page.text).toContain('value="bob&quot;&gt;&lt;script&gt;"')
  })

  it('id_token_hint: the same user goes on, another one must log in', async () => {
    const browser = oauth.browser()
    const alice = await signIn(oauth, app, { browser })
    const bob = await signIn(oauth, app, { username: 'bob' })
    const hinted = (id_token_hint: string | undefined, prompt?: string) =>
      ask(browser, app, { id_token_hint, prompt })
    expect((await hinted(alice.id_token, 'none')).page.url.searchParams.has('code')).toBe(true)
    expectRefused((await hinted(bob.id_token, 'none')).page, oauth, 'login_required')
    const { page } = await hinted(bob.id_token)
    expect(asksForPassword(page)).toBe(true)
    const forged = `${alice.id_token?.slice(0, -20)}${'A'.repeat(20)}`
    const answer = (await hinted(forged)).page
    expect(answer.url.searchParams.get('error')).toBe('invalid_request')
  })
})

describe('one login for many clients', () => {
  it('asks for the password once, and for consent for each client', async () => {
    const browser = oauth.browser()
    await signIn(oauth, app, { browser })
    const second = await oauth.register({ name: 'Second' })
    const { request, page } = await ask(browser, second)
    expect(asksForPassword(page)).toBe(false)
    expect(readable(page)).toContain('Give Second access?')
    expect(readable(page)).toContain('Signed in as alice')
    const { url } = await browser.submit(page, { decision: 'allow' })
    expect((await redeem(oauth, second, { request, callback: url })).access_token).toBeDefined()
  })

  it('remembers what a confidential client may do, in other logins, too', async () => {
    const own = await oauth.register({ name: 'Remembered' })
    await signIn(oauth, own)
    const browser = oauth.browser()
    const { request, page } = await ask(browser, own)
    const end = await browser.submit(page, { username: 'alice', password: PASSWORD })
    expect(end.url.searchParams.has('code')).toBe(true)
    const tokens = await redeem(oauth, own, { request, callback: end.url })
    expect(tokens.refresh_token).toBeDefined()
  })

  it('asks each time for a public client, which could be anybody', async () => {
    const browser = oauth.browser()
    await signIn(oauth, phone, { browser })
    const { page } = await ask(browser, phone)
    expect(asksForConsent(page)).toBe(true)
    const silent = await ask(browser, phone, { prompt: 'none' })
    expectRefused(silent.page, oauth, 'interaction_required')
  })

  it('gives a public client nothing before the user answered, whatever it had in other logins', async () => {
    const own = await oauth.register({ name: 'Pocket', type: 'public' })
    await signIn(oauth, own)
    const browser = await openLoggedIn(oauth)
    const grants = async () =>
      (await browser.open('/account/grants')).text.split(own.clientId).length - 1
    const before = await grants()
    const { page } = await ask(browser, own)
    expect(asksForConsent(page)).toBe(true)
    await browser.submit(page, { decision: 'deny' })
    expect(await grants()).toBe(before)
  })

  it('asks again for more, and shows what is new and what is not', async () => {
    const browser = oauth.browser()
    const own = await oauth.register({ name: 'Growing' })
    await signIn(oauth, own, { browser, parameters: { scope: 'openid profile' } })
    const { request, page } = await ask(browser, own, { scope: 'openid profile email' })
    const text = readable(page)
    expect(text).toMatch(
      /New: it will also be able to.*See your email address.*Already allowed.*See your name/,
    )
    expect(text.split('Already allowed')[0]).not.toContain('See your name')
    const { url } = await browser.submit(page, { decision: 'allow' })
    const tokens = await redeem(oauth, own, { request, callback: url })
    expect(tokens.scope?.split(' ').sort()).toEqual(['email', 'openid', 'profile'])
  })

  it('tells at consent who asks, for what, where it leads, and for how long', async () => {
    const own = await oauth.register({ name: 'Named', accessTokenTtl: 'minutes=7' })
    const browser = await openLoggedIn(oauth)
    const { page } = await ask(browser, own, {
      scope: 'openid email offline_access',
      // Without it the engine passes over offline_access (OpenID Connect Core, section 11).
      prompt: 'consent',
    })
    const text = readable(page)
    for (const fact of [
      'Named',
      own.clientId,
      'app.example.com',
      'alice',
      '7 minutes',
      '30 days',
    ]) {
      expect(text).toContain(fact)
    }
  })

  it('lets another user take over at the consent page', async () => {
    const browser = oauth.browser()
    await signIn(oauth, app, { browser })
    const own = await oauth.register({ name: 'Switched' })
    const { request, page } = await ask(browser, own)
    const login = await browser.submit(page, { decision: 'switch' })
    expect(asksForPassword(login)).toBe(true)
    const { url } = await goThrough(browser, login, { username: 'bob' })
    const tokens = await redeem(oauth, own, { request, callback: url })
    const { preferred_username } = await client.fetchUserInfo(
      own.config,
      tokens.access_token,
      client.skipSubjectCheck,
    )
    expect(preferred_username).toBe('bob')
  })
})
