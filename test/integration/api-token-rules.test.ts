import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Call, checkedCall } from '../support/openapi.ts'
import { EVERYTHING, makeGroup, makeToken } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { startServer, type TestServer } from '../support/server.ts'

let server: TestServer
let call: Call
let alice: { id: string; token: string }

beforeAll(async () => {
  server = await startServer()
  call = await checkedCall(server)
  alice = await server.makeUser({ username: 'alice' })
  await makeGroup(server, 'ci', { [alice.id]: 'READ' })
})
afterAll(() => server.close())

const setRule = (name: string, body: object, token = server.adminToken) =>
  call('PUT', `/api/v1/policy/rules/${name}`, { body, token })
const removeRule = (name: string) => call('DELETE', `/api/v1/policy/rules/${name}`)
const verify = (token: string, demand: object = {}) =>
  call('POST', '/api/v1/tokens/verify', { body: { token, ...demand } })

const NOTHING = {
  description: '',
  kinds: null,
  groups: null,
  maxTtlSeconds: null,
  defaultTtlSeconds: null,
  idleSeconds: null,
  requiresDescription: false,
  allowedIps: null,
  roles: null,
  scopes: null,
  createdBy: 'anyone',
  rate: null,
  noticeSeconds: [],
}

test('rules are made, replaced in their place, and removed; all of it is audited', async () => {
  await setRule('one', { groups: ['ci'], maxTtlSeconds: 9000, noticeSeconds: [60, 3600, 60] })
  await setRule('two', { kinds: ['api'], requiresDescription: true })
  const { body } = await setRule('ONE', { groups: ['ci'], maxTtlSeconds: 8000 })
  const one = { ...NOTHING, name: 'ONE', groups: ['ci'], maxTtlSeconds: 8000 }
  const two = { ...NOTHING, name: 'two', kinds: ['api'], requiresDescription: true }
  expect(body.tokenRules).toEqual([one, two])
  // What is read can be written.
  const again = await call('PATCH', '/api/v1/policy', { body: { tokenRules: body.tokenRules } })
  expect(again.body.tokenRules).toEqual(body.tokenRules)
  await server.restart()
  expect((await call('GET', '/api/v1/policy')).body.tokenRules).toEqual(body.tokenRules)
  expect((await removeRule('two')).status).toBe(204)
  expectProblem(await removeRule('two'), 404, 'not_found')
  expect((await removeRule('one')).status).toBe(204)
  const { items } = (await call('GET', '/api/v1/audit?action=policy.updated')).body
  expect(items[0].before.tokenRules).toHaveLength(1)
  expect(items[0].after.tokenRules).toEqual([])
})

test('refused: what is no rule, what is nobody, and whoever is no administrator', async () => {
  expectProblem(await setRule('a', { maxTtlSeconds: 0 }), 400, 'invalid_input')
  expectProblem(await setRule('a', { groups: ['nobody'] }), 400, 'invalid_input')
  expectProblem(await setRule('a', { color: 'red' }), 400, 'invalid_input')
  expectProblem(await setRule('a', {}, alice.token), 403, 'forbidden')
  expectProblem(
    await call('DELETE', '/api/v1/policy/rules/a', { token: alice.token }),
    403,
    'forbidden',
  )
  const test = await call('POST', '/api/v1/policy:test', { body: {}, token: alice.token })
  expectProblem(test, 403, 'forbidden')
})

test('reads say when a token ends by the policy', async () => {
  const { id } = await makeToken(server, { ownerId: alice.id, expiresAt: null })
  const read = async () => (await call('GET', `/api/v1/tokens/${id}`)).body
  const before = await read()
  expect(before).toMatchObject({ expiresAt: null, effectiveExpiresAt: null })
  await setRule('short', { groups: ['ci'], maxTtlSeconds: 600 })
  const effectiveExpiresAt = new Date(Date.parse(before.createdAt) + 600_000).toISOString()
  expect(await read()).toEqual({ ...before, effectiveExpiresAt })
  const [listed] = (await call('GET', `/api/v1/tokens?q=id:${id}`)).body.items
  expect(listed.effectiveExpiresAt).toBe(effectiveExpiresAt)
  const self = (await call('GET', '/api/v1/tokens/self', { token: alice.token })).body
  expect(self.effectiveExpiresAt <= self.expiresAt).toBe(true)
  await removeRule('short')
})

