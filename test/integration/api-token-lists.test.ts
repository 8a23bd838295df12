import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Call, checkedCall } from '../support/openapi.ts'
import { EVERYTHING, makeGroup, makeToken } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { startServer, type TestServer } from '../support/server.ts'

let server: TestServer
let call: Call
let alice: { id: string; token: string }
let bob: { id: string; token: string }
let admin: string
let crew: string

beforeAll(async () => {
  server = await startServer()
  call = await checkedCall(server)
  admin = (await call('GET', '/api/v1/me')).body.user.id
  alice = await server.makeUser({ username: 'alice' })
  bob = await server.makeUser({ username: 'bob', globalRole: 'ADMIN' })
  crew = await makeGroup(server, 'crew', { [alice.id]: 'ADMIN' })
  const ownerId = alice.id
  const soon = new Date(server.clock.now() + 60_000).toISOString()
  await makeToken(server, { ownerId, name: 'expired', expiresAt: soon })
  const revoked = await makeToken(server, { ownerId, name: 'revoked' })
  await call('POST', `/api/v1/tokens/${revoked.id}/revoke`, { body: { reason: 'lost' } })
  const rotated = await makeToken(server, { ownerId, name: 'rotated' })
  await call('POST', `/api/v1/tokens/${rotated.id}/rotate`, { body: { overlapSeconds: 0 } })
  await makeToken(server, { ownerId, name: 'service', kind: 'service' })
  await makeToken(server, { ownerId, name: '100% sure' }, bob.token)
  await makeToken(server, { ownerId, name: '100 percent', description: 'with snake_case \\ here' })
  await makeToken(server, {
    ownerId,
    name: 'grouped',
    groups: [{ group: 'crew', mode: 'READ' }],
  })
  server.clock.advance(60_000)
})
afterAll(() => server.close())

async function namesOf(query: string, token?: string): Promise<string[]> {
  const options = token === undefined ? {} : { token }
  const { status, body } = await call('GET', `/api/v1/tokens?${query}`, options)
  expect(status).toBe(200)
  return body.items.map((item: { name: string }) => item.name).sort()
}

const ALICES = [
  '100 percent',
  '100% sure',
  'expired',
  'grouped',
  'revoked',
  'rotated',
  'rotated',
  'service',
  'test',
]

describe('filters', () => {
  test('owner', async () => {
    expect(await namesOf(`ownerId=${alice.id}`)).toEqual(ALICES)
    expect(await namesOf(`ownerId=${bob.id}`)).toEqual(['test'])
  })

  test('creator', async () => {
    expect(await namesOf(`creatorId=${bob.id}`)).toEqual(['100% sure'])
    expect(await namesOf(`creatorId=${alice.id}`)).toEqual([])
  })

  test('kind', async () => {
    expect(await namesOf(`ownerId=${alice.id}&kind=service`)).toEqual(['service'])
    expect(await namesOf('kind=session')).toEqual([])
  })

  test('state, where every token is in exactly one', async () => {
    const of = (state: string) => namesOf(`ownerId=${alice.id}&state=${state}`)
    expect(await of('expired')).toEqual(['expired'])
    expect(await of('revoked')).toEqual(['revoked'])
    expect(await of('superseded')).toEqual(['rotated'])
    expect(await of('active')).toEqual([
      '100 percent',
      '100% sure',
      'grouped',
      'rotated',
      'service',
      'test',
    ])
  })

  test('group, by name and by id', async () => {
    expect(await namesOf('group=crew')).toEqual(['grouped'])
    expect(await namesOf('group=CREW')).toEqual(['grouped'])
    expect(await namesOf(`group=${crew}`)).toEqual(['grouped'])
    expectProblem(await call('GET', '/api/v1/tokens?group=nowhere'), 404, 'not_found')
  })

  test('text, in name and description, in which % and _ and \\ are themselves', async () => {
    const text = (value: string) => namesOf(`text=${encodeURIComponent(value)}`)
    expect(await text('100')).toEqual(['100 percent', '100% sure'])
    expect(await text('100%')).toEqual(['100% sure'])
    expect(await text('0_p')).toEqual([])
    expect(await text('SNAKE_CASE')).toEqual(['100 percent'])
    expect(await text('snakeXcase')).toEqual([])
    expect(await text('\\')).toEqual(['100 percent'])
    expect(await text("' or 1=1 --")).toEqual([])
  })

  test('together they narrow', async () => {
    expect(await namesOf(`ownerId=${alice.id}&creatorId=${admin}&state=active&text=100`)).toEqual([
      '100 percent',
    ])
  })

  test.each([
    'kind=oauth',
    'state=dead',
    'ownerId=alice',
    'kind=api&kind=service',
    'limit=0',
    'limit=1001',
    'limit=-1',
    'limit=1e3',
    'limit=5&limit=6',
    'cursor=',
    'cursor=abc',
    `cursor=${'a'.repeat(501)}`,
    'sort=name',
    'ownerId[]=1',
    '__proto__[x]=1',
    'token=abc',
  ])('?%s is refused with 400', async (query) => {
    expectProblem(await call('GET', `/api/v1/tokens?${query}`), 400, 'invalid_input')
  })
})

describe('somebody who is no admin', () => {
  test('sees the own tokens and no others, whatever the filter', async () => {
    expect(await namesOf('', alice.token)).toEqual(ALICES)
    expect(await namesOf(`creatorId=${bob.id}`, alice.token)).toEqual(['100% sure'])
    const { secret } = await makeToken(server, { ownerId: alice.id, ...EVERYTHING, name: 'asks' })
    expect(await namesOf('group=crew', secret)).toEqual(['grouped'])
  })

  test('is told the same for the tokens of others and of nobody', async () => {
    const options = { token: alice.token }
    for (const ownerId of [bob.id, '018bcfe5-6800-7000-8000-000000000000']) {
      const refusal = await call('GET', `/api/v1/tokens?ownerId=${ownerId}`, options)
      expectProblem(refusal, 403, 'forbidden')
    }
  })
})
