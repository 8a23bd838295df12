import { decodeJwt } from 'jose'
import * as client from 'openid-client'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  type OauthServer,
  post,
  type RegisteredClient,
  signIn,
  startOauth,
} from '../support/oauth.ts'
import { TOKEN_EXCHANGE } from '../support/oauth-steps.ts'
import { EVERYTHING, isAlive, makeRole, makeToken } from '../support/people.ts'

const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'
const ORDERS = 'https://orders.example.com/'
const STOCK = 'https://stock.example.com/'
const SCOPES = ['openid', 'profile', 'orders:read', 'orders:write', 'mintmark']

let oauth: OauthServer
let app: RegisteredClient
let orders: RegisteredClient
let aliceId: string

beforeAll(async () => {
  oauth = await startOauth()
  await makeRole(oauth.server, 'reader', ['orders:read', 'orders:write'])
  aliceId = (await oauth.makePerson('alice', { roles: ['reader'] })).id
  app = await oauth.register({
    grants: ['authorization_code', 'refresh_token', TOKEN_EXCHANGE],
    scopes: SCOPES,
    resources: [ORDERS, STOCK],
  })
  orders = await oauth.register({
    name: 'Orders',
    redirectUris: [],
    grants: [TOKEN_EXCHANGE],
    scopes: ['orders:read', 'stock:read'],
    serves: [ORDERS],
    resources: [STOCK],
  })
})
afterAll(() => oauth.close())

async function exchange(
  subject: string,
  extra: Record<string, string> = {},
  by: RegisteredClient = app,
) {
  const fields = {
    grant_type: TOKEN_EXCHANGE,
    subject_token: subject,
    subject_token_type: ACCESS_TOKEN,
    ...extra,
  }
  const answer = await post(oauth, '/oauth2/token', fields, by)
  const token = String(answer.body.access_token)
  if (answer.status === 200) oauth.server.remember(token)
  return { ...answer, token, said: { status: answer.status, error: answer.body.error } }
}

const signedIn = (scope: string, resource?: string) =>
  signIn(oauth, app, {
    parameters: { scope, resource, ...(scope.includes('openid') ? {} : { nonce: undefined }) },
  })

const seenBy = (by: RegisteredClient, token: string) => client.tokenIntrospection(by.config, token)

const refused = (error: string) => ({ status: 400, error })

