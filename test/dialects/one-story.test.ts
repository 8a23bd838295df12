import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Answer, startServer, type TestServer } from '../support/server.ts'
import { letUsersCreateTokens } from './checked.ts'

/** One token seen through every API tells one story. */
let server: TestServer
let alice: { id: string; token: string }
let made = 0

const xmsAs = (token: string) => ({ token: null, headers: { 'xms-auth-token': token } })

/** An access token of alice, made through XMS. */
async function makeInXms(): Promise<{ serial: number; secret: string; name: string }> {
  const name = `story-${++made}`
  const body = { access_token: { name, roles: ['builder'] } }
  const answer = await server.call('POST', '/v1/access-tokens/', { ...xmsAs(alice.token), body })
  expect(answer.status).toBe(201)
  const { id: serial, uuid: secret } = answer.body.access_token
  server.remember(secret)
  return { serial, secret, name }
}

/** The same token's id in the APIs that use UUIDs. */
async function findInOpal(name: string) {
  const { body } = await server.call('GET', `/v1/tokens?user_id=${alice.id}`)
  return body.results.find((token: { token_label: string }) => token.token_label === name)
}

/** What each door says to a secret. */
async function doors(secret: string): Promise<number[]> {
  const answers: Answer[] = [
    await server.call('GET', '/v1/access-tokens/', xmsAs(secret)),
    await server.call('GET', '/v1/access-tokens/', { token: secret }),
    // A token of a non-admin: 403 when it is alive.
    await server.call('GET', '/v1/tokens', { token: secret }),
    await server.call('GET', '/api/v1/me', { token: secret }),
  ]
  const verdict = await server.call('POST', '/api/v1/tokens/verify', { body: { token: secret } })
  const subject = `/v1/access-tokens:validate?subject_access_token=${secret}`
  const validation = await server.call('POST', subject, xmsAs(server.adminToken))
  return [
    ...answers.map(({ status }) => status),
    verdict.body.active === true ? 200 : 401,
    validation.status,
  ]
}

const ALIVE = [200, 200, 403, 200, 200, 200]
const DEAD = [401, 401, 401, 401, 401, 403]

beforeAll(async () => {
  server = await startServer()
  await server.call('POST', '/api/v1/roles', { body: { name: 'builder' } })
  alice = await server.makeUser({ username: 'alice', roles: ['builder'] })
  await letUsersCreateTokens(server)
})
afterAll(() => server.close())

it('a token made through XMS appears everywhere with the same owner', async () => {
  const { serial, secret, name } = await makeInXms()
  expect(await doors(secret)).toEqual(ALIVE)
  const inXms = await server.call('GET', `/v1/access-tokens/${serial}`, xmsAs(server.adminToken))
  const inOpal = await findInOpal(name)
  const inOurs = await server.call('GET', `/api/v1/tokens/${inOpal.token_id}`)
  expect(inXms.body.access_token.user.name).toBe('alice')
  expect(inOpal).toMatchObject({ user_id: alice.id, creator_user_id: alice.id })
  expect(inOpal).toMatchObject({ access_level: 'FULL_ACCESS', token_label: name })
  const { expires_at: expiresAt } = inOpal
  expect(inOurs.body).toMatchObject({ name, kind: 'api', roles: ['builder'], expiresAt })
  expect(inOurs.text).toContain(alice.id)
  expect(inOpal.created_at).toBe(inXms.body.access_token.create)
})

it('a name changed in one place is changed in all', async () => {
  const { serial, name } = await makeInXms()
  const { token_id } = await findInOpal(name)
  const url = `/v1/access-tokens/${serial}`
  const body = { access_token: { name: `${name}-renamed` } }
  await server.call('PATCH', url, { ...xmsAs(alice.token), body })
  expect((await findInOpal(`${name}-renamed`)).token_id).toBe(token_id)
  await server.call('PATCH', `/api/v1/tokens/${token_id}`, { body: { name } })
  const inXms = await server.call('GET', url, xmsAs(alice.token))
  expect(inXms.body.access_token.name).toBe(name)
})

