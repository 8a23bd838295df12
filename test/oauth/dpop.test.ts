import { createHash, createHmac, randomBytes, randomUUID } from 'node:crypto'
import { calculateJwkThumbprint, exportJWK, generateKeyPair, SignJWT } from 'jose'
import * as client from 'openid-client'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  type OauthServer,
  post,
  REDIRECT_URI,
  type RegisteredClient,
  startOauth,
} from '../support/oauth.ts'
import { codeFor } from '../support/oauth-steps.ts'
import { isAlive } from '../support/people.ts'

type Keys = Awaited<ReturnType<typeof generateKeyPair>>

let oauth: OauthServer
let app: RegisteredClient
let phone: RegisteredClient
let keys: Keys

beforeAll(async () => {
  oauth = await startOauth()
  await oauth.makePerson('alice')
  const scopes = ['openid', 'profile', 'mintmark']
  app = await oauth.register({ scopes })
  phone = await oauth.register({ scopes, type: 'public' })
  keys = await generateKeyPair('ES256', { extractable: true })
})
afterAll(() => oauth.close())

const now = () => Math.floor(Date.now() / 1000)

/** A proof for `path`; `claims` and `header` replace what would be right. */
async function proof(
  path: string,
  {
    by = keys,
    token,
    claims = {},
    header = {},
    method = 'POST',
  }: {
    by?: Keys
    token?: string
    claims?: Record<string, unknown>
    header?: Record<string, unknown>
    method?: string
  } = {},
): Promise<string> {
  const ath = token && createHash('sha256').update(token).digest('base64url')
  return new SignJWT({
    jti: randomUUID(),
    htm: method,
    htu: `${oauth.issuer}${path}`,
    iat: now(),
    ...(ath === undefined ? {} : { ath }),
    ...claims,
  })
    .setProtectedHeader({
      typ: 'dpop+jwt',
      alg: 'ES256',
      jwk: await exportJWK(by.publicKey),
      ...header,
    })
    .sign(by.privateKey)
}

async function redemption(by: RegisteredClient) {
  const parameters = { scope: 'openid profile mintmark' }
  const { code, request } = await codeFor(oauth, by, { parameters })
  return {
    grant_type: 'authorization_code',
    code,
    redirect_uri: REDIRECT_URI,
    code_verifier: request.verifier,
  }
}

async function ask(fields: Record<string, string>, by: RegisteredClient, dpop?: string) {
  const headers: Record<string, string> = dpop === undefined ? {} : { dpop }
  const answer = await post(oauth, '/oauth2/token', fields, by, headers)
  const { access_token, refresh_token } = answer.body as Record<string, string>
  for (const secret of [access_token, refresh_token]) {
    if (secret !== undefined) oauth.server.remember(secret)
  }
  return {
    ...answer,
    accessToken: String(access_token),
    refreshToken: String(refresh_token),
    said: { status: answer.status, error: answer.body.error },
  }
}

/** Tokens that are bound to `keys`. */
const bound = async (by = phone) => ask(await redemption(by), by, await proof('/oauth2/token'))

const refresh = (refresh_token: string, by: RegisteredClient, dpop?: string) =>
  ask({ grant_type: 'refresh_token', refresh_token }, by, dpop)

async function userinfo(accessToken: string, dpop?: string, scheme = 'DPoP') {
  const response = await fetch(`${oauth.issuer}/oauth2/userinfo`, {
    headers: {
      authorization: `${scheme} ${accessToken}`,
      ...(dpop === undefined ? {} : { dpop }),
    },
  })
  return { status: response.status, challenge: response.headers.get('www-authenticate') ?? '' }
}

const refused = { status: 400, error: 'invalid_dpop_proof' }

