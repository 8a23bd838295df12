import { afterAll, beforeAll, expect, it } from 'vitest'
import type { SigningKey } from '../../src/core/keys/signing-key.ts'
import { type Claims, type Parts, partsOf, signed } from '../support/forged-jwt.ts'
import { type OauthServer, signIn, startOauth } from '../support/oauth.ts'

const RESOURCE = 'https://api.example.com'

let oauth: OauthServer
let key: SigningKey
let jwt: string
let refreshToken: string
let apiToken: string

beforeAll(async () => {
  oauth = await startOauth()
  await oauth.makePerson('alice')
  const app = await oauth.register({
    resources: [RESOURCE],
    scopes: ['openid', 'offline_access', 'mintmark'],
  })
  const scope = 'openid offline_access mintmark'
  const tokens = await signIn(oauth, app, { parameters: { resource: RESOURCE, scope } })
  jwt = tokens.access_token
  refreshToken = tokens.refresh_token ?? ''
  oauth.server.remember(jwt)
  key = oauth.server.app.core.keyring
    .oauthKeys()
    .find(({ id }) => id === partsOf(jwt).header.kid) as SigningKey
  apiToken = (await oauth.server.call('POST', '/api/v1/tokens', { body: { name: 'api' } })).body.id
})
afterAll(() => oauth.close())

/** The first check that failed, once explain is seen to say what verify says. */
async function failure(token: string, demand: Record<string, string> = { audience: RESOURCE }) {
  const body = { token, ...demand }
  const { explanation, ...said } = (
    await oauth.server.call('POST', '/api/v1/tokens/explain', { body })
  ).body
  expect(said).toEqual((await oauth.server.call('POST', '/api/v1/tokens/verify', { body })).body)
  type Checked = { check: string; outcome: string }
  return explanation.checks.find(({ outcome }: Checked) => outcome === 'failed')?.check
}

/** The access token with other claims, signed with the server's own key. */
function altered(change: (claims: Claims) => Claims, header: Parts['header'] = {}): string {
  const parts = partsOf(jwt)
  const forged = { header: { ...parts.header, ...header }, claims: change(parts.claims) }
  return signed(forged, { key: key.privateKey, alg: key.alg })
}

it('an access token passes where it is meant to, and is refused for what is wrong with it', async () => {
  expect(await failure(jwt)).toBeUndefined()
  expect(await failure(jwt, {})).toBe('audience')
  expect(await failure(jwt, { audience: 'https://other.example.com' })).toBe('audience')
  expect(await failure(jwt, { audience: RESOURCE, scope: 'deploy' })).toBe('scope')
  expect(await failure(altered((claims) => claims))).toBeUndefined()
})

it.each<[string, (claims: Claims) => Claims, string]>([
  ['another issuer', (claims) => ({ ...claims, iss: 'https://other.example.com' }), 'issuer'],
  ['an end that is past', (claims) => ({ ...claims, exp: 1_000_000_000 }), 'times'],
  ['an end beyond any', (claims) => ({ ...claims, exp: 9_999_999_999 }), 'times'],
  ['an end that is no number', (claims) => ({ ...claims, exp: 'later' }), 'format'],
  ['no subject', ({ sub: _, ...claims }) => claims, 'format'],
  ['an id that is none', (claims) => ({ ...claims, jti: 'x' }), 'format'],
  ['the id of nothing', (claims) => ({ ...claims, jti: NOBODY }), 'known'],
  ['an audience that is not on record', (claims) => ({ ...claims, aud: 'https://x' }), 'claims'],
])('%s, signed with our own key, fails its check', async (_, change, check) => {
  expect(await failure(altered(change))).toBe(check)
})

const NOBODY = '01b8dac5-b400-7000-8000-000000000000'

it('the id of a token that is no access token does not pass for one', async () => {
  expect(await failure(altered((claims) => ({ ...claims, jti: apiToken })))).toBe('claims')
  expect(await failure(altered((claims) => claims, { typ: 'JWT' }))).toBe('signature')
})

it('a refresh token is for the token endpoint, and shows its client and grant', async () => {
  expect(await failure(refreshToken, {})).toBe('kind')
  const { body } = await oauth.server.call('POST', '/api/v1/tokens/explain', {
    body: { token: refreshToken },
  })
  expect(body).toMatchObject({ active: false, reason: 'wrong_kind' })
  const { token, grant } = body.explanation
  expect(token).toMatchObject({ kind: 'oauth_refresh', client: { name: 'App' } })
  expect(grant).toMatchObject({ id: token.familyId, resources: [RESOURCE], revokedAt: null })
})
