import * as client from 'openid-client'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  begin,
  goThrough,
  type OauthServer,
  PASSWORD,
  post,
  REDIRECT_URI,
  type RegisteredClient,
  startOauth,
} from '../support/oauth.ts'
import {
  ask,
  asksForPassword,
  codeFor,
  DEVICE_CODE,
  expectErrorPage,
  expectRefused,
  openLoggedIn,
  TOKEN_EXCHANGE,
} from '../support/oauth-steps.ts'

let oauth: OauthServer
let app: RegisteredClient

beforeAll(async () => {
  oauth = await startOauth()
  await oauth.makePerson('alice')
  app = await oauth.register()
})
afterAll(() => oauth.close())

describe('only safe grants (bar 74)', () => {
  it.each([
    'token',
    'id_token',
    'id_token token',
    'code token',
    'code id_token',
    'code id_token token',
    'none',
    'code code2',
    'CODE',
  ])('response_type %s is refused', async (response_type) => {
    const browser = await openLoggedIn(oauth)
    const { page } = await ask(browser, app, { response_type, response_mode: 'query' })
    // The engine may doubt the response mode first; nothing is given out in any case.
    expect(page.url.searchParams.get('error')).toMatch(
      /^(unsupported_response_type|invalid_request)$/,
    )
    const plain = await ask(browser, app, { response_type })
    const said = new URLSearchParams(plain.page.url.hash.slice(1) || plain.page.url.search)
    expect(said.get('error')).toBe('unsupported_response_type')
    expect(said.get('iss')).toBe(oauth.issuer)
    expect(plain.page.url.href).not.toMatch(/access_token|id_token=|[?#&]code=/)
  })

  it('the password grant and other unknown ones are unsupported', async () => {
    for (const grant_type of [
      'password',
      'implicit',
      'urn:ietf:params:oauth:grant-type:jwt-bearer',
    ]) {
      const fields = { grant_type, username: 'alice', password: PASSWORD, assertion: 'x' }
      const { status, body } = await post(oauth, '/oauth2/token', fields, app)
      expect({ status, error: body.error }).toEqual({
        status: 400,
        error: 'unsupported_grant_type',
      })
    }
    expect((await post(oauth, '/oauth2/token', {}, app)).body.error).toBe('invalid_request')
  })

  it('a client gets only the grants on its list', async () => {
    const all: Record<string, Record<string, string>> = {
      authorization_code: { code: 'x', redirect_uri: REDIRECT_URI, code_verifier: 'x'.repeat(43) },
      refresh_token: { refresh_token: 'x' },
      client_credentials: {},
      [DEVICE_CODE]: { device_code: 'x' },
      [TOKEN_EXCHANGE]: { subject_token: 'x', subject_token_type: 'x' },
    }
    for (const own of ['authorization_code', 'client_credentials']) {
      const only = await oauth.register({ grants: [own] })
      for (const [grant_type, fields] of Object.entries(all)) {
        if (grant_type === own) continue
        const { status, body } = await post(oauth, '/oauth2/token', { grant_type, ...fields }, only)
        const said = { status, error: body.error }
        expect(said, grant_type).toEqual({ status: 400, error: 'unauthorized_client' })
      }
      const device = await post(oauth, '/oauth2/device', { scope: 'openid' }, only)
      expect(device.body.error).toBe('unauthorized_client')
    }
    const worker = await oauth.register({ grants: ['client_credentials'] })
    const { page } = await ask(await openLoggedIn(oauth), worker)
    expect(page.url.searchParams.get('error')).toMatch(/invalid_request|unauthorized_client/)
    expect(page.url.searchParams.has('code')).toBe(false)
  })

  it('without the grant refresh_token there is no refresh token', async () => {
    const only = await oauth.register({ grants: ['authorization_code'] })
    const parameters = { scope: 'openid offline_access', prompt: 'consent' }
    const { code, request } = await codeFor(oauth, only, { parameters })
    const { body } = await post(oauth, '/oauth2/token', redemption(code, request.verifier), only)
    expect(body.access_token).toBeDefined()
    expect(body.refresh_token).toBeUndefined()
  })

  it('what the browser holds cannot switch one request for another', async () => {
    const honest = oauth.browser()
    const other = await oauth.register({ name: 'Other' })
    const mine = (await ask(honest, app)).page
    const strange = oauth.browser()
    const theirs = (await ask(strange, other)).page
    // Another browser's request, with my cookies.
    expectErrorPage(await honest.open(theirs.url))
    const posted = { ...mine, url: theirs.url, text: theirs.text }
    const sent = await honest.submit(posted, { username: 'alice', password: PASSWORD })
    expectErrorPage(sent)
    // My cookies, edited: neither the form nor the way back opens.
    const resume = new URL(mine.url.pathname.replace('interaction', 'authorize'), mine.url)
    for (const [name, value] of honest.cookies) {
      const edited = [`${value}x`, value.slice(0, -1), strange.cookies.get(name) ?? 'x', '']
      for (const each of edited) {
        const cookie = [...honest.cookies]
          .map(([key, kept]) => `${key}=${key === name ? each : kept}`)
          .join('; ')
        const url = name.includes('interaction') ? mine.url : resume
        const answer = await fetch(url, { headers: { cookie }, redirect: 'manual' })
        expect(answer.status, `${name}=${each}`).toBeGreaterThanOrEqual(400)
      }
    }
    // Going on without having proven anything begins anew.
    const resumed = await honest.open(resume)
    expect(resumed.status === 0 || asksForPassword(resumed) || resumed.status >= 400).toBe(true)
    expect(resumed.url.searchParams.has('code')).toBe(false)
  })

  it('what was asked for at first is what is answered, whatever the form says', async () => {
    const browser = oauth.browser()
    const { page } = await ask(browser, app, { scope: 'openid' })
    const end = await browser.submit(page, {
      username: 'alice',
      password: PASSWORD,
      client_id: 'other',
      redirect_uri: 'https://evil.example.com/',
      scope: 'openid mintmark',
      prompt: 'none',
    })
    const { url } = await goThrough(browser, end)
    expect(url.href.startsWith(REDIRECT_URI)).toBe(true)
  })
})

describe('PKCE with S256 for all clients (bar 76)', () => {
  it.each([
    ['no challenge', { code_challenge: undefined, code_challenge_method: undefined }],
    ['the method plain', { code_challenge_method: 'plain', code_challenge: 'x'.repeat(43) }],
    ['no method, which means plain', { code_challenge_method: undefined }],
    ['a method without a challenge', { code_challenge: undefined }],
    ['an empty challenge', { code_challenge: '' }],
    ['a short challenge', { code_challenge: 'x'.repeat(42) }],
    ['a challenge that is too long', { code_challenge: 'x'.repeat(129) }],
    ['an odd alphabet', { code_challenge: '+'.repeat(43) }],
    ['another method', { code_challenge_method: 's256' }],
  ])('a request with %s is refused', async (_, parameters) => {
    const phone = await oauth.register({ type: 'public' })
    for (const each of [app, phone]) {
      const { page } = await ask(oauth.browser(), each, parameters)
      expectRefused(page, oauth, 'invalid_request')
    }
  })

  it('no verifier, and wrong ones, are refused and do not burn the code for its owner', async () => {
    const { code, request } = await codeFor(oauth, app)
    const verifiers = [
      undefined,
      '',
      client.randomPKCECodeVerifier(),
      request.verifier.slice(0, 42),
      'x'.repeat(129),
      request.url.searchParams.get('code_challenge') ?? '',
      `${request.verifier.slice(0, -1)} `,
      request.verifier.toLowerCase(),
    ]
    for (const verifier of verifiers) {
      const { status, body } = await post(oauth, '/oauth2/token', redemption(code, verifier), app)
      expect(status, verifier).toBe(400)
      expect(body.error).toMatch(/^invalid_(grant|request)$/)
    }
    const { status } = await post(oauth, '/oauth2/token', redemption(code, request.verifier), app)
    expect(status).toBe(200)
  })

  it('only where a confidential client is exempt can it be left out, and then no verifier counts', async () => {
    const exempt = await oauth.register({ requirePkce: false })
    const parameters = { code_challenge: undefined, code_challenge_method: undefined }
    const { code } = await codeFor(oauth, exempt, { parameters })
    // A verifier without a challenge is a downgrade (RFC 9700, section 4.8.2).
    const verifier = client.randomPKCECodeVerifier()
    const down = await post(oauth, '/oauth2/token', redemption(code, verifier), exempt)
    expect(down.body.error).toBe('invalid_grant')
    const { status } = await post(oauth, '/oauth2/token', redemption(code, undefined), exempt)
    expect(status).toBe(200)
    // Who begins with it must end with it.
    const with_ = await codeFor(oauth, exempt)
    const without = await post(oauth, '/oauth2/token', redemption(with_.code, undefined), exempt)
    expect(without.body.error).toBe('invalid_grant')
    const plain = { code_challenge_method: 'plain', code_challenge: 'x'.repeat(43) }
    expectRefused((await ask(oauth.browser(), exempt, plain)).page, oauth, 'invalid_request')
    const made = await oauth.server.call('POST', '/api/v1/clients', {
      body: { name: 'x', type: 'public', redirectUris: [REDIRECT_URI], requirePkce: false },
    })
    expect(made.status).toBe(400)
  })
})

describe('a code', () => {
  it('is of no use to others, and their tries do not burn it', async () => {
    const { code, request } = await codeFor(oauth, app)
    const thief = await oauth.register({ name: 'Thief' })
    const right = redemption(code, request.verifier)
    const tries = [
      [right, thief],
      [{ ...right, redirect_uri: `${REDIRECT_URI}/` }, app],
      [{ ...right, code: `${code}x` }, app],
    ] as const
    for (const [fields, who] of tries) {
      expect((await post(oauth, '/oauth2/token', fields, who)).body.error).toBe('invalid_grant')
    }
    const { redirect_uri: _, ...without } = right
    expect((await post(oauth, '/oauth2/token', without, app)).status).toBe(400)
    expect((await post(oauth, '/oauth2/token', right, app)).status).toBe(200)
  })

  it('presented again kills what came of it', async () => {
    const { code, request } = await codeFor(oauth, app)
    const right = redemption(code, request.verifier)
    const { body } = await post(oauth, '/oauth2/token', right, app)
    const again = await post(oauth, '/oauth2/token', right, app)
    expect({ status: again.status, error: again.body.error }).toEqual({
      status: 400,
      error: 'invalid_grant',
    })
    for (const token of [body.access_token, body.refresh_token]) {
      oauth.server.remember(String(token))
      expect(await client.tokenIntrospection(app.config, String(token))).toEqual({ active: false })
    }
    await expect(client.refreshTokenGrant(app.config, String(body.refresh_token))).rejects.toThrow()
  })

  it('lasts a minute', async () => {
    const { code, request } = await codeFor(oauth, app)
    oauth.advance(61_000)
    const late = await post(oauth, '/oauth2/token', redemption(code, request.verifier), app)
    expect(late.body.error).toBe('invalid_grant')
  })
})

describe('duplicates', () => {
  it.each(['client_id', 'scope', 'state', 'nonce', 'response_type', 'code_challenge', 'prompt'])(
    '%s twice is refused at the authorization endpoint',
    async (name) => {
      const { url } = await begin(app.config, { prompt: 'login' })
      url.searchParams.append(name, url.searchParams.get(name) ?? 'x')
      const page = await oauth.browser().open(url)
      if (page.status !== 0) return expectErrorPage(page)
      expect(page.url.searchParams.get('error')).toBe('invalid_request')
      expect(page.url.searchParams.get('iss')).toBe(oauth.issuer)
    },
  )

  it.each([
    ['/oauth2/token', 'grant_type=client_credentials&grant_type=client_credentials'],
    ['/oauth2/token', 'grant_type=authorization_code&code=a&code=b'],
    ['/oauth2/token', 'grant_type=refresh_token&refresh_token=a&refresh_token=a'],
    ['/oauth2/token', 'grant_type=refresh_token&refresh_token=a&scope=openid&scope=email'],
    ['/oauth2/token', 'grant_type=refresh_token&refresh_token=a&client_id=a&client_id=b'],
    ['/oauth2/par', 'response_type=code&redirect_uri=a&redirect_uri=b'],
    ['/oauth2/introspect', 'token=a&token=b'],
    ['/oauth2/revoke', 'token=a&token=a'],
  ])('at %s: %s', async (path, text) => {
    const response = await fetch(`${oauth.issuer}${path}`, {
      method: 'POST',
      headers: {
        authorization: `Basic ${btoa(`${app.clientId}:${app.secret}`)}`,
        'content-type': 'application/x-www-form-urlencoded',
      },
      body: text,
    })
    expect(response.status).toBe(400)
    expect(((await response.json()) as { error: string }).error).toBe('invalid_request')
  })
})

function redemption(code: string, verifier: string | undefined): Record<string, string> {
  return {
    grant_type: 'authorization_code',
    code,
    redirect_uri: REDIRECT_URI,
    ...(verifier === undefined ? {} : { code_verifier: verifier }),
  }
}
