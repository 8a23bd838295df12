import { randomBytes } from 'node:crypto'
import * as client from 'openid-client'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import {
  type OauthServer,
  post,
  type RegisteredClient,
  signIn,
  startOauth,
} from '../support/oauth.ts'
import { codeFor } from '../support/oauth-steps.ts'
import { startProcess } from '../support/process.ts'
import { rest } from '../support/rest.ts'
import { smallDisks } from '../support/small-disk.ts'
import { snapshot } from '../support/tables.ts'
import { temporaryDirectory } from '../support/temporary.ts'

const REVOKE = '/oauth2/revoke'

let oauth: OauthServer
let app: RegisteredClient
let other: RegisteredClient

beforeAll(async () => {
  oauth = await startOauth()
  await oauth.makePerson('alice')
  app = await oauth.register({
    scopes: ['openid', 'orders:read'],
    resources: ['https://orders.example.com/'],
  })
  other = await oauth.register({ name: 'Other' })
})
afterAll(() => oauth.close())

async function begun(by = app, parameters: Record<string, string> = { scope: 'openid' }) {
  const tokens = await signIn(oauth, by, { parameters })
  return { access: tokens.access_token, refresh: tokens.refresh_token ?? '' }
}

const revoke = (token: string, by = app, extra: Record<string, string> = {}) =>
  post(oauth, REVOKE, { token, ...extra }, by)

const isActive = async (token: string, by = app) =>
  (await client.tokenIntrospection(by.config, token)).active

describe('revocation (bar 81)', () => {
  it('of a refresh token takes its access tokens along, and the grant', async () => {
    const { access, refresh } = await begun()
    const next = await client.refreshTokenGrant(app.config, refresh)
    await client.tokenRevocation(app.config, next.refresh_token ?? '')
    for (const token of [access, next.access_token, next.refresh_token ?? '']) {
      expect(await isActive(token)).toBe(false)
    }
    const again = client.refreshTokenGrant(app.config, next.refresh_token ?? '')
    await expect(again).rejects.toMatchObject({ error: 'invalid_grant' })
  })

  it('of a spent refresh token kills what came of it', async () => {
    const { refresh } = await begun()
    const next = await client.refreshTokenGrant(app.config, refresh)
    expect((await revoke(refresh)).status).toBe(200)
    expect(await isActive(next.access_token)).toBe(false)
    expect(await isActive(next.refresh_token ?? '')).toBe(false)
  })

  it('of a quarantined refresh token is not undone by its release', async () => {
    const { access, refresh } = await begun()
    const [row] = await oauth.server.database.query(
      `select id from token where kind = 'oauth_refresh' order by serial desc, id desc`,
    )
    const act = (verb: string) =>
      oauth.server.call('POST', `/api/v1/tokens/${row?.id}/${verb}`, { body: { reason: 'odd' } })
    expect((await act('quarantine')).body.tokens).toContain(row?.id)
    await expect(client.refreshTokenGrant(app.config, refresh)).rejects.toMatchObject({
      error: 'invalid_grant',
    })
    expect((await revoke(refresh)).status).toBe(200)
    await act('release')
    expect(await isActive(refresh)).toBe(false)
    expect(await isActive(access)).toBe(false)
  })

  it('of an access token kills that alone', async () => {
    const { access, refresh } = await begun()
    expect((await revoke(access)).status).toBe(200)
    expect(await isActive(access)).toBe(false)
    expect(await isActive(refresh)).toBe(true)
    const bearer = { authorization: `Bearer ${access}` }
    const info = await fetch(`${oauth.issuer}/oauth2/userinfo`, { headers: bearer })
    expect(info.status).toBe(401)
  })

  it('finds JWTs, too', async () => {
    const resource = 'https://orders.example.com/'
    const { access } = await begun(app, { scope: 'openid', resource })
    expect(access.split('.')).toHaveLength(3)
    expect((await revoke(access, other)).status).toBe(400)
    expect(await isActive(access)).toBe(true)
    expect((await revoke(access)).status).toBe(200)
    expect(await isActive(access)).toBe(false)
  })

  it('answers 200 to what it does not know, whatever the hint, and to a retry', async () => {
    const { access, refresh } = await begun()
    const before = await snapshot(oauth.server)
    for (const token of ['x', 'mm_oauth_refresh_x', 'e30.e30.e30', oauth.server.adminToken]) {
      for (const token_type_hint of ['refresh_token', 'access_token', 'nonsense']) {
        const { status, body } = await revoke(token, app, { token_type_hint })
        expect({ status, body }).toEqual({ status: 200, body: {} })
      }
    }
    const { code } = await codeFor(oauth, app, { parameters: { scope: 'openid' } })
    expect((await revoke(code)).status).toBe(200)
    const after = await snapshot(oauth.server)
    expect(after.token?.length).toBeGreaterThanOrEqual(before.token?.length ?? 0)
    expect((await revoke(refresh, app, { token_type_hint: 'access_token' })).status).toBe(200)
    expect(await isActive(access)).toBe(false)
    expect((await revoke(refresh)).status).toBe(200)
    expect((await revoke(access)).status).toBe(200)
    expect((await oauth.server.call('GET', '/api/v1/me')).status).toBe(200)
  })

  it("leaves other clients' tokens alone", async () => {
    const { access, refresh } = await begun()
    const phone = await oauth.register({ type: 'public' })
    for (const by of [other, phone]) {
      for (const token of [access, refresh]) {
        const { status, body } = await revoke(token, by)
        expect({ status, error: body.error }).toEqual({ status: 400, error: 'unauthorized_client' })
      }
    }
    for (const token of [access, refresh]) expect(await isActive(token)).toBe(true)
  })

  it('needs the secret of a client that has one, and takes the name of one that has none', async () => {
    const { access, refresh } = await begun()
    for (const who of [{ clientId: app.clientId }, { clientId: app.clientId, secret: 'x' }, {}]) {
      const { status, body } = await post(oauth, REVOKE, { token: refresh }, who)
      expect({ status, error: body.error }).toEqual({ status: 401, error: 'invalid_client' })
    }
    expect(await isActive(access)).toBe(true)
    const phone = await oauth.register({ type: 'public' })
    const own = await begun(phone)
    expect((await revoke(own.refresh, phone)).status).toBe(200)
    const next = client.refreshTokenGrant(phone.config, own.refresh)
    await expect(next).rejects.toMatchObject({ error: 'invalid_grant' })
  })

  it('is for POST and for one token', async () => {
    const { refresh } = await begun()
    const query = new URLSearchParams({ token: refresh })
    const authorization = `Basic ${btoa(`${app.clientId}:${app.secret}`)}`
    const got = await fetch(`${oauth.issuer}${REVOKE}?${query}`, { headers: { authorization } })
    expect(got.status).toBe(405)
    expect((await post(oauth, `${REVOKE}?${query}`, {}, app)).status).toBe(400)
    expect(await isActive(refresh)).toBe(true)
  })
})

