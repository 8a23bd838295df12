import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { makeGroup } from '../support/people.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { base, FAMILIES, type Stage, stage } from './authentik-stage.ts'
import { checked } from './checked.ts'

let server: TestServer
let at: Stage
const ak = checked(() => server, 'authentik')

beforeAll(async () => {
  server = await startServer()
  at = await stage(server)
})
afterAll(() => server.close())

describe.each(FAMILIES)('$path', ({ path, kind, model }) => {
  const isCode = kind === 'oauth_code'
  const url = (pk: number | string) => `${base}/${path}/${pk}/`
  const gone = { status: 404, body: { detail: `No ${model} matches the given query.` } }

  it('shows one with everything that clients demand', async () => {
    const parent = await makeGroup(server, `parent-${path}`)
    const group = await makeGroup(server, `crew-${path}`, { [at.alice.id]: 'READ' })
    const idClaims = { iss: server.config.publicUrl, sub: 'x', nonce: null, acr: 'default' }
    const { pk, secret } = await at.give({ kind, scopes: ['openid', 'email'], idClaims })
    const answer = await ak('GET', url(pk))
    expect(answer.status).toBe(200)
    expect(answer.headers['content-type']).toBe('application/json')
    expect(answer.text).not.toContain(secret)
    expect(answer.text).not.toContain(parent)
    expect(answer.body).toMatchObject({
      pk,
      is_expired: false,
      expires: new Date(server.clock.now() + 3_600_000).toISOString().replace('.000Z', 'Z'),
      scope: ['openid', 'email'],
      provider: {
        pk: at.app.serial,
        name: 'App',
        client_id: 'app',
        client_secret: '',
        component: 'ak-provider-oauth2-form',
        verbose_name: 'OAuth2/OpenID Provider',
        verbose_name_plural: 'OAuth2/OpenID Providers',
        meta_model_name: 'authentik_providers_oauth2.oauth2provider',
        redirect_uris: 'https://app.example.com/a\nhttps://app.example.com/b',
        issuer_mode: 'global',
      },
      user: {
        pk: at.alice.pk,
        uuid: at.alice.id,
        username: 'alice',
        is_superuser: false,
        is_active: true,
        type: 'internal',
        path: 'users',
        uid: expect.stringMatching(/^[0-9a-f]{64}$/),
        avatar: expect.stringMatching(/^data:image\/svg\+xml;base64,/),
      },
    })
    const shownGroup = answer.body.user.groups_obj.find(({ pk }: { pk: string }) => pk === group)
    expect(shownGroup).toEqual({
      pk: group,
      num_pk: expect.any(Number),
      name: `crew-${path}`,
      is_superuser: false,
      parent: null,
      parent_name: null,
      attributes: {},
    })
    expect(answer.body.user.groups).toContain(group)
    if (isCode) {
      expect(Object.keys(answer.body)).not.toContain('id_token')
      expect(Object.keys(answer.body)).not.toContain('revoked')
    } else {
      expect(answer.body.revoked).toBe(false)
      expect(answer.body.id_token).toBe(
        `{\n    "iss": "${server.config.publicUrl}",\n    "sub": "x",\n    "acr": "default"\n}`,
      )
    }
  })

  it('goes on showing an expired one, and one that does not end', async () => {
    const { pk } = await at.give({ kind, ttlMs: 1500 })
    const endless = await at.give({ kind, ttlMs: null })
    expect((await ak('GET', url(pk))).body.expires).toMatch(/\.500000Z$/)
    server.clock.advance(1499)
    expect((await ak('GET', url(pk))).body.is_expired).toBe(false)
    server.clock.advance(1)
    expect((await ak('GET', url(pk))).body.is_expired).toBe(true)
    expect((await ak('GET', url(endless.pk))).body).toMatchObject({
      expires: null,
      is_expired: false,
    })
    const { results } = (await ak('GET', `${base}/${path}/`)).body
    expect(results.map((each: { pk: number }) => each.pk)).toEqual(
      expect.arrayContaining([pk, endless.pk]),
    )
    server.clock.advance(500)
  })

  it('deletes for good: 204 with nothing, then 404', async () => {
    const { pk, id } = await at.give({ kind })
    const answer = await ak('DELETE', url(pk))
    expect(answer).toMatchObject({ status: 204, text: '' })
    expect(answer.headers['content-length']).toBeUndefined()
    expect(await ak('GET', url(pk))).toMatchObject(gone)
    expect(await ak('GET', `${url(pk)}used_by/`)).toMatchObject(gone)
    expect(await ak('DELETE', url(pk))).toMatchObject(gone)
    const { body } = await ak('GET', `${base}/${path}/?page_size=1000`)
    expect(body.results.map((each: { pk: number }) => each.pk)).not.toContain(pk)
    const ours = await server.call('GET', `/api/v1/tokens/${id}`)
    expect(ours.body).toMatchObject({ state: 'revoked', kind })
    const audit = await server.call('GET', `/api/v1/audit?subjectId=${id}`)
    expect(audit.body.items[0]).toMatchObject({ action: 'token.revoked', via: 'authentik' })
  })

  it('deletes with a JSON content type and no body, and with one to ignore', async () => {
    const headers = { 'content-type': 'application/json' }
    const first = await at.give({ kind })
    expect((await ak('DELETE', url(first.pk), { headers })).status).toBe(204)
    const second = await at.give({ kind })
    expect((await ak('DELETE', url(second.pk), { body: { ignored: true } })).status).toBe(204)
  })

  it('has one winner of two who delete', async () => {
    const { pk } = await at.give({ kind })
    const answers = await Promise.all([ak('DELETE', url(pk)), ak('DELETE', url(pk))])
    expect(answers.map(({ status }) => status).sort()).toEqual([204, 404])
  })

  it('is used by nothing', async () => {
    const { pk } = await at.give({ kind })
    const answer = await ak('GET', `${url(pk)}used_by/`)
    expect(answer).toMatchObject({ status: 200, text: '[]' })
    expect(answer.headers['content-type']).toBe('application/json')
  })

  it.each(['0', '-1', '999999', '3000000000', '99999999999999999999', 'x', '1.5', '%00', '%20'])(
    'does not find %s',
    async (pk) => {
      expect(await ak('GET', url(pk))).toMatchObject(gone)
      expect(await ak('DELETE', url(pk))).toMatchObject(gone)
      expect(await ak('GET', `${url(pk)}used_by/`)).toMatchObject(gone)
    },
  )

  it('does not find what belongs to another family', async () => {
    for (const other of FAMILIES) {
      if (other.kind === kind) continue
      const { pk } = await at.give({ kind: other.kind })
      expect(await ak('GET', url(pk))).toMatchObject(gone)
      expect(await ak('DELETE', url(pk))).toMatchObject(gone)
      expect((await ak('GET', `${base}/${other.path}/${pk}/`)).status).toBe(200)
    }
  })

  it('shows no token that was never given to a client', async () => {
    const { body } = await ak('GET', `${base}/${path}/?page_size=1000&ordering=pk`)
    const pks: number[] = body.results.map((each: { pk: number }) => each.pk)
    // The first ones are the API tokens of the people in these tests.
    expect(Math.min(...pks)).toBeGreaterThan(3)
    expect(await ak('GET', url(1))).toMatchObject(gone)
  })
})

