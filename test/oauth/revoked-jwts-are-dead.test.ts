import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Browser } from '../support/browser.ts'
import { partsOf } from '../support/forged-jwt.ts'
import {
  type OauthServer,
  post,
  type RegisteredClient,
  signIn,
  startOauth,
} from '../support/oauth.ts'
import { doorsOpenTo } from '../support/oauth-family.ts'

const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
const RESOURCE = 'https://api.example.com'

let oauth: OauthServer
let made = 0

beforeAll(async () => {
  oauth = await startOauth()
})
afterAll(() => oauth.close())

/** What one user let one client have, in every shape that an access token has. */
interface Held {
  userId: string
  app: RegisteredClient
  browser: Browser
  grantId: string
  /** Of the grant itself, a JWT. */
  jwt: string
  /** Of the same grant, not a JWT, for our own APIs. */
  opaque: string
  /** What the client exchanged that one for, a JWT. */
  exchanged: string
}

async function hold({ offline = true } = {}): Promise<Held> {
  const username = `person-${++made}`
  const { id: userId } = await oauth.makePerson(username)
  const scope = `openid mintmark goauthentik.io/api${offline ? ' offline_access' : ''}`
  const app = await oauth.register({
    grants: ['authorization_code', 'refresh_token', TOKEN_EXCHANGE],
    scopes: scope.split(' '),
    resources: [RESOURCE],
  })
  const browser = oauth.browser()
  const parameters = { scope, ...(offline ? { prompt: 'consent' } : {}) }
  const wish = { browser, username }
  const first = await signIn(oauth, app, {
    ...wish,
    parameters: { ...parameters, resource: RESOURCE },
  })
  const second = await signIn(oauth, app, { ...wish, parameters })
  const exchanged = await post(
    oauth,
    '/oauth2/token',
    {
      grant_type: TOKEN_EXCHANGE,
      subject_token: second.access_token,
      subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      resource: RESOURCE,
    },
    app,
  )
  const secret = String(exchanged.body.access_token)
  oauth.server.remember(secret)
  const grants = await oauth.server.call('GET', `/api/v1/grants?userId=${userId}`)
  expect(grants.body.items).toHaveLength(1)
  return {
    userId,
    app,
    browser,
    grantId: grants.body.items[0].id,
    jwt: first.access_token,
    opaque: second.access_token,
    exchanged: secret,
  }
}

type Shape = 'jwt' | 'opaque' | 'exchanged'
const ALL: Shape[] = ['jwt', 'opaque', 'exchanged']

/** Which of them still pass anywhere: at introspection, at verify, at our own APIs. */
async function alive(held: Held): Promise<Shape[]> {
  const { server } = oauth
  const asked = await Promise.all([
    doorsOpenTo(oauth, { secret: held.jwt, audience: RESOURCE }),
    Promise.all([
      doorsOpenTo(oauth, { secret: held.opaque }),
      server.call('GET', '/api/v1/me', { token: held.opaque }),
      server.call('GET', '/api/v3/oauth2/refresh_tokens/', { token: held.opaque }),
    ]).then(([doors, ...apis]) => [
      ...doors,
      ...apis.flatMap(({ status }) => (status === 401 || status === 403 ? [] : ['api'])),
    ]),
    doorsOpenTo(oauth, { secret: held.exchanged, audience: RESOURCE }),
  ])
  return ALL.filter((_, i) => (asked[i]?.length ?? 0) > 0)
}

async function admin(method: string, path: string, body?: unknown): Promise<void> {
  const answer = await oauth.server.call(method, `/api/v1${path}`, {
    ...(body === undefined ? {} : { body }),
  })
  expect([200, 204], answer.text).toContain(answer.status)
}

interface Level {
  end(held: Held): Promise<unknown>
  /** Brings back who or what was put out of action. */
  undo?(held: Held): Promise<unknown>
  /** Whether the tokens come back with it, as those of a disabled user do. */
  onlySuspends?: true
  left?: Shape[]
  offline?: boolean
}

const idOf = (jwt: string) => String(partsOf(jwt).claims.jti)

