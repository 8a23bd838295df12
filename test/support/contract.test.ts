import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type Contract, contract, contractsFolder, type Exchange } from './contract.ts'

const json = { 'content-type': 'application/json; charset=utf-8' }
const uuid = '29827fb8-f2dd-4e80-9576-28e31e9934ac'
const time = '2030-01-01T00:00:00Z'

function answer(method: string, path: string, status: number, body?: unknown): Exchange {
  return body === undefined
    ? { method, path, status, headers: {}, body: '' }
    : { method, path, status, headers: json, body: JSON.stringify(body) }
}

const xmsToken = {
  id: 5,
  name: 'ci',
  description: '',
  roles: ['admin'],
  create: time,
  update: time,
  used: false,
  user: { id: 3, name: 'admin' },
}
const opalToken = {
  token_id: uuid,
  created_at: time,
  token_label: 'ci',
  creator_user_id: uuid,
  user_id: uuid,
  access_level: 'READ_ONLY',
  last_used_at: null,
  expires_at: null,
}
const authentikPage = {
  pagination: {
    next: 0,
    previous: 0,
    count: 0,
    current: 1,
    total_pages: 1,
    start_index: 0,
    end_index: 0,
  },
  results: [],
}

interface Case {
  name: string
  contract: Contract
  exchange: Exchange
  error?: RegExp
}

function cases(contractOf: Contract, rows: Record<string, [Exchange, RegExp?]>): Case[] {
  return Object.entries(rows).map(([name, [exchange, error]]) => ({
    name,
    contract: contractOf,
    exchange,
    ...(error && { error }),
  }))
}

const s7 = '/api/auth/v1'
const fits: Record<string, Case[]> = {
  s7: cases(contract('s7'), {
    'a body': [answer('GET', `${s7}/admin/users`, 200, { users: [{ userId: 'u', groups: [] }] })],
    'the alias v2': [answer('GET', '/api/auth/v2/publicKey', 200, { publicKey: 'PEM' })],
    'an encoded slash in a segment': [answer('GET', `${s7}/admin/groups/a%2Fb%3A`, 200, {})],
    'an empty 200': [answer('DELETE', `${s7}/admin/users/u`, 200)],
    'an error by default': [answer('GET', `${s7}/userInfo`, 418, { code: 418, message: 'no' })],
    'an error by class': [answer('GET', `${s7}/loginGoogle`, 429, { code: 429, message: 'no' })],
    'a redirect': [
      { ...answer('GET', `${s7}/loginGoogle`, 302), headers: { location: 'https://idp.example/' } },
    ],
    'a query in the path': [answer('GET', `${s7}/login?redirection=/x/y`, 200, { url: 'u' })],
  }),
  xms: cases(contract('xms'), {
    'the collection': [answer('GET', '/v1/access-tokens/', 200, { access_tokens: [xmsToken] })],
    'the collection without slash': [
      answer('GET', '/v1/access-tokens?all=True', 200, { access_tokens: [] }),
    ],
    'an entry': [answer('GET', '/v1/access-tokens/5', 200, { access_token: xmsToken })],
    'a verb of an entry': [
      answer('POST', '/v1/access-tokens/5:regenerate', 200, {
        access_token: { ...xmsToken, uuid: 'de196a59254343d297d133cf24954e98' },
      }),
    ],
    'a verb of the collection': [answer('POST', '/v1/access-tokens:validate', 200, {})],
    'a 204': [answer('DELETE', '/v1/access-tokens/5', 204)],
    'what only the prose declares': [
      answer('PATCH', '/v1/access-tokens/5', 409, { code: 'NameTaken', message: 'Taken.' }),
    ],
    'an operation that only the prose declares': [
      answer('POST', '/v1/auth/rsa-keys', 200, {
        rsa_key: { id: '1', public_key: 'PEM', expiration: time },
      }),
    ],
  }),
  opal: cases(contract('opal'), {
    'nullable members': [answer('GET', '/v1/tokens', 200, { next: null, results: [opalToken] })],
    'an undeclared member': [answer('GET', '/v1/tokens', 200, { results: [], extra: 1 })],
    'an empty 200': [answer('DELETE', `/v1/tokens/${uuid}`, 200)],
  }),
  authentik: cases(contract('authentik'), {
    'a page': [answer('GET', '/api/v3/oauth2/access_tokens/?page=1', 200, authentikPage)],
    'an array': [answer('GET', '/api/v3/oauth2/refresh_tokens/11/used_by/', 200, [])],
    'a 204': [answer('DELETE', '/api/v3/oauth2/access_tokens/11/', 204)],
  }),
}

