import * as client from 'openid-client'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type OauthServer, post, type RegisteredClient, startOauth } from '../support/oauth.ts'
import { makeRole } from '../support/people.ts'

const SCOPES = ['orders:read', 'orders:write', 'mintmark']
const GRANT = { grant_type: 'client_credentials' }

let oauth: OauthServer
let worker: RegisteredClient
let serviceUserId: string

beforeAll(async () => {
  oauth = await startOauth()
  worker = await oauth.register({ grants: ['client_credentials'], scopes: SCOPES })
  const { body } = await oauth.server.call('GET', `/api/v1/clients/${worker.id}`)
  serviceUserId = body.serviceUserId
})
afterAll(() => oauth.close())

async function setRoles(roles: string[]): Promise<void> {
  const edit = { body: { roles } }
  const { status, text } = await oauth.server.call('PATCH', `/api/v1/users/${serviceUserId}`, edit)
  if (status !== 200) throw new Error(text)
}

async function granted(parameters: Record<string, string> = {}) {
  const tokens = await client.clientCredentialsGrant(worker.config, parameters)
  oauth.server.remember(tokens.access_token)
  return tokens
}

describe('client credentials', () => {
  it('give what the client may ask for, of what was asked', async () => {
    const tokens = await granted({ scope: 'orders:read' })
    expect(tokens.scope).toBe('orders:read')
    expect(tokens.refresh_token).toBeUndefined()
    expect(tokens.id_token).toBeUndefined()
    const seen = await client.tokenIntrospection(worker.config, tokens.access_token)
    expect(seen).toMatchObject({
      active: true,
      scope: 'orders:read',
      client_id: worker.clientId,
      sub: worker.clientId,
      kind: 'oauth_access',
    })
  })

  it('lose a scope at once when the client does', async () => {
    const { access_token, scope } = await granted({ scope: 'orders:read orders:write' })
    expect(scope).toBe('orders:read orders:write')
    const setScopes = (scopes: string[]) =>
      oauth.server.call('PATCH', `/api/v1/clients/${worker.id}`, { body: { scopes } })
    expect((await setScopes(['orders:read', 'mintmark'])).status).toBe(200)
    const seen = await client.tokenIntrospection(worker.config, access_token)
    expect(seen.scope).toBe('orders:read')
    const wish = { ...GRANT, scope: 'orders:write' }
    expect((await post(oauth, '/oauth2/token', wish, worker)).body.error).toBe('invalid_scope')
    await setScopes(SCOPES)
  })

  it('are no way to the scopes that roles of users give', async () => {
    await makeRole(oauth.server, 'auditor', ['ledger:read'])
    await setRoles(['auditor'])
    const wish = { ...GRANT, scope: 'ledger:read' }
    expect((await post(oauth, '/oauth2/token', wish, worker)).body.error).toBe('invalid_scope')
  })

  it('give nothing that is not held, or that the client may not ask for', async () => {
    const refused = [
      ['orders:delete', 'invalid_scope'],
      ['admin', 'invalid_scope'],
      ['*', 'invalid_scope'],
      ['openid', 'invalid_scope'],
      ['offline_access', 'invalid_scope'],
      ['goauthentik.io/api', 'invalid_scope'],
      ['orders:read\u0000', 'invalid_scope'],
      ['"quoted"', 'invalid_scope'],
    ]
    for (const [scope = '', error] of refused) {
      const { status, body } = await post(oauth, '/oauth2/token', { ...GRANT, scope }, worker)
      expect({ status, error: body.error }, scope).toEqual({ status: 400, error })
    }
  })

  it('without a scope, or with the same one twice, give no more', async () => {
    for (const parameters of [{}, { scope: '' }]) {
      const { body } = await post(oauth, '/oauth2/token', { ...GRANT, ...parameters }, worker)
      oauth.server.remember(String(body.access_token))
      expect(body.scope ?? '').toBe('')
    }
    const { scope } = await granted({ scope: 'orders:read orders:read' })
    expect(scope).toBe('orders:read')
  })

  it('act here as the service account, and only with an API scope', async () => {
    const plain = await granted({ scope: 'orders:read' })
    const call = (token: string) => oauth.server.call('GET', '/api/v1/me', { token })
    expect((await call(plain.access_token)).status).toBe(401)
    const acting = await granted({ scope: 'mintmark' })
    const { status, body } = await call(acting.access_token)
    expect(status).toBe(200)
    expect(body.user.id).toBe(serviceUserId)
    const users = await oauth.server.call('GET', '/api/v1/users', { token: acting.access_token })
    expect(users.status).toBe(403)
    const info = await fetch(`${oauth.issuer}/oauth2/userinfo`, {
      headers: { authorization: `Bearer ${acting.access_token}` },
    })
    expect(info.status).toBe(401)
  })

  it('last as long as the client was given, to the second', async () => {
    const { access_token, expires_in } = await granted({ scope: 'orders:read' })
    expect(expires_in).toBe(600)
    oauth.advance(598_000)
    const active = async () => (await client.tokenIntrospection(worker.config, access_token)).active
    expect(await active()).toBe(true)
    oauth.advance(3_000)
    expect(await active()).toBe(false)
  })

  it('end when the service account is disabled', async () => {
    const { access_token } = await granted({ scope: 'orders:read' })
    const edit = (active: boolean) =>
      oauth.server.call('PATCH', `/api/v1/users/${serviceUserId}`, { body: { active } })
    expect((await edit(false)).status).toBe(200)
    expect(await client.tokenIntrospection(worker.config, access_token)).toEqual({ active: false })
    const { status, body } = await post(oauth, '/oauth2/token', GRANT, worker)
    expect(status).toBe(400)
    expect(body.error).toBe('invalid_grant')
  })
})

it('last as long as the policy lets them, and clients are told so', async () => {
  const rule = '/api/v1/policy/rules/brief'
  const body = { kinds: ['oauth_access'], maxTtlSeconds: 42 }
  await oauth.server.call('PUT', rule, { body })
  const other = await oauth.register({ grants: ['client_credentials'], scopes: ['orders:read'] })
  const tokens = await client.clientCredentialsGrant(other.config, { scope: 'orders:read' })
  oauth.server.remember(tokens.access_token)
  expect(tokens.expires_in).toBe(42)
  const seen = await client.tokenIntrospection(other.config, tokens.access_token)
  expect(Number(seen.exp) - Number(seen.iat)).toBe(42)
  await oauth.server.call('DELETE', rule)
})
