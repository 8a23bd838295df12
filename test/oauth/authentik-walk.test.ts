import * as authentik from 'authentik-client-2024-8'
import * as client from 'openid-client'
import { afterAll, beforeAll, expect, it } from 'vitest'
import {
  begin,
  goThrough,
  type OauthServer,
  post,
  type RegisteredClient,
  redeem,
  signIn,
  startOauth,
} from '../support/oauth.ts'

let oauth: OauthServer
let app: RegisteredClient
let api: authentik.Oauth2Api

beforeAll(async () => {
  oauth = await startOauth()
  await oauth.makePerson('alice')
  app = await oauth.register({ name: 'Grafana', applicationName: 'Dashboards' })
  const accessToken = oauth.server.adminToken
  api = new authentik.Oauth2Api(
    new authentik.Configuration({ basePath: `${oauth.issuer}/api/v3`, accessToken }),
  )
})
afterAll(() => oauth.close())

it("what a user's sign-in gave to a client is seen and ended through authentik's own client", async () => {
  const tokens = await signIn(oauth, app, { parameters: { scope: 'openid profile' } })
  const { results } = await api.oauth2RefreshTokensList({})
  expect(results).toHaveLength(1)
  const [seen] = results
  expect(seen).toMatchObject({
    provider: { name: 'Grafana', clientId: app.clientId, assignedApplicationName: 'Dashboards' },
    user: { username: 'alice' },
    scope: ['openid', 'profile'],
    isExpired: false,
    revoked: false,
  })
  const { iat, exp, ...claims } = tokens.claims() ?? {}
  expect(JSON.parse(seen?.idToken ?? '')).toMatchObject(claims)

  const next = await client.refreshTokenGrant(app.config, tokens.refresh_token ?? '')
  const both = (await api.oauth2RefreshTokensList({ ordering: 'id' })).results
  expect(both.map(({ revoked }) => revoked)).toEqual([true, false])

  const live = both[1]?.pk ?? 0
  await api.oauth2RefreshTokensDestroy({ id: live })
  await expect(api.oauth2RefreshTokensRetrieve({ id: live })).rejects.toMatchObject({
    response: { status: 404 },
  })
  const refused = await post(
    oauth,
    '/oauth2/token',
    { grant_type: 'refresh_token', refresh_token: next.refresh_token ?? '' },
    app,
  )
  expect(refused).toMatchObject({ status: 400, body: { error: 'invalid_grant' } })
  for (const token of [tokens.access_token, next.access_token]) {
    const answer = await post(oauth, '/oauth2/introspect', { token }, app)
    expect(answer.body).toEqual({ active: false })
  }
})

it('an access token deleted there dies alone', async () => {
  const tokens = await signIn(oauth, app)
  const [newest] = (await api.oauth2AccessTokensList({ ordering: '-id' })).results
  await api.oauth2AccessTokensDestroy({ id: newest?.pk ?? 0 })
  const answer = await post(oauth, '/oauth2/introspect', { token: tokens.access_token }, app)
  expect(answer.body).toEqual({ active: false })
  const next = await client.refreshTokenGrant(app.config, tokens.refresh_token ?? '')
  expect(next.access_token).toMatch(/^mm_oauth_access_/)
})

it('a code is listed until it is exchanged', async () => {
  const browser = oauth.browser()
  const request = await begin(app.config)
  const { url } = await goThrough(browser, await browser.open(request.url))
  const [code] = (await api.oauth2AuthorizationCodesList({})).results
  expect(code).toMatchObject({ user: { username: 'alice' }, isExpired: false })
  await redeem(oauth, app, { request, callback: url })
  expect((await api.oauth2AuthorizationCodesList({})).results).toEqual([])
})
