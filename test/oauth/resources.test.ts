import { createLocalJWKSet, decodeJwt, type JSONWebKeySet, jwtVerify } from 'jose'
import * as client from 'openid-client'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  type OauthServer,
  post,
  REDIRECT_URI,
  type RegisteredClient,
  signIn,
  startOauth,
} from '../support/oauth.ts'
import { ask, codeFor, expectRefused } from '../support/oauth-steps.ts'
import { makeRole } from '../support/people.ts'

const ORDERS = 'https://orders.example.com/'
const STOCK = 'https://stock.example.com/api'
const STRANGE = 'https://strange.example.com/'

let oauth: OauthServer
let app: RegisteredClient

beforeAll(async () => {
  oauth = await startOauth()
  await makeRole(oauth.server, 'reader', ['orders:read'])
  await oauth.makePerson('alice', { roles: ['reader'] })
  app = await oauth.register({
    scopes: ['openid', 'orders:read', 'orders:write', 'mintmark'],
    resources: [ORDERS, STOCK],
  })
})
afterAll(() => oauth.close())

const withResource = (resource: string, scope = 'openid orders:read orders:write') => ({
  parameters: { resource, scope },
})

describe('an access token for a resource', () => {
  it('is a JWT that the resource checks by itself (RFC 9068)', async () => {
    const tokens = await signIn(oauth, app, withResource(ORDERS))
    expect(tokens.scope).toBe('orders:read')
    const set = (await (await fetch(`${oauth.issuer}/oauth2/jwks`)).json()) as JSONWebKeySet
    const { payload, protectedHeader } = await jwtVerify(
      tokens.access_token,
      createLocalJWKSet(set),
      { typ: 'at+jwt', issuer: oauth.issuer, audience: ORDERS },
    )
    expect(protectedHeader.alg).toBe('RS256')
    const { iat = 0, exp = 0, jti } = payload
    expect(exp - iat).toBe(600)
    expect(jti).toMatch(/^[0-9a-f-]{36}$/)
    expect(payload).toMatchObject({
      client_id: app.clientId,
      sub: tokens.claims()?.sub,
      scope: 'orders:read',
      aud: ORDERS,
    })
    expect(payload).not.toHaveProperty('email')
  })

  it('is in the inventory like all others, and dies there', async () => {
    const tokens = await signIn(oauth, app, withResource(ORDERS))
    const { jti } = decodeJwt(tokens.access_token)
    const own = await client.tokenIntrospection(app.config, tokens.access_token)
    expect(own).toMatchObject({ active: true, aud: ORDERS, jti, scope: 'orders:read' })
    const listed = await oauth.server.call('GET', `/api/v1/tokens/${jti}`)
    expect(listed.body).toMatchObject({ kind: 'oauth_access', state: 'active' })
    await oauth.server.call('POST', `/api/v1/tokens/${jti}/revoke`)
    expect(await client.tokenIntrospection(app.config, tokens.access_token)).toEqual({
      active: false,
    })
  })

  it('opens neither userinfo nor our own API, whatever its scope', async () => {
    const { access_token } = await signIn(
      oauth,
      app,
      withResource(ORDERS, 'openid orders:read mintmark'),
    )
    for (const path of ['/oauth2/userinfo', '/api/v1/me', '/api/v3/oauth2/access_tokens/']) {
      const response = await fetch(`${oauth.issuer}${path}`, {
        headers: { authorization: `Bearer ${access_token}` },
      })
      expect([401, 403], path).toContain(response.status)
    }
  })
})

