import * as client from 'openid-client'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  type OauthServer,
  post,
  type RegisteredClient,
  signIn,
  startOauth,
} from '../support/oauth.ts'
import { codeFor } from '../support/oauth-steps.ts'
import { EVERYTHING, makeToken } from '../support/people.ts'

type Tokens = Awaited<ReturnType<typeof signIn>>

const INTROSPECT = '/oauth2/introspect'

let oauth: OauthServer
let app: RegisteredClient
let other: RegisteredClient
let tokens: Tokens
let aliceId: string

beforeAll(async () => {
  oauth = await startOauth()
  aliceId = (await oauth.makePerson('alice')).id
  app = await oauth.register()
  other = await oauth.register({ name: 'Other', grants: ['client_credentials'] })
  tokens = await signIn(oauth, app)
})
afterAll(() => oauth.close())

const seenBy = (by: RegisteredClient, token: string) =>
  post(oauth, INTROSPECT, { token }, by).then(({ status, body }) => ({ status, body }))

const INACTIVE = { status: 200, body: { active: false } }

describe('introspection (bar 82)', () => {
  it('tells a client about its own tokens, and lets nobody keep the answer', async () => {
    const { body, headers } = await post(oauth, INTROSPECT, { token: tokens.access_token }, app)
    expect(headers.get('cache-control')).toContain('no-store')
    expect(body).toEqual({
      active: true,
      scope: 'openid profile email',
      client_id: app.clientId,
      username: 'alice',
      token_type: 'Bearer',
      exp: expect.any(Number),
      iat: expect.any(Number),
      sub: tokens.claims()?.sub,
      iss: oauth.issuer,
      jti: expect.any(String),
      kind: 'oauth_access',
    })
    const refresh = await seenBy(app, tokens.refresh_token ?? '')
    expect(refresh.body).toMatchObject({ active: true, kind: 'oauth_refresh' })
    expect(refresh.body).not.toHaveProperty('token_type')
  })

  it('needs somebody who may ask', async () => {
    const token = tokens.access_token
    const phone = await oauth.register({ type: 'public' })
    const tries: [string, Record<string, string>, Record<string, string>][] = [
      ['nobody', {}, {}],
      ['a public client', { client_id: phone.clientId }, {}],
      ['a wrong secret', { client_id: app.clientId, client_secret: 'x' }, {}],
      ['an unknown bearer', {}, { authorization: 'Bearer x' }],
      ['the token itself', {}, { authorization: `Bearer ${token}` }],
      ['its refresh token', {}, { authorization: `Bearer ${tokens.refresh_token}` }],
      ['its ID token', {}, { authorization: `Bearer ${tokens.id_token}` }],
    ]
    for (const [name, fields, headers] of tries) {
      const answer = await post(oauth, INTROSPECT, { token, ...fields }, {}, headers)
      expect(answer.status, name).toBe(401)
      expect(answer.body.error, name).toBe('invalid_client')
      expect(answer.headers.get('www-authenticate'), name).toMatch(/^(Basic|Bearer) /)
      expect(answer.headers.get('cache-control')).toContain('no-store')
    }
  })

  it("says no more than 'inactive' of other clients' tokens, of codes and of what is none", async () => {
    const { code } = await codeFor(oauth, app)
    const session = await oauth.server.call('POST', '/api/v1/login', {
      token: null,
      body: { username: 'alice', password: 'lanterns over the quay' },
    })
    const api = await makeToken(oauth.server, { ownerId: aliceId, ...EVERYTHING })
    expect(await seenBy(other, tokens.access_token)).toEqual(INACTIVE)
    expect(await seenBy(other, tokens.refresh_token ?? '')).toEqual(INACTIVE)
    for (const token of [
      code,
      session.body.token,
      api.secret,
      tokens.id_token ?? '',
      oauth.server.adminToken,
      'x',
      'mm_oauth_access_x',
      'x'.repeat(10_000),
      'e30.e30.e30',
    ]) {
      expect(await seenBy(app, token), token).toEqual(INACTIVE)
    }
  })

  it('takes no address that is none', async () => {
    for (const ip of ['here', '127.0.0.1\0', '10.0.0.1/8', '']) {
      const fields = { token: tokens.access_token, ip }
      const { status, body } = await post(oauth, INTROSPECT, fields, app)
      expect({ status, error: body.error }, ip).toEqual({ status: 400, error: 'invalid_request' })
    }
    // It would keep all uses from being written (PostgreSQL), and is shown to people.
    await oauth.server.app.core.flushUsage()
  })

  it('is for POST, for forms, and for the token in the form', async () => {
    const query = new URLSearchParams({ token: tokens.access_token })
    const authorization = `Basic ${btoa(`${app.clientId}:${app.secret}`)}`
    for (const method of ['GET', 'PUT', 'PATCH', 'DELETE']) {
      const response = await fetch(`${oauth.issuer}${INTROSPECT}?${query}`, {
        method,
        headers: { authorization },
      })
      expect(response.status, method).toBe(405)
      expect(response.headers.get('allow')).toBe('POST')
    }
    const inQuery = await post(oauth, `${INTROSPECT}?${query}`, {}, app)
    expect(inQuery.status).toBe(400)
    const json = await fetch(`${oauth.issuer}${INTROSPECT}`, {
      method: 'POST',
      headers: { authorization, 'content-type': 'application/json' },
      body: JSON.stringify({ token: tokens.access_token }),
    })
    expect(json.status).toBe(415)
    expect((await post(oauth, INTROSPECT, { token: '' }, app)).status).toBe(400)
    const hinted = { token: tokens.access_token, token_type_hint: 'refresh_token' }
    expect((await post(oauth, INTROSPECT, hinted, app)).body.active).toBe(true)
  })

  it('tells everything about every kind to who verifies tokens for a living', async () => {
    const verifier = await oauth.register({ name: 'Gateway', grants: ['client_credentials'] })
    const api = await makeToken(oauth.server, { ownerId: aliceId, ...EVERYTHING })
    expect(await seenBy(verifier, api.secret)).toEqual(INACTIVE)
    const { body } = await oauth.server.call('GET', `/api/v1/clients/${verifier.id}`)
    await oauth.server.call('PATCH', `/api/v1/users/${body.serviceUserId}`, {
      body: { roles: ['verifier'] },
    })
    expect((await seenBy(verifier, api.secret)).body).toMatchObject({
      active: true,
      kind: 'api',
      username: 'alice',
    })
    expect((await seenBy(verifier, tokens.access_token)).body).toMatchObject({ active: true })
    // A refresh token is nobody's business but its client's.
    expect(await seenBy(verifier, tokens.refresh_token ?? '')).toEqual(INACTIVE)
  })

  it('answers an administrator by token, and a user only about tokens of the user', async () => {
    const by = (bearer: string, token: string) =>
      post(oauth, INTROSPECT, { token }, {}, { authorization: `Bearer ${bearer}` })
    const seen = await by(oauth.server.adminToken, tokens.access_token)
    expect(seen.body).toMatchObject({ active: true, kind: 'oauth_access' })
    const bob = await oauth.server.makeUser({ username: 'bob' })
    expect((await by(bob.token, tokens.access_token)).body).toEqual({ active: false })
    const mine = await makeToken(oauth.server, { ownerId: aliceId, ...EVERYTHING })
    expect((await by(bob.token, mine.secret)).body).toEqual({ active: false })
  })

  it('of a client that is gone is refused', async () => {
    const gone = await oauth.register()
    const own = await signIn(oauth, gone)
    await oauth.server.call('DELETE', `/api/v1/clients/${gone.id}`)
    expect((await seenBy(gone, own.access_token)).status).toBe(401)
    const seen = await post(
      oauth,
      INTROSPECT,
      { token: own.access_token },
      {},
      { authorization: `Bearer ${oauth.server.adminToken}` },
    )
    expect(seen.body).toEqual({ active: false })
  })

  it('ends to the second when the token does', async () => {
    const short = await oauth.register({ accessTokenTtl: 'seconds=30' })
    const own = await signIn(oauth, short)
    oauth.advance(28_000)
    expect((await client.tokenIntrospection(short.config, own.access_token)).active).toBe(true)
    oauth.advance(3_000)
    expect(await client.tokenIntrospection(short.config, own.access_token)).toEqual({
      active: false,
    })
  })
})
