import { createLocalJWKSet, decodeProtectedHeader, type JSONWebKeySet, jwtVerify } from 'jose'
import * as client from 'openid-client'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type OauthServer, type RegisteredClient, signIn, startOauth } from '../support/oauth.ts'
import { makeGroup } from '../support/people.ts'

let oauth: OauthServer
let app: RegisteredClient
let aliceId: string

beforeAll(async () => {
  oauth = await startOauth()
  const wish = { displayName: 'Alice', attributes: { upn: 'alice@corp.example.com' } }
  aliceId = (await oauth.makePerson('alice', wish)).id
  await oauth.makePerson('bob')
  await makeGroup(oauth.server, 'staff', { [aliceId]: 'READ' })
  await makeGroup(oauth.server, 'admins', { [aliceId]: 'ADMIN' })
  await makeGroup(oauth.server, 'others')
  app = await oauth.register({ scopes: ['openid', 'profile', 'email', 'groups'] })
})
afterAll(() => oauth.close())

const infoOf = (
  { config }: RegisteredClient,
  accessToken: string,
): Promise<client.UserInfoResponse> =>
  client.fetchUserInfo(config, accessToken, client.skipSubjectCheck)

async function subjectsOf(registered: RegisteredClient, username: string): Promise<unknown[]> {
  const tokens = await signIn(oauth, registered, { username, parameters: { scope: 'openid' } })
  const info = await infoOf(registered, tokens.access_token)
  const seen = await client.tokenIntrospection(registered.config, tokens.access_token)
  return [tokens.claims()?.sub, info.sub, seen.sub]
}

describe('the subject', () => {
  it.each([
    ['user_uuid', (): string => aliceId],
    ['user_username', (): string => 'alice'],
    ['user_email', (): string => 'alice@example.com'],
    ['user_upn', (): string => 'alice@corp.example.com'],
  ] as const)(
    'is by %s the same in ID token, userinfo and introspection',
    async (subjectMode, of) => {
      const own = await oauth.register({ subjectMode })
      const said = await subjectsOf(own, 'alice')
      expect(said).toEqual([of(), of(), of()])
      expect((await subjectsOf(own, 'bob'))[0]).not.toBe(of())
    },
  )

  it('is by user_id a number, and by hashed_user_id a digest that tells nothing', async () => {
    const numbered = await oauth.register({ subjectMode: 'user_id' })
    const [serial, ...same] = await subjectsOf(numbered, 'alice')
    expect(serial).toMatch(/^\d+$/)
    expect(same).toEqual([serial, serial])
    const [hashed, ...equal] = await subjectsOf(app, 'alice')
    expect(hashed).toMatch(/^[0-9a-f]{64}$/)
    expect(equal).toEqual([hashed, hashed])
    const second = await oauth.register({ subjectMode: 'hashed_user_id' })
    expect((await subjectsOf(second, 'alice'))[0]).toBe(hashed)
    expect((await subjectsOf(second, 'bob'))[0]).not.toBe(hashed)
  })

  it('without a UPN or an email is the next best thing that is unique', async () => {
    const { id } = await oauth.makePerson('carol', { email: undefined })
    for (const subjectMode of ['user_upn', 'user_email']) {
      const own = await oauth.register({ subjectMode })
      expect((await subjectsOf(own, 'carol'))[0]).toBe(id)
    }
  })
})