describe('which resources', () => {
  it.each([
    ['an unknown one', STRANGE],
    ['one with a fragment', `${ORDERS}#x`],
    ['none that is a URI', 'orders'],
    ['nearly a known one', 'https://orders.example.com'],
    ['a known one in capitals', 'https://ORDERS.example.com/'],
  ])('%s is an invalid target everywhere', async (_, resource) => {
    const { page } = await ask(oauth.browser(), app, { resource, scope: 'openid orders:read' })
    expectRefused(page, oauth, 'invalid_target')
    const worker = await oauth.register({
      grants: ['client_credentials'],
      scopes: ['orders:read'],
      resources: [ORDERS],
    })
    const fields = { grant_type: 'client_credentials', scope: 'orders:read', resource }
    expect((await post(oauth, '/oauth2/token', fields, worker)).body.error).toBe('invalid_target')
  })

  it('a code for one is not redeemed for another', async () => {
    const parameters = withResource(ORDERS).parameters
    const { code, request } = await codeFor(oauth, app, { parameters })
    const fields = {
      grant_type: 'authorization_code',
      code,
      redirect_uri: REDIRECT_URI,
      code_verifier: request.verifier,
    }
    for (const resource of [STOCK, STRANGE]) {
      const { status, body } = await post(oauth, '/oauth2/token', { ...fields, resource }, app)
      expect({ status, error: body.error }).toEqual({ status: 400, error: 'invalid_target' })
    }
    const { body } = await post(oauth, '/oauth2/token', { ...fields, resource: ORDERS }, app)
    expect(decodeJwt(String(body.access_token)).aud).toBe(ORDERS)
  })

  it('a refresh may name the granted one, and no other', async () => {
    const { refresh_token = '' } = await signIn(oauth, app, withResource(ORDERS))
    for (const resource of [STOCK, STRANGE]) {
      const wrong = client.refreshTokenGrant(app.config, refresh_token, { resource })
      await expect(wrong).rejects.toMatchObject({ error: 'invalid_target' })
    }
    const named = await client.refreshTokenGrant(app.config, refresh_token, { resource: ORDERS })
    expect(decodeJwt(named.access_token)).toMatchObject({ aud: ORDERS, scope: 'orders:read' })
    const unnamed = await client.refreshTokenGrant(app.config, named.refresh_token ?? '')
    expect(decodeJwt(unnamed.access_token).aud).toBe(ORDERS)
  })

  it('a service account gets JWTs for them, too', async () => {
    const worker = await oauth.register({
      grants: ['client_credentials'],
      scopes: ['orders:read', 'mintmark'],
      resources: [ORDERS],
    })
    const { body } = await oauth.server.call('GET', `/api/v1/clients/${worker.id}`)
    const roles = { body: { roles: ['reader'] } }
    await oauth.server.call('PATCH', `/api/v1/users/${body.serviceUserId}`, roles)
    const tokens = await client.clientCredentialsGrant(worker.config, {
      resource: ORDERS,
      scope: 'orders:read',
    })
    expect(decodeJwt(tokens.access_token)).toMatchObject({
      aud: ORDERS,
      sub: worker.clientId,
      client_id: worker.clientId,
      scope: 'orders:read',
    })
  })

  it('two at once are asked for and used one by one', async () => {
    const { url, verifier } = (await codeForBoth()).request
    expect(url.searchParams.getAll('resource')).toEqual([ORDERS, STOCK])
    expect(verifier).toBeDefined()
  })

  async function codeForBoth() {
    const browser = oauth.browser()
    await signIn(oauth, app, { browser, ...withResource(ORDERS) })
    const { request } = await ask(browser, app, { prompt: 'none', scope: 'openid orders:read' })
    request.url.searchParams.append('resource', ORDERS)
    request.url.searchParams.append('resource', STOCK)
    request.url.searchParams.delete('prompt')
    const page = await browser.open(request.url)
    expect(page.text).toContain(STOCK)
    const end = await browser.submit(page, { decision: 'allow' })
    const code = end.url.searchParams.get('code') ?? ''
    const fields = {
      grant_type: 'authorization_code',
      code,
      redirect_uri: REDIRECT_URI,
      code_verifier: request.verifier,
    }
    const first = await post(oauth, '/oauth2/token', { ...fields, resource: ORDERS }, app)
    expect(decodeJwt(String(first.body.access_token)).aud).toBe(ORDERS)
    const next = await client.refreshTokenGrant(app.config, String(first.body.refresh_token), {
      resource: STOCK,
    })
    expect(decodeJwt(next.access_token).aud).toBe(STOCK)
    return { request }
  }
})

describe('a resource server', () => {
  it('hears of tokens for itself, and of no others', async () => {
    const server = await oauth.register({ grants: ['client_credentials'], serves: [ORDERS] })
    const orders = await signIn(oauth, app, withResource(ORDERS))
    const stock = await signIn(oauth, app, withResource(STOCK))
    const ask = (token: string) => client.tokenIntrospection(server.config, token)
    expect(await ask(orders.access_token)).toMatchObject({ active: true, aud: ORDERS })
    expect(await ask(stock.access_token)).toEqual({ active: false })
    expect(await ask(orders.refresh_token ?? '')).toEqual({ active: false })
  })
})
