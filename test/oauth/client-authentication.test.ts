import { exportJWK, exportSPKI, generateKeyPair, type JWTPayload, SignJWT } from 'jose'
import * as client from 'openid-client'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  type OauthServer,
  post,
  type RegisteredClient,
  signIn,
  startOauth,
} from '../support/oauth.ts'
import { ASSERTION_TYPE, DEVICE_CODE } from '../support/oauth-steps.ts'

type Keys = Awaited<ReturnType<typeof generateKeyPair>>

const REFUSED = { status: 401, error: 'invalid_client' }
const GRANTS = ['authorization_code', 'refresh_token', 'client_credentials', DEVICE_CODE]

let oauth: OauthServer
let app: RegisteredClient
let other: RegisteredClient
let refreshToken: string

beforeAll(async () => {
  oauth = await startOauth()
  await oauth.makePerson('alice')
  app = await oauth.register({ grants: GRANTS, scopes: ['openid', 'mintmark'] })
  other = await oauth.register({ name: 'Other', grants: GRANTS })
  const tokens = await signIn(oauth, app, { parameters: { scope: 'openid' } })
  refreshToken = tokens.refresh_token ?? ''
})
afterAll(() => oauth.close())

/** Every door that wants to know which client asks. */
const doors = (): [string, Record<string, string>][] => [
  ['/oauth2/token', { grant_type: 'client_credentials' }],
  ['/oauth2/token', { grant_type: 'refresh_token', refresh_token: refreshToken }],
  ['/oauth2/token', { grant_type: 'authorization_code', code: 'x', redirect_uri: 'x' }],
  ['/oauth2/revoke', { token: refreshToken }],
  ['/oauth2/introspect', { token: refreshToken }],
  ['/oauth2/device', { scope: 'openid' }],
  ['/oauth2/par', { response_type: 'code' }],
]

const basic = (text: string, scheme = 'Basic') => ({
  authorization: `${scheme} ${Buffer.from(text).toString('base64')}`,
})

async function isUntouched(): Promise<boolean> {
  return (await client.tokenIntrospection(app.config, refreshToken)).active
}