describe('a token that is bound to a key (DPoP)', () => {
  it('works for who holds the key, all the way with openid-client', async () => {
    const DPoP = client.getDPoPHandle(phone.config, await client.randomDPoPKeyPair('ES256'))
    const parameters = { scope: 'openid profile' }
    const { request, callback } = await codeFor(oauth, phone, { parameters })
    const checks = {
      pkceCodeVerifier: request.verifier,
      expectedState: request.state,
      expectedNonce: request.nonce,
    }
    const tokens = await client.authorizationCodeGrant(phone.config, callback, checks, undefined, {
      DPoP,
    })
    expect(tokens.token_type).toBe('dpop')
    const subject = tokens.claims()?.sub ?? ''
    const info = await client.fetchUserInfo(phone.config, tokens.access_token, subject, { DPoP })
    expect(info.preferred_username).toBe('alice')
    const next = await client.refreshTokenGrant(
      phone.config,
      tokens.refresh_token ?? '',
      undefined,
      { DPoP },
    )
    expect(next.token_type).toBe('dpop')
    for (const secret of [tokens.access_token, next.access_token, next.refresh_token ?? '']) {
      oauth.server.remember(secret)
    }
  })

  it('says so when it is introspected', async () => {
    const { accessToken } = await bound(app)
    const seen = await client.tokenIntrospection(app.config, accessToken)
    const jkt = await calculateJwkThumbprint(await exportJWK(keys.publicKey))
    expect(seen).toMatchObject({ active: true, token_type: 'DPoP', cnf: { jkt } })
  })

  it('is no bearer token: not at userinfo, not at our own API', async () => {
    const { accessToken } = await bound()
    expect(await isAlive(oauth.server, accessToken)).toBe(false)
    expect((await userinfo(accessToken, undefined, 'Bearer')).status).toBe(401)
    for (const path of ['/api/v1/me', '/api/v3/oauth2/access_tokens/', '/v1/tokens']) {
      const response = await fetch(`${oauth.issuer}${path}`, {
        headers: { authorization: `Bearer ${accessToken}` },
      })
      expect([401, 403], path).toContain(response.status)
    }
    const unbound = await ask(await redemption(phone), phone)
    expect(await isAlive(oauth.server, unbound.accessToken)).toBe(true)
  })

  it('at userinfo needs a proof for this token, this method and this address, once', async () => {
    const { accessToken: token } = await bound()
    const right = { token, method: 'GET' }
    const fresh = (wish = {}) => proof('/oauth2/userinfo', { ...right, ...wish })
    expect((await userinfo(token, await fresh())).status).toBe(200)

    const once = await fresh()
    expect((await userinfo(token, once)).status).toBe(200)
    expect((await userinfo(token, once)).status).toBe(401)

    const other = await generateKeyPair('ES256', { extractable: true })
    const wrong: Record<string, string | undefined> = {
      none: undefined,
      method: await fresh({ method: 'POST' }),
      address: await proof('/oauth2/token', right),
      host: await fresh({ claims: { htu: 'https://evil.example.com/oauth2/userinfo' } }),
      'no hash of the token': await fresh({ token: undefined }),
      'hash of another token': await fresh({ token: `${token}x` }),
      key: await fresh({ by: other }),
      'too old': await fresh({ claims: { iat: now() - 400 } }),
      'too early': await fresh({ claims: { iat: now() + 400 } }),
      type: await fresh({ header: { typ: 'JWT' } }),
      'no jti': await fresh({ claims: { jti: undefined } }),
      garbage: 'x.y.z',
    }
    for (const [name, dpop] of Object.entries(wrong)) {
      const { status, challenge } = await userinfo(token, dpop)
      expect([400, 401], name).toContain(status)
      expect(challenge, name).toMatch(/DPoP/i)
    }
    expect((await userinfo(token, await fresh())).status).toBe(200)
  })
})

describe('a refresh token of a public client is bound, too', () => {
  it('and is of no use without a proof by its key', async () => {
    const { refreshToken } = await bound()
    const other = await generateKeyPair('ES256', { extractable: true })
    expect((await refresh(refreshToken, phone)).said).toEqual({
      status: 400,
      error: 'invalid_grant',
    })
    const strange = await proof('/oauth2/token', { by: other })
    expect((await refresh(refreshToken, phone, strange)).said).toEqual({
      status: 400,
      error: 'invalid_grant',
    })
    // The thief's tries harm nobody.
    const next = await refresh(refreshToken, phone, await proof('/oauth2/token'))
    expect(next.status).toBe(200)
    expect(next.body.token_type).toBe('DPoP')
  })

  it('a retry by another key within the grace is theft', async () => {
    const { refreshToken } = await bound()
    const next = await refresh(refreshToken, phone, await proof('/oauth2/token'))
    const again = await refresh(refreshToken, phone, await proof('/oauth2/token'))
    expect(again.body).toEqual(next.body)
    const other = await generateKeyPair('ES256', { extractable: true })
    const thief = await refresh(refreshToken, phone, await proof('/oauth2/token', { by: other }))
    expect(thief.said.status).toBe(400)
    expect(thief.body).not.toHaveProperty('access_token')
  })
})

