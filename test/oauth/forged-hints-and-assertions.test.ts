import { generateKeyPairSync, type KeyObject, randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { SigningKey } from '../../src/core/keys/signing-key.ts'
import type { Browser } from '../support/browser.ts'
import {
  type Claims,
  encoded,
  formsOf,
  type Header,
  openTrap,
  type Parts,
  partsOf,
  signed,
  signedWithSecret,
  type Trap,
} from '../support/forged-jwt.ts'
import {
  begin,
  type OauthServer,
  post,
  REDIRECT_URI,
  type RegisteredClient,
  signIn,
  startOauth,
} from '../support/oauth.ts'

const ASSERTION = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'

const attacker = generateKeyPairSync('rsa', { modulusLength: 2048 })
const attackerJwk = { ...attacker.publicKey.export({ format: 'jwk' }), kid: 'attacker' }

let oauth: OauthServer
let trap: Trap
let rs: SigningKey
let es: SigningKey
let s7: SigningKey

beforeAll(async () => {
  oauth = await startOauth()
  trap = await openTrap(() => ({ keys: [attackerJwk] }))
  await oauth.makePerson('alice')
  await oauth.makePerson('bob')
  const { keyring } = oauth.server.app.core
  rs = keyring.oauthKeys().find(({ alg }) => alg === 'RS256') as SigningKey
  es = keyring.oauthKeys().find(({ alg }) => alg === 'ES256') as SigningKey
  s7 = keyring.s7Keys()[0] as SigningKey
})
afterAll(async () => {
  await trap.close()
  await oauth.close()
})

const now = () => Math.floor(oauth.server.clock.now() / 1000)

/** Where a header may want a key to be fetched or taken from. */
const SOURCES = (): Record<string, Header> => ({
  jku: { jku: `${trap.url}/jwks` },
  x5u: { x5u: `${trap.url}/cert.pem` },
  jwk: { jwk: attackerJwk },
  x5c: { x5c: [attacker.publicKey.export({ type: 'spki', format: 'der' }).toString('base64')] },
})

const KIDS = ['../../dev/null', "' OR '1'='1", '__proto__', 'k'.repeat(2000), 'unknown', 0, null]

/** What nobody may take for signed by the owner of `publicKey`, whose name is `kid`. */
function forgeries(
  { header, claims }: Parts,
  { publicKey, kid }: { publicKey: KeyObject; kid: unknown },
): Record<string, string> {
  const made: Record<string, string> = {}
  const byAttacker = (extra: Header) =>
    signed({ header: { ...header, ...extra }, claims }, { key: attacker.privateKey, alg: 'RS256' })
  for (const alg of ['none', 'None', 'nOnE', '', null]) {
    made[`alg ${alg}`] = `${encoded({ ...header, alg })}.${encoded(claims)}.`
  }
  for (const [form, secret] of formsOf(publicKey)) {
    made[`HS256 with the ${form}`] = signedWithSecret({ header, claims }, { secret, alg: 'HS256' })
  }
  for (const [name, extra] of Object.entries(SOURCES())) {
    for (const named of [kid, 'attacker', undefined]) {
      made[`${name}, kid ${named}`] = byAttacker({ ...extra, kid: named, alg: 'RS256' })
    }
  }
  for (const named of KIDS) made[`kid ${String(named).slice(0, 20)}`] = byAttacker({ kid: named })
  made['r = s = 0'] =
    `${encoded({ ...header, alg: 'ES256', kid: es.id })}.${encoded(claims)}.${Buffer.alloc(64).toString('base64url')}`
  made['two parts'] = `${encoded(header)}.${encoded(claims)}`
  made['six parts'] = `${byAttacker({})}.${byAttacker({})}`
  made['not a JWT'] = 'x'
  return made
}

describe('id_token_hint', () => {
  let app: RegisteredClient
  let other: RegisteredClient
  let browser: Browser
  let idToken: string
  let bobsSubject: unknown
  let accessToken: string

  beforeAll(async () => {
    const resource = 'https://api.example.com'
    app = await oauth.register({ resources: [resource] })
    other = await oauth.register()
    browser = oauth.browser()
    idToken = (await signIn(oauth, app, { browser })).id_token ?? ''
    accessToken = (await signIn(oauth, app, { browser, parameters: { resource } })).access_token
    bobsSubject = (await signIn(oauth, app, { username: 'bob' })).claims()?.sub
  })

  /** What a hint leads to: whether the logout form takes it, and whether it gets a code without a word. */
  async function effectOf(hint: string): Promise<string[]> {
    const query = new URLSearchParams({ id_token_hint: hint })
    const logout = await oauth.browser().open(`/oauth2/session/end?${query}`)
    const request = await begin(app.config, { id_token_hint: hint, prompt: 'none' })
    const { url } = await browser.open(request.url)
    return [
      ...(logout.status === 200 ? ['logout'] : []),
      ...(url.searchParams.has('code') ? ['code'] : []),
    ]
  }

  async function expectNoEffect(hints: Record<string, string>): Promise<void> {
    const wrong: string[] = []
    for (const [what, hint] of Object.entries(hints)) {
      const effect = await effectOf(hint)
      if (effect.length > 0) wrong.push(`${what}: ${effect}`)
    }
    expect(wrong).toEqual([])
    expect(trap.calls).toEqual([])
  }

  it('of ours says who it is', async () => {
    expect(await effectOf(idToken)).toEqual(['logout', 'code'])
    const { header, claims } = partsOf(idToken)
    const again = signed({ header, claims }, { key: rs.privateKey, alg: 'RS256' })
    expect(await effectOf(again)).toEqual(['logout', 'code'])
  })

  it('that somebody else has made says nothing', () =>
    expectNoEffect(forgeries(partsOf(idToken), { publicKey: rs.publicKey, kid: rs.id })))

  it('that another key of ours has signed, or that says something else, says nothing', () => {
    const { header, claims } = partsOf(idToken)
    const with_ = (
      edit: { header?: Header; claims?: Claims },
      key: { privateKey: KeyObject; alg: string } = rs,
    ) =>
      signed(
        { header: { ...header, ...edit.header }, claims: { ...claims, ...edit.claims } },
        { key: key.privateKey, alg: key.alg },
      )
    return expectNoEffect({
      'by the S7 key': with_({ header: { kid: s7.id } }, s7),
      'by the S7 key under the name of ours': with_({}, s7),
      'by the EC key': with_({ header: { kid: es.id, alg: 'ES256' } }, es),
      'by the RSA key as the EC key': with_({ header: { kid: es.id, alg: 'ES256' } }),
      PS256: with_({ header: { alg: 'PS256' } }, { ...rs, alg: 'PS256' }),
      'crit unknown': with_({ header: { crit: ['x'], x: 1 } }),
      'another issuer': with_({ claims: { iss: 'https://evil.example.com' } }),
      'no issuer': with_({ claims: { iss: undefined } }),
      'no audience': with_({ claims: { aud: undefined } }),
      'no client for an audience': with_({ claims: { aud: 'https://api.example.com' } }),
      'no subject': with_({ claims: { sub: undefined } }),
      'a number for a subject': with_({ claims: { sub: 1 } }),
      'nbf ahead': with_({ claims: { nbf: now() + 3600 } }),
      'nbf as text': with_({ claims: { nbf: '0' } }),
      'an access token': accessToken,
    })
  })

  it('of another client or user gets no code', async () => {
    const { header, claims } = partsOf(idToken)
    const sign = (edit: Claims) =>
      signed({ header, claims: { ...claims, ...edit } }, { key: rs.privateKey, alg: 'RS256' })
    expect(await effectOf(sign({ sub: bobsSubject }))).toEqual(['logout'])
    expect(await effectOf(sign({ aud: other.clientId }))).toEqual(['logout'])
  })
})

describe('client_assertion', () => {
  const own = {
    rsa: generateKeyPairSync('rsa', { modulusLength: 2048 }),
    ec: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  }
  const byRsa = { key: own.rsa.privateKey, alg: 'RS256' }
  const byEc = { key: own.ec.privateKey, alg: 'ES256' }
  let clientId: string
  let otherId: string

  beforeAll(async () => {
    const keys = [
      { ...own.rsa.publicKey.export({ format: 'jwk' }), kid: 'rsa', alg: 'RS256', use: 'sig' },
      { ...own.ec.publicKey.export({ format: 'jwk' }), kid: 'ec', alg: 'ES256', use: 'sig' },
    ]
    const settings = {
      grants: ['client_credentials', 'authorization_code'],
      scopes: ['openid', 'mintmark'],
      redirectUris: [REDIRECT_URI],
    }
    for (const name of ['Signing app', 'Another app']) {
      const made = await oauth.server.call('POST', '/api/v1/clients', {
        body: { name, ...settings, jwks: { keys } },
      })
      expect(made.status, made.text).toBe(201)
      if (name === 'Signing app') clientId = made.body.clientId
      else otherId = made.body.clientId
    }
  })

  /** Good for one use. */
  const fresh = (): Parts => ({
    header: { alg: 'RS256', kid: 'rsa', typ: 'JWT' },
    claims: {
      iss: clientId,
      sub: clientId,
      aud: oauth.issuer,
      jti: randomUUID(),
      iat: now(),
      exp: now() + 60,
    },
  })

  const DOORS: Record<string, Record<string, string>> = {
    '/oauth2/token': { grant_type: 'client_credentials', scope: 'mintmark' },
    '/oauth2/introspect': { token: 'x' },
    '/oauth2/revoke': { token: 'x' },
    '/oauth2/par': {
      response_type: 'code',
      redirect_uri: REDIRECT_URI,
      scope: 'openid',
      code_challenge: 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM',
      code_challenge_method: 'S256',
    },
  }

  async function statusAt(path: string, assertion: string, more: Record<string, string> = {}) {
    const { status, body } = await post(oauth, path, {
      ...DOORS[path],
      // Pushed is an authorization request, which names its client (RFC 9126, section 2.1).
      ...(path === '/oauth2/par' ? { client_id: clientId } : {}),
      client_assertion_type: ASSERTION,
      client_assertion: assertion,
      ...more,
    })
    if (typeof body.access_token === 'string') oauth.server.remember(body.access_token)
    return status
  }

  /** Each attack at each door, with an assertion that has not been used. */
  async function expectRefused(attacks: () => Record<string, string>): Promise<void> {
    const wrong: string[] = []
    for (const path of Object.keys(DOORS)) {
      for (const [what, assertion] of Object.entries(attacks())) {
        const status = await statusAt(path, assertion)
        if (status !== 401 && status !== 400) wrong.push(`${what} at ${path}: ${status}`)
      }
    }
    expect(wrong).toEqual([])
    expect(trap.calls).toEqual([])
  }

  it.each(Object.keys(DOORS))('of the client is taken at %s, once', async (path) => {
    const good = path === '/oauth2/par' ? 201 : 200
    expect(await statusAt(path, signed(fresh(), byRsa))).toBe(good)
    const ec = { ...fresh(), header: { alg: 'ES256', kid: 'ec' } }
    expect(await statusAt(path, signed(ec, byEc))).toBe(good)
    const twice = signed(fresh(), byRsa)
    const statuses = await Promise.all(Array.from({ length: 20 }, () => statusAt(path, twice)))
    expect(statuses.filter((status) => status === good)).toHaveLength(1)
    expect(statuses.filter((status) => status === 401)).toHaveLength(19)
    // Nor at another door afterwards.
    for (const other of Object.keys(DOORS)) expect(await statusAt(other, twice)).toBe(401)
  })

  it('that somebody else has made is refused', () =>
    expectRefused(() => ({
      ...forgeries(fresh(), { publicKey: own.rsa.publicKey, kid: 'rsa' }),
      'signed by the server': signed(fresh(), { key: rs.privateKey, alg: 'RS256' }),
      'signed by the server under its name': signed(
        { ...fresh(), header: { alg: 'RS256', kid: rs.id } },
        { key: rs.privateKey, alg: 'RS256' },
      ),
      'the RSA key as the EC key': signed(
        { ...fresh(), header: { alg: 'ES256', kid: 'ec' } },
        byRsa,
      ),
      'the EC key as the RSA key': signed(
        { ...fresh(), header: { alg: 'RS256', kid: 'rsa' } },
        byEc,
      ),
      'ES256 under the name of the RSA key': signed(
        { ...fresh(), header: { alg: 'ES256', kid: 'rsa' } },
        byEc,
      ),
      'crit unknown': signed(
        { ...fresh(), header: { ...fresh().header, crit: ['x'], x: 1 } },
        byRsa,
      ),
      'b64 false': signed(
        { ...fresh(), header: { ...fresh().header, crit: ['b64'], b64: false } },
        byRsa,
      ),
    })))

  it('whose claims are wrong is refused, however well it is signed', () => {
    const edits = (): Record<string, Claims> => ({
      'no exp': { exp: undefined },
      'exp past': { exp: now() - 61 },
      'exp far ahead': { exp: now() + 86_400 },
      'exp as text': { exp: String(now() + 60) },
      'exp null': { exp: null },
      'nbf ahead': { nbf: now() + 120 },
      'nbf as text': { nbf: '0' },
      'iat ahead': { iat: now() + 120 },
      'iat as text': { iat: String(now()) },
      'no iss': { iss: undefined },
      'another iss': { iss: otherId },
      'iss of the server': { iss: oauth.issuer },
      'no sub': { sub: undefined },
      'sub of nobody': { sub: 'nobody' },
      'sub of another client': { sub: otherId },
      'sub as list': { sub: [clientId] },
      'no aud': { aud: undefined },
      'another aud': { aud: 'https://evil.example.com' },
      'aud that begins like ours': { aud: `${oauth.issuer}.evil.example.com` },
      'aud cut short': { aud: oauth.issuer.slice(0, -1) },
      'aud as list of others': { aud: ['https://evil.example.com', clientId] },
      'aud of the userinfo door': { aud: `${oauth.issuer}/oauth2/userinfo` },
      'no jti': { jti: undefined },
      'jti empty': { jti: '' },
      'jti as number': { jti: 1 },
    })
    return expectRefused(() =>
      Object.fromEntries(
        Object.entries(edits()).map(([what, edit]) => {
          const { header, claims } = fresh()
          return [what, signed({ header, claims: { ...claims, ...edit } }, byRsa)]
        }),
      ),
    )
  })

  it('of one client is none of another', async () => {
    for (const path of Object.keys(DOORS)) {
      const status = await statusAt(path, signed(fresh(), byRsa), { client_id: otherId })
      expect([400, 401], path).toContain(status)
    }
  })
})
