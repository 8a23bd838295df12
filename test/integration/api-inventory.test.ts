import { createClient } from '@mintmark/sdk'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Call, checkedCall } from '../support/openapi.ts'
import { EVERYTHING, makeGroup, makeToken } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { snapshot } from '../support/tables.ts'
import { insertTokens } from '../support/token-rows.ts'

let server: TestServer
let call: Call
let alice: { id: string; token: string }
let bob: { id: string; token: string }
let admin: string

beforeAll(async () => {
  server = await startServer()
  call = await checkedCall(server)
  admin = (await call('GET', '/api/v1/me')).body.user.username
  alice = await server.makeUser({ username: 'alice' })
  bob = await server.makeUser({ username: 'bob' })
  const ownerId = alice.id
  await makeGroup(server, 'ops', { [alice.id]: 'ADMIN' })
  await makeGroup(server, 'bobs', { [bob.id]: 'ADMIN' })
  await makeToken(server, { ownerId, name: 'ops', groups: [{ group: 'ops', mode: 'READ' }] })
  await makeToken(server, { ownerId, name: '=1+1', description: 'a "quoted", list\nin lines' })
  await makeToken(server, { ownerId: bob.id, name: 'of bob' })
  const gone = await makeToken(server, { ownerId, name: 'gone', kind: 'service' })
  await call('POST', `/api/v1/tokens/${gone.id}/revoke`, { body: { reason: '@lost' } })
  for (let i = 0; i < 5; i++) {
    server.clock.advance(86_400_000)
    await makeToken(server, { ownerId, name: `build ${i}`, description: 'nightly' })
  }
})
afterAll(async () => {
  // After a connection was cut, fetch opens another in advance, which never asks.
  server.app.server.server.closeAllConnections()
  await server.close()
})

const q = (text: string, more = '') => `q=${encodeURIComponent(text)}${more}`

async function namesOf(query: string, token = server.adminToken): Promise<string[]> {
  const { status, body, text } = await call('GET', `/api/v1/tokens?${query}`, { token })
  expect(status, text).toBe(200)
  return body.items.map((item: { name: string }) => item.name)
}

describe('a query', () => {
  test('selects and sorts the list', async () => {
    expect(await namesOf(q('owner:alice text~nightly sort:created'))).toEqual(
      [0, 1, 2, 3, 4].map((i) => `build ${i}`),
    )
    expect(await namesOf(q('owner:alice text~nightly created:<2d sort:-name'))).toEqual([
      'build 4',
      'build 3',
    ])
    expect(await namesOf(q('group:ops'))).toEqual(['ops'])
    expect(await namesOf(q('owner:alice -state:active'))).toEqual(['gone'])
    expect(await namesOf(q('owner:nobody or owner:bob sort:name'))).toEqual(['of bob', 'test'])
  })

  test('narrows together with the other parameters', async () => {
    expect(await namesOf(`${q('text~nightly or name:gone')}&kind=service`)).toEqual(['gone'])
    expect(await namesOf(`${q('owner:alice')}&ownerId=${bob.id}`)).toEqual([])
  })

  test('that is wrong is told with the column', async () => {
    const answer = await call('GET', `/api/v1/tokens?${q('owner:alice state:dead')}`)
    expectProblem(answer, 400, 'invalid_input')
    expect(answer.body.column).toBe(19)
    expect(answer.body.detail).toBe(
      'column 19: state is active, quarantined, expired, revoked, superseded.',
    )
    for (const path of ['count?', 'stats?by=kind&', 'export?', 'export?format=jsonl&']) {
      expectProblem(await call('GET', `/api/v1/tokens/${path}${q('(')}`), 400, 'invalid_input')
    }
  })

  test('by somebody who is no admin never reaches the tokens of others, nor tells who exists', async () => {
    const token = alice.token
    const all = await namesOf('', token)
    for (const text of ['owner:bob', 'owner:nobody', 'group:bobs', 'name:"of bob"']) {
      expect(await namesOf(q(text), token)).toEqual([])
    }
    for (const text of [
      '-owner:bob',
      '-owner:nobody',
      'owner:alice or owner:bob',
      '-kind:session',
    ]) {
      expect((await namesOf(q(text), token)).sort()).toEqual(all.toSorted())
    }
    const count = await call('GET', '/api/v1/tokens/count', { token })
    expect(count.body.count).toBe(all.length)
    const stats = await call('GET', '/api/v1/tokens/stats?by=owner', { token })
    expect(stats.body.figures).toEqual([{ value: 'alice', id: alice.id, count: all.length }])
    const file = await server.call('GET', '/api/v1/tokens/export?format=jsonl', { token })
    expect(file.text).not.toContain(bob.id)
    expect(file.text.trimEnd().split('\n')).toHaveLength(all.length)
    for (const path of ['tokens', 'tokens/count', 'tokens/export']) {
      const foreign = await call('GET', `/api/v1/${path}?ownerId=${bob.id}`, { token })
      expectProblem(foreign, 403, 'forbidden')
    }
  })
})

