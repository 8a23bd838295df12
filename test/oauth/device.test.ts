import * as client from 'openid-client'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Browser, Page } from '../support/browser.ts'
import {
  goThrough,
  type OauthServer,
  PASSWORD,
  post,
  type RegisteredClient,
  startOauth,
} from '../support/oauth.ts'
import { asksForConsent, asksForPassword, DEVICE_CODE, readable } from '../support/oauth-steps.ts'

let oauth: OauthServer
let tv: RegisteredClient

beforeAll(async () => {
  oauth = await startOauth()
  await oauth.makePerson('alice')
  await oauth.makePerson('bob')
  tv = await oauth.register(tvWish)
})
afterAll(() => oauth.close())

const tvWish = {
  name: 'Television',
  type: 'public',
  redirectUris: [],
  grants: [DEVICE_CODE, 'refresh_token'],
}

async function begin(by = tv) {
  const answer = await client.initiateDeviceAuthorization(by.config, { scope: 'openid profile' })
  oauth.server.remember(answer.device_code)
  return answer
}

/** One poll, with what the device would hear. */
async function poll(deviceCode: string, by = tv) {
  const fields = { grant_type: DEVICE_CODE, device_code: deviceCode }
  const answer = await post(oauth, '/oauth2/token', fields, by)
  for (const secret of [answer.body.access_token, answer.body.refresh_token]) {
    if (typeof secret === 'string') oauth.server.remember(secret)
  }
  return answer
}

const heard = async (deviceCode: string) => (await poll(deviceCode)).body.error

async function enter(browser: Browser, userCode: string): Promise<Page> {
  return browser.submit(await browser.open('/device'), { user_code: userCode })
}

/** Enters the code, confirms it, logs in and allows. */
async function approve(browser: Browser, userCode: string): Promise<Page> {
  const confirm = await enter(browser, userCode)
  return goThrough(browser, await browser.submit(confirm, { confirm: 'yes' }))
}