describe('a secret (bar 83)', () => {
  it('that is missing or wrong opens no door', async () => {
    const { clientId, secret = '' } = app
    const tries: [string, Record<string, string>, Record<string, string>][] = [
      ['none', { client_id: clientId }, {}],
      ['wrong', {}, basic(`${clientId}:wrong`)],
      ['nearly right', {}, basic(`${clientId}:${secret}x`)],
      ['cut', {}, basic(`${clientId}:${secret.slice(0, -1)}`)],
      ['in capitals', {}, basic(`${clientId}:${secret.toUpperCase()}`)],
      ["another client's", {}, basic(`${clientId}:${other.secret}`)],
      ['in the form and wrong', { client_id: clientId, client_secret: 'wrong' }, {}],
      ['the placeholder of the engine', {}, basic(`${clientId}:kept-as-a-digest`)],
      ['of nobody', {}, basic('nobody:wrong')],
    ]
    for (const [path, fields] of doors()) {
      for (const [name, own, headers] of tries) {
        const { status, body } = await post(oauth, path, { ...fields, ...own }, {}, headers)
        expect({ status, error: body.error }, `${path} ${name}`).toEqual(REFUSED)
      }
    }
    expect(await isUntouched()).toBe(true)
  })

  it('may be sent in one place: the header, or the form', async () => {
    const { clientId, secret = '' } = app
    const both = { client_id: clientId, client_secret: secret }
    for (const [path, fields] of doors()) {
      const twice = await post(oauth, path, { ...fields, ...both }, app)
      expect(twice.body.error, path).toMatch(/^invalid_(request|client)$/)
      const mixed = await post(oauth, path, { ...fields, client_id: other.clientId }, app)
      expect(mixed.body.error, path).toMatch(/^invalid_(request|client)$/)
      expect([400, 401]).toContain(mixed.status)
    }
    expect(await isUntouched()).toBe(true)
    const inForm = { grant_type: 'client_credentials', ...both }
    expect((await post(oauth, '/oauth2/token', inForm)).status).toBe(200)
    const seen = await post(oauth, '/oauth2/introspect', { token: refreshToken, ...both })
    expect(seen.body.active).toBe(true)
  })

  it('must be encoded as it should be', async () => {
    const { clientId, secret = '' } = app
    const right = Buffer.from(`${clientId}:${secret}`).toString('base64')
    const headers = [
      `Basic  ${right}`,
      `Basic ${right} x`,
      `Basic ${right},${right}`,
      `Basic ${right.slice(0, 8)}*${right.slice(8)}`,
      `Basic ${right.slice(0, 8)} ${right.slice(8)}`,
      `Basic ${right}====`,
      'Basic',
      `Basic ${Buffer.from(clientId).toString('base64')}`,
      `Basic ${Buffer.from(`${clientId}:`).toString('base64')}`,
      `Basic ${Buffer.from(`:${secret}`).toString('base64')}`,
      `Basic ${Buffer.from(`${clientId}:%zz`).toString('base64')}`,
      `Basic ${Buffer.from(` ${clientId}:${secret}`).toString('base64')}`,
      `Basic ${Buffer.from(`${clientId}:${secret}\u0000`).toString('base64')}`,
      `Digest ${right}`,
      `Bearer ${right}`,
    ]
    for (const [path, fields] of doors()) {
      for (const authorization of headers) {
        const { status, body } = await post(oauth, path, fields, {}, { authorization })
        expect([400, 401], `${path} ${authorization}`).toContain(status)
        expect(body.error).toMatch(/^invalid_(request|client)$/)
      }
    }
    expect(await isUntouched()).toBe(true)
  })

  it('that was replaced is dead at once', async () => {
    const own = await oauth.register({ grants: ['client_credentials'] })
    const fields = { grant_type: 'client_credentials' }
    expect((await post(oauth, '/oauth2/token', fields, own)).status).toBe(200)
    const { body } = await oauth.server.call('POST', `/api/v1/clients/${own.id}/secret`)
    oauth.server.remember(body.secret)
    expect((await post(oauth, '/oauth2/token', fields, own)).status).toBe(401)
    const now = { ...own, secret: body.secret }
    expect((await post(oauth, '/oauth2/token', fields, now)).status).toBe(200)
  })

  it('of a disabled or deleted client is dead at once', async () => {
    const [disabled, deleted] = [
      await oauth.register({ grants: GRANTS }),
      await oauth.register({ grants: GRANTS }),
    ]
    await oauth.server.call('PATCH', `/api/v1/clients/${disabled.id}`, { body: { active: false } })
    await oauth.server.call('DELETE', `/api/v1/clients/${deleted.id}`)
    for (const who of [disabled, deleted]) {
      for (const [path, fields] of doors()) {
        const { status, body } = await post(oauth, path, fields, who)
        expect({ status, error: body.error }, path).toEqual(REFUSED)
      }
    }
  })

  it('is what a confidential client has: it cannot pass for a public one, nor the reverse', async () => {
    const phone = await oauth.register({ type: 'public' })
    const pretending = { ...phone, secret: 'made-up' }
    for (const path of ['/oauth2/token', '/oauth2/revoke', '/oauth2/introspect']) {
      const fields = { grant_type: 'refresh_token', refresh_token: 'x', token: 'x' }
      const { status, body } = await post(oauth, path, fields, pretending)
      expect({ status, error: body.error }, path).toEqual(REFUSED)
    }
  })
})