describe('revoked in one place, a token is refused everywhere by the next request', () => {
  const ways: Record<string, (token: { serial: number; id: string }) => Promise<Answer>> = {
    XMS: ({ serial }) =>
      server.call('DELETE', `/v1/access-tokens/${serial}`, xmsAs(server.adminToken)),
    Opal: ({ id }) => server.call('DELETE', `/v1/tokens/${id}`),
    'our own API': ({ id }) => server.call('POST', `/api/v1/tokens/${id}/revoke`),
  }
  it.each(Object.entries(ways))('in %s', async (_, revoke) => {
    const { serial, secret, name } = await makeInXms()
    const { token_id: id } = await findInOpal(name)
    const session = await server.call('POST', '/v1/auth/tokens', {
      token: null,
      body: { auth: { identity: { token: { uuid: secret } } } },
    })
    server.remember(session.body.token.uuid)
    expect(await doors(secret)).toEqual(ALIVE)
    expect((await revoke({ serial, id })).status).toBeLessThan(300)
    expect(await doors(secret)).toEqual(DEAD)
    expect(await doors(session.body.token.uuid)).toEqual(DEAD)
    expect(await findInOpal(name)).toBeUndefined()
    const inXms = await server.call('GET', `/v1/access-tokens/${serial}`, xmsAs(alice.token))
    expect(inXms.status).toBe(404)
    expect((await server.call('GET', `/api/v1/tokens/${id}`)).body.state).toBe('revoked')
  })
})

it('a secret replaced through XMS is replaced everywhere', async () => {
  const { serial, secret, name } = await makeInXms()
  const before = await findInOpal(name)
  expect(await doors(secret)).toEqual(ALIVE)
  const url = `/v1/access-tokens/${serial}:regenerate`
  const { body } = await server.call('POST', url, xmsAs(alice.token))
  server.remember(body.access_token.uuid)
  expect(await doors(secret)).toEqual(DEAD)
  expect(await doors(body.access_token.uuid)).toEqual(ALIVE)
  const after = await findInOpal(name)
  expect(after.user_id).toBe(before.user_id)
  expect(after.token_id).not.toBe(before.token_id)
})

it('a token of another API is deleted and renamed through XMS', async () => {
  const { serial, secret, name } = await makeInXms()
  const { token_id } = await findInOpal(name)
  const rotation = await server.call('POST', `/api/v1/tokens/${token_id}/rotate`, {
    body: { overlapSeconds: 0 },
  })
  server.remember(rotation.body.secret)
  expect(await doors(secret)).toEqual(DEAD)
  const url = `/v1/access-tokens/${serial}`
  const inXms = await server.call('GET', url, xmsAs(alice.token))
  expect(inXms.body.access_token).toMatchObject({ id: serial, name, used: false })
  expect((await server.call('DELETE', url, xmsAs(alice.token))).status).toBe(204)
  expect(await doors(rotation.body.secret)).toEqual(DEAD)
})

it('READ_ONLY changes nothing through any door', async () => {
  const { serial, name, secret } = await makeInXms()
  const { token_id } = await findInOpal(name)
  const reader = await server.makeUser({
    username: 'reader',
    globalRole: 'ADMIN',
    accessLevel: 'READ_ONLY',
  })
  const body = { access_token: { name: 'changed', roles: ['builder'] } }
  const auth_security_policy = { enabled: false }
  const attempts: [string, string, unknown][] = [
    ['POST', '/v1/access-tokens/', body],
    ['PATCH', `/v1/access-tokens/${serial}`, body],
    ['POST', `/v1/access-tokens/${serial}:regenerate`, undefined],
    ['DELETE', `/v1/access-tokens/${serial}`, undefined],
    ['PATCH', '/v1/auth/security-policy', { auth_security_policy }],
    ['POST', '/v1/auth/tokens', { auth: { identity: { token: { uuid: reader.token } } } }],
    ['DELETE', `/v1/tokens/${token_id}`, undefined],
  ]
  const before = await server.call('GET', '/api/v1/audit')
  for (const [method, url, body] of attempts) {
    const answer = await server.call(method, url, { token: reader.token, body })
    expect([url, answer.status]).toEqual([url, 403])
  }
  const after = await server.call('GET', '/api/v1/audit')
  expect(after.body).toEqual(before.body)
  expect(await doors(secret)).toEqual(ALIVE)
})

it('disabling the owner refuses everything derived from the owner', async () => {
  const { secret, name } = await makeInXms()
  const session = await server.call('POST', '/v1/auth/tokens', {
    token: null,
    body: { auth: { identity: { token: { uuid: secret } } } },
  })
  const derived = session.body.token.uuid
  server.remember(derived)
  expect(await doors(secret)).toEqual(ALIVE)
  // A session is no access token, so it cannot be validated as one.
  expect(await doors(derived)).toEqual([...ALIVE.slice(0, -1), 403])
  await server.call('PATCH', `/api/v1/users/${alice.id}`, { body: { active: false } })
  for (const each of [secret, derived, alice.token]) expect(await doors(each)).toEqual(DEAD)
  const again = await server.call('POST', '/v1/auth/tokens', {
    token: null,
    body: { auth: { identity: { token: { uuid: secret } } } },
  })
  expect(again.status).toBe(401)
  expect((await server.call('GET', '/v1/access-tokens/?all=true')).text).toContain(name)
})