describe('a cursor', () => {
  test('leads through every sort, forth and back', async () => {
    for (const sort of [
      'created',
      '-created',
      'used',
      '-used',
      'expires',
      '-expires',
      'name',
      '-name',
    ]) {
      const query = q(`owner:alice sort:${sort}`)
      const all = await namesOf(query)
      const seen: string[] = []
      let last: { previousCursor: string | null } | undefined
      for (let cursor: string | null = ''; cursor !== null; ) {
        const { body } = await call(
          'GET',
          `/api/v1/tokens?${query}&limit=3${cursor && `&cursor=${cursor}`}`,
        )
        seen.push(...body.items.map((item: { name: string }) => item.name))
        last = body
        cursor = body.nextCursor
      }
      expect(seen).toEqual(all)
      const { body } = await call(
        'GET',
        `/api/v1/tokens?${query}&limit=1000&cursor=${last?.previousCursor}`,
      )
      const before = body.items.map((item: { name: string }) => item.name)
      expect(before).toEqual(all.slice(0, before.length))
    }
  })

  test('is good for the query and the principal that it was made for alone', async () => {
    const query = q('owner:alice sort:name')
    const { body } = await call('GET', `/api/v1/tokens?${query}&limit=1`)
    const follow = (other: string, token = server.adminToken) =>
      call('GET', `/api/v1/tokens?${other}&cursor=${body.nextCursor}`, { token })
    expect((await follow(query)).status).toBe(200)
    expect((await follow(`${query}&limit=7`)).status).toBe(200)
    for (const other of [q('owner:alice sort:created'), q('owner:bob sort:name'), 'kind=api']) {
      expectProblem(await follow(other), 400, 'invalid_input')
    }
    expectProblem(await follow(query, alice.token), 400, 'invalid_input')
  })
})

test('counts and figures fit the list', async () => {
  const { body } = await call('GET', `/api/v1/tokens/count?${q('owner:alice')}`)
  expect(body.count).toBe((await namesOf(q('owner:alice'))).length)
  const stats = await call('GET', `/api/v1/tokens/stats?by=state&${q('owner:alice')}`)
  expect(stats.body).toEqual({
    by: 'state',
    total: body.count,
    figures: [
      { value: 'active', id: null, count: body.count - 1 },
      { value: 'revoked', id: null, count: 1 },
    ],
    others: 0,
  })
  const groups = await call('GET', `/api/v1/tokens/stats?by=group&${q('owner:alice')}`)
  expect(groups.body.figures).toContainEqual({ value: 'ops', id: expect.any(String), count: 1 })
  const months = await call('GET', `/api/v1/tokens/stats?by=month&${q('owner:alice')}`)
  expect(months.body.figures).toEqual([{ value: '2030-01', id: null, count: body.count }])
  expectProblem(await call('GET', '/api/v1/tokens/stats'), 400, 'invalid_input')
  expectProblem(await call('GET', '/api/v1/tokens/stats?by=digest'), 400, 'invalid_input')
})

test('figures by end go by time, with what never ends last', async () => {
  const ends = [null, '2031-05-31T23:00:00Z', null, '2030-09-01T00:00:00Z', '2031-05-01T00:00:00Z']
  const { id: ownerId } = await server.makeUser({ username: 'ender' })
  for (const [i, expiresAt] of [...ends, null].entries()) {
    await makeToken(server, { ownerId, name: `end ${i}`, expiresAt })
  }
  const { body } = await call('GET', `/api/v1/tokens/stats?by=expires&${q('owner:ender name~end')}`)
  expect(body.figures).toEqual([
    { value: '2030-09', id: null, count: 1 },
    { value: '2031-05', id: null, count: 2 },
    { value: null, id: null, count: 3 },
  ])
})