describe('when the store cannot take it', () => {
  const disks = smallDisks()

  it.runIf(disks.length > 0)(
    'says 503 and when to try again, never 200',
    { timeout: 60_000 },
    async () => {
      const [, makeDisk] = disks[0] ?? []
      if (makeDisk === undefined) return
      const adminToken = `boot-${randomBytes(30).toString('base64url')}`
      const disk = makeDisk(temporaryDirectory())
      onTestFinished(disk.remove)
      const server = await startProcess({
        dataDir: disk.dataDir,
        env: { MINTMARK_BOOTSTRAP_TOKEN: adminToken, MINTMARK_LOG_LEVEL: 'fatal' },
        wrapper: disk.wrapper,
      })
      onTestFinished(async () => {
        await server.end('SIGKILL')
      })
      const api = rest(server.url, adminToken)
      const wish = { name: 'Worker', grants: ['client_credentials'], scopes: ['mintmark'] }
      const { body: worker } = await api.call('POST', '/clients', { body: wish })
      const send = async (path: string, fields: Record<string, string>) => {
        const response = await fetch(`${server.url}${path}`, {
          method: 'POST',
          headers: { authorization: `Basic ${btoa(`${worker.clientId}:${worker.secret}`)}` },
          body: new URLSearchParams(fields),
        })
        const text = await response.text()
        return {
          status: response.status,
          retryAfter: response.headers.get('retry-after'),
          body: text === '' ? {} : JSON.parse(text),
        }
      }
      const wanted = { grant_type: 'client_credentials', scope: 'mintmark' }
      const { body: tokens } = await send('/oauth2/token', wanted)
      const token = tokens.access_token
      const active = async () => (await send('/oauth2/introspect', { token })).body.active
      expect(await active()).toBe(true)

      disk.fill(server.pid)
      for (let i = 0; i < 5000; i++) {
        const body = { name: `filler ${i}`, metadata: { weight: 'x'.repeat(2000) } }
        if ((await api.call('POST', '/tokens', { body, accept: 503 })).status === 503) break
      }
      const unavailable = {
        status: 503,
        retryAfter: expect.stringMatching(/^[1-9]\d*$/),
        body: { error: 'temporarily_unavailable' },
      }
      expect(await send(REVOKE, { token })).toMatchObject(unavailable)
      expect(await send('/oauth2/token', wanted)).toMatchObject(unavailable)
      expect(await active()).toBe(true)

      disk.free(server.pid)
      expect((await send(REVOKE, { token })).status).toBe(200)
      expect(await active()).toBe(false)
    },
  )
})
