import { decodeJwt } from 'jose'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { EVERYTHING, isAlive, makeToken } from '../support/people.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { emptyOut, makeServiceToken, s7Client } from './s7-client.ts'

let server: TestServer
const s7 = s7Client(() => server)

beforeAll(async () => {
  server = await startServer()
})
beforeEach(async () => {
  for (const [groupId, description] of [
    ['g1', 'first'],
    ['g2', ''],
  ]) {
    await s7('POST', '/admin/groups', { body: { groupId, description } })
  }
})
afterEach(() => emptyOut(s7))
afterAll(() => server.close())

const UUID_V4 = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
const listed = async () => (await s7('GET', '/admin/refreshTokens')).body.refreshTokenInfo
const secondsFromNow = (seconds: number) =>
  new Date(server.clock.now() + seconds * 1000).toISOString()

/** What a resource server reads out of an access token. */
function userInfoIn(jwt: string) {
  const { user_info: text } = decodeJwt(jwt)
  return JSON.parse(String(text))
}

describe('POST /admin/refreshTokens', () => {
  it('answers a UUIDv4 secret, once, and a first access token with the groups asked for', async () => {
    const made = await s7('POST', '/admin/refreshTokens', {
      rawBody:
        '{"tokenName": "svc", "expirationDateTime": "2031-01-01T00:00:00+00:00", "groups": [{"groupId": "g1", "mode": "WRITE"}, {"groupId": "g2"}]}',
    })
    expect(made.status).toBe(200)
    const { refreshToken, accessToken } = made.body
    expect(refreshToken.token).toMatch(UUID_V4)
    expect(refreshToken.expiresAt).toBe('2031-01-01T00:00:00.000Z')
    expect(accessToken.expiresAt).toBe(secondsFromNow(600))
    const info = userInfoIn(accessToken.token)
    expect(info).toMatchObject({
      globalRole: 'USER',
      groups: [
        { groupId: 'g1', description: 'first', mode: 'WRITE' },
        { groupId: 'g2', mode: 'READ' },
      ],
    })
    expect(info.userId).toMatch(/^service:/)
    expect((await s7('GET', '/admin/refreshTokens')).text).not.toContain(refreshToken.token)
  })

  it.each([
    ['a naive time, as UTC', '2030-06-01T00:00:00.000005', '2030-06-01T00:00:00.000Z'],
    ['an offset', '2030-06-01T02:00:00+02:00', '2030-06-01T00:00:00.000Z'],
    ['a Z with a fraction', '2030-06-01T00:00:01.25Z', '2030-06-01T00:00:01.250Z'],
    ['a negative offset', '2030-05-31T18:30:00-05:30', '2030-06-01T00:00:00.000Z'],
  ])('takes %s', async (_, sent, answered) => {
    const made = await s7('POST', '/admin/refreshTokens', {
      body: { tokenName: 'svc', expirationDateTime: sent },
    })
    expect(made.body.refreshToken.expiresAt).toBe(answered)
  })

  it('lives to the second as long as asked', async () => {
    const { secret, jwt } = await makeServiceToken(s7, {
      tokenName: 'short',
      expirationDateTime: secondsFromNow(90),
    })
    server.clock.advance(89_000)
    expect((await s7('POST', '/refresh', { token: secret })).status).toBe(200)
    expect((await s7('GET', '/userInfo', { token: jwt })).status).toBe(200)
    server.clock.advance(1000)
    expect((await s7('POST', '/refresh', { token: secret })).status).toBe(401)
    expect((await s7('GET', '/userInfo', { token: jwt })).status).toBe(401)
    expect(await listed()).toEqual([])
  })

  it('takes the default lifetime of the policy when none is given', async () => {
    const made = await s7('POST', '/admin/refreshTokens', { body: { tokenName: 'svc' } })
    expect(made.body.refreshToken.expiresAt).toBe(secondsFromNow(90 * 86_400))
  })

  it('leaves earlier tokens alive, also those of the same name', async () => {
    const first = await makeServiceToken(s7, { tokenName: 'svc' })
    await s7('POST', '/admin/refreshTokens', { body: { tokenName: 'svc' } })
    expect((await s7('POST', '/refresh', { token: first.secret })).status).toBe(200)
    expect(await listed()).toHaveLength(2)
  })

  it('cannot be taken for the person whose name the token bears', async () => {
    await s7('POST', '/admin/users', { body: { userId: 'alice', groups: [{ groupId: 'g1' }] } })
    const { jwt } = await makeServiceToken(s7, { tokenName: 'alice' })
    expect(userInfoIn(jwt)).toMatchObject({ groups: [] })
    expect(userInfoIn(jwt).userId).not.toBe('alice')
  })

  it.each([
    ['no name', { groups: [] }, 400],
    ['an empty name', { tokenName: '' }, 400],
    ['an end in the past', { tokenName: 'x', expirationDateTime: '2020-01-01T00:00:00Z' }, 400],
    ['a date without time', { tokenName: 'x', expirationDateTime: '2031-01-01' }, 400],
    [
      'a day that does not exist',
      { tokenName: 'x', expirationDateTime: '2031-02-30T00:00:00Z' },
      400,
    ],
    ['a number for the end', { tokenName: 'x', expirationDateTime: 1 }, 400],
    ['an unknown group', { tokenName: 'x', groups: [{ groupId: 'nothing' }] }, 404],
    ['an unknown mode', { tokenName: 'x', groups: [{ groupId: 'g1', mode: 'OWN' }] }, 400],
    ['a member that we do not know', { tokenName: 'x', userId: 'admin' }, 400],
  ])('refuses %s and leaves nothing behind', async (_, body, status) => {
    const users = (await s7('GET', '/admin/users')).body
    expect((await s7('POST', '/admin/refreshTokens', { body })).status).toBe(status)
    expect(await listed()).toEqual([])
    expect((await s7('GET', '/admin/users')).body).toEqual(users)
  })
})