test('a token beyond the policy is refused by the name of the rule', async () => {
  await setRule('short', { groups: ['ci'], maxTtlSeconds: 600 })
  const expiresAt = new Date(server.clock.now() + 601_000).toISOString()
  const body = { name: 'late', ownerId: alice.id, expiresAt }
  const refused = await call('POST', '/api/v1/tokens', { body })
  expectProblem(refused, 403, 'beyond_policy')
  expect(refused.body.detail).toContain('The rule "short"')
  await removeRule('short')
})

test('who asks too often is told when to come again, in every API', async () => {
  const wish = { ...EVERYTHING, ownerId: alice.id }
  const { secret } = await makeToken(server, wish)
  await setRule('fair', {
    groups: ['ci'],
    kinds: ['api'],
    rate: { requests: 1, windowSeconds: 90 },
  })
  expect((await verify(secret)).body.active).toBe(true)
  expect((await verify(secret)).body).toEqual({
    active: false,
    reason: 'rate_limited',
    retryAfterSeconds: 90,
  })
  server.clock.advance(30_000)
  const me = await call('GET', '/api/v1/me', { token: secret })
  expectProblem(me, 429, 'too_many_requests')
  expect(me.headers['retry-after']).toBe('60')
  const doors: [string, string, Record<string, string>][] = [
    ['/api/auth/v1/admin/users', 's7', { authorization: `Bearer ${secret}` }],
    ['/v1/access-tokens/', 'xms', { 'xms-auth-token': secret }],
    ['/v1/tokens', 'opal', { authorization: `Bearer ${secret}` }],
    ['/api/v3/oauth2/access_tokens/', 'authentik', { authorization: `Bearer ${secret}` }],
  ]
  for (const [url, name, headers] of doors) {
    const answer = await server.call('GET', url, { token: null, headers })
    expect([name, answer.status, answer.headers['retry-after']]).toEqual([name, 429, '60'])
  }
  server.clock.advance(60_000)
  expect((await call('GET', '/api/v1/me', { token: secret })).status).toBe(200)
  // Administrators ask as often as they like about it: that counts as its uses, and is no answer for others.
  const asker = await server.makeUser({ username: 'asker' })
  const answer = await call('POST', '/api/v1/tokens/verify', {
    token: asker.token,
    body: { token: secret },
  })
  expect(answer.body).toEqual({ active: false })
  await removeRule('fair')
})

test('a policy is tested in lines: progress, then what was found', async () => {
  const { id } = await makeToken(server, { ownerId: alice.id, name: 'nightly', expiresAt: null })
  const body = { tokenRules: [{ name: 'ci', groups: ['ci'], maxTtlSeconds: 60 }] }
  const answer = await server.call('POST', '/api/v1/policy:test', { body })
  expect(answer.headers['content-type']).toBe('application/jsonl')
  const lines = answer.text.trimEnd().split('\n')
  const [first, last] = [JSON.parse(lines[0] ?? ''), JSON.parse(lines.at(-1) ?? '')]
  expect(first).toEqual({ done: first.total, total: first.total })
  const effect = last.effects.find((each: { effect: string }) => each.effect === 'ends_earlier')
  expect(effect.tokens).toContainEqual({
    id,
    kind: 'api',
    name: 'nightly',
    preview: expect.any(String),
    owner: { id: alice.id, username: 'alice' },
    rule: 'ci',
    at: new Date(server.clock.now() + 60_000).toISOString(),
    values: [],
    isNew: true,
  })
  expect((await call('GET', '/api/v1/policy')).body.tokenRules).toEqual([])
})
