import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { EVERYTHING, isAlive, logIn, makeGroup, makeRole, makeToken } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { beginRequest, listen } from '../support/raw-socket.ts'
import { startServer, type TestServer } from '../support/server.ts'

let server: TestServer

beforeAll(async () => {
  server = await startServer()
})
afterAll(() => server.close())

const patch = (id: string, body: Record<string, unknown>, token = server.adminToken) =>
  server.call('PATCH', `/api/v1/users/${id}`, { token, body })
const verdict = async (token: string, demand: Record<string, unknown> = {}) => {
  const { body } = await server.call('POST', '/api/v1/tokens/verify', {
    body: { token, ...demand },
  })
  return body.active ? 'active' : body.reason
}

describe('a demotion', () => {
  test('stops every privileged call that begins after it was answered', async () => {
    const bob = await server.makeUser({ username: 'bob', globalRole: 'ADMIN' })
    const names: string[] = []
    const create = async () => {
      const username = `made-${names.length}`
      names.push(username)
      for (;;) {
        const wish = { token: bob.token, body: { username } }
        const answer = await server.call('POST', '/api/v1/users', wish)
        // Too many for a slow machine: nothing was done, and whoever asked asks again.
        if (answer.status !== 503) return answer
      }
    }
    expect((await create()).status).toBe(201)
    const early = Array.from({ length: 25 }, create)
    const demotion = patch(bob.id, { globalRole: 'USER' })
    const late = demotion.then(() => Promise.all(Array.from({ length: 25 }, create)))
    expect((await demotion).status).toBe(200)
    for (const answer of await late) expectProblem(answer, 403, 'forbidden')
    for (const { status, text } of await Promise.all(early))
      expect([201, 403], text).toContain(status)
    await patch(bob.id, { globalRole: 'ADMIN' })
    expect((await create()).status).toBe(201)
  })

  test('reaches logins and tokens alike, through the cache', async () => {
    const carol = await server.makeUser({ username: 'carol', globalRole: 'ADMIN' })
    const { session } = await logIn(server, { id: carol.id, username: 'carol' })
    for (const token of [carol.token, session]) {
      expect(await verdict(token, { role: 'admin' })).toBe('active')
    }
    await patch(carol.id, { globalRole: 'USER' })
    for (const token of [carol.token, session]) {
      expect(await verdict(token, { role: 'admin' })).toBe('role_missing')
      expectProblem(await server.call('GET', '/api/v1/users', { token }), 403, 'forbidden')
    }
  })
})

describe('a request whose head came before its token lost a right, and its body after', () => {
  let port: number
  beforeAll(async () => {
    port = await listen(server)
  })

  async function answeredAfter(
    loss: () => Promise<{ status: number }>,
    { token, path, body }: { token: string; path: string; body: object },
  ): Promise<number> {
    const finish = await beginRequest(port, { token, path, body: JSON.stringify(body) })
    expect((await loss()).status).toBe(200)
    return finish()
  }
  const named = async (path: string) => (await server.call('GET', path)).body.items.length

  test('does nothing when the token was revoked', async () => {
    const dora = await server.makeUser({ username: 'dora', globalRole: 'ADMIN' })
    const { id } = (await server.call('GET', '/api/v1/tokens/self', { token: dora.token })).body
    const status = await answeredAfter(() => server.call('POST', `/api/v1/tokens/${id}/revoke`), {
      token: dora.token,
      path: '/api/v1/tokens',
      body: { name: 'too late' },
    })
    expect(status).toBe(401)
    expect(await named(`/api/v1/tokens?ownerId=${dora.id}&text=late`)).toBe(0)
  })

  test('does nothing when its owner was disabled, or demoted', async () => {
    for (const [edit, status] of [
      [{ active: false }, 401],
      [{ globalRole: 'USER' }, 403],
    ] as const) {
      const emil = await server.makeUser({ username: `emil ${status}`, globalRole: 'ADMIN' })
      const wish = { token: emil.token, path: '/api/v1/users', body: { username: 'too late' } }
      expect(await answeredAfter(() => patch(emil.id, edit), wish)).toBe(status)
    }
    expect(await named('/api/v1/users?text=too%20late')).toBe(0)
  })

  test('is answered when nothing was lost, though the token was used up meanwhile', async () => {
    const fay = await server.makeUser({ username: 'fay', globalRole: 'ADMIN' })
    const rule = { kinds: ['api'], rate: { requests: 2, windowSeconds: 3600 } }
    const limit = () => server.call('PUT', '/api/v1/policy/rules/slow', { body: rule })
    const wish = { token: fay.token, path: '/api/v1/groups', body: { name: 'in time' } }
    expect((await server.call('GET', '/api/v1/me', { token: fay.token })).status).toBe(200)
    expect(await answeredAfter(limit, wish)).toBe(201)
    await server.call('DELETE', '/api/v1/policy/rules/slow')
  })
})

