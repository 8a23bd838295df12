import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startServer, type TestServer } from '../support/server.ts'
import { checked, letUsersCreateTokens } from './checked.ts'
import { anonymously, as, type Cast, cast, create as createToken, freshName } from './xms-client.ts'

let server: TestServer
const xms = checked(() => server, 'xms')
const create = (token: string, wish?: { name?: string; roles?: string[] }) =>
  createToken({ server, xms }, token, wish)

let alice: Cast['alice']
let bob: Cast['bob']
let readOnly: Cast['readOnly']
let admin: string

beforeAll(async () => {
  server = await startServer()
  admin = server.adminToken
  ;({ alice, bob, readOnly } = await cast(server))
  await letUsersCreateTokens(server)
})
afterAll(() => server.close())

describe('rename', () => {
  it('changes the name and the time of the update, and nothing else', async () => {
    const { uuid: _, ...before } = await create(alice.token)
    server.clock.advance(5000)
    const name = freshName()
    const body = { access_token: { name, roles: ['admin'], description: 'no' } }
    const answer = await xms('PATCH', `/v1/access-tokens/${before.id}`, as(alice.token, body))
    const update = new Date(server.clock.now()).toISOString()
    expect(answer).toMatchObject({
      status: 200,
      body: { access_token: { ...before, name, update } },
    })
  })

  it('refuses no name (400), a taken one (409) and a token that is not there (404)', async () => {
    const { id, name } = await create(alice.token)
    const other = await create(alice.token)
    const foreign = await create(bob.token)
    const rename = (target: number, body: unknown) =>
      xms('PATCH', `/v1/access-tokens/${target}`, as(alice.token, body))
    expect((await rename(id, { access_token: {} })).status).toBe(400)
    expect((await rename(id, undefined)).status).toBe(400)
    expect((await rename(other.id, { access_token: { name } })).status).toBe(409)
    expect((await rename(foreign.id, { access_token: { name: 'mine' } })).status).toBe(404)
    expect((await rename(999_999, { access_token: { name: 'mine' } })).status).toBe(404)
  })
})

describe('delete', () => {
  it('answers 204 and the token stops working at once', async () => {
    const { id, uuid } = await create(alice.token)
    const url = `/v1/access-tokens/${id}`
    expect((await xms('GET', url, as(uuid))).status).toBe(200)
    const answer = await xms('DELETE', url, as(alice.token))
    expect(answer).toMatchObject({ status: 204, text: '' })
    expect((await xms('GET', url, as(uuid))).status).toBe(401)
    for (const method of ['GET', 'DELETE']) {
      expect((await xms(method, url, as(alice.token))).status).toBe(404)
    }
    const list = await xms('GET', '/v1/access-tokens/', as(alice.token))
    expect(list.body.access_tokens.map((token: { id: number }) => token.id)).not.toContain(id)
  })

  it('has one winner of two', async () => {
    const { id } = await create(alice.token)
    const twice = [1, 2].map(() => xms('DELETE', `/v1/access-tokens/${id}`, as(alice.token)))
    const statuses = (await Promise.all(twice)).map(({ status }) => status)
    expect(statuses.sort()).toEqual([204, 404])
  })

  it('hides the tokens of others', async () => {
    const { id, uuid } = await create(bob.token)
    expect((await xms('DELETE', `/v1/access-tokens/${id}`, as(alice.token))).status).toBe(404)
    expect((await xms('GET', `/v1/access-tokens/${id}`, as(uuid))).status).toBe(200)
  })
})

describe('regenerate', () => {
  it('keeps the token and replaces its secret; the old one is dead at once', async () => {
    const before = await create(alice.token)
    const url = `/v1/access-tokens/${before.id}`
    expect((await xms('GET', url, as(before.uuid))).status).toBe(200)
    server.clock.advance(60_000)
    const answer = await xms('POST', `${url}:regenerate`, as(alice.token))
    expect(answer.status).toBe(200)
    const after = answer.body.access_token
    server.remember(after.uuid)
    expect(after.uuid).toMatch(/^[0-9a-f]{32}$/)
    expect(after.uuid).not.toBe(before.uuid)
    const update = new Date(server.clock.now()).toISOString()
    expect(after).toEqual({ ...before, uuid: after.uuid, update })
    expect((await xms('GET', url, as(before.uuid))).status).toBe(401)
    expect((await xms('GET', url, as(after.uuid))).status).toBe(200)
  })

  it('has one winner of two at the same time; the other hears 409 or finds the new one', async () => {
    const { id } = await create(alice.token)
    const url = `/v1/access-tokens/${id}:regenerate`
    const answers = await Promise.all([1, 2].map(() => xms('POST', url, as(alice.token))))
    const secrets = answers.flatMap(({ status, body }) =>
      status === 200 ? [body.access_token.uuid] : [],
    )
    expect(answers.map(({ status }) => status).filter((status) => status !== 200)).toSatisfy(
      (others: number[]) => others.every((status) => status === 409),
    )
    const live = []
    for (const secret of secrets) {
      server.remember(secret)
      live.push((await xms('GET', `/v1/access-tokens/${id}`, as(secret))).status)
    }
    expect(live.filter((status) => status === 200)).toHaveLength(1)
  })

  it('refuses expired tokens (409), those of others and unknown ones (404)', async () => {
    const expiresAt = new Date(server.clock.now() + 60_000).toISOString()
    const short = await server.call('POST', '/api/v1/tokens', {
      body: { name: 'short', expiresAt, accessLevel: 'FULL_ACCESS' },
    })
    const list = await xms('GET', '/v1/access-tokens/', as(admin))
    const { id } = list.body.access_tokens.at(-1)
    server.clock.advance(60_000)
    const url = `/v1/access-tokens/${id}`
    expect((await xms('GET', url, as(admin))).body.access_token.name).toBe('short')
    expect((await xms('POST', `${url}:regenerate`, as(admin))).status).toBe(409)
    expect((await xms('POST', `${url}:regenerate`, as(alice.token))).status).toBe(404)
    expect((await xms('POST', '/v1/access-tokens/999999:regenerate', as(admin))).status).toBe(404)
    expect((await xms('GET', url, as(short.body.secret))).status).toBe(401)
    expect((await xms('DELETE', url, as(admin))).status).toBe(204)
  })

  it('gives anonymously() a secret that reaches further than the one he came with', async () => {
    const wide = await create(bob.token, { roles: ['builder', 'painter'] })
    const narrow = await create(bob.token, { roles: ['builder'] })
    const url = `/v1/access-tokens/${wide.id}:regenerate`
    expect((await xms('POST', url, as(narrow.uuid))).status).toBe(403)
    expect((await xms('GET', `/v1/access-tokens/${wide.id}`, as(wide.uuid))).status).toBe(200)
  })
})

