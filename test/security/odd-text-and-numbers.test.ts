import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Call, checkedCall } from '../support/openapi.ts'
import { makeGroup } from '../support/people.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { snapshot } from '../support/tables.ts'

let server: TestServer
let call: Call
let alice: { id: string; token: string }
let crew: string

beforeAll(async () => {
  server = await startServer()
  call = await checkedCall(server)
  alice = await server.makeUser({ username: 'alice' })
  crew = await makeGroup(server, 'crew')
})
afterAll(() => server.close())

/** JSON string literals. */
const ODD: Record<string, string> = {
  NUL: '"a\\u0000b"',
  'a control character': '"a\\u0007b"',
  'a line break': '"a\\nb"',
  'an escape sequence': '"a\\u001b[31mb"',
  'a lone high surrogate': '"a\\ud800b"',
  'a lone low surrogate': '"a\\udc00"',
  'a right-to-left override': '"a\\u202eb"',
  'a zero-width space': '"a\\u200bb"',
  'a zero-width joiner': '"ro\\u200cot"',
  'a byte order mark': '"\\ufeffa"',
  'a line separator': '"a\\u2028b"',
  'a private character': '"a\\ue000b"',
  'four bytes': '"a\\ud83d\\udd11b"',
  decomposed: '"cafe\\u0301"',
  'full width': '"\\uff41\\uff42"',
  'a ligature': '"\\ufb01sh"',
  'a dotless i': '"\\u0131\\u0130"',
  'quotes and comments': `"' or 1=1 --; drop table token; /*"`,
  wildcards: '"%_*?[]"',
  markup: '"<img src=x onerror=alert(1)>"',
  'a formula': `"=cmd|' /C calc'!A0"`,
  'a template': '"#{7*7}{{7*7}}<%= 7*7 %>"',
  'a path': '"../../etc/passwd"',
  'very long': `"${'ä'.repeat(20_000)}"`,
  'spaces around': '" a "',
}

/** Requests in which `§` stands for the text. */
const requests: [string, string, string?][] = [
  ['POST', '/tokens', '{"name":§}'],
  ['POST', '/tokens', '{"name":"with-description","description":§}'],
  ['POST', '/tokens', '{"name":"with-metadata","metadata":{"key":§}}'],
  ['POST', '/tokens', '{"name":"with-key","metadata":{§:1}}'],
  ['POST', '/tokens', '{"name":"x","roles":[§]}'],
  ['POST', '/tokens', '{"name":"x","scopes":[§]}'],
  ['POST', '/tokens', '{"name":"x","allowedIps":[§]}'],
  ['POST', '/tokens', '{"name":"x","groups":[{"group":§,"mode":"READ"}]}'],
  ['POST', '/tokens', '{"name":"x","expiresAt":§}'],
  ['POST', '/tokens', '{"name":"x","ownerId":§}'],
  ['POST', '/tokens/verify', '{"token":§}'],
  ['POST', '/tokens/verify:batch', '{"questions":[§,{"token":§}]}'],
  ['POST', '/tokens/verify', '{"token":"x","role":§,"scope":§,"group":§,"ip":§}'],
  ['POST', '/tokens/explain', '{"token":§}'],
  ['POST', '/tokens/explain', '{"tokenId":§}'],
  ['POST', '/tokens/explain', '{"token":"x","role":§,"scope":§,"group":§,"audience":§}'],
  ['POST', '/users', '{"username":§}'],
  ['POST', '/users', '{"username":"with-email","email":§}'],
  ['POST', '/users', '{"username":"with-display","displayName":§}'],
  ['POST', '/users', '{"username":"with-attributes","attributes":{"key":§}}'],
  ['POST', '/users', '{"username":"x","roles":[§]}'],
  ['POST', '/groups', '{"name":§}'],
  ['POST', '/groups', '{"name":"with-description","description":§}'],
  ['POST', '/roles', '{"name":§}'],
  ['POST', '/roles', '{"name":"with-description","description":§}'],
  ['POST', '/roles', '{"name":"with-scope","scopes":[§]}'],
  ['POST', '/clients', '{"name":§,"grants":[]}'],
  ['POST', '/clients', '{"name":"with-id","clientId":§,"grants":[]}'],
  ['POST', '/clients', '{"name":"x","redirectUris":[§]}'],
  ['POST', '/clients', '{"name":"with-scope","scopes":[§],"grants":[]}'],
  ['POST', '/clients', '{"name":"x","serves":[§],"resources":[§],"grants":[]}'],
  ['POST', '/clients', '{"name":"x","accessTokenTtl":§,"grants":[]}'],
  ['POST', '/clients', '{"name":"with-application","applicationName":§,"grants":[]}'],
  ['POST', '/clients', '{"name":"x","jwks":{"keys":[{"kty":§,"crv":§,"x":§}]},"grants":[]}'],
  ['POST', '/login', '{"username":§,"password":§}'],
  ['PATCH', '/groups/CREW', '{"description":§}'],
  ['GET', '/tokens?text=§'],
  ['GET', '/tokens?group=§'],
  ['GET', '/tokens?q=§'],
  ['GET', '/tokens?q=name:%22§%22%20or%20text~§%20owner:§'],
  ['GET', '/tokens/count?q=scope:§%20role:%22§%22'],
  ['GET', '/tokens/stats?by=§'],
  ['GET', '/tokens?cursor=§'],
  ['GET', '/users?text=§'],
  ['GET', '/users?username=§'],
  ['GET', '/groups?text=§'],
  ['GET', '/clients?text=§'],
  ['GET', '/clients/§'],
  ['GET', '/grants?userId=§'],
  ['GET', '/audit?subjectId=§'],
  ['GET', '/audit?from=§'],
  ['DELETE', '/roles/§'],
]