describe('a proof at the token endpoint', () => {
  it.each([
    ['another method', () => ({ method: 'GET' })],
    ['another address', () => ({ claims: { htu: 'https://evil.example.com/oauth2/token' } })],
    ['no address', () => ({ claims: { htu: undefined } })],
    ['no time', () => ({ claims: { iat: undefined } })],
    ['a time in words', () => ({ claims: { iat: String(now()) } })],
    ['no jti', () => ({ claims: { jti: undefined } })],
    ['another type', () => ({ header: { typ: 'at+jwt' } })],
    ['no type', () => ({ header: { typ: undefined } })],
  ])('with %s is refused, and the code is not lost', async (_, wish) => {
    const fields = await redemption(phone)
    expect((await ask(fields, phone, await proof('/oauth2/token', wish()))).said).toEqual(refused)
    expect((await ask(fields, phone, await proof('/oauth2/token'))).status).toBe(200)
  })

  it('made with a private key in its header, a weak algorithm or none is refused', async () => {
    const fields = await redemption(phone)
    const jwk = await exportJWK(keys.privateKey)
    const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
    const payload = encode({
      jti: randomUUID(),
      htm: 'POST',
      htu: `${oauth.issuer}/oauth2/token`,
      iat: now(),
    })
    const publicJwk = await exportJWK(keys.publicKey)
    const none = `${encode({ typ: 'dpop+jwt', alg: 'none', jwk: publicJwk })}.${payload}.`
    const secret = randomBytes(32)
    const oct = { kty: 'oct', k: secret.toString('base64url') }
    const signed = `${encode({ typ: 'dpop+jwt', alg: 'HS256', jwk: oct })}.${payload}`
    const mac = createHmac('sha256', secret).update(signed).digest('base64url')
    const symmetric = `${signed}.${mac}`
    for (const wrong of [await proof('/oauth2/token', { header: { jwk } }), none, symmetric]) {
      expect((await ask(fields, phone, wrong)).said).toEqual(refused)
    }
  })

  it('is used once, by fifty at the same time, too', async () => {
    const dpop = await proof('/oauth2/token')
    const worker = await oauth.register({
      redirectUris: [],
      grants: ['client_credentials'],
      scopes: ['mintmark'],
    })
    const fields = { grant_type: 'client_credentials', scope: 'mintmark' }
    const answers = await Promise.all(Array.from({ length: 50 }, () => ask(fields, worker, dpop)))
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
    expect((await ask(fields, worker, dpop)).status).toBe(400)
  })

  it('that is too old is good with a nonce of ours', async () => {
    const fields = await redemption(phone)
    const iat = now() - 3600
    const old = await ask(fields, phone, await proof('/oauth2/token', { claims: { iat } }))
    expect(old.said).toEqual({ status: 400, error: 'use_dpop_nonce' })
    const nonce = old.headers.get('dpop-nonce') ?? ''
    expect(nonce).not.toBe('')
    const made = await proof('/oauth2/token', { claims: { iat, nonce: 'made-up' } })
    const refusedNonce = await ask(fields, phone, made)
    expect(refusedNonce.said).toEqual({ status: 400, error: 'use_dpop_nonce' })
    const right = await proof('/oauth2/token', { claims: { iat, nonce } })
    expect((await ask(fields, phone, right)).status).toBe(200)
  })

  it('with a nonce that is too old is told a new one', async () => {
    const fields = { grant_type: 'refresh_token', refresh_token: (await bound()).refreshToken }
    const iat = now() - 3600
    const old = await ask(fields, phone, await proof('/oauth2/token', { claims: { iat } }))
    const nonce = old.headers.get('dpop-nonce') ?? ''
    oauth.advance(20 * 60_000)
    const late = await ask(fields, phone, await proof('/oauth2/token', { claims: { nonce } }))
    expect(late.said).toEqual({ status: 400, error: 'use_dpop_nonce' })
    expect(late.headers.get('dpop-nonce')).not.toBe(nonce)
  })

  it('must be by the key that the request named, if it named one', async () => {
    const jkt = await calculateJwkThumbprint(await exportJWK(keys.publicKey))
    const parameters = { dpop_jkt: jkt }
    const { code, request } = await codeFor(oauth, app, {
      parameters: { ...parameters, scope: 'openid' },
    })
    const fields = {
      grant_type: 'authorization_code',
      code,
      redirect_uri: REDIRECT_URI,
      code_verifier: request.verifier,
    }
    const other = await generateKeyPair('ES256', { extractable: true })
    expect((await ask(fields, app)).status).toBe(400)
    expect((await ask(fields, app, await proof('/oauth2/token', { by: other }))).status).toBe(400)
    expect((await ask(fields, app, await proof('/oauth2/token'))).status).toBe(200)
  })
})
