import { createHash, randomBytes } from 'node:crypto'
import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openCore } from '../../src/app.ts'
import type { Config } from '../../src/config.ts'
import { deriveKey, unseal } from '../../src/core/seal.ts'
import { Secret } from '../../src/core/secret.ts'
import type { Browser, Page } from '../support/browser.ts'
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
import { temporaryDirectory } from '../support/temporary.ts'

const DEVICE_CODE = 'urn:ietf:params:oauth:grant-type:device_code'
const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
const RESOURCE = 'https://api.example.com'
const FILES = ['mintmark.db', 'mintmark.db-wal']

let oauth: OauthServer
let app: RegisteredClient
/** Everything that was handed out and opens something, by what it is. */
const handedOut = new Map<string, string>()
/** Of a JWT access token: what stands in for its digest is made of it. */
let jti = ''

function hold(what: string, value: unknown): string {
  if (typeof value !== 'string' || value.length < 8) throw new Error(`No ${what}: ${value}`)
  handedOut.set(what, value)
  oauth.server.remember(value)
  return value
}

const form = (fields: Record<string, string>, path = '/oauth2/token') =>
  post(oauth, path, fields, { clientId: app.clientId, secret: app.secret })

function holdCookies(whose: string, { cookies }: Browser): void {
  for (const [name, value] of cookies) hold(`${whose}: cookie ${name}`, value)
}

/** Leaves one of everything in the database: spent, in use, and waiting. */
beforeAll(async () => {
  oauth = await startOauth()
  await oauth.makePerson('alice')
  app = await oauth.register({
    grants: ['authorization_code', 'refresh_token', DEVICE_CODE, TOKEN_EXCHANGE],
    resources: [RESOURCE],
  })
  hold('client secret', app.secret)
  hold('password', PASSWORD)
  const alice = oauth.browser()
  const first = await signInFor(alice, 'first')
  const redeemed = await form(first)
  hold('access token', redeemed.body.access_token)
  hold('id token', redeemed.body.id_token)
  const refreshed = await form({
    grant_type: 'refresh_token',
    refresh_token: hold('spent refresh token', redeemed.body.refresh_token),
  })
  hold('refresh token', refreshed.body.refresh_token)
  hold('second access token', refreshed.body.access_token)
  const exchanged = await form({
    grant_type: TOKEN_EXCHANGE,
    subject_token: handedOut.get('access token') ?? '',
    subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
    resource: RESOURCE,
  })
  const jwt = hold('JWT access token', exchanged.body.access_token)
  jti = JSON.parse(Buffer.from(jwt.split('.')[1] ?? '', 'base64url').toString()).jti
  await signInFor(alice, 'waiting')
  holdCookies('alice', alice)

  const stranger = oauth.browser()
  const page = await stranger.open((await begin(app.config)).url)
  hold('interaction', page.url.pathname.split('/').at(-1))
  holdCookies('a stranger', stranger)

  const pushed = await form(
    Object.fromEntries((await begin(app.config)).url.searchParams),
    '/oauth2/par',
  )
  hold('pushed request', String(pushed.body.request_uri).split(':').at(-1))
  const device = await form({ scope: 'openid' }, '/oauth2/device')
  hold('device code', device.body.device_code)
  hold('user code', device.body.user_code)
  hold('user code without its dash', String(device.body.user_code).replace('-', ''))
})
afterAll(() => oauth.close())

/** Up to the code, which it holds; answers the form that redeems it. */
async function signInFor(browser: Browser, what: string): Promise<Record<string, string>> {
  const request = await begin(app.config, { scope: 'openid offline_access' })
  const { url }: Page = await goThrough(browser, await browser.open(request.url))
  return {
    grant_type: 'authorization_code',
    code: hold(`${what} code`, url.searchParams.get('code')),
    redirect_uri: REDIRECT_URI,
    code_verifier: hold(`${what} code verifier`, request.verifier),
  }
}

/** The settings of a thief, who has copied the file from under the running server. */
function stolenConfig(): Config {
  const { config, dataDir } = oauth.server
  if (config.database.kind !== 'sqlite') return config
  const directory = temporaryDirectory()
  for (const name of FILES) copyFileSync(join(dataDir, name), join(directory, name))
  return { ...config, database: { kind: 'sqlite', file: join(directory, 'mintmark.db') } }
}

const database = () => oauth.server.database