describe('claims by scope', () => {
  it.each([
    ['openid', []],
    ['openid profile', ['name', 'preferred_username', 'updated_at']],
    ['openid email', ['email', 'email_verified']],
    ['openid groups', ['groups']],
    [
      'openid profile email groups',
      ['email', 'email_verified', 'groups', 'name', 'preferred_username', 'updated_at'],
    ],
  ])('%s', async (scope, expected) => {
    const tokens = await signIn(oauth, app, { parameters: { scope } })
    const { sub, ...claims } = await infoOf(app, tokens.access_token)
    expect(sub).toBe(tokens.claims()?.sub)
    expect(Object.keys(claims).sort()).toEqual(expected)
    const own = Object.keys(tokens.claims() ?? {}).sort()
    // What userinfo tells is not repeated in the ID token (OpenID Connect Core, section 5.4).
    const always = ['amr', 'at_hash', 'aud', 'auth_time', 'exp', 'iat', 'iss', 'nonce', 'sub']
    expect(own.filter((name) => !always.includes(name))).toEqual([])
    expect(own).toEqual(
      expect.arrayContaining(['amr', 'aud', 'auth_time', 'exp', 'iat', 'iss', 'nonce', 'sub']),
    )
  })

  it('say what is so now', async () => {
    const tokens = await signIn(oauth, app, {
      parameters: { scope: 'openid profile email groups' },
    })
    expect(await infoOf(app, tokens.access_token)).toMatchObject({
      name: 'Alice',
      preferred_username: 'alice',
      email: 'alice@example.com',
      // An administrator entered it.
      email_verified: false,
      groups: ['admins', 'staff'],
    })
    await makeGroup(oauth.server, 'late', { [aliceId]: 'READ' })
    expect((await infoOf(app, tokens.access_token)).groups).toEqual(['admins', 'late', 'staff'])
  })

  it('userinfo takes one bearer token, in the header or in a form, and nothing else', async () => {
    const { access_token } = await signIn(oauth, app, { parameters: { scope: 'openid' } })
    const url = `${oauth.issuer}/oauth2/userinfo`
    const bearer = { authorization: `Bearer ${access_token}` }
    const as = (init?: RequestInit) => fetch(url, init).then(({ status }) => status)
    expect(await as({ headers: bearer })).toBe(200)
    expect(await as({ method: 'POST', headers: bearer })).toBe(200)
    expect(await as({ method: 'POST', body: new URLSearchParams({ access_token }) })).toBe(200)
    expect(await as()).toBeGreaterThanOrEqual(400)
    const both = { method: 'POST', headers: bearer, body: new URLSearchParams({ access_token }) }
    expect(await as(both)).toBe(400)
    expect((await fetch(`${url}?access_token=${access_token}`)).status).toBe(400)
    for (const wrong of [
      `${access_token}x`,
      access_token.slice(0, -1),
      'x',
      oauth.server.adminToken,
    ]) {
      const response = await fetch(url, { headers: { authorization: `Bearer ${wrong}` } })
      expect(response.status).toBe(401)
      expect(response.headers.get('www-authenticate')).toMatch(/invalid_token/)
    }
  })
})

describe('signatures', () => {
  it('of ID tokens are RS256, by a key of the published set', async () => {
    const tokens = await signIn(oauth, app, { parameters: { scope: 'openid' } })
    const idToken = tokens.id_token ?? ''
    const { alg, kid } = decodeProtectedHeader(idToken)
    expect(alg).toBe('RS256')
    const set = (await (await fetch(`${oauth.issuer}/oauth2/jwks`)).json()) as JSONWebKeySet
    expect(set.keys.map((key) => key.kid)).toContain(kid)
    const verified = await jwtVerify(idToken, createLocalJWKSet(set), {
      issuer: oauth.issuer,
      audience: app.clientId,
      algorithms: ['RS256'],
    })
    expect(verified.payload.sub).toBe(tokens.claims()?.sub)
  })

  it('are ES256 for a client that wants them so', async () => {
    const own = await oauth.register({ signingAlgorithm: 'ES256' })
    const tokens = await signIn(oauth, own, { parameters: { scope: 'openid' } })
    const set = (await (await fetch(`${oauth.issuer}/oauth2/jwks`)).json()) as JSONWebKeySet
    const { protectedHeader } = await jwtVerify(tokens.id_token ?? '', createLocalJWKSet(set))
    expect(protectedHeader.alg).toBe('ES256')
  })

  it('can be made with RS256 and ES256, and only the public halves are published', async () => {
    const response = await fetch(`${oauth.issuer}/oauth2/jwks`)
    const { keys } = (await response.json()) as JSONWebKeySet
    expect(new Set(keys.map(({ alg }) => alg))).toEqual(new Set(['RS256', 'ES256']))
    expect(new Set(keys.map(({ kid }) => kid)).size).toBe(keys.length)
    for (const key of keys) {
      expect(key.use).toBe('sig')
      for (const part of ['d', 'p', 'q', 'dp', 'dq', 'qi', 'k'])
        expect(key).not.toHaveProperty(part)
    }
  })
})
