import * as client from 'openid-client'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  type OauthServer,
  post,
  type RegisteredClient,
  signIn,
  startOauth,
} from '../support/oauth.ts'
import { openLoggedIn } from '../support/oauth-steps.ts'
import { isAlive, setPolicy } from '../support/people.ts'

const MINUTE_MS = 60_000

let oauth: OauthServer
let app: RegisteredClient
let other: RegisteredClient

beforeAll(async () => {
  oauth = await startOauth()
  await oauth.makePerson('alice')
  app = await oauth.register()
  other = await oauth.register({ name: 'Other' })
})
afterAll(() => oauth.close())

/** The answer to one refresh, without a client library. */
async function refresh(token: string, extra: Record<string, string> = {}, by = app, at = oauth) {
  const fields = { grant_type: 'refresh_token', refresh_token: token, ...extra }
  const answer = await post(at, '/oauth2/token', fields, by)
  for (const secret of [answer.body.access_token, answer.body.refresh_token]) {
    if (typeof secret === 'string') at.server.remember(secret)
  }
  return { ...answer, next: String(answer.body.refresh_token) }
}

async function begun(by = app, at = oauth): Promise<{ first: string; access: string }> {
  const tokens = await signIn(at, by)
  return { first: tokens.refresh_token ?? '', access: tokens.access_token }
}

const isActive = async (token: string, by = app) =>
  (await client.tokenIntrospection(by.config, token)).active

const REFUSED = { status: 400, body: { error: 'invalid_grant' } }

/** How many refresh tokens came of the one, itself included. */
async function familySize(token: string): Promise<number> {
  const rows = await oauth.server.database.query(
    `select id from token where kind = 'oauth_refresh' and family_id in (select family_id from token
      where kind = 'oauth_refresh' and preview like '%${token.slice(-4)}')`,
  )
  return rows.length
}

describe('refreshing', () => {
  it('with a spent token is recognised as theft, however short ended tokens are kept', async () => {
    const { first } = await begun()
    const { next } = await refresh(first)
    await setPolicy(oauth.server, { retentionSeconds: 0 })
    oauth.advance(5 * MINUTE_MS)
    await oauth.server.app.core.purge()
    await setPolicy(oauth.server, { retentionSeconds: 86_400 })
    expect(await isActive(next)).toBe(true)
    expect(await refresh(first)).toMatchObject(REFUSED)
    expect(await isActive(next)).toBe(false)
  })

  it('rotates: new tokens of the same kind, and the old one is spent', async () => {
    const { first } = await begun()
    const tokens = await client.refreshTokenGrant(app.config, first)
    expect(tokens.refresh_token).toMatch(/^mm_oauth_refresh_/)
    expect(tokens.refresh_token).not.toBe(first)
    expect(tokens.scope?.split(' ').sort()).toEqual(['email', 'openid', 'profile'])
    expect(tokens.claims()).toMatchObject({ iss: oauth.issuer, aud: app.clientId })
    expect(await isActive(first)).toBe(false)
    expect(await isActive(tokens.refresh_token ?? '')).toBe(true)
  })

  it('does not prolong: the last token of the family ends when the first would have', async () => {
    const short = await oauth.register({ refreshTokenTtl: 'minutes=10' })
    const { first } = await begun(short)
    const { exp } = await client.tokenIntrospection(short.config, first)
    oauth.advance(6 * MINUTE_MS)
    const { next } = await refresh(first, {}, short)
    const after = await client.tokenIntrospection(short.config, next)
    expect(Math.abs(Number(after.exp) - Number(exp))).toBeLessThanOrEqual(1)
    oauth.advance(3 * MINUTE_MS)
    const last = await refresh(next, {}, short)
    expect(last.status).toBe(200)
    oauth.advance(2 * MINUTE_MS)
    expect(await refresh(last.next, {}, short)).toMatchObject(REFUSED)
    expect(await isActive(last.next, short)).toBe(false)
  })

  it('may ask for less, never for more, and asking for more harms nothing', async () => {
    const { first } = await begun()
    for (const scope of ['openid mintmark', 'openid offline_access', 'groups', 'nonsense']) {
      const wider = await refresh(first, { scope })
      expect(wider, scope).toMatchObject({ status: 400, body: { error: 'invalid_scope' } })
    }
    const less = await refresh(first, { scope: 'openid' })
    expect(less).toMatchObject({ status: 200, body: { scope: 'openid' } })
    // The refresh token keeps what was granted (RFC 6749, section 6).
    const full = await refresh(less.next)
    expect(String(full.body.scope).split(' ').sort()).toEqual(['email', 'openid', 'profile'])
  })

  it.each(['openid openid', 'openid  openid', ''])(
    'takes odd scopes as they are: %j',
    async (scope) => {
      const { first } = await begun()
      const { status, body } = await refresh(first, { scope })
      if (status === 200) expect(body.scope).toMatch(/^(openid|openid profile email)$/)
      else expect(body.error).toMatch(/^invalid_(scope|request)$/)
    },
  )

  it('gives no more than the user and the client still have', async () => {
    const shrinking = await oauth.register({ scopes: ['openid', 'profile', 'email'] })
    const { first } = await begun(shrinking)
    await oauth.server.call('PATCH', `/api/v1/clients/${shrinking.id}`, {
      body: { scopes: ['openid', 'email'] },
    })
    const { status, body } = await refresh(first, {}, shrinking)
    expect(status).toBe(200)
    expect(String(body.scope).split(' ').sort()).toEqual(['email', 'openid'])
  })
})