describe('an export', () => {
  const exported = (query: string) => server.call('GET', `/api/v1/tokens/export?${query}`)

  test('as CSV has a header, and no cell that a spreadsheet calculates', async () => {
    const { status, text, headers } = await exported(q('owner:alice kind:api sort:name'))
    expect(status).toBe(200)
    expect(headers['content-type']).toBe('text/csv; charset=utf-8; header=present')
    expect(headers['content-disposition']).toBe('attachment; filename="tokens.csv"')
    const [header, first] = text.split('\r\n')
    expect(header).toMatch(/^id,kind,state,name,description,owner,/)
    expect(first).toMatch(/,'=1\+1,"a ""quoted"", list\nin lines",alice,/)
    expect(text.split('\r\n')).toHaveLength(10)
    expect((await exported(q('state:revoked'))).text).toContain(",'@lost,")
  })

  test('as JSON lines has what the list has', async () => {
    const { text, headers } = await exported(`format=jsonl&${q('owner:alice sort:created')}`)
    expect(headers['content-type']).toBe('application/jsonl')
    const list = await call('GET', `/api/v1/tokens?${q('owner:alice sort:created')}`)
    expect(
      text
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line)),
    ).toEqual(list.body.items)
  })

  test('leaves a record, without secrets that were pasted into the query', async () => {
    const { secret } = await makeToken(server, { ...EVERYTHING })
    const digits = '0123456789abcdef0123456789abcdef'
    await exported(q(`text~${secret},${digits} kind:api`, '&text=x'))
    const { body } = await call('GET', '/api/v1/audit?action=token.exported&limit=1')
    expect(body.items[0]).toMatchObject({
      actorName: admin,
      subjectType: 'server',
      subjectId: 'inventory',
      after: { format: 'csv', query: 'text~[secret],[secret] kind:api', text: 'x' },
    })
  })

  test('that is refused leaves none, and counting and listing never do', async () => {
    const before = await snapshot(server)
    await exported(q('('))
    await call('GET', '/api/v1/tokens/count')
    await call('GET', '/api/v1/tokens/stats?by=kind')
    expect(await snapshot(server)).toEqual(before)
  })
})

let added = 0
/** Tokens of bob, written behind the server's back. */
async function addTokens(count: number, name: string, description: string): Promise<void> {
  const rows = Array.from({ length: count }, (_, i) => {
    const id = `01900000-0000-7100-8000-${String(added++).padStart(12, '0')}`
    return {
      ...PLAIN,
      id,
      familyId: id,
      ownerId: bob.id,
      creatorId: bob.id,
      name: `${name} ${i}`,
      description,
    }
  })
  await server.database.transaction((tx) => insertTokens(tx, rows))
}

const PLAIN = {
  kind: 'api',
  clientId: undefined,
  via: 'api',
  accessLevel: 'READ_ONLY',
  parentId: undefined,
  roles: [],
  scopes: [],
  groups: [],
  createdAtMs: 0,
  usedAtMs: undefined,
  ip: undefined,
  expiresAtMs: undefined,
  revokedAtMs: undefined,
  supersededAtMs: undefined,
}

describe('over the SDK', () => {
  let url: string
  beforeAll(async () => {
    url = await server.app.server.listen({ host: '127.0.0.1', port: 0 })
  })

  test('all of it, and an export of more than fits into one piece', async () => {
    const { tokens } = createClient({ url, token: server.adminToken })
    await addTokens(1200, 'bulk', '')
    const filter = { q: 'owner:bob text~bulk sort:-name' }
    expect(await tokens.count(filter)).toEqual({ count: 1200 })
    const stats = await tokens.stats({ ...filter, by: 'kind' })
    expect(stats.figures).toEqual([{ value: 'api', id: null, count: 1200 }])
    const names: (string | null)[] = []
    for await (const token of tokens.export(filter)) names.push(token.name)
    const bulk = Array.from({ length: 1200 }, (_, i) => `bulk ${i}`)
    expect(names).toEqual(bulk.toSorted().reverse())
    let csv = ''
    for await (const text of tokens.exportFile({ ...filter, format: 'csv' })) csv += text
    expect(csv.split('\r\n')).toHaveLength(1202)
    await expect(tokens.export({ q: 'owner:' }).next()).rejects.toMatchObject({
      status: 400,
      code: 'invalid_input',
    })
    for await (const token of tokens.export(filter)) {
      expect(token.name).toBe('bulk 999')
      break
    }
  })

  test('an export ends, visibly incomplete, when its token is revoked', async () => {
    const { id, secret } = await makeToken(server, { ...EVERYTHING })
    const { tokens } = createClient({ url, token: secret })
    // More than sockets hold, so that the server must wait for us.
    await addTokens(10_000, 'long', 'x'.repeat(2000))
    const file = tokens.export({ q: 'sort:created' })
    await file.next()
    await call('POST', `/api/v1/tokens/${id}/revoke`, { body: {} })
    await expect(
      (async () => {
        for await (const _ of file);
      })(),
    ).rejects.toMatchObject({ code: 'network_failed' })
  })
})