/** How bytes may be written down. */
function spellings(bytes: Buffer): (string | Buffer)[] {
  const spelled = [bytes.toString('hex'), bytes.toString('hex').toUpperCase()]
  // Within a longer text, base64 begins at any of three places.
  for (const skip of [0, 1, 2]) {
    const part = bytes.subarray(skip)
    const whole = part.subarray(0, part.length - (part.length % 3))
    spelled.push(whole.toString('base64'), whole.toString('base64url'))
  }
  return [bytes, ...spelled]
}

function foundIn(bytes: Buffer, secrets: Map<string, string | Buffer>): string[] {
  const lower = Buffer.from(bytes.toString('latin1').toLowerCase(), 'latin1')
  return [...secrets].flatMap(([what, secret]) => {
    const raw = Buffer.isBuffer(secret) ? secret : Buffer.from(secret)
    const isThere =
      spellings(raw).some((form) => bytes.includes(form)) ||
      (!Buffer.isBuffer(secret) && lower.includes(secret.toLowerCase()))
    return isThere ? [what] : []
  })
}

describe('a stolen database', () => {
  it('holds one of everything', async () => {
    const bytes = await database().loot()
    const names = async (sql: string) => (await database().query(sql)).flatMap(Object.values).sort()
    expect(await names('select distinct kind from token')).toEqual(
      expect.arrayContaining(['oauth_access', 'oauth_code', 'oauth_refresh', 'session']),
    )
    expect(await names('select distinct model from oauth_record')).toEqual(
      expect.arrayContaining([
        'DeviceCode',
        'Interaction',
        'PushedAuthorizationRequest',
        'RefreshAnswer',
        'Session',
      ]),
    )
    expect(await names('select name from client')).toEqual(['App'])
    expect(await names('select id from "grant"')).toHaveLength(1)
    // What is looked for could be found.
    expect(foundIn(bytes, new Map([['name', 'alice@example.com']]))).toEqual(['name'])
  })

  it('holds nothing that was handed out, in no spelling', async () => {
    const bytes = await database().loot()
    expect(handedOut.size).toBeGreaterThan(15)
    expect(foundIn(bytes, handedOut)).toEqual([])
    // Nor enough of it to guess the rest: all but the beginning, all but the end.
    const halves = [...handedOut]
      .filter(([, secret]) => secret.length >= 30)
      .flatMap(([what, secret]): [string, string][] => [
        [`beginning of ${what}`, secret.slice(-26, -6)],
        [`end of ${what}`, secret.slice(-20)],
      ])
    expect(foundIn(bytes, new Map(halves))).toEqual([])
  })

  it('holds no key, private or shared', async () => {
    const bytes = await database().loot()
    const { keyring } = oauth.server.app.core
    const keys = new Map<string, string | Buffer>()
    const signing = [...keyring.oauthKeys(), ...keyring.s7Keys()]
    expect(signing.map(({ alg }) => alg).sort()).toEqual(['ES256', 'RS256', 'RS256'])
    for (const { id, alg, privateKey } of signing) {
      const jwk = privateKey.export({ format: 'jwk' })
      for (const name of ['d', 'p', 'q', 'dp', 'dq', 'qi'] as const) {
        const value = jwk[name]
        if (typeof value !== 'string') continue
        keys.set(`${alg} ${id} ${name}`, Buffer.from(value, 'base64url'))
      }
      keys.set(`${alg} ${id} DER`, privateKey.export({ format: 'der', type: 'pkcs8' }))
    }
    for (const purpose of [
      'cookie',
      'oauth',
      'oauth-record',
      'refresh-grace',
      'subject',
    ] as const) {
      keys.set(purpose, keyring.derived(purpose))
    }
    expect(foundIn(bytes, keys)).toEqual([])
    for (const text of ['PRIVATE KEY', '"d":"', '\\"d\\":\\"'])
      expect(bytes.includes(text), text).toBe(false)
  })

  it('does not open without the master key, and what is sealed in it opens with nothing in it', async () => {
    const config = stolenConfig()
    const wrongKey = new Secret(randomBytes(32).toString('base64url'))
    await expect(openCore(config, { masterKey: wrongKey })).rejects.toThrow(
      expect.objectContaining({ code: 'not_configured' }),
    )
    const sealed = (await database().query(
      `select 'record:' || digest as context, sealed from oauth_record
        union all select 'token:' || id, engine_record from token where engine_record is not null
        union all select 'grant:' || id, engine_record from "grant"
        union all select purpose || ':' || id, sealed from key`,
    )) as { context: string; sealed: string }[]
    expect(sealed.length).toBeGreaterThan(15)
    const candidates = [...new Set(await cells())].flatMap(keysMadeOf)
    expect(candidates.length).toBeGreaterThan(100)
    const opened = sealed.filter(({ context, sealed }) =>
      candidates.some((key) => unseal(sealed, { key, context }) !== undefined),
    )
    expect(opened).toEqual([])
    // The contexts are the right ones: with the server's key all but the keys themselves open.
    const key = oauth.server.app.core.keyring.derived('oauth')
    const byServer = sealed.filter(({ context, sealed }) => unseal(sealed, { key, context }))
    const own = sealed.filter(({ context }) => /^(record|token|grant):/.test(context))
    expect(byServer).toEqual(own)
  })

  it('gives nothing for its digests, whatever door they are presented at', async () => {
    const rows = await database().query(
      `select digest as value from token union select digest from oauth_record
        union select uid_digest from oauth_record union select user_code_digest from oauth_record
        union select secret_digest from client`,
    )
    const digests = rows.flatMap(({ value }) => (typeof value === 'string' ? [value] : []))
    expect(digests.length).toBeGreaterThan(15)
    const opened: string[] = []
    for (const digest of [...digests, `jwt:${jti}`]) {
      for (const door of await doorsOpenedBy(digest)) opened.push(`${door} by ${digest}`)
    }
    expect(opened).toEqual([])
    // All that is in use still works: nothing was taken for a theft either.
    const seen = await form({ token: handedOut.get('refresh token') ?? '' }, '/oauth2/introspect')
    expect(seen.body.active).toBe(true)
    const jwt = await form({ token: handedOut.get('JWT access token') ?? '' }, '/oauth2/introspect')
    expect(jwt.body.active).toBe(true)
  })
})