describe('a rotated refresh token', () => {
  it('stays listed as revoked, and its family dies with it', async () => {
    const grantId = crypto.randomUUID()
    const old = await at.give({ kind: 'oauth_refresh', grantId })
    await at.seed.spend(old.id as never)
    const next = await at.give({ kind: 'oauth_refresh', grantId })
    const access = await at.give({ kind: 'oauth_access', grantId })
    const shown = await ak('GET', `${base}/refresh_tokens/${old.pk}/`)
    expect(shown.body.revoked).toBe(true)
    const { results } = (await ak('GET', `${base}/refresh_tokens/?ordering=-pk`)).body
    expect(results.map((each: { pk: number }) => each.pk)).toEqual(
      expect.arrayContaining([old.pk, next.pk]),
    )
    expect((await ak('DELETE', `${base}/refresh_tokens/${next.pk}/`)).status).toBe(204)
    for (const [path, pk] of [
      ['refresh_tokens', old.pk],
      ['access_tokens', access.pk],
    ]) {
      expect((await ak('GET', `${base}/${path}/${pk}/`)).status).toBe(404)
    }
  })
})

it('an exchanged code is gone', async () => {
  const { pk, id } = await at.give({ kind: 'oauth_code' })
  expect((await ak('GET', `${base}/authorization_codes/${pk}/`)).status).toBe(200)
  await at.seed.spend(id as never)
  expect((await ak('GET', `${base}/authorization_codes/${pk}/`)).status).toBe(404)
  const { body } = await ak('GET', `${base}/authorization_codes/?page_size=1000`)
  expect(body.results.map((each: { pk: number }) => each.pk)).not.toContain(pk)
})

it('the user is shown as what it is: an admin, a service, a disabled one, with an email', async () => {
  const shown = async (ownerId: string) => {
    const { pk } = await at.give({ kind: 'oauth_access', ownerId })
    return (await ak('GET', `${base}/access_tokens/${pk}/`)).body.user
  }
  const made = async (wish: Record<string, unknown>) =>
    (await server.call('POST', '/api/v1/users', { body: wish })).body.id as string
  const admin = await server.call('GET', '/api/v1/me')
  expect(await shown(admin.body.user.id)).toMatchObject({ is_superuser: true, pk: at.admin.pk })
  const robot = await made({ username: 'robot', kind: 'service', displayName: 'Robot' })
  expect(await shown(robot)).toMatchObject({ type: 'service_account', name: 'Robot' })
  const attributes = { upn: 'carol@corp.example.com', deep: { list: [1, null] } }
  const carol = await made({ username: 'carol', email: 'carol@example.com', attributes })
  expect(await shown(carol)).toMatchObject({ email: 'carol@example.com', attributes })
  await server.call('PATCH', `/api/v1/users/${carol}`, { body: { active: false } })
  const { body } = await ak('GET', `${base}/access_tokens/?user=${at.alice.pk}`)
  expect(Object.keys(body.results[0].user)).not.toContain('email')
})

it('what a deleted user held is gone', async () => {
  const { id } = await server.makeUser({ username: 'dora' })
  const { pk } = await at.give({ kind: 'oauth_refresh', ownerId: id })
  expect((await server.call('DELETE', `/api/v1/users/${id}`)).status).toBeLessThan(300)
  expect((await ak('GET', `${base}/refresh_tokens/${pk}/`)).status).toBe(404)
})