const breaks: Record<string, Case[]> = {
  s7: cases(contract('s7'), {
    'an unknown path': [answer('GET', `${s7}/nothing`, 404, {}), /no operation/],
    'a foreign base path': [answer('GET', '/v1/admin/users', 200, {}), /not below/],
    'an unknown method': [answer('PATCH', `${s7}/admin/users/u`, 200, {}), /no operation/],
    'a success that is not declared': [
      answer('POST', `${s7}/admin/users`, 201, { code: 1, message: '' }),
      /declares only 200/,
    ],
    'a body where none is declared': [
      answer('DELETE', `${s7}/admin/users/u`, 200, {}),
      /has a body where none/,
    ],
    'no body where one is declared': [
      answer('GET', `${s7}/admin/users`, 200),
      /has no body where one/,
    ],
    'an undeclared member': [
      answer('GET', `${s7}/admin/users`, 200, { users: [{ userId: 'u', email: 'e' }] }),
      /\/users\/0 has the undeclared member email/,
    ],
    'a null': [
      answer('GET', `${s7}/admin/users`, 200, { users: [{ userId: null }] }),
      /\/users\/0\/userId is null/,
    ],
    'a word outside an enumeration': [
      answer('GET', `${s7}/userInfo`, 200, { globalRole: 'admin' }),
      /\/globalRole must be .* ADMIN, USER, but is "admin"/,
    ],
    'a time that is not UTC': [
      answer('POST', `${s7}/refresh`, 200, { token: 't', expiresAt: '2030-01-01T00:00:00+00:00' }),
      /\/expiresAt must match format/,
    ],
    'another content type': [
      {
        ...answer('GET', `${s7}/publicKey`, 200, { publicKey: 'PEM' }),
        headers: { 'Content-Type': 'text/plain' },
      },
      /content type text\/plain/,
    ],
    'text that is not JSON': [
      { ...answer('GET', `${s7}/publicKey`, 200), headers: json, body: 'PEM' },
      /not JSON/,
    ],
    'a redirect that leads nowhere': [answer('GET', `${s7}/loginGoogle`, 302), /header Location/],
    'an error of another shape': [
      answer('GET', `${s7}/userInfo`, 401, { statusCode: 401, error: 'x', message: 'y' }),
      /required property 'code'/,
    ],
  }),
  xms: cases(contract('xms'), {
    'a secret outside create and regenerate': [
      answer('GET', '/v1/access-tokens/5', 200, { access_token: { ...xmsToken, uuid: 'x' } }),
      /\/access_token has the undeclared member uuid/,
    ],
    'an undeclared member beside an allOf': [
      answer('POST', '/v1/access-tokens/', 201, { access_token: { ...xmsToken, kind: 'x' } }),
      /\/access_token has the undeclared member kind/,
    ],
    'paging beside the list': [
      answer('GET', '/v1/access-tokens/', 200, { access_tokens: [], paging: {} }),
      /undeclared member paging/,
    ],
    'a null': [answer('GET', '/v1/access-tokens/', 200, { access_tokens: null }), /must be array/],
    'an id as text': [
      answer('GET', '/v1/access-tokens/5', 200, { access_token: { id: '5' } }),
      /\/access_token\/id must be integer/,
    ],
    'a verb taken for an id': [
      answer('GET', '/v1/access-tokens:validate', 200, { access_token: xmsToken }),
      /no operation/,
    ],
    'an undeclared status': [answer('GET', '/v1/access-tokens/', 422, {}), /declares only 200/],
    'a 204 with a length': [
      { ...answer('DELETE', '/v1/access-tokens/5', 204), headers: { 'content-length': 0 } },
      /Content-Length/,
    ],
  }),
  opal: cases(contract('opal'), {
    'null where it is not allowed': [
      answer('GET', '/v1/tokens', 200, { results: [{ ...opalToken, token_label: null }] }),
      /token_label must be string/,
    ],
    'a missing member': [
      answer('GET', '/v1/tokens', 200, { results: [{ ...opalToken, user_id: undefined }] }),
      /required property 'user_id'/,
    ],
    'a word outside an enumeration': [
      answer('GET', '/v1/tokens', 200, { results: [{ ...opalToken, access_level: 'ROOT' }] }),
      /access_level must be equal/,
    ],
    'an empty object for an empty body': [
      answer('DELETE', `/v1/tokens/${uuid}`, 200, {}),
      /has a body where none/,
    ],
  }),
  authentik: cases(contract('authentik'), {
    'a path without its slash': [
      answer('GET', '/api/v3/oauth2/access_tokens', 200, authentikPage),
      /no operation/,
    ],
    'a 401': [answer('GET', '/api/v3/oauth2/access_tokens/', 401, {}), /declares only/],
    'a page without pagination': [
      answer('GET', '/api/v3/oauth2/access_tokens/', 200, { results: [] }),
      /required property 'pagination'/,
    ],
  }),
}

describe.each(Object.keys(fits))('the %s contract', (name) => {
  it.each(fits[name] ?? [])('accepts $name', ({ contract, exchange }) => {
    contract.validate(exchange)
  })

  it.each(breaks[name] ?? [])('refuses $name', ({ contract, exchange, error }) => {
    expect(() => contract.validate(exchange)).toThrow(error)
  })
})

it('closes the objects of a lenient contract when asked to', () => {
  const strict = contract('opal', { strictMembers: true })
  const extra = answer('GET', '/v1/tokens', 200, { results: [], extra: 1 })
  expect(() => strict.validate(extra)).toThrow(/undeclared member extra/)
})

it('says which exchange broke the contract', () => {
  const exchange = answer('DELETE', `${s7}/admin/users/u`, 200, { deleted: true })
  expect(() => contract('s7').validate(exchange)).toThrow(
    's7: DELETE /api/auth/v1/admin/users/u answered 200: has a body where none is declared\n' +
      '{"deleted":true}',
  )
})

// The originals are kept beside the project; a clone of the repository alone has only the copies.
const originals = join(contractsFolder, '../../../shared/contracts')

it.skipIf(!existsSync(originals))('the copies equal the original contracts', () => {
  const files = readdirSync(originals).filter((file) => file.endsWith('.openapi.yaml'))
  expect(readdirSync(contractsFolder)).toEqual(expect.arrayContaining(files))
  for (const file of files) {
    const copy = readFileSync(join(contractsFolder, file), 'utf8')
    expect(copy, file).toBe(readFileSync(join(originals, file), 'utf8'))
  }
})