/** Every text in every table. */
async function cells(): Promise<string[]> {
  const found: string[] = []
  for (const table of await database().tables()) {
    for (const row of await database().query(`select * from "${table}"`)) {
      found.push(...Object.values(row).filter((cell) => typeof cell === 'string'))
    }
  }
  return found
}

/** Keys of the right size that somebody could make of a text without knowing any other. */
function keysMadeOf(text: string): Buffer[] {
  const decoded = ['base64url', 'hex', 'latin1'] as const
  const bytes = decoded.map((encoding) => Buffer.from(text, encoding))
  return [
    ...bytes.filter(({ length }) => length === 32),
    createHash('sha256').update(text).digest(),
    ...bytes.slice(0, 1).map((root) => deriveKey(root, 'oauth')),
  ]
}

async function doorsOpenedBy(digest: string): Promise<string[]> {
  const { server } = oauth
  const url = (path: string) => `${oauth.issuer}${path}`
  const opened: string[] = []
  const note = (door: string, isOpen: boolean) => {
    if (isOpen) opened.push(door)
  }
  for (const path of ['/api/v1/me', '/api/v3/oauth2/refresh_tokens/', '/oauth2/userinfo']) {
    note(path, (await server.call('GET', path, { token: digest })).status === 200)
  }
  note('introspect', (await form({ token: digest }, '/oauth2/introspect')).body.active === true)
  await form({ token: digest }, '/oauth2/revoke')
  const grants: Record<string, Record<string, string>> = {
    refresh: { grant_type: 'refresh_token', refresh_token: digest },
    device: { grant_type: DEVICE_CODE, device_code: digest },
    code: {
      grant_type: 'authorization_code',
      code: digest,
      redirect_uri: REDIRECT_URI,
      code_verifier: handedOut.get('waiting code verifier') ?? '',
    },
  }
  for (const [name, fields] of Object.entries(grants)) {
    note(name, (await form(fields)).body.error !== 'invalid_grant')
  }
  const asClient = { clientId: app.clientId, secret: digest }
  const authenticated = await post(oauth, '/oauth2/introspect', { token: 'x' }, asClient)
  note('client secret', authenticated.status !== 401)
  const cookie = ['mintmark_login', 'mintmark_oauth_session', 'mintmark_oauth_interaction']
    .map((name) => `${name}=${digest}`)
    .join('; ')
  const page = await fetch(url('/account/grants'), { headers: { cookie } })
  note('login cookie', !(await page.text()).includes('name="password"'))
  const urn = encodeURIComponent(`urn:ietf:params:oauth:request_uri:${digest}`)
  const query = `client_id=${app.clientId}&request_uri=${urn}`
  const asked = await fetch(url(`/oauth2/authorize?${query}`), {
    headers: { cookie },
    redirect: 'manual',
  })
  note('pushed request', asked.status !== 400)
  const interaction = await fetch(url(`/oauth2/interaction/${digest}`), { headers: { cookie } })
  note('interaction', interaction.status === 200)
  return opened
}
