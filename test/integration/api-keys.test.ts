import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { type Call, checkedCall } from '../support/openapi.ts'
import { EVERYTHING, makeToken } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { snapshot } from '../support/tables.ts'

let server: TestServer
let call: Call

beforeAll(async () => {
  server = await startServer()
  call = await checkedCall(server)
})
afterAll(() => server.close())
beforeEach(() => server.clock.advance(1000))

interface Key {
  id: string
  purpose: string
  algorithm: string
  state: string
  createdAt: string
  retiredAt: string | null
}

const keys = async (): Promise<Key[]> => (await call('GET', '/api/v1/keys')).body.items
const rotate = (body: unknown, token = server.adminToken) =>
  call('POST', '/api/v1/keys/rotate', { body, token })
const now = () => new Date(server.clock.now()).toISOString()
const spelled = ({ purpose, algorithm, state }: Key) => `${purpose} ${algorithm} ${state}`

test('the list tells what keys there are, current ones first', async () => {
  expect((await keys()).map(spelled)).toEqual([
    'root HKDF-SHA-256 current',
    'pepper HMAC-SHA-256 current',
    's7 RS256 current',
    'oauth RS256 current',
    'oauth ES256 current',
    'jwt ES256 current',
  ])
})

test('a rotation answers the keys of its purpose, the new ones first', async () => {
  const before = await keys()
  for (const purpose of ['s7', 'pepper', 'oauth', 'jwt']) {
    const old = before.filter((key) => key.purpose === purpose)
    const { status, body } = await rotate({ purpose })
    expect(status).toBe(200)
    const made: Key[] = body.items.slice(0, old.length)
    expect(made).toEqual(old.map((key) => ({ ...key, id: expect.any(String), createdAt: now() })))
    for (const { id } of made) expect(old.map((key) => key.id)).not.toContain(id)
    expect(body.items.slice(old.length)).toEqual(
      old.map((key) => ({ ...key, state: 'retired', retiredAt: now() })),
    )
    expect((await keys()).filter((key) => key.purpose === purpose)).toEqual(body.items)
  }
  expect((await keys())[0]).toEqual(before[0])
})

test('what was issued before goes on working', async () => {
  const { secret } = await makeToken(server, EVERYTHING)
  await rotate({ purpose: 'pepper' })
  expect((await call('GET', '/api/v1/me', { token: secret })).status).toBe(200)
  await server.restart()
  expect((await call('GET', '/api/v1/me', { token: secret })).status).toBe(200)
})

test('only what can be rotated is', async () => {
  const bodies = [
    {},
    { purpose: 'root' },
    { purpose: 'xms-login' },
    { purpose: 's7-jwt' },
    { purpose: ['s7'] },
    { purpose: null },
    { purpose: 's7', algorithm: 'none' },
    [],
  ]
  const before = (await snapshot(server)).key
  for (const body of bodies) expectProblem(await rotate(body), 400, 'invalid_input')
  expect((await snapshot(server)).key).toEqual(before)
})

test('it is for administrators: others are refused, and READ_ONLY ones only look', async () => {
  const alice = await server.makeUser({ username: 'alice' })
  const reader = await makeToken(server, { ...EVERYTHING, accessLevel: 'READ_ONLY' })
  const before = (await snapshot(server)).key
  expectProblem(await call('GET', '/api/v1/keys', { token: alice.token }), 403, 'forbidden')
  expect((await call('GET', '/api/v1/keys', { token: reader.secret })).status).toBe(200)
  for (const token of [alice.token, reader.secret]) {
    expectProblem(await rotate({ purpose: 's7' }, token), 403, 'forbidden')
  }
  for (const [method, url] of [
    ['GET', '/api/v1/keys'],
    ['POST', '/api/v1/keys/rotate'],
  ] as const) {
    expectProblem(await call(method, url, { token: null }), 401, 'unauthenticated')
  }
  expect((await snapshot(server)).key).toEqual(before)
})

test('no key and nothing of one is told: not by the API, the log or the trail', async () => {
  const { keyring } = server.app.core
  const rows = (await snapshot(server)).key ?? []
  const material = rows.map((row) => String(JSON.parse(row).sealed))
  for (const { privateKey } of [...keyring.s7Keys(), ...keyring.oauthKeys()]) {
    const { d, p, q } = privateKey.export({ format: 'jwk' })
    for (const part of [d, p, q]) if (part !== undefined) material.push(part)
  }
  expect(material.length).toBeGreaterThan(15)
  const answers = [
    (await call('GET', '/api/v1/keys')).text,
    (await rotate({ purpose: 'oauth' })).text,
    (await call('GET', '/api/v1/audit?limit=1000')).text,
    ...server.logLines(),
  ].join('\n')
  expect(answers).toContain('key.rotated')
  expect(material.filter((part) => answers.includes(part))).toEqual([])
  expect(answers).not.toContain('PRIVATE KEY')
})