describe('token exchange', () => {
  it('takes a scope that is named twice for once', async () => {
    const { access_token } = await signedIn('openid profile')
    const twice = await exchange(access_token, { scope: 'profile openid profile' })
    expect(twice.said).toEqual({ status: 200, error: undefined })
    expect(twice.body.scope).toBe('profile openid')
  })

  it('gives the same user for fewer scopes', async () => {
    const { access_token } = await signedIn('openid profile orders:read orders:write')
    const tokens = await client.genericGrantRequest(app.config, TOKEN_EXCHANGE, {
      subject_token: access_token,
      subject_token_type: ACCESS_TOKEN,
      scope: 'orders:read',
    })
    oauth.server.remember(tokens.access_token)
    expect(tokens).toMatchObject({
      issued_token_type: ACCESS_TOKEN,
      token_type: 'bearer',
      scope: 'orders:read',
    })
    expect(tokens.refresh_token).toBeUndefined()
    const [before, after] = [
      await seenBy(app, access_token),
      await seenBy(app, tokens.access_token),
    ]
    expect(after).toMatchObject({ active: true, scope: 'orders:read', sub: before.sub })
  })

  it('never gives more: not beyond the token, the client, or the user', async () => {
    const { access_token } = await signedIn('openid orders:read')
    for (const scope of ['orders:write', 'orders:read orders:write', 'mintmark', 'admin', '*']) {
      expect((await exchange(access_token, { scope })).said, scope).toEqual(
        refused('invalid_scope'),
      )
    }
    const narrow = await exchange(access_token, { scope: 'openid' })
    expect((await exchange(narrow.token, { scope: 'orders:read' })).said).toEqual(
      refused('invalid_scope'),
    )
    const edit = (roles: string[]) =>
      oauth.server.call('PATCH', `/api/v1/users/${aliceId}`, { body: { roles } })
    await edit([])
    expect((await exchange(access_token, { scope: 'orders:read' })).said).toEqual(
      refused('invalid_scope'),
    )
    await edit(['reader'])
  })

  it('never outlives the token it came of', async () => {
    const { access_token, expires_in } = await signedIn('orders:read')
    expect(expires_in).toBe(600)
    oauth.advance(400_000)
    const child = await exchange(access_token)
    expect(Number(child.body.expires_in)).toBeLessThanOrEqual(200)
    const grandchild = await exchange(child.token)
    expect(Number(grandchild.body.expires_in)).toBeLessThanOrEqual(200)
    oauth.advance(201_000)
    expect(await seenBy(app, grandchild.token)).toEqual({ active: false })
    expect((await exchange(access_token)).said).toEqual(refused('invalid_grant'))
  })

  it('dies with the token it came of, at once and over generations', async () => {
    const { access_token } = await signedIn('orders:read')
    const child = await exchange(access_token)
    const grandchild = await exchange(child.token)
    await client.tokenRevocation(app.config, access_token)
    for (const { token } of [child, grandchild]) {
      expect(await seenBy(app, token)).toEqual({ active: false })
      expect((await exchange(token)).said).toEqual(refused('invalid_grant'))
    }
  })

  it('dies with the grant behind it', async () => {
    const { access_token, refresh_token = '' } = await signedIn('orders:read')
    const child = await exchange(access_token)
    await client.tokenRevocation(app.config, refresh_token)
    expect(await seenBy(app, child.token)).toEqual({ active: false })
  })

  it('is for the client of the token, and for the service that it was presented to', async () => {
    const forOrders = await signedIn('orders:read', ORDERS)
    const forStock = await signedIn('orders:read', STOCK)
    const plain = await signedIn('orders:read')
    const wish = { scope: 'orders:read', resource: STOCK }
    const onward = await exchange(forOrders.access_token, wish, orders)
    expect(onward.status).toBe(200)
    expect(decodeJwt(onward.token)).toMatchObject({
      aud: STOCK,
      client_id: orders.clientId,
      scope: 'orders:read',
      // Who acts for the user (RFC 8693, section 4.1).
      act: { sub: orders.clientId },
    })
    for (const { access_token } of [forStock, plain]) {
      expect((await exchange(access_token, wish, orders)).said).toEqual(refused('invalid_grant'))
    }
    const stranger = await oauth.register({
      redirectUris: [],
      grants: [TOKEN_EXCHANGE],
      scopes: SCOPES,
    })
    for (const { access_token } of [forOrders, forStock, plain]) {
      expect((await exchange(access_token, {}, stranger)).said).toEqual(refused('invalid_grant'))
    }
  })

  it('leads only to resources of the client', async () => {
    const { access_token } = await signedIn('orders:read')
    const there = await exchange(access_token, { scope: 'orders:read', resource: ORDERS })
    expect(decodeJwt(there.token)).toMatchObject({ aud: ORDERS, client_id: app.clientId })
    for (const extra of [
      { resource: 'https://strange.example.com/' },
      { audience: 'orders' },
      { audience: ORDERS },
    ]) {
      expect((await exchange(access_token, extra)).said).toEqual(refused('invalid_target'))
    }
  })

  it('refuses actors, other types and what is no access token', async () => {
    const tokens = await signedIn('openid orders:read')
    const subject = tokens.access_token
    const prefix = 'urn:ietf:params:oauth:token-type:'
    for (const extra of [
      { actor_token: subject, actor_token_type: ACCESS_TOKEN },
      { subject_token_type: `${prefix}refresh_token` },
      { subject_token_type: `${prefix}id_token` },
      { subject_token_type: '' },
      { requested_token_type: `${prefix}refresh_token` },
      { requested_token_type: `${prefix}id_token` },
      { subject_token: '' },
    ]) {
      const { said } = await exchange(subject, extra)
      expect(said, JSON.stringify(extra)).toEqual(refused('invalid_request'))
    }
    const session = await oauth.server.call('POST', '/api/v1/login', {
      token: null,
      body: { username: 'root', password: oauth.server.adminPassword },
    })
    const others = [
      tokens.refresh_token ?? '',
      tokens.id_token ?? '',
      `${subject}x`,
      subject.slice(0, -1),
      'x',
      'e30.e30.e30',
    ]
    if (session.status === 200) others.push(session.body.token)
    for (const wrong of others) {
      expect((await exchange(wrong)).said).toEqual(refused('invalid_grant'))
    }
  })

  it('is not for clients without a secret', async () => {
    const { status } = await oauth.server.call('POST', '/api/v1/clients', {
      body: { name: 'x', type: 'public', redirectUris: [], grants: [TOKEN_EXCHANGE] },
    })
    expect(status).toBe(400)
    const { access_token } = await signedIn('orders:read')
    const wrong = { ...app, secret: 'wrong' }
    expect((await exchange(access_token, {}, wrong)).status).toBe(401)
  })
})

describe('an api token as the subject', () => {
  it('is exchanged within its limits', async () => {
    const full = await makeToken(oauth.server, { ownerId: aliceId, ...EVERYTHING })
    const acting = await exchange(full.secret, { scope: 'mintmark orders:read' })
    expect(acting.status).toBe(200)
    expect(await isAlive(oauth.server, acting.token)).toBe(true)

    const reading = await makeToken(oauth.server, {
      ownerId: aliceId,
      ...EVERYTHING,
      accessLevel: 'READ_ONLY',
    })
    const child = await exchange(reading.secret, { scope: 'mintmark' })
    expect(await isAlive(oauth.server, child.token)).toBe(true)
    const write = await oauth.server.call('POST', '/api/v1/tokens', {
      token: child.token,
      body: { name: 'x' },
    })
    expect(write.status).toBe(403)

    const scoped = await makeToken(oauth.server, {
      ownerId: aliceId,
      accessLevel: 'READ_ONLY',
      roles: [],
      groups: [],
      scopes: ['orders:read'],
    })
    expect((await exchange(scoped.secret, { scope: 'orders:write' })).said).toEqual(
      refused('invalid_scope'),
    )
    const inherited = await exchange(scoped.secret)
    expect(inherited.body.scope).toBe('orders:read')
    expect(await isAlive(oauth.server, inherited.token)).toBe(false)
  })

  it('takes what came of it along when it is revoked', async () => {
    const { id, secret } = await makeToken(oauth.server, { ownerId: aliceId, ...EVERYTHING })
    const child = await exchange(secret, { scope: 'mintmark' })
    await oauth.server.call('POST', `/api/v1/tokens/${id}/revoke`)
    expect(await isAlive(oauth.server, child.token)).toBe(false)
    expect(await seenBy(app, child.token)).toEqual({ active: false })
    expect((await exchange(secret)).said).toEqual(refused('invalid_grant'))
  })

  it('does not become usable from where it was not', async () => {
    const { secret } = await makeToken(oauth.server, {
      ownerId: aliceId,
      ...EVERYTHING,
      allowedIps: ['192.0.2.0/24'],
    })
    expect((await exchange(secret, { scope: 'mintmark' })).said).toEqual(refused('invalid_grant'))
  })
})