describe('a spent refresh token', () => {
  it('within the grace gets the same answer again, and there is one child', async () => {
    const { first } = await begun()
    const once = await refresh(first)
    const again = await refresh(first)
    expect(again.body).toEqual(once.body)
    expect(await familySize(once.next)).toBe(2)
    expect(await isActive(once.next)).toBe(true)
  })

  it('with another request kills the family', async () => {
    const { first, access } = await begun()
    const { next, body } = await refresh(first)
    expect(await refresh(first, { scope: 'openid' })).toMatchObject(REFUSED)
    expect(await refresh(next)).toMatchObject(REFUSED)
    for (const token of [first, next, access, String(body.access_token)]) {
      expect(await isActive(token)).toBe(false)
    }
  })

  it('from another client is refused and harms nothing', async () => {
    const { first } = await begun()
    expect(await refresh(first, {}, other)).toMatchObject(REFUSED)
    const { next } = await refresh(first)
    expect(await refresh(first, {}, other)).toMatchObject(REFUSED)
    expect(await refresh(next, {}, other)).toMatchObject(REFUSED)
    expect(await isActive(next)).toBe(true)
    expect((await refresh(next)).status).toBe(200)
  })

  it('after the grace kills the family', async () => {
    const { first, access } = await begun()
    const { next, body } = await refresh(first)
    oauth.advance(11_000)
    expect(await refresh(first)).toMatchObject(REFUSED)
    for (const token of [next, access, String(body.access_token)]) {
      expect(await isActive(token)).toBe(false)
    }
    expect(await refresh(next)).toMatchObject(REFUSED)
  })

  it('whose child was used kills the family, grace or not', async () => {
    const { first } = await begun()
    const second = await refresh(first)
    const third = await refresh(second.next)
    expect(third.status).toBe(200)
    expect(await refresh(first)).toMatchObject(REFUSED)
    for (const { next, body } of [second, third]) {
      expect(await isActive(next)).toBe(false)
      expect(await isActive(String(body.access_token))).toBe(false)
    }
  })

  it('leaves an audit record that names no secret', async () => {
    const { first } = await begun()
    await refresh(first)
    oauth.advance(11_000)
    await refresh(first)
    const { body, text } = await oauth.server.call('GET', '/api/v1/audit?limit=50')
    expect(body.items.map(({ action }: { action: string }) => action)).toContain('token.reused')
    expect(text).not.toContain(first)
  })
})

describe('without a grace', () => {
  let strict: OauthServer
  beforeAll(async () => {
    strict = await startOauth({ MINTMARK_REFRESH_GRACE: '0' })
    await strict.makePerson('alice')
  })
  afterAll(() => strict.close())

  it('the second use kills the family at once', async () => {
    const own = await strict.register()
    const { first } = await begun(own, strict)
    const { next } = await refresh(first, {}, own, strict)
    expect(await refresh(first, {}, own, strict)).toMatchObject(REFUSED)
    expect(await refresh(next, {}, own, strict)).toMatchObject(REFUSED)
    expect(await isActive(next, own)).toBe(false)
  })
})

describe('how long access lasts', () => {
  it('ends with the login, unless the user allowed offline_access', async () => {
    const browser = await openLoggedIn(oauth)
    const scopes = ['openid', 'offline_access', 'mintmark']
    const online = await oauth.register({ scopes })
    const offline = await oauth.register({ scopes })
    const short = await signIn(oauth, online, { browser, parameters: { scope: 'openid mintmark' } })
    const long = await signIn(oauth, offline, {
      browser,
      parameters: { scope: 'openid mintmark offline_access', prompt: 'consent' },
    })
    expect(await isAlive(oauth.server, short.access_token)).toBe(true)

    const page = await browser.open('/oauth2/session/end')
    const out = await browser.submit(page, { logout: 'yes' })
    expect(out.text).toContain('You are signed out.')

    for (const token of [short.access_token, short.refresh_token ?? '']) {
      expect(await isActive(token, online)).toBe(false)
    }
    expect(await isAlive(oauth.server, short.access_token)).toBe(false)
    expect(await refresh(short.refresh_token ?? '', {}, online)).toMatchObject(REFUSED)
    expect(await isAlive(oauth.server, long.access_token)).toBe(true)
    const next = await refresh(long.refresh_token ?? '', {}, offline)
    expect(next.status).toBe(200)
    expect(await isActive(next.next, offline)).toBe(true)
  })

  it('without offline_access goes on until the session does, and not after', async () => {
    await oauth.server.call('PATCH', '/api/v1/policy', { body: { sessionTtlSeconds: 3600 } })
    const { first } = await begun()
    oauth.advance(59 * MINUTE_MS)
    const { status, next } = await refresh(first)
    expect(status).toBe(200)
    oauth.advance(2 * MINUTE_MS)
    expect(await refresh(next)).toMatchObject(REFUSED)
  })
})
