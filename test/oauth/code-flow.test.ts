import * as client from 'openid-client'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  type OauthServer,
  post,
  type RegisteredClient,
  signIn,
  startOauth,
} from '../support/oauth.ts'

let oauth: OauthServer
let app: RegisteredClient

beforeAll(async () => {
  oauth = await startOauth()
  await oauth.makePerson('alice')
  app = await oauth.register()
})
afterAll(() => oauth.close())

describe('authorization code', () => {
  it('leads from the login form to tokens that work', async () => {
    const tokens = await signIn(oauth, app)
    const claims = tokens.claims()
    expect(claims).toMatchObject({ iss: oauth.issuer, aud: app.clientId })
    expect(tokens.refresh_token).toMatch(/^mm_oauth_refresh_/)
    const info = await client.fetchUserInfo(app.config, tokens.access_token, claims?.sub ?? '')
    expect(info).toMatchObject({ preferred_username: 'alice', email: 'alice@example.com' })
    const seen = await post(oauth, '/oauth2/introspect', { token: tokens.access_token }, app)
    expect(seen.body).toMatchObject({ active: true, client_id: app.clientId, sub: claims?.sub })
  })

  it('refreshes, and the old refresh token is spent', async () => {
    const tokens = await signIn(oauth, app)
    const next = await client.refreshTokenGrant(app.config, tokens.refresh_token ?? '')
    expect(next.refresh_token).not.toBe(tokens.refresh_token)
    const again = await client.refreshTokenGrant(app.config, tokens.refresh_token ?? '')
    expect(again.refresh_token).toBe(next.refresh_token)
  })
})