test('a role, a scope and a group that are taken away are gone with the answer', async () => {
  await makeRole(server, 'deployer', ['deploy'])
  const alice = await server.makeUser({ username: 'alice', roles: ['deployer'] })
  const crew = await makeGroup(server, 'crew', { [alice.id]: 'WRITE' })
  const holds = async () => [
    await verdict(alice.token, { role: 'deployer' }),
    await verdict(alice.token, { scope: 'deploy' }),
    await verdict(alice.token, { group: 'crew', mode: 'WRITE' }),
  ]
  expect(await holds()).toEqual(['active', 'active', 'active'])
  await patch(alice.id, { roles: [] })
  expect(await holds()).toEqual(['role_missing', 'scope_missing', 'active'])
  await server.call('PUT', `/api/v1/groups/${crew}/members/${alice.id}`, { body: { mode: 'READ' } })
  expect(await holds()).toEqual(['role_missing', 'scope_missing', 'group_missing'])
  expect(await verdict(alice.token, { group: 'crew' })).toBe('active')
  await server.call('DELETE', `/api/v1/groups/${crew}/members/${alice.id}`)
  expect(await verdict(alice.token, { group: 'crew' })).toBe('group_missing')
})

describe('the last administrator', () => {
  test('cannot be demoted, disabled or deleted, not even by himself', async () => {
    const me = (await server.call('GET', '/api/v1/me')).body.user.id
    const others = await server.call('GET', '/api/v1/users?globalRole=ADMIN')
    for (const { id } of others.body.items) if (id !== me) await patch(id, { globalRole: 'USER' })
    const disabled = await server.makeUser({ username: 'dormant', globalRole: 'ADMIN' })
    await patch(disabled.id, { active: false })
    expectProblem(await patch(me, { globalRole: 'USER' }), 409, 'last_admin')
    expectProblem(await patch(me, { active: false }), 409, 'last_admin')
    expectProblem(await server.call('DELETE', `/api/v1/users/${me}`), 409, 'last_admin')
    expect((await server.call('GET', '/api/v1/me')).body.rights.admin).toBe(true)
  })

  test('remains when two demote, disable or delete each other, again and again', async () => {
    const { id } = await server.makeUser({ username: 'second', globalRole: 'ADMIN' })
    // Without an end, or it could bring nobody back.
    const { secret } = await makeToken(server, { ...EVERYTHING, ownerId: id, expiresAt: null })
    const bob = { id, token: secret }
    const admin = (await server.call('GET', '/api/v1/me')).body.user.id
    const spare = await server.makeUser({ username: 'spare', globalRole: 'ADMIN' })
    const admins = async () => {
      const url = '/api/v1/users?globalRole=ADMIN&active=true'
      for (const token of [spare.token, bob.token, server.adminToken]) {
        const { status, body } = await server.call('GET', url, { token })
        if (status === 200) return { token, ids: body.items.map(({ id }: { id: string }) => id) }
      }
      throw new Error('No administrator is left.')
    }
    await patch(spare.id, { globalRole: 'USER' })
    for (let round = 0; round < 25; round++) {
      const edit = round % 2 === 0 ? { globalRole: 'USER' } : { active: false }
      const answers = await Promise.all([
        patch(admin, edit, bob.token),
        patch(bob.id, edit, server.adminToken),
      ])
      const statuses = answers.map(({ status }) => status).sort()
      // The loser was already no administrator, or would have been the last.
      expect(statuses[0], String(statuses)).toBe(200)
      expect([401, 403, 404, 409], String(statuses)).toContain(statuses[1])
      const { token, ids } = await admins()
      expect(ids).toHaveLength(1)
      for (const id of [admin, bob.id]) {
        await patch(id, { globalRole: 'ADMIN', active: true }, token)
      }
    }
  })
})