function percentEncoded(literal: string): string {
  const text = JSON.parse(literal) as string
  // A lone surrogate has no UTF-8; what a sloppy client makes of it has.
  return encodeURIComponent(Buffer.from(text.slice(0, 2000), 'utf8').toString('utf8'))
}

describe.each(Object.keys(ODD))('%s', (name) => {
  const literal = ODD[name] ?? ''

  test('is stored as it is, or refused with a 4xx, in every field', async () => {
    for (const [method, path, body] of requests) {
      const url = `/api/v1${path.replace('CREW', crew).replaceAll('§', percentEncoded(literal))}`
      const rawBody = body?.replaceAll('§', literal)
      const answer = await call(method, url, rawBody === undefined ? {} : { rawBody })
      const what = `${method} ${path} ${body} → ${answer.status} ${answer.text.slice(0, 300)}`
      expect(answer.status, what).toBeLessThan(500)
      if (answer.status < 300 && method === 'POST' && body?.startsWith('{"name":§')) {
        expect(answer.body.name, what).toBe((JSON.parse(literal) as string).normalize('NFC'))
      }
      await forget(path, answer.body)
    }
  })
})

/** Frees the name for the next text. */
async function forget(path: string, body: { id?: string; name?: string } | undefined) {
  if (path === '/roles' && body?.name === 'with-description') {
    await server.call('DELETE', '/api/v1/roles/with-description')
  }
  if (!['/tokens', '/users', '/groups', '/clients'].includes(path) || body?.id === undefined) return
  await server.call('DELETE', `/api/v1${path}/${body.id}`)
}

test.each(['NUL', 'a lone high surrogate', 'a zero-width joiner', 'a right-to-left override'])(
  'no name has %s in it',
  async (name) => {
    for (const [path, member] of [
      ['tokens', 'name'],
      ['users', 'username'],
      ['groups', 'name'],
      ['roles', 'name'],
      ['clients', 'name'],
    ]) {
      const answer = await call('POST', `/api/v1/${path}`, {
        rawBody: `{"${member}":${ODD[name]}}`,
      })
      expect(answer.status, path).toBe(400)
    }
  },
)

test('names that look alike after folding are one name', async () => {
  for (const [one, two] of [
    ['Zoë', 'Zoe\u0308'],
    ['ﬁsher', 'FISHER'],
    ['ｒｏｏｔ２', 'ROOT2'],
  ]) {
    const first = await call('POST', '/api/v1/users', { body: { username: one } })
    expect(first.status, one).toBe(201)
    const second = await call('POST', '/api/v1/users', { body: { username: two } })
    expect(second.status, two).toBe(409)
    const found = await call('GET', `/api/v1/users?username=${encodeURIComponent(two ?? '')}`)
    expect(found.body.items[0].id).toBe(first.body.id)
  }
})