describe('a device', () => {
  it('is let in by a person at a browser', async () => {
    const begun = await begin()
    expect(begun).toMatchObject({
      verification_uri: `${oauth.issuer}/device`,
      expires_in: 600,
    })
    expect(begun.user_code).toMatch(/^[B-DF-HJ-NP-TV-XZ]{4}-[B-DF-HJ-NP-TV-XZ]{4}$/)
    // It asks again and again while its user types; openid-client waits as long as it is told.
    const polling = client.pollDeviceAuthorizationGrant(tv.config, { ...begun, interval: 1 })
    const browser = oauth.browser()
    const confirm = await enter(browser, begun.user_code.toLowerCase().replace('-', ''))
    expect(readable(confirm)).toContain('Television')
    expect(readable(confirm)).toContain(begun.user_code)
    const login = await browser.submit(confirm, { confirm: 'yes' })
    expect(asksForPassword(login)).toBe(true)
    const done = await goThrough(browser, login)
    expect(readable(done)).toContain('Device connected')
    const tokens = await polling
    for (const secret of [tokens.access_token, tokens.refresh_token ?? '']) {
      oauth.server.remember(secret)
    }
    expect(tokens.claims()).toMatchObject({ aud: tv.clientId, iss: oauth.issuer })
    const info = await client.fetchUserInfo(
      tv.config,
      tokens.access_token,
      tokens.claims()?.sub ?? '',
    )
    expect(info.preferred_username).toBe('alice')
    const next = await client.refreshTokenGrant(tv.config, tokens.refresh_token ?? '')
    oauth.server.remember(next.access_token)
    oauth.server.remember(next.refresh_token ?? '')
  })

  it('that has the whole link shows the code for comparison, too', async () => {
    const { verification_uri_complete = '', user_code } = await begin()
    const page = await oauth.browser().open(verification_uri_complete)
    expect(readable(page)).toContain('Is this your device?')
    expect(readable(page)).toContain(user_code)
  })

  it('asks for consent again although the user allowed it once', async () => {
    const browser = oauth.browser()
    await approve(browser, (await begin()).user_code)
    const confirm = await enter(browser, (await begin()).user_code)
    const page = await browser.submit(confirm, { confirm: 'yes' })
    expect(asksForConsent(page)).toBe(true)
  })

  it('that asks too fast is told to slow down', async () => {
    const { device_code } = await begin()
    expect(await heard(device_code)).toBe('authorization_pending')
    expect(await heard(device_code)).toBe('slow_down')
    oauth.advance(6_000)
    expect(await heard(device_code)).toBe('authorization_pending')
  })

  it('that nobody lets in is told so: refused at the code, or at consent', async () => {
    const first = await begin()
    const browser = oauth.browser()
    const confirm = await enter(browser, first.user_code)
    const aborted = await browser.submit(confirm, { abort: 'yes' })
    expect(readable(aborted)).toContain('You refused')
    expect(await heard(first.device_code)).toBe('access_denied')

    const second = await begin()
    const login = await browser.submit(await enter(browser, second.user_code), { confirm: 'yes' })
    const consent = await browser.submit(login, { username: 'alice', password: 'wrong' })
    expect(asksForPassword(consent)).toBe(true)
    const asked = await browser.submit(consent, { username: 'alice', password: PASSWORD })
    expect(asksForConsent(asked)).toBe(true)
    await browser.submit(asked, { decision: 'deny' })
    expect(await heard(second.device_code)).toBe('access_denied')
  })

  it('that comes too late is told that its code is too old', async () => {
    const { device_code, user_code } = await begin()
    oauth.advance(601_000)
    expect(await heard(device_code)).toMatch(/^(expired_token|invalid_grant)$/)
    const page = await enter(oauth.browser(), user_code)
    expect(page.status).toBe(400)
    expect(readable(page)).toMatch(/too old|no such code/)
  })

  it('gets its tokens once, however often it asks', async () => {
    const { device_code, user_code } = await begin()
    await approve(oauth.browser(), user_code)
    const ask = async () => {
      for (;;) {
        const answer = await poll(device_code)
        // Too many at once for a slow machine: nothing was done, and whoever asked asks again.
        if (answer.status !== 503) return answer
      }
    }
    const answers = await Promise.all(Array.from({ length: 50 }, ask))
    const [won, ...more] = answers.filter(({ status }) => status === 200)
    expect(won).toBeDefined()
    expect(more).toEqual([])
    for (const { status, body } of answers.filter((each) => each !== won)) {
      expect({ status, error: body.error }).toEqual({ status: 400, error: 'invalid_grant' })
    }
    // Somebody used the code twice, so nobody keeps what came of it.
    const late = await poll(device_code)
    expect(late.body.error).toBe('invalid_grant')
    const seen = await post(
      oauth,
      '/oauth2/token',
      { grant_type: 'refresh_token', refresh_token: String(won?.body.refresh_token) },
      tv,
    )
    expect(seen.body.error).toBe('invalid_grant')
  })

  it("gets nothing for another client's code", async () => {
    const { device_code, user_code } = await begin()
    const other = await oauth.register({ ...tvWish, name: 'Other' })
    await approve(oauth.browser(), user_code)
    expect((await poll(device_code, other)).body.error).toBe('invalid_grant')
    expect((await poll(device_code)).status).toBe(200)
  })

  it('is not asked to let in a client that has no such grant, or that does not say who it is', async () => {
    const app = await oauth.register()
    const refused = await post(oauth, '/oauth2/device', { scope: 'openid' }, app)
    expect(refused.body.error).toBe('unauthorized_client')
    const closed = await oauth.register({ ...tvWish, type: 'confidential' })
    const nameless = await post(oauth, '/oauth2/device', { client_id: closed.clientId })
    expect({ status: nameless.status, error: nameless.body.error }).toEqual({
      status: 401,
      error: 'invalid_client',
    })
    const unknown = await post(oauth, '/oauth2/device', { client_id: 'nobody' })
    expect(unknown.status).toBe(401)
  })

  it('asks for no scope that its client may not have', async () => {
    const { status, body } = await post(oauth, '/oauth2/device', { scope: 'openid mintmark' }, tv)
    expect({ status, error: body.error }).toEqual({ status: 400, error: 'invalid_scope' })
  })
})

