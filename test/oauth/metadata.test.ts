import { request as httpRequest } from 'node:http'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ROUTES } from '../../src/oauth/routes.ts'
import { type OauthServer, post, startOauth } from '../support/oauth.ts'
import { startServer } from '../support/server.ts'

type Metadata = Record<string, unknown>

const OPENID = '/.well-known/openid-configuration'
const OAUTH = '/.well-known/oauth-authorization-server'

let oauth: OauthServer
let metadata: Metadata

beforeAll(async () => {
  oauth = await startOauth()
  metadata = (await (await fetch(`${oauth.issuer}${OPENID}`)).json()) as Metadata
})
afterAll(() => oauth.close())

/** A request whose Host header is not the server's; fetch would not send it. */
async function withHost(path: string, headers: Record<string, string>): Promise<string> {
  return new Promise((resolve, reject) => {
    const sent = httpRequest(`${oauth.issuer}${path}`, { headers }, (response) =>
      resolve(text(response)),
    )
    sent.on('error', reject)
    sent.end()
  })
}

describe('discovery', () => {
  it('names the configured issuer, whatever Host header is sent (bar 85)', async () => {
    const lies: Record<string, string>[] = [
      { host: 'evil.example.com' },
      { host: 'evil.example.com:443', 'x-forwarded-proto': 'https' },
      { 'x-forwarded-host': 'evil.example.com' },
      { forwarded: 'host=evil.example.com;proto=https' },
      { 'x-forwarded-proto': 'ftp', 'x-forwarded-for': '192.0.2.1' },
      { 'x-original-url': '/evil', 'x-rewrite-url': '/evil', 'x-forwarded-prefix': '/evil' },
    ]
    for (const path of [OPENID, OAUTH, ROUTES.jwks]) {
      const honest = await (await fetch(`${oauth.issuer}${path}`)).text()
      for (const headers of lies) expect(await withHost(path, headers)).toBe(honest)
    }
    expect(metadata.issuer).toBe(oauth.issuer)
  })

  it('is the same under both names, and may be read from every origin', async () => {
    const response = await fetch(`${oauth.issuer}${OAUTH}`, {
      headers: { origin: 'https://app.example.com' },
    })
    expect(await response.json()).toEqual(metadata)
    expect(response.headers.get('access-control-allow-credentials')).toBeNull()
  })

  it('lists endpoints that are there', async () => {
    const endpoints = Object.entries(metadata).filter(
      ([name]) => name.endsWith('_endpoint') || name === 'jwks_uri',
    )
    expect(endpoints.map(([name]) => name).sort()).toEqual([
      'authorization_endpoint',
      'device_authorization_endpoint',
      'end_session_endpoint',
      'introspection_endpoint',
      'jwks_uri',
      'pushed_authorization_request_endpoint',
      'revocation_endpoint',
      'token_endpoint',
      'userinfo_endpoint',
    ])
    for (const [name, url] of endpoints) {
      expect(String(url).startsWith(`${oauth.issuer}/oauth2/`), name).toBe(true)
      const got = await fetch(String(url), { redirect: 'manual' })
      const sent = await fetch(String(url), { method: 'POST', redirect: 'manual' })
      expect(
        [got.status, sent.status].some((status) => status !== 404),
        name,
      ).toBe(true)
    }
  })

  it('lists only what works, and nothing that is not safe', () => {
    expect(metadata).toMatchObject({
      response_types_supported: ['code'],
      code_challenge_methods_supported: ['S256'],
      authorization_response_iss_parameter_supported: true,
      claims_parameter_supported: false,
      request_uri_parameter_supported: false,
      dpop_signing_alg_values_supported: ['ES256', 'Ed25519', 'EdDSA'],
      subject_types_supported: ['public'],
    })
    // Left out means false, for these.
    for (const name of ['request_parameter_supported', 'require_pushed_authorization_requests']) {
      expect(metadata[name] ?? false, name).toBe(false)
    }
    const sorted = (name: string) => [...((metadata[name] ?? []) as string[])].sort()
    expect(sorted('grant_types_supported')).toEqual([
      'authorization_code',
      'client_credentials',
      'refresh_token',
      'urn:ietf:params:oauth:grant-type:device_code',
      'urn:ietf:params:oauth:grant-type:token-exchange',
    ])
    expect(sorted('response_modes_supported')).toEqual(['form_post', 'fragment', 'query'].sort())
    expect(sorted('id_token_signing_alg_values_supported')).toEqual(['ES256', 'RS256'])
    const methods = ['client_secret_basic', 'client_secret_post', 'none', 'private_key_jwt']
    expect(sorted('token_endpoint_auth_methods_supported')).toEqual(methods)
    expect(sorted('revocation_endpoint_auth_methods_supported')).toEqual(methods)
    expect(sorted('introspection_endpoint_auth_methods_supported')).toEqual(
      methods.filter((method) => method !== 'none'),
    )
    for (const [name, value] of Object.entries(metadata)) {
      if (!name.includes('alg_values')) continue
      for (const alg of value as string[]) expect(alg, name).not.toMatch(/none|^HS/i)
    }
    expect(metadata).not.toHaveProperty('registration_endpoint')
    expect(metadata).not.toHaveProperty('check_session_iframe')
    expect(metadata).not.toHaveProperty('backchannel_logout_supported')
  })

  it('does not tell strangers which scopes an organisation made up', async () => {
    await oauth.register({ scopes: ['openid', 'merger:secret'] })
    const now = await (await fetch(`${oauth.issuer}${OPENID}`)).text()
    expect(now).not.toContain('merger')
    expect(metadata.scopes_supported).toEqual([
      'openid',
      'profile',
      'email',
      'groups',
      'offline_access',
      'mintmark',
      'goauthentik.io/api',
    ])
    const claims = metadata.claims_supported as string[]
    for (const claim of ['sub', 'email', 'groups', 'name']) expect(claims).toContain(claim)
  })
})