describe('a signed assertion (private_key_jwt)', () => {
  let keys: Keys
  let strange: Keys
  let signing: RegisteredClient

  beforeAll(async () => {
    keys = await generateKeyPair('ES256', { extractable: true })
    strange = await generateKeyPair('ES256', { extractable: true })
    const jwk = { ...(await exportJWK(keys.publicKey)), kid: 'one', alg: 'ES256' }
    signing = await oauth.register({ grants: ['client_credentials'], jwks: { keys: [jwk] } })
  })

  const now = () => Math.floor(Date.now() / 1000)
  let made = 0

  async function assertion(
    claims: JWTPayload = {},
    {
      by = keys.privateKey,
      alg = 'ES256',
    }: { by?: Keys['privateKey'] | Uint8Array; alg?: string } = {},
  ): Promise<string> {
    const { clientId } = signing
    return new SignJWT({
      iss: clientId,
      sub: clientId,
      aud: oauth.issuer,
      jti: `assertion ${++made}`,
      iat: now(),
      exp: now() + 60,
      ...claims,
    })
      .setProtectedHeader({ alg, kid: 'one' })
      .sign(by)
  }

  const DOORS: [string, Record<string, string>][] = [
    ['/oauth2/token', { grant_type: 'client_credentials' }],
    ['/oauth2/introspect', { token: 'x' }],
    ['/oauth2/revoke', { token: 'x' }],
  ]

  const present = (path: string, fields: Record<string, string>, client_assertion: string) =>
    post(oauth, path, { ...fields, client_assertion, client_assertion_type: ASSERTION_TYPE })

  it('opens the doors, with openid-client, too', async () => {
    for (const [path, fields] of DOORS) {
      expect((await present(path, fields, await assertion())).status, path).toBe(200)
      const audience = [`${oauth.issuer}${path}`]
      if (path !== '/oauth2/token') {
        expect((await present(path, fields, await assertion({ aud: audience }))).status).toBe(200)
      }
    }
    const config = await client.discovery(
      new URL(oauth.issuer),
      signing.clientId,
      undefined,
      client.PrivateKeyJwt({ key: keys.privateKey, kid: 'one' }),
      { execute: [client.allowInsecureRequests] },
    )
    const tokens = await client.clientCredentialsGrant(config)
    oauth.server.remember(tokens.access_token)
    expect(await client.tokenIntrospection(config, tokens.access_token)).toMatchObject({
      active: true,
      client_id: signing.clientId,
    })
    await client.tokenRevocation(config, tokens.access_token)
    expect(await client.tokenIntrospection(config, tokens.access_token)).toEqual({ active: false })
  })

  it('is good once: at each door, at all of them, and for fifty at the same time', async () => {
    for (const [path, fields] of DOORS) {
      const once = await assertion({ aud: oauth.issuer })
      const answers = await Promise.all(
        Array.from({ length: 50 }, () => present(path, fields, once)),
      )
      expect(
        answers.filter(({ status }) => status === 200),
        path,
      ).toHaveLength(1)
      for (const [elsewhere, others] of DOORS) {
        const { status, body } = await present(elsewhere, others, once)
        expect({ status, error: body.error }, elsewhere).toEqual(REFUSED)
      }
    }
  })

  it('is refused in every other way', async () => {
    const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
    const right = await assertion()
    const publicKey = new TextEncoder().encode(await exportSPKI(keys.publicKey))
    const wrong: Record<string, string> = {
      'for another audience': await assertion({ aud: 'https://evil.example.com' }),
      'for part of an audience': await assertion({ aud: oauth.issuer.slice(0, -1) }),
      'without an audience': await assertion({ aud: undefined } as never),
      expired: await assertion({ exp: now() - 60 }),
      'without an end': await assertion({ exp: undefined } as never),
      'with an end in words': await assertion({ exp: '9999999999' } as never),
      'not valid yet': await assertion({ nbf: now() + 600 }),
      'without jti': await assertion({ jti: undefined } as never),
      'of another issuer': await assertion({ iss: other.clientId }),
      'without an issuer': await assertion({ iss: undefined } as never),
      'about another client': await assertion({ sub: other.clientId }),
      'about nobody': await assertion({ sub: 'nobody', iss: 'nobody' }),
      'by another key': await assertion({}, { by: strange.privateKey }),
      'by the public key as a secret': await assertion({}, { by: publicKey, alg: 'HS256' }),
      'with another signature': `${right.slice(0, -8)}AAAAAAAA`,
      unsigned: `${encode({ alg: 'none' })}.${right.split('.')[1]}.`,
      'in two parts': right.split('.').slice(0, 2).join('.'),
      garbage: 'x.y.z',
    }
    for (const [path, fields] of DOORS) {
      for (const [name, token] of Object.entries(wrong)) {
        const { status, body } = await present(path, fields, token)
        expect([400, 401], `${path} ${name}`).toContain(status)
        expect(body.error, `${path} ${name}`).toMatch(/^invalid_(client|request)$/)
      }
      const type = { ...fields, client_assertion_type: 'urn:x' }
      const untyped = await post(oauth, path, { ...type, client_assertion: await assertion() })
      expect([400, 401], path).toContain(untyped.status)
      const named = await present(path, { ...fields, client_id: other.clientId }, await assertion())
      expect([400, 401], path).toContain(named.status)
    }
  })

  it('and a secret are not mixed', async () => {
    for (const [path, fields] of DOORS) {
      const { status } = await post(
        oauth,
        path,
        { ...fields, client_assertion: await assertion(), client_assertion_type: ASSERTION_TYPE },
        app,
      )
      expect([400, 401], path).toContain(status)
      const secret = await post(oauth, path, fields, { clientId: signing.clientId, secret: 'x' })
      expect(secret.status, path).toBe(401)
      const none = await post(oauth, path, fields, { clientId: signing.clientId })
      expect(none.status, path).toBe(401)
    }
  })

  it('by a key that was taken away is dead at once', async () => {
    const jwk = await exportJWK(strange.publicKey)
    await oauth.server.call('PATCH', `/api/v1/clients/${signing.id}`, {
      body: { jwks: { keys: [jwk] } },
    })
    for (const [path, fields] of DOORS) {
      expect((await present(path, fields, await assertion())).status, path).toBe(401)
    }
  })
})