describe('a user code', () => {
  it('is used once', async () => {
    const { user_code } = await begin()
    const browser = oauth.browser()
    expect(readable(await approve(browser, user_code))).toContain('Device connected')
    const again = await enter(oauth.browser(), user_code)
    expect(again.status).toBe(400)
    expect(readable(again)).toContain('has been used')
  })

  it('is settled only by the browser that entered it (bar 86)', async () => {
    const { device_code, user_code } = await begin()
    const mine = oauth.browser()
    const login = await mine.submit(await enter(mine, user_code), { confirm: 'yes' })
    expect(asksForPassword(login)).toBe(true)
    // Another browser follows the same links: to the form, and past it.
    const other = oauth.browser()
    const form = await other.open(login.url)
    expect(form.status).toBe(404)
    const sent = await other.submit(
      { ...form, text: login.text, url: login.url },
      {
        username: 'bob',
        password: PASSWORD,
      },
    )
    expect(sent.status).toBe(404)
    const uid = login.url.pathname.split('/').at(-1)
    expect((await other.open(`/device/${uid}`)).status).toBeGreaterThanOrEqual(400)
    // Nor can it be entered a second time meanwhile.
    expect(readable(await enter(other, user_code))).toContain('has been used')
    oauth.advance(6_000)
    expect(await heard(device_code)).toBe('authorization_pending')
    await goThrough(mine, login)
    expect((await poll(device_code)).status).toBe(200)
  })

  it('is not settled by a form from elsewhere', async () => {
    const { user_code, device_code } = await begin()
    const browser = oauth.browser()
    const confirm = await enter(browser, user_code)
    const cookie = [...browser.cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    for (const xsrf of [undefined, 'wrong', '']) {
      const response = await fetch(`${oauth.issuer}/device`, {
        method: 'POST',
        redirect: 'manual',
        headers: { cookie },
        body: new URLSearchParams({
          user_code,
          confirm: 'yes',
          ...(xsrf === undefined ? {} : { xsrf }),
        }),
      })
      expect(response.status).toBe(400)
    }
    // With the right secret, but sent by another site.
    const xsrf = /name="xsrf" value="([^"]*)"/.exec(confirm.text)?.[1] ?? ''
    const cross = await fetch(`${oauth.issuer}/device`, {
      method: 'POST',
      redirect: 'manual',
      headers: { cookie, origin: 'https://evil.example.com', 'sec-fetch-site': 'cross-site' },
      body: new URLSearchParams({ user_code, confirm: 'yes', xsrf }),
    })
    expect(cross.status).toBeGreaterThanOrEqual(400)
    expect(await heard(device_code)).toBe('authorization_pending')
  })

  it('leads to a page with a problem when it is wrong or missing', async () => {
    const browser = oauth.browser()
    for (const [code, sentence] of [
      ['', 'Enter the code'],
      ['ABCD-EFGH', 'There is no such code'],
      ['<script>', 'There is no such code'],
    ] as const) {
      const page = await enter(browser, code)
      expect(page.status).toBe(400)
      expect(readable(page)).toContain(sentence)
      expect(page.text).not.toContain('<script>')
    }
  })
})

describe('guessing user codes', () => {
  it('is slowed down', async () => {
    const slow = await startOauth({ MINTMARK_LOGIN_RATE_LIMIT: '10' })
    try {
      const browser = slow.browser()
      const page = await browser.open('/device')
      const statuses = []
      for (let i = 0; i < 12; i++) {
        statuses.push(
          (await browser.submit(page, { user_code: `BCDF-GHJ${'KLMNPQRSTVWXZ'[i]}` })).status,
        )
      }
      expect(statuses.at(-1)).toBe(429)
      expect(statuses.filter((status) => status !== 429).length).toBeLessThanOrEqual(10)
    } finally {
      await slow.close()
    }
  })
})
