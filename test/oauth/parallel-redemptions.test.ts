import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  begin,
  goThrough,
  type OauthServer,
  PASSWORD,
  post,
  REDIRECT_URI,
  type RegisteredClient,
  startOauth,
} from '../support/oauth.ts'
import {
  doorsOpenTo,
  type FamilyMaker,
  familyMaker,
  refresh,
  rowsOf,
} from '../support/oauth-family.ts'

const AT_ONCE = 50
const DEVICE_CODE = 'urn:ietf:params:oauth:grant-type:device_code'
const RESOURCE = 'https://api.example.com'

type Answer = Awaited<ReturnType<typeof post>>

let oauth: OauthServer
let app: RegisteredClient
let userId: string
let make: FamilyMaker

async function open(env: Record<string, string> = {}): Promise<void> {
  oauth = await startOauth(env)
  userId = (await oauth.makePerson('alice')).id
  app = await oauth.register({
    grants: ['authorization_code', 'refresh_token', DEVICE_CODE],
    resources: [RESOURCE],
  })
  make = await familyMaker(oauth, app)
}

/** The same form many times at once. */
function ask(fields: Record<string, string>): Promise<Answer[]> {
  const asker = { clientId: app.clientId, secret: app.secret }
  const one = async () => {
    for (;;) {
      const answer = await post(oauth, '/oauth2/token', fields, asker)
      // Too many at once for a slow machine: nothing was done, and whoever asked asks again.
      if (answer.status !== 503) return answer
    }
  }
  return Promise.all(Array.from({ length: AT_ONCE }, one))
}

/** The answer of the one that won; all others must have been refused. */
function winnerOf(answers: Answer[]): Record<string, string> {
  const won = answers.filter(({ status }) => status === 200)
  const lost = answers.filter(({ status }) => status !== 200)
  expect(won).toHaveLength(1)
  for (const { status, body } of lost) expect([status, body.error]).toEqual([400, 'invalid_grant'])
  const body = won[0]?.body as Record<string, string>
  for (const secret of [body.access_token, body.refresh_token]) oauth.server.remember(secret ?? '')
  return body
}

async function expectAllDead(secrets: (string | undefined)[]): Promise<void> {
  for (const secret of secrets) {
    expect(secret).toBeDefined()
    expect(await doorsOpenTo(oauth, { secret: secret ?? '', audience: RESOURCE })).toEqual([])
    expect(await doorsOpenTo(oauth, { secret: secret ?? '' })).toEqual([])
  }
}

const refreshTokensOf = (grantId: string) =>
  oauth.server.database.query(rowsOf(grantId, 'oauth_refresh'))

async function familyOf(token: string): Promise<string> {
  const [row] = await oauth.server.database.query(
    `select family_id from token where preview like '%${token.slice(-4)}' and kind = 'oauth_refresh'`,
  )
  return String(row?.family_id)
}

describe(`${AT_ONCE} requests at once`, () => {
  beforeAll(() => open())
  afterAll(() => oauth.close())

  it.each([1, 2, 3, 4])(
    'redeem a code once, and as it was used twice, what came of it dies (%i)',
    async (round) => {
      const browser = oauth.browser()
      const parameters = round % 2 === 0 ? { resource: RESOURCE } : {}
      const request = await begin(app.config, parameters)
      const { url } = await goThrough(browser, await browser.open(request.url))
      const body = winnerOf(
        await ask({
          grant_type: 'authorization_code',
          code: url.searchParams.get('code') ?? '',
          redirect_uri: REDIRECT_URI,
          code_verifier: request.verifier,
        }),
      )
      const family = await familyOf(body.refresh_token ?? '')
      expect(await refreshTokensOf(family)).toHaveLength(1)
      expect(await oauth.server.database.query(rowsOf(family, 'oauth_access'))).toHaveLength(1)
      await expectAllDead([body.access_token, body.refresh_token])
    },
  )

  it.each([1, 2, 3])(
    'get the same successor of a refresh token within the grace (%i)',
    async () => {
      const family = await make({ userId, client: app })
      const answers = await ask({ grant_type: 'refresh_token', refresh_token: family.refresh })
      expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
      const [body, ...others] = [...new Set(answers.map((each) => JSON.stringify(each.body)))]
      expect(others).toEqual([])
      const { access_token, refresh_token } = JSON.parse(body ?? '')
      const rows = await refreshTokensOf(family.grantId)
      expect(rows).toHaveLength(2)
      const [child] = rows.filter(({ id }) => id !== family.refreshId)
      expect(rows.find(({ id }) => id === family.refreshId)?.superseded_by).toBe(child?.id)
      expect(child?.superseded_by).toBeNull()
      expect(await doorsOpenTo(oauth, { secret: family.refresh })).toEqual([])
      expect(await doorsOpenTo(oauth, { secret: refresh_token })).toEqual(['introspect'])
      expect(await doorsOpenTo(oauth, { secret: access_token })).toContain('userinfo')
      // The child is whole: it leads on, once.
      const next = await refresh({ ...family, refresh: refresh_token }, oauth)
      expect(next.status).toBe(200)
    },
  )

  it.each([1, 2])(
    'redeem a device code once, and as it was used twice, what came of it dies (%i)',
    async () => {
      const asker = { clientId: app.clientId, secret: app.secret }
      const scope = 'openid offline_access'
      const device = (await post(oauth, '/oauth2/device', { scope }, asker)).body as Record<
        string,
        string
      >
      const browser = oauth.browser()
      let page = await browser.open(device.verification_uri_complete ?? '')
      for (let step = 0; step < 6 && page.text.includes('<form'); step++) {
        if (page.text.includes('name="confirm"')) {
          page = await browser.submit(page, { confirm: 'yes' })
        } else if (page.text.includes('name="password"')) {
          page = await browser.submit(page, { username: 'alice', password: PASSWORD })
        } else if (page.text.includes('name="decision"')) {
          page = await browser.submit(page, { decision: 'allow' })
        } else {
          page = await browser.submit(page, {})
        }
      }
      const { device_code = '' } = device
      const body = winnerOf(await ask({ grant_type: DEVICE_CODE, device_code }))
      const family = await familyOf(body.refresh_token ?? '')
      expect(await refreshTokensOf(family)).toHaveLength(1)
      await expectAllDead([body.access_token, body.refresh_token])
    },
  )
})

describe(`${AT_ONCE} requests at once without a grace`, () => {
  beforeAll(() => open({ MINTMARK_REFRESH_GRACE: '0' }))
  afterAll(() => oauth.close())

  it.each([1, 2, 3])('spend a refresh token once, and the family dies (%i)', async () => {
    const family = await make({ userId, client: app })
    const body = winnerOf(await ask({ grant_type: 'refresh_token', refresh_token: family.refresh }))
    const rows = await refreshTokensOf(family.grantId)
    expect(rows).toHaveLength(2)
    for (const { revoked_at_ms } of rows) expect(revoked_at_ms).not.toBeNull()
    await expectAllDead([family.refresh, family.access, body.refresh_token, body.access_token])
    const child = { ...family, refresh: body.refresh_token ?? '' }
    expect((await refresh(child, oauth)).body.error).toBe('invalid_grant')
  })
})