describe('what is switched off is not there', () => {
  it.each([
    ['POST', '/oauth2/reg'],
    ['POST', '/oauth2/register'],
    ['GET', '/oauth2/reg/x'],
    ['POST', '/reg'],
    ['GET', '/auth'],
    ['POST', '/token'],
    ['GET', '/me'],
    ['POST', '/oauth2/backchannel'],
    ['POST', '/oauth2/challenge'],
    ['GET', '/interaction/x'],
    ['GET', '/oauth2/session/check'],
    ['GET', '/oauth2/session/end/confirm'],
    ['GET', '/oauth2/token'],
    ['GET', '/oauth2/par'],
    ['GET', '/oauth2/device'],
  ])('%s %s', async (method, path) => {
    const response = await fetch(`${oauth.issuer}${path}`, { method, redirect: 'manual' })
    expect([401, 404, 405]).toContain(response.status)
  })

  it('clients cannot register themselves, nor name a key set elsewhere', async () => {
    const { status } = await oauth.server.call('POST', '/api/v1/clients', {
      token: null,
      body: { name: 'x' },
    })
    expect(status).toBe(401)
    const { token } = await oauth.server.makeUser({ username: 'ursula' })
    const own = await oauth.server.call('POST', '/api/v1/clients', { token, body: { name: 'x' } })
    expect(own.status).toBe(403)
    const remote = await oauth.server.call('POST', '/api/v1/clients', {
      body: { name: 'x', jwks_uri: 'https://evil.example.com/jwks' },
    })
    expect(remote.status).toBe(400)
  })
})

describe('behind a proxy that ends TLS', () => {
  it('endpoints are those of the public URL', async () => {
    const issuer = 'https://auth.example.com'
    const server = await startServer({ MINTMARK_PUBLIC_URL: issuer })
    try {
      const { body } = await server.call('GET', OPENID, { token: null })
      expect(body.issuer).toBe(issuer)
      expect(body.token_endpoint).toBe(`${issuer}${ROUTES.token}`)
      expect(body.jwks_uri).toBe(`${issuer}${ROUTES.jwks}`)
    } finally {
      await server.close()
    }
  })
})

describe('limits', () => {
  it('long or many parameters are refused, not worked on (bar 49)', async () => {
    const long = 'x'.repeat(70_000)
    const form = await fetch(`${oauth.issuer}/oauth2/token`, {
      method: 'POST',
      body: new URLSearchParams({ grant_type: 'client_credentials', scope: long }),
    })
    expect(form.status).toBeGreaterThanOrEqual(400)
    expect(form.status).toBeLessThan(500)
    const many = await post(
      oauth,
      '/oauth2/token',
      Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`p${i}`, ''])),
    )
    expect(many.status).toBe(400)
    const json = await fetch(`${oauth.issuer}/oauth2/token`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"grant_type":"client_credentials"}',
    })
    expect([400, 415]).toContain(json.status)
  })
})