const LEVELS: Record<string, Level> = {
  'the token is revoked by its client': {
    end: ({ app, jwt }) => post(oauth, '/oauth2/revoke', { token: jwt }, app),
    left: ['opaque', 'exchanged'],
  },
  'the token is revoked by an administrator': {
    end: ({ jwt }) => admin('POST', `/tokens/${idOf(jwt)}/revoke`),
    left: ['opaque', 'exchanged'],
  },
  'the token that it was exchanged for is revoked': {
    end: ({ app, opaque }) => post(oauth, '/oauth2/revoke', { token: opaque }, app),
    left: ['jwt'],
  },
  'the grant is withdrawn': { end: ({ grantId }) => admin('DELETE', `/grants/${grantId}`) },
  'the client is disabled': {
    end: ({ app }) => admin('PATCH', `/clients/${app.id}`, { active: false }),
    undo: ({ app }) => admin('PATCH', `/clients/${app.id}`, { active: true }),
  },
  'the client is deleted': { end: ({ app }) => admin('DELETE', `/clients/${app.id}`) },
  'the user is disabled': {
    end: ({ userId }) => admin('PATCH', `/users/${userId}`, { active: false }),
    undo: ({ userId }) => admin('PATCH', `/users/${userId}`, { active: true }),
    onlySuspends: true,
  },
  'the user is deleted': { end: ({ userId }) => admin('DELETE', `/users/${userId}`) },
  'the login has ended at the logout form': {
    offline: false,
    async end({ browser }) {
      const page = await browser.open('/oauth2/session/end')
      await browser.submit(page, { logout: 'yes' })
    },
  },
  'the login was closed by an administrator': {
    offline: false,
    async end({ userId }) {
      const { body } = await oauth.server.call('GET', `/api/v1/grants?userId=${userId}`)
      await admin('POST', `/tokens/${body.items[0].sessionId}/revoke`)
    },
  },
}

describe('an access token, signed or not, is dead at once when', () => {
  it.each(Object.keys(LEVELS))('%s', async (name) => {
    const { end, undo, onlySuspends, left = [], offline = true } = LEVELS[name] as Level
    const held = await hold({ offline })
    expect(await alive(held)).toEqual(ALL)
    await end(held)
    expect(await alive(held)).toEqual(left)
    await undo?.(held)
    expect(await alive(held)).toEqual(onlySuspends ? ALL : left)
    // The signature is as good as before: only who asks us hears of it, and soon it is over anyway.
    const { claims } = partsOf(held.jwt)
    expect(Number(claims.exp) - Number(claims.iat)).toBeLessThanOrEqual(600)
  })

  it('any of these happened, though others were undone', async () => {
    const levels = ['the client is disabled', 'the user is disabled', 'the grant is withdrawn']
    for (let set = 1; set < 2 ** levels.length; set++) {
      const chosen = levels.filter((_, i) => (set & (2 ** i)) !== 0).map((name) => LEVELS[name])
      const held = await hold()
      for (const level of chosen) await level?.end(held)
      expect(await alive(held)).toEqual([])
      const isOnlySuspended = chosen.every((level) => level?.onlySuspends)
      for (const level of chosen) {
        await level?.undo?.(held)
        expect(await alive(held)).toEqual(isOnlySuspended ? ALL : [])
      }
    }
  }, 60_000)
})

it('a login that was to go on without its user keeps its tokens', async () => {
  const held = await hold({ offline: true })
  await LEVELS['the login has ended at the logout form']?.end(held)
  expect(await alive(held)).toEqual(ALL)
})

it('a client that gets a token for itself loses it when it is disabled', async () => {
  const app = await oauth.register({
    grants: ['client_credentials'],
    scopes: ['mintmark'],
    resources: [RESOURCE],
    redirectUris: [],
  })
  const fields = { grant_type: 'client_credentials', scope: 'mintmark', resource: RESOURCE }
  const { body } = await post(oauth, '/oauth2/token', fields, app)
  const secret = String(body.access_token)
  oauth.server.remember(secret)
  expect(await doorsOpenTo(oauth, { secret, audience: RESOURCE })).toEqual(['introspect', 'verify'])
  await admin('PATCH', `/clients/${app.id}`, { active: false })
  expect(await doorsOpenTo(oauth, { secret, audience: RESOURCE })).toEqual([])
  await admin('PATCH', `/clients/${app.id}`, { active: true })
  expect(await doorsOpenTo(oauth, { secret, audience: RESOURCE })).toEqual([])
})

it('is over after ten minutes, also for those who look at the signature alone', async () => {
  const held = await hold()
  const { claims } = partsOf(held.jwt)
  expect(Number(claims.exp) - Number(claims.iat)).toBe(600)
  oauth.advance(601_000)
  expect(await alive(held)).toEqual([])
})