describe('disabling and deleting', () => {
  /** One credential of each kind, and what was made with them. */
  async function everythingOf(username: string) {
    const user = await server.makeUser({ username })
    const { session } = await logIn(server, { id: user.id, username })
    const ownerId = user.id
    const service = await makeToken(server, {
      ownerId,
      kind: 'service',
      accessLevel: 'FULL_ACCESS',
    })
    server.remember(service.secret)
    const refreshed = await server.call('POST', '/api/auth/v1/refresh', { token: service.secret })
    expect(refreshed.status, refreshed.text).toBe(200)
    const exchanged = await server.call('POST', '/v1/auth/tokens', {
      token: null,
      body: { auth: { identity: { token: { uuid: user.token } } } },
    })
    expect(exchanged.status, exchanged.text).toBe(201)
    const secrets = {
      api: user.token,
      session,
      service: service.secret,
      jwt: refreshed.body.token as string,
      exchanged: exchanged.body.token.uuid as string,
    }
    for (const secret of Object.values(secrets)) server.remember(secret)
    return { id: user.id, secrets }
  }

  /** Asks on every wire. */
  async function areAlive(secrets: Record<string, string>): Promise<string[]> {
    const alive: string[] = []
    for (const [kind, token] of Object.entries(secrets)) {
      if (await isAlive(server, token)) alive.push(kind)
      for (const path of ['/api/auth/v1/userInfo', '/v1/auth/security-policy']) {
        const { status } = await server.call('GET', path, { token })
        if (status !== 401) alive.push(`${kind} at ${path}`)
      }
      if ((await verdict(token)) === 'active') alive.push(`${kind} verified`)
    }
    return alive
  }

  test('a disabled user is out everywhere; enabling brings back no login', async () => {
    const { id, secrets } = await everythingOf('disabled')
    expect(await areAlive(secrets)).toHaveLength(20)
    await patch(id, { active: false })
    expect(await areAlive(secrets)).toEqual([])
    for (const [method, path, options] of [
      ['POST', '/api/auth/v1/refresh', { token: secrets.service }],
      [
        'POST',
        '/v1/auth/tokens',
        { token: null, body: { auth: { identity: { token: { uuid: secrets.api } } } } },
      ],
    ] as const) {
      expect((await server.call(method, path, options)).status).toBe(401)
    }
    await patch(id, { active: true })
    const { session, exchanged, ...tokens } = secrets
    expect(await areAlive({ session, exchanged })).toEqual([])
    expect((await areAlive(tokens)).length).toBeGreaterThan(0)
  })

  test('a deleted user is out everywhere and for good', async () => {
    const { id, secrets } = await everythingOf('deleted')
    expect(await areAlive(secrets)).toHaveLength(20)
    await server.call('DELETE', `/api/v1/users/${id}`)
    expect(await areAlive(secrets)).toEqual([])
    await server.makeUser({ username: 'deleted' })
    expect(await areAlive(secrets)).toEqual([])
    await server.restart()
    expect(await areAlive(secrets)).toEqual([])
  })
})
