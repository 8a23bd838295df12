import * as client20246 from 'authentik-client-2024-6'
import * as client20248 from 'authentik-client-2024-8'
import * as client20268 from 'authentik-client-2026-8'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { contract } from '../support/contract.ts'
import { listen } from '../support/raw-socket.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { type Stage, stage } from './authentik-stage.ts'

const options = (accessToken: string) => ({
  basePath,
  accessToken,
  middleware: [{ post: check }],
})

/** The published clients, unmodified, over real HTTP; every answer is held against the contract. */
const published = {
  '2024.6': (token: string) =>
    new client20246.Oauth2Api(new client20246.Configuration(options(token))),
  '2024.8': (token: string) =>
    new client20248.Oauth2Api(new client20248.Configuration(options(token))),
  '2026.8': (token: string) =>
    new client20268.Oauth2Api(new client20268.Configuration(options(token))),
}

let server: TestServer
let at: Stage
let basePath: string
let validated = 0
const { validate } = contract('authentik')

beforeAll(async () => {
  server = await startServer()
  at = await stage(server)
  basePath = `http://127.0.0.1:${await listen(server)}/api/v3`
})
afterAll(() => server.close())

/** What every generation of the client hands to its middleware. */
interface Exchange {
  url: string
  init: RequestInit
  response: Response
}

async function check({ url, init, response }: Exchange): Promise<void> {
  validate({
    method: init.method ?? 'GET',
    path: new URL(url).pathname,
    status: response.status,
    headers: Object.fromEntries(response.headers),
    body: await response.text(),
  })
  validated++
}

describe.each(Object.entries(published))('@goauthentik/api %s', (_, apiAs) => {
  const api = () => apiAs(server.adminToken)
  /** The four operations of each family, under one name each. */
  const families = () => {
    const oauth2 = api()
    return {
      oauth_refresh: {
        list: oauth2.oauth2RefreshTokensList.bind(oauth2),
        retrieve: oauth2.oauth2RefreshTokensRetrieve.bind(oauth2),
        destroy: oauth2.oauth2RefreshTokensDestroy.bind(oauth2),
        usedBy: oauth2.oauth2RefreshTokensUsedByList.bind(oauth2),
      },
      oauth_access: {
        list: oauth2.oauth2AccessTokensList.bind(oauth2),
        retrieve: oauth2.oauth2AccessTokensRetrieve.bind(oauth2),
        destroy: oauth2.oauth2AccessTokensDestroy.bind(oauth2),
        usedBy: oauth2.oauth2AccessTokensUsedByList.bind(oauth2),
      },
      oauth_code: {
        list: oauth2.oauth2AuthorizationCodesList.bind(oauth2),
        retrieve: oauth2.oauth2AuthorizationCodesRetrieve.bind(oauth2),
        destroy: oauth2.oauth2AuthorizationCodesDestroy.bind(oauth2),
        usedBy: oauth2.oauth2AuthorizationCodesUsedByList.bind(oauth2),
      },
    }
  }

  it.each(['oauth_refresh', 'oauth_access', 'oauth_code'] as const)(
    'reads, lists and deletes tokens of kind %s',
    async (kind) => {
      const family = families()[kind]
      const before = validated
      const idClaims = { iss: 'https://id.example.com' }
      const { pk } = await at.give({ kind, scopes: ['openid', 'email'], idClaims })
      const endless = await at.give({ kind, ttlMs: null })

      const shown = await family.retrieve({ id: pk })
      expect(shown).toMatchObject({ pk, isExpired: false, scope: ['openid', 'email'] })
      expect(shown.expires?.getTime()).toBe(server.clock.now() + 3_600_000)
      expect(shown.provider).toMatchObject({ pk: at.app.serial, name: 'App' })
      expect(shown.user).toMatchObject({ pk: at.alice.pk, username: 'alice', groupsObj: [] })
      const { idToken, revoked } = { idToken: undefined, revoked: undefined, ...shown }
      expect(revoked).toBe(kind === 'oauth_code' ? undefined : false)
      expect(JSON.parse(idToken ?? '{}')).toEqual(kind === 'oauth_code' ? {} : idClaims)
      expect((await family.retrieve({ id: endless.pk })).expires ?? null).toBeNull()

      const all = await family.list({
        ordering: '-pk',
        page: 1,
        pageSize: 1,
        provider: at.app.serial,
        search: 'a b',
        user: at.alice.pk,
      })
      expect(all.results.map((each) => each.pk)).toEqual([endless.pk])
      expect(all.pagination).toMatchObject({ current: 1, previous: 0, next: 2, startIndex: 1 })
      expect((await family.list()).pagination.count).toBe(all.pagination.count)

      expect(await family.usedBy({ id: pk })).toEqual([])
      await family.destroy({ id: pk })
      await expect(family.retrieve({ id: pk })).rejects.toMatchObject({
        response: { status: 404 },
      })
      await family.destroy({ id: endless.pk })
      expect(validated - before).toBe(8)
    },
  )

  it('hears about what is refused', async () => {
    const refused = async (attempt: Promise<unknown>) => {
      const { response } = (await attempt.then(
        () => Promise.reject(new Error('It was not refused.')),
        (error: unknown) => error,
      )) as { response: Response }
      return [response.status, await response.json()]
    }
    expect(await refused(apiAs('x'.repeat(40)).oauth2RefreshTokensList())).toEqual([
      403,
      { detail: 'Token invalid/expired' },
    ])
    expect(await refused(api().oauth2AccessTokensList({ user: 999_999 }))).toEqual([
      400,
      { user: [expect.stringContaining('Select a valid choice.')] },
    ])
    expect(await refused(api().oauth2AuthorizationCodesList({ page: 99 }))).toEqual([
      404,
      { detail: 'Invalid page.' },
    ])
  })
})
