import { generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto'
import { deflateRawSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { SigningKey } from '../../src/core/keys/signing-key.ts'
import { makeServiceToken, s7Client } from '../dialects/s7-client.ts'
import {
  type Claims,
  encoded,
  formsOf,
  openTrap,
  type Parts,
  partsOf,
  signatureOf,
  signed,
  signedWithSecret,
  type Trap,
} from '../support/forged-jwt.ts'
import {
  type OauthServer,
  post,
  type RegisteredClient,
  signIn,
  startOauth,
} from '../support/oauth.ts'

const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
const RESOURCE = 'https://api.example.com'
const OTHER_RESOURCE = 'https://other.example.com'
/** An id that nothing has. */
const NOBODY = '01b8dac5-b400-7000-8000-000000000000'
/** Of the answers to the forgeries of one test. */
const MEAN_MS = 50
/** For one forgery at all doors together, on a machine that has other things to do. */
const SLOWEST_MS = 1500

const attacker = {
  rsa: generateKeyPairSync('rsa', { modulusLength: 2048 }),
  ec: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
}

let oauth: OauthServer
let app: RegisteredClient
let trap: Trap
let rs: SigningKey
let es: SigningKey
let s7: SigningKey
/** An OAuth access token (RFC 9068) and an S7 access token, both as they were given out. */
let oauthJwt: string
let s7Jwt: string
let idToken: string
/** Ids of tokens that are no JWTs. */
let others: Record<string, string>

beforeAll(async () => {
  oauth = await startOauth()
  trap = await openTrap(() => ({
    keys: [{ ...attacker.rsa.publicKey.export({ format: 'jwk' }), kid: 'attacker', alg: 'RS256' }],
  }))
  const { id: ownerId } = await oauth.makePerson('alice')
  app = await oauth.register({
    grants: ['authorization_code', 'refresh_token', TOKEN_EXCHANGE],
    resources: [RESOURCE, OTHER_RESOURCE],
    scopes: ['openid', 'offline_access', 'mintmark', 'goauthentik.io/api'],
  })
  const scope = 'openid offline_access mintmark goauthentik.io/api'
  const tokens = await signIn(oauth, app, { parameters: { resource: RESOURCE, scope } })
  oauthJwt = tokens.access_token
  idToken = tokens.id_token ?? ''
  const call = s7Client(() => oauth.server)
  s7Jwt = (await makeServiceToken(call, { tokenName: 'svc' })).jwt
  const { keyring, oauth: engine } = oauth.server.app.core
  const keys = keyring.oauthKeys()
  rs = keys.find(({ alg }) => alg === 'RS256') as SigningKey
  es = keys.find(({ alg }) => alg === 'ES256') as SigningKey
  s7 = keyring.s7Keys()[0] as SigningKey
  const made = await oauth.server.call('POST', '/api/v1/tokens', {
    body: {
      ownerId,
      name: 'api',
      accessLevel: 'FULL_ACCESS',
      roles: null,
      groups: null,
      scopes: null,
    },
  })
  const refresh = await engine.findToken(tokens.refresh_token ?? '', 'oauth_refresh')
  others = { api: made.body.id, refresh: String(refresh?.token.id) }
})
afterAll(async () => {
  await trap.close()
  await oauth.close()
})

const asForm = (fields: Record<string, string>) => ({
  headers: { 'content-type': 'application/x-www-form-urlencoded' },
  rawBody: new URLSearchParams(fields).toString(),
})

/** Where an access token can be presented, and whether it passes. */
const DOORS: Record<string, (token: string) => Promise<boolean>> = {
  'api v1': async (token) =>
    (await oauth.server.call('GET', '/api/v1/me', { token })).status === 200,
  'api v3': async (token) =>
    (await oauth.server.call('GET', '/api/v3/oauth2/refresh_tokens/', { token })).status === 200,
  s7: async (token) =>
    (await oauth.server.call('GET', '/api/auth/v1/userInfo', { token })).status === 200,
  userinfo: async (token) =>
    (await oauth.server.call('GET', '/oauth2/userinfo', { token })).status === 200,
  'userinfo by form': async (token) =>
    (
      await oauth.server.call('POST', '/oauth2/userinfo', {
        token: null,
        ...asForm({ access_token: token }),
      })
    ).status === 200,
  introspect: async (token) =>
    (await oauth.server.call('POST', '/oauth2/introspect', asForm({ token }))).body?.active ===
    true,
  'ask introspect': async (token) =>
    (await oauth.server.call('POST', '/oauth2/introspect', { token, ...asForm({ token: 'x' }) }))
      .status === 200,
  verify: async (token) =>
    (
      await oauth.server.call('POST', '/api/v1/tokens/verify', {
        body: { token, audience: RESOURCE },
      })
    ).body?.active === true,
  exchange: async (token) =>
    (
      await post(
        oauth,
        '/oauth2/token',
        {
          grant_type: TOKEN_EXCHANGE,
          subject_token: token,
          subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
          resource: RESOURCE,
        },
        app,
      )
    ).status === 200,
}

async function doorsOpenTo(token: string): Promise<string[]> {
  const opened: string[] = []
  for (const [name, opens] of Object.entries(DOORS)) if (await opens(token)) opened.push(name)
  return opened
}

/** Presents each everywhere; all must be refused, soon, and without asking anybody. */
async function expectRefused(tokens: Record<string, string>): Promise<void> {
  const wrong: string[] = []
  const startedAt = performance.now()
  for (const [what, token] of Object.entries(tokens)) {
    const beganAt = performance.now()
    const opened = await doorsOpenTo(token)
    if (opened.length > 0) wrong.push(`${what} opens ${opened.join(', ')}`)
    const tookMs = performance.now() - beganAt
    if (tookMs > SLOWEST_MS) wrong.push(`${what} took ${Math.round(tookMs)} ms`)
  }
  expect(wrong).toEqual([])
  expect(trap.calls).toEqual([])
  const answers = Object.keys(tokens).length * Object.keys(DOORS).length
  expect((performance.now() - startedAt) / answers).toBeLessThan(MEAN_MS)
}

/** Both kinds of access tokens, each with the key that signs it. */
function bases(): { name: string; parts: Parts; key: SigningKey }[] {
  return [
    { name: 'OAuth', parts: partsOf(oauthJwt), key: rs },
    { name: 'S7', parts: partsOf(s7Jwt), key: s7 },
  ]
}

/** What an attack makes of each base, by name. */
function ofEach(
  attack: (base: { parts: Parts; key: SigningKey; jwt: string }) => Record<string, string>,
): Record<string, string> {
  return Object.fromEntries(
    bases().flatMap(({ name, parts, key }) =>
      Object.entries(attack({ parts, key, jwt: name === 'S7' ? s7Jwt : oauthJwt })).map(
        ([what, token]) => [`${name}, ${what}`, token],
      ),
    ),
  )
}

const now = () => Math.floor(oauth.server.clock.now() / 1000)
const sign = (parts: Parts, { privateKey, alg }: SigningKey) =>
  signed(parts, { key: privateKey, alg })

describe('the forge', () => {
  it('makes tokens that pass where nothing is wrong with them', async () => {
    const [of9068, ofS7] = bases().map(({ parts, key }) => sign(parts, key))
    expect(await doorsOpenTo(oauthJwt)).toEqual(['introspect', 'verify', 'exchange'])
    expect(await doorsOpenTo(of9068 ?? '')).toEqual(['introspect', 'verify', 'exchange'])
    const openToS7 = await doorsOpenTo(s7Jwt)
    expect(openToS7).toEqual(expect.arrayContaining(['api v1', 's7', 'introspect']))
    expect(await doorsOpenTo(ofS7 ?? '')).toEqual(openToS7)
    // One of the two opens each door but those that take no JWT at all.
    const all = new Set([...openToS7, 'introspect', 'verify', 'exchange'])
    expect(Object.keys(DOORS).filter((door) => !all.has(door))).toEqual(
      expect.arrayContaining(['userinfo', 'userinfo by form']),
    )
  })

  it('and they look as RFC 9068 wants them', () => {
    const { header, claims } = partsOf(oauthJwt)
    expect(header).toEqual({ alg: 'RS256', typ: 'at+jwt', kid: rs.id })
    expect(claims).toMatchObject({ iss: oauth.issuer, aud: RESOURCE, client_id: app.clientId })
    for (const name of ['sub', 'jti']) expect(claims[name]).toBeTypeOf('string')
    expect(Number(claims.exp) - Number(claims.iat)).toBe(600)
  })
})

describe('algorithms (68)', () => {
  it('none, however spelled, is none', () =>
    expectRefused(
      ofEach(({ parts, jwt }) => {
        const [, , signature] = jwt.split('.')
        const made: Record<string, string> = {}
        for (const alg of ['none', 'None', 'nOnE', 'NONE', '', ' none', 'none ', null, 0, []]) {
          const input = `${encoded({ ...parts.header, alg })}.${encoded(parts.claims)}`
          made[`alg ${JSON.stringify(alg)}`] = `${input}.`
          made[`alg ${JSON.stringify(alg)} with a signature`] = `${input}.${signature}`
        }
        return made
      }),
    ))

  it('no public key is taken for a shared secret', () =>
    expectRefused(
      ofEach(({ parts }) => {
        const made: Record<string, string> = {}
        for (const key of [rs, es, s7]) {
          for (const [form, secret] of formsOf(key.publicKey)) {
            for (const alg of ['HS256', 'HS512']) {
              const header = { ...parts.header, kid: key.id }
              made[`${alg} with the ${form} of ${key.alg} ${key.id}`] = signedWithSecret(
                { header, claims: parts.claims },
                { secret, alg },
              )
            }
          }
        }
        return made
      }),
    ))

  it('a key signs with its own algorithm and under its own name', () =>
    expectRefused(
      ofEach(({ parts, key }) => {
        const with_ = (header: Record<string, unknown>, by: KeyObject, alg: string) =>
          signed({ header: { ...parts.header, ...header }, claims: parts.claims }, { key: by, alg })
        return {
          'RS256 under the name of the EC key': with_({ kid: es.id }, key.privateKey, 'RS256'),
          'ES256 under the name of the RSA key': with_({ alg: 'ES256' }, es.privateKey, 'ES256'),
          'RS256 by the EC key': with_({ kid: key.id }, es.privateKey, 'ES256'),
          'ES256 said, RS256 meant': with_({ alg: 'ES256', kid: es.id }, key.privateKey, 'RS256'),
          PS256: with_({ alg: 'PS256' }, key.privateKey, 'PS256'),
          RS384: with_({ alg: 'RS384' }, key.privateKey, 'RS384'),
          RS512: with_({ alg: 'RS512' }, key.privateKey, 'RS512'),
          'rs256 in small letters': with_({ alg: 'rs256' }, key.privateKey, 'RS256'),
        }
      }),
    ))

  it('what a header calls critical is not passed over', () =>
    expectRefused(
      ofEach(({ parts, key }) => {
        const with_ = (header: Record<string, unknown>) =>
          sign({ header: { ...parts.header, ...header }, claims: parts.claims }, key)
        const raw = { ...parts.header, b64: false, crit: ['b64'] }
        const input = `${encoded(raw)}.${JSON.stringify(parts.claims).replaceAll('.', '%2e')}`
        return {
          'crit unknown': with_({ crit: ['x'], x: 1 }),
          'crit of exp': with_({ crit: ['exp'], exp: 1 }),
          'crit empty': with_({ crit: [] }),
          'crit no list': with_({ crit: 'b64' }),
          'b64 false': with_({ b64: false, crit: ['b64'] }),
          'b64 false, not critical': with_({ b64: false }),
          'b64 true, critical': with_({ b64: true, crit: ['b64'] }),
          'payload unencoded': `${input}.${signatureOf(input, { key: key.privateKey, alg: 'RS256' })}`,
        }
      }),
    ))

  it('the metadata lists no none and no shared secrets', async () => {
    const { body } = await oauth.server.call('GET', '/.well-known/openid-configuration')
    const lists = Object.entries(body).filter(([name]) => name.includes('alg_values'))
    expect(lists.length).toBeGreaterThan(2)
    for (const [name, values] of lists) {
      for (const value of values as string[]) expect(value, name).toMatch(/^(RS|PS|ES|Ed)/)
    }
  })
})

describe('where a key comes from (69)', () => {
  it('is never said by the token', () => {
    const jwk = attacker.rsa.publicKey.export({ format: 'jwk' })
    const sources: Record<string, unknown> = {
      jku: `${trap.url}/jwks`,
      x5u: `${trap.url}/cert.pem`,
      jwk,
      x5c: [attacker.rsa.publicKey.export({ type: 'spki', format: 'der' }).toString('base64')],
      'x5t#S256': randomBytes(32).toString('base64url'),
    }
    return expectRefused(
      ofEach(({ parts, key }) => {
        const made: Record<string, string> = {}
        for (const [name, value] of Object.entries({ ...sources, all: undefined })) {
          const said = name === 'all' ? sources : { [name]: value }
          for (const kid of [key.id, 'attacker', `${trap.url}/key`, undefined]) {
            const header = { ...parts.header, ...said, kid }
            made[`${name}, kid ${kid}`] = signed(
              { header, claims: { ...parts.claims, iss: trap.url } },
              { key: attacker.rsa.privateKey, alg: 'RS256' },
            )
            made[`${name}, kid ${kid}, our issuer`] = signed(
              { header, claims: parts.claims },
              { key: attacker.rsa.privateKey, alg: 'RS256' },
            )
          }
        }
        return made
      }),
    )
  })

  it('is named by the id of one of the keys for this purpose, and nothing else', () =>
    expectRefused(
      ofEach(({ parts, key }) => {
        const other = key === s7 ? rs : s7
        const made: Record<string, string> = {
          // Signed with a real key of ours, for another purpose.
          'the other purpose': sign(
            { ...parts, header: { ...parts.header, kid: other.id } },
            other,
          ),
          'the other purpose under this name': sign(parts, other),
        }
        const kids = [
          '../../dev/null',
          '/dev/null',
          '../../../../proc/self/environ',
          "' OR '1'='1",
          "x' UNION SELECT 'AAAA' --",
          'k'.repeat(1024 * 1024),
          '__proto__',
          'constructor',
          'toString',
          '0',
          '',
          0,
          null,
          undefined,
          [key.id],
          { id: key.id },
          `${key.id}\u0000`,
          ` ${key.id}`,
          key.id.toUpperCase(),
          key.id.slice(0, -1),
        ]
        for (const kid of kids) {
          const name = JSON.stringify(kid)?.slice(0, 40)
          made[`kid ${name}`] = sign({ ...parts, header: { ...parts.header, kid } }, key)
          made[`kid ${name}, an empty secret`] = signedWithSecret(
            { header: { ...parts.header, kid }, claims: parts.claims },
            { secret: '', alg: 'HS256' },
          )
        }
        return made
      }),
    ))
})

describe('claims (70)', () => {
  /** Each signed with the right key of the server: only the claims are wrong. */
  const wrong = (base: { parts: Parts; key: SigningKey }, edits: Record<string, Claims>) =>
    Object.fromEntries(
      Object.entries(edits).map(([what, edit]) => [
        what,
        sign({ header: base.parts.header, claims: { ...base.parts.claims, ...edit } }, base.key),
      ]),
    )

  it('of time must be there, be numbers, and be of now', () =>
    expectRefused(
      ofEach((base) =>
        wrong(base, {
          'no exp': { exp: undefined },
          'exp null': { exp: null },
          'exp past': { exp: now() - 61 },
          'exp zero': { exp: 0 },
          'exp negative': { exp: -1 },
          'exp far ahead': { exp: now() + 10 * 365 * 86_400 },
          'exp in milliseconds': { exp: (now() + 60) * 1000 },
          'exp too large': { exp: 1e300 },
          'exp as text': { exp: String(now() + 600) },
          'exp as list': { exp: [now() + 600] },
          'exp true': { exp: true },
          'nbf ahead': { nbf: now() + 120 },
          'nbf as text': { nbf: '0' },
          'iat ahead': { iat: now() + 120 },
          'iat as text': { iat: String(now()) },
        }),
      ),
    ))

  it('of whom and for whom must be the ones that were written', () =>
    expectRefused(
      ofEach((base) => wrong(base, { 'no sub': { sub: undefined }, 'sub null': { sub: null } })),
    ))

  it('of an OAuth token must name us, its resource and itself', () => {
    const base = { parts: partsOf(oauthJwt), key: rs }
    return expectRefused(
      wrong(base, {
        'no iat': { iat: undefined },
        'no iss': { iss: undefined },
        'another iss': { iss: 'https://evil.example.com' },
        'iss with a slash': { iss: `${oauth.issuer}/` },
        'iss that begins like ours': { iss: `${oauth.issuer}.evil.example.com` },
        'iss as list': { iss: [oauth.issuer] },
        'no aud': { aud: undefined },
        'aud null': { aud: null },
        'aud empty': { aud: '' },
        'aud of another resource': { aud: OTHER_RESOURCE },
        'aud of ourselves': { aud: oauth.issuer },
        'aud of the client': { aud: app.clientId },
        'aud as list of one': { aud: [RESOURCE] },
        'aud as list of two': { aud: [RESOURCE, OTHER_RESOURCE] },
        'aud as list of none': { aud: [] },
        'aud that begins like ours': { aud: `${RESOURCE}.evil.example.com` },
        'aud cut short': { aud: RESOURCE.slice(0, -1) },
        'aud with a slash': { aud: `${RESOURCE}/` },
        'aud in capitals': { aud: RESOURCE.toUpperCase() },
        'sub as number': { sub: 1 },
        'no client_id': { client_id: undefined },
        'no jti': { jti: undefined },
        'jti of nothing': { jti: NOBODY },
        'jti no id': { jti: "' OR '1'='1" },
        'jti as number': { jti: 1 },
        'jti of an api token': { jti: others.api },
        'jti of a refresh token': { jti: others.refresh },
      }),
    )
  })

  it('of an S7 token must carry what its clients read', () => {
    const base = { parts: partsOf(s7Jwt), key: s7 }
    const { header, claims } = base.parts
    return expectRefused({
      ...wrong(base, { 'no user_info': { user_info: undefined } }),
      'no tid': sign({ header: { ...header, tid: undefined }, claims }, s7),
      'tid of nothing': sign({ header: { ...header, tid: NOBODY }, claims }, s7),
      'tid no id': sign({ header: { ...header, tid: '../1' }, claims }, s7),
    })
  })
})

describe('types (71)', () => {
  it('an access token says that it is one', () =>
    expectRefused(
      ofEach(({ parts, key }) => {
        const made: Record<string, string> = {}
        const right = parts.header.typ
        const types = [
          ...['at+jwt', 'JWT', 'id_token+jwt', 'logout+jwt', 'dpop+jwt', 'at', 'jwt at+jwt'],
          ...['token-introspection+jwt', 'client-authentication+jwt', 'oauth-authz-req+jwt'],
          ...['secevent+jwt', 'text/at+jwt', '', null, 0, ['at+jwt'], undefined],
        ]
        for (const typ of types) {
          if (typ === right) continue
          const header = { ...parts.header, typ }
          made[`typ ${JSON.stringify(typ)}`] = sign({ header, claims: parts.claims }, key)
        }
        return made
      }),
    ))

  it('no other JWT of ours is one', async () => {
    const { claims } = partsOf(oauthJwt)
    const header = { alg: 'RS256', kid: rs.id }
    const times = { iat: now(), exp: now() + 600 }
    const subject = { iss: oauth.issuer, sub: claims.sub, aud: app.clientId, jti: claims.jti }
    const with_ = (typ: string | undefined, said: Claims) =>
      sign({ header: { ...header, typ }, claims: { ...subject, ...times, ...said } }, rs)
    await expectRefused({
      'the ID token': idToken,
      'an ID token with the claims of an access token': with_('JWT', claims),
      'the same without a type': with_(undefined, claims),
      'a logout token': with_('logout+jwt', {
        events: { 'http://schemas.openid.net/event/backchannel-logout': {} },
        sid: 'session',
      }),
      'an introspection answer': with_('token-introspection+jwt', {
        token_introspection: { ...claims, active: true },
      }),
      'an authorization answer (JARM)': with_('oauth-authz-resp+jwt', { code: 'code' }),
      'a client assertion': with_('client-authentication+jwt', {
        iss: app.clientId,
        sub: app.clientId,
        aud: oauth.issuer,
      }),
      'a DPoP proof': signed(
        {
          header: {
            alg: 'ES256',
            typ: 'dpop+jwt',
            jwk: attacker.ec.publicKey.export({ format: 'jwk' }),
          },
          claims: { jti: claims.jti, htm: 'GET', htu: `${oauth.issuer}/oauth2/userinfo`, ...times },
        },
        { key: attacker.ec.privateKey, alg: 'ES256' },
      ),
    })
  })

  it('neither kind of access token passes for the other', async () => {
    const of9068 = partsOf(oauthJwt)
    const ofS7 = partsOf(s7Jwt)
    await expectRefused({
      'OAuth claims under the S7 key': sign(
        { header: { ...ofS7.header, typ: 'at+jwt' }, claims: of9068.claims },
        s7,
      ),
      'S7 claims under the OAuth key': sign(
        { header: { ...of9068.header, typ: 'JWT', tid: ofS7.header.tid }, claims: ofS7.claims },
        rs,
      ),
      'S7 claims as at+jwt': sign(
        { header: { ...of9068.header, tid: ofS7.header.tid }, claims: ofS7.claims },
        rs,
      ),
    })
    // What S7's clients hold is no OAuth token, wherever that makes a difference.
    const openToS7 = await doorsOpenTo(s7Jwt)
    for (const door of ['exchange', 'userinfo', 'userinfo by form']) {
      expect(openToS7).not.toContain(door)
    }
  })
})

describe('spelling and arithmetic (72)', () => {
  it('three canonical parts, or nothing', () =>
    expectRefused(
      ofEach(({ jwt, parts, key }) => {
        const [header = '', claims = '', signature = ''] = jwt.split('.')
        const last = signature.slice(-1)
        const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
        // 256 bytes leave four bits of the last character unused.
        const twin = alphabet[alphabet.indexOf(last) ^ 1]
        const signedText = (first: string, second: string) =>
          `${first}.${second}.${signatureOf(`${first}.${second}`, { key: key.privateKey, alg: 'RS256' })}`
        return {
          'one part': header,
          'two parts': `${header}.${claims}`,
          'two parts and a dot': `${header}.${claims}.`,
          'four parts': `${jwt}.${signature}`,
          'four parts, one empty': `${jwt}.`,
          'a dot before': `.${jwt}`,
          'five parts': `${jwt}.${claims}.${signature}`,
          'six parts': `${jwt}.${jwt}`,
          'other unused bits': `${header}.${claims}.${signature.slice(0, -1)}${twin}`,
          'padded signature': `${jwt}==`,
          'padded header': `${header}=.${claims}.${signature}`,
          'the other alphabet': jwt.replaceAll('-', '+').replaceAll('_', '/').replace(/$/, '+'),
          'a space within': `${header}. ${claims}.${signature}`,
          'a line break within': `${header}.${claims}.\n${signature}`,
          'a zero byte': `${jwt}\u0000`,
          'signature cut': jwt.slice(0, -4),
          'signature prolonged': `${jwt}AAAA`,
          'no signature': `${header}.${claims}.AA`,
          'signature of zeros': `${header}.${claims}.${Buffer.alloc(256).toString('base64url')}`,
          'claims changed': `${header}.${encoded({ ...parts.claims, scope: 'mintmark' })}.${signature}`,
          'claims a list': signedText(header, encoded([parts.claims])),
          'claims text': signedText(header, encoded('"claims"')),
          'claims null': signedText(header, encoded('null')),
          'claims no JSON': signedText(header, encoded('{')),
          'claims not UTF-8': signedText(
            header,
            Buffer.from([0x7b, 0xff, 0x7d]).toString('base64url'),
          ),
          'claims padded': signedText(header, `${claims}=`),
          'header a list': signedText(encoded([parts.header]), claims),
          'header no JSON': signedText(encoded('{{'), claims),
          'depth of a thousand': signedText(
            header,
            encoded(`${'['.repeat(1e3)}${']'.repeat(1e3)}`),
          ),
        }
      }),
    ))

  it('an ECDSA signature is two numbers within the order', () => {
    const { claims, header } = partsOf(oauthJwt)
    const input = `${encoded({ ...header, alg: 'ES256', kid: es.id })}.${encoded(claims)}`
    const order = Buffer.from(
      'ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551',
      'hex',
    )
    const zero = Buffer.alloc(32)
    const one = Buffer.alloc(32)
    one[31] = 1
    const good = Buffer.from(signatureOf(input, { key: es.privateKey, alg: 'ES256' }), 'base64url')
    const signatures: Record<string, Buffer> = {
      'r = s = 0': Buffer.concat([zero, zero]),
      'r = 0': Buffer.concat([zero, good.subarray(32)]),
      's = 0': Buffer.concat([good.subarray(0, 32), zero]),
      'r = s = order': Buffer.concat([order, order]),
      'r = s = 1': Buffer.concat([one, one]),
      'r beyond the order': Buffer.concat([Buffer.alloc(32, 255), good.subarray(32)]),
      empty: Buffer.alloc(0),
      'one byte more': Buffer.concat([good, Buffer.alloc(1)]),
      'DER, zeros': Buffer.from('3006020100020100', 'hex'),
      'all zero, P-521': Buffer.alloc(132),
    }
    return expectRefused(
      Object.fromEntries(
        Object.entries(signatures).map(([what, bytes]) => [
          what,
          `${input}.${bytes.toString('base64url')}`,
        ]),
      ),
    )
  })

  it('nothing is decrypted, and nothing is unpacked', () => {
    const bomb = deflateRawSync(Buffer.alloc(10 * 1024 * 1024)).toString('base64url')
    const slow = { alg: 'PBES2-HS256+A128KW', enc: 'A128CBC-HS256', p2c: 1e9, p2s: 'AAAAAAAA' }
    const direct = { alg: 'dir', enc: 'A256GCM', zip: 'DEF' }
    const rest = ['AAAA', 'AAAAAAAAAAAAAAAA', bomb, 'AAAAAAAAAAAAAAAAAAAAAA']
    const [wrapped, iv, text, tag] = rest
    return expectRefused({
      'a bomb, five parts': `${encoded(direct)}..${iv}.${text}.${tag}`,
      'PBES2, five parts': `${encoded(slow)}.${wrapped}.${iv}.AAAA.${tag}`,
      'RSA-OAEP, five parts': `${encoded({ alg: 'RSA-OAEP', enc: 'A128GCM', kid: rs.id })}.${wrapped}.${iv}.AAAA.${tag}`,
      ...ofEach(({ parts, key }) => ({
        'a bomb, three parts': `${encoded({ ...parts.header, ...direct })}.${bomb}.AAAA`,
        'a bomb, signed': (() => {
          const input = `${encoded({ ...parts.header, zip: 'DEF', crit: ['zip'] })}.${bomb}`
          return `${input}.${signatureOf(input, { key: key.privateKey, alg: 'RS256' })}`
        })(),
        'PBES2, three parts': sign(
          { header: { ...parts.header, ...slow }, claims: parts.claims },
          key,
        ),
        'a megabyte of claims': sign(
          { header: parts.header, claims: { ...parts.claims, x: 'x'.repeat(1024 * 1024) } },
          key,
        ),
      })),
    })
  })

  it('what was tried has done no harm to the real ones', async () => {
    expect(await doorsOpenTo(oauthJwt)).toEqual(['introspect', 'verify', 'exchange'])
    expect(await doorsOpenTo(s7Jwt)).toContain('api v1')
  })
})