describe('validate', () => {
  const validate = (secret: string, options = as(alice.token)) =>
    xms('POST', `/v1/access-tokens:validate?subject_access_token=${secret}`, options)

  it('answers the token that a secret belongs to, for everybody with a credential', async () => {
    const { uuid, ...token } = await create(bob.token)
    const expected = { status: 200, body: { access_token: { ...token, used: true } } }
    expect(await validate(uuid, as(alice.token))).toMatchObject(expected)
    expect(await validate(uuid, as(uuid))).toMatchObject(expected)
    expect(await validate(uuid, as(readOnly.token))).toMatchObject(expected)
    expect((await validate(uuid, anonymously())).status).toBe(401)
  })

  it('refuses every secret that is no live access token with the same 403', async () => {
    const { id, uuid } = await create(alice.token)
    await xms('DELETE', `/v1/access-tokens/${id}`, as(alice.token))
    const refusal = await validate(uuid)
    expect(refusal).toMatchObject({ status: 403, body: { code: 'AccessTokenInvalid' } })
    const session = await xms('POST', '/v1/auth/tokens:login', {
      ...anonymously(),
      body: { auth: { name: 'admin', password: server.adminPassword } },
    })
    server.remember(session.body.token.uuid)
    const others = ['0'.repeat(32), 'abc+def%2B%2F%3D', '%00', session.body.token.uuid]
    for (const secret of others) expect((await validate(secret)).body).toEqual(refusal.body)
  })

  it('reads + as a space, as Go and Python write it', async () => {
    const { uuid } = await create(alice.token)
    expect((await validate(`${uuid}+`)).status).toBe(403)
    const chosen = encodeURIComponent(admin)
    expect((await validate(chosen)).body.access_token.name).toBe('bootstrap')
  })

  it('refuses an empty, a missing and a repeated subject with 400', async () => {
    expect((await validate('')).status).toBe(400)
    expect((await validate('a&subject_access_token=b')).status).toBe(400)
    const missing = await xms('POST', '/v1/access-tokens:validate', as(alice.token))
    expect(missing.status).toBe(400)
  })
})

describe('READ_ONLY', () => {
  it('changes nothing, even for an administrator', async () => {
    const { id, uuid, name } = await create(bob.token)
    const url = `/v1/access-tokens/${id}`
    const body = { access_token: { name: freshName(), roles: ['admin'] } }
    const attempts = [
      await xms('POST', '/v1/access-tokens/', as(readOnly.token, body)),
      await xms('PATCH', url, as(readOnly.token, body)),
      await xms('DELETE', url, as(readOnly.token)),
      await xms('POST', `${url}:regenerate`, as(readOnly.token)),
    ]
    expect(attempts.map(({ status }) => status)).toEqual([403, 403, 403, 403])
    const after = await xms('GET', url, as(readOnly.token))
    expect(after.body.access_token.name).toBe(name)
    expect((await xms('GET', url, as(uuid))).status).toBe(200)
  })
})

it('asks everybody for a credential', async () => {
  const calls: [string, string][] = [
    ['GET', '/v1/access-tokens/'],
    ['POST', '/v1/access-tokens/'],
    ['GET', '/v1/access-tokens/1'],
    ['PATCH', '/v1/access-tokens/1'],
    ['DELETE', '/v1/access-tokens/1'],
    ['POST', '/v1/access-tokens/1:regenerate'],
    ['POST', '/v1/access-tokens:validate?subject_access_token=x'],
  ]
  for (const [method, url] of calls) {
    for (const options of [anonymously(), as('0'.repeat(32))]) {
      const answer = await xms(method, url, options)
      expect(answer).toMatchObject({ status: 401, body: { code: 'Unauthorized' } })
      expect(answer.headers['www-authenticate']).toBe('Bearer')
    }
  }
})