test('bytes that are not UTF-8 do not get in', async () => {
  for (const bytes of [[0xff], [0xc0, 0xaf], [0xed, 0xa0, 0x80], [0xf5, 0x80, 0x80, 0x80]]) {
    const payload = Buffer.concat([
      Buffer.from('{"name":"bytes-'),
      Buffer.from(bytes),
      Buffer.from('"}'),
    ])
    const { statusCode } = await server.app.server.inject({
      method: 'POST',
      url: '/api/v1/tokens',
      headers: { authorization: `Bearer ${server.adminToken}`, 'content-type': 'application/json' },
      payload,
    })
    expect([201, 400, 409]).toContain(statusCode)
  }
  const { body } = await call('GET', '/api/v1/tokens?text=bytes-')
  for (const { name } of body.items) expect(name.isWellFormed()).toBe(true)
})

describe('a value of another type is refused with 400 and changes nothing', () => {
  const odd = [
    '9007199254740993',
    '1e309',
    '-0',
    '-1',
    '0.1',
    '1',
    'true',
    'false',
    'null',
    '[]',
    '{}',
    '["a"]',
    '""',
    '"1"',
    '"true"',
  ]
  const fields: [string, string, string, string[]][] = [
    ['POST', '/tokens', 'name', ['"1"', '"true"']],
    ['POST', '/tokens', 'accessLevel', []],
    ['POST', '/tokens', 'kind', []],
    ['POST', '/tokens', 'expiresAt', ['null']],
    ['POST', '/tokens', 'roles', ['null', '[]', '["a"]']],
    ['POST', '/tokens', 'scopes', ['null', '[]', '["a"]']],
    ['POST', '/tokens', 'groups', ['null', '[]']],
    ['POST', '/tokens', 'allowedIps', ['null', '[]']],
    ['POST', '/tokens', 'ownerId', []],
    ['POST', '/tokens', 'metadata', ['{}']],
    ['POST', '/users', 'active', ['true', 'false']],
    ['POST', '/users', 'globalRole', []],
    ['POST', '/users', 'username', ['"1"', '"true"']],
    ['PATCH', '/users/ALICE', 'active', ['true', 'false']],
    ['PATCH', '/users/ALICE', 'globalRole', []],
    ['PATCH', '/users/ALICE', 'roles', ['[]', '["a"]']],
    ['POST', '/clients', 'name', ['"1"', '"true"']],
    ['POST', '/clients', 'type', []],
    ['POST', '/clients', 'scopes', ['[]', '["a"]']],
    ['POST', '/clients', 'redirectUris', ['[]']],
    ['POST', '/clients', 'codeTtl', []],
    ['POST', '/clients', 'requirePkce', ['true', 'false']],
    ['POST', '/clients', 'jwks', []],
    ['PATCH', '/policy', 'usersMayCreateTokens', ['true', 'false']],
    ['PATCH', '/policy', 'lockoutAttempts', ['1']],
    ['PATCH', '/policy', 'maxTokenTtlSeconds', ['1', 'null']],
  ]

  /** What a request needs besides. */
  const needs: Record<string, Record<string, unknown>> = {
    '/tokens': { name: 'x' },
    '/users': { username: 'x' },
    '/clients': { name: 'x', grants: [] },
  }
  const restOf = (path: string, member: string) =>
    Object.entries(needs[path] ?? {})
      .filter(([name]) => name !== member)
      .map(([name, value]) => `,"${name}":${JSON.stringify(value)}`)
      .join('')

  test.each(fields)('%s %s %s', async (method, path, member, allowed) => {
    const before = await snapshot(server)
    for (const value of odd.filter((each) => !allowed.includes(each))) {
      const { status, text } = await call(method, `/api/v1${path.replace('ALICE', alice.id)}`, {
        rawBody: `{"${member}":${value}${restOf(path, member)}}`,
      })
      expect(status, `${value}: ${text}`).toBe(400)
    }
    expect(await snapshot(server)).toEqual(before)
  })
})