describe('GET /admin/refreshTokens', () => {
  it('shows the live ones with name, end and groups', async () => {
    const { tokenId } = await makeServiceToken(s7, {
      tokenName: 'svc',
      expirationDateTime: '2031-01-01T00:00:00Z',
      groups: [{ groupId: 'g1', mode: 'ADMIN' }],
    })
    const info = {
      tokenId,
      tokenName: 'svc',
      expirationDateTime: '2031-01-01T00:00:00.000Z',
      groups: [{ groupId: 'g1', description: 'first', mode: 'ADMIN' }],
    }
    expect(await listed()).toEqual([info])
    expect((await s7('GET', `/admin/refreshTokens/${tokenId}`)).body).toEqual(info)
  })

  it('shows service tokens made through the REST API, within their own limits', async () => {
    const groups = [{ groupId: 'g1', mode: 'ADMIN' }]
    await s7('POST', '/admin/users', { body: { userId: 'bob', groups } })
    const bob = (await server.call('GET', '/api/v1/users?username=bob')).body.items[0]
    const made = await server.call('POST', '/api/v1/tokens', {
      body: {
        ownerId: bob.id,
        kind: 'service',
        name: 'rest',
        accessLevel: 'READ_ONLY',
        groups: null,
        expiresAt: null,
      },
    })
    expect(made.status).toBe(201)
    server.remember(made.body.secret)
    expect(await listed()).toEqual([
      {
        tokenId: made.body.id,
        tokenName: 'rest',
        groups: [{ groupId: 'g1', description: 'first', mode: 'READ' }],
      },
    ])
    const { body } = await s7('POST', '/refresh', { token: made.body.secret })
    expect(userInfoIn(body.token)).toEqual({
      userId: 'bob',
      globalRole: 'USER',
      groups: [{ groupId: 'g1', description: 'first', mode: 'READ' }],
    })
  })

  it('does not show tokens of other kinds', async () => {
    const bob = await server.makeUser({ username: 'bob' })
    const tokens = (await server.call('GET', `/api/v1/tokens?ownerId=${bob.id}`)).body.items
    expect(await listed()).toEqual([])
    for (const method of ['GET', 'DELETE']) {
      const answer = await s7(method, `/admin/refreshTokens/${tokens[0].id}`)
      expect(answer.status).toBe(404)
    }
    expect((await s7('GET', '/userInfo', { token: bob.token })).status).toBe(200)
  })
})

describe('GET /admin/refreshTokens/{tokenId}', () => {
  it('knows the public id only, never the secret', async () => {
    const { secret } = await makeServiceToken(s7, { tokenName: 'svc' })
    for (const id of [secret, 'f454d283-ca87-4a8a-bdbb-df212eca5353', 'x', '%00', "'--"]) {
      const answer = await s7('GET', `/admin/refreshTokens/${encodeURIComponent(id)}`)
      expect(answer.status).toBe(404)
    }
  })
})

describe('DELETE /admin/refreshTokens/{tokenId}', () => {
  it('keeps the account while another of its tokens may be released from quarantine', async () => {
    const { secret, tokenId } = await makeServiceToken(s7, { tokenName: 'svc' })
    const verified = await server.call('POST', '/api/v1/tokens/verify', { body: { token: secret } })
    const other = await makeToken(server, { ...EVERYTHING, ownerId: verified.body.owner.id })
    await server.call('POST', `/api/v1/tokens/${other.id}/quarantine`)
    expect((await s7('DELETE', `/admin/refreshTokens/${tokenId}`)).status).toBe(200)
    expect((await server.call('POST', `/api/v1/tokens/${other.id}/release`)).status).toBe(200)
    expect(await isAlive(server, other.secret)).toBe(true)
  })

  it('kills the token and what was derived from it, at once', async () => {
    const { secret, tokenId, jwt } = await makeServiceToken(s7, { tokenName: 'svc' })
    expect((await s7('GET', '/userInfo', { token: jwt })).status).toBe(200)
    const gone = await s7('DELETE', `/admin/refreshTokens/${tokenId}`)
    expect([gone.status, gone.text]).toEqual([200, ''])
    expect((await s7('GET', '/userInfo', { token: jwt })).status).toBe(401)
    expect((await s7('POST', '/refresh', { token: secret })).status).toBe(401)
    expect((await server.call('GET', '/api/v1/me', { token: secret })).status).toBe(401)
    expect(await listed()).toEqual([])
    expect((await s7('GET', `/admin/refreshTokens/${tokenId}`)).status).toBe(404)
  })

  it('answers 200 the second time too, and 404 for what never was', async () => {
    const { tokenId } = await makeServiceToken(s7, { tokenName: 'svc' })
    for (const _ of [1, 2]) {
      expect((await s7('DELETE', `/admin/refreshTokens/${tokenId}`)).status).toBe(200)
    }
    const unknown = '01890a5d-ac96-774b-bcce-b302099a8057'
    expect((await s7('DELETE', `/admin/refreshTokens/${unknown}`)).status).toBe(404)
  })

  it('does not take the secret for an id', async () => {
    const { secret } = await makeServiceToken(s7, { tokenName: 'svc' })
    expect((await s7('DELETE', `/admin/refreshTokens/${secret}`)).status).toBe(404)
    expect((await s7('POST', '/refresh', { token: secret })).status).toBe(200)
  })
})
