import { afterAll, beforeAll, expect, test } from 'vitest'
import { expectProblem } from '../support/problem.ts'
import { listen, oneAnswer, sendRaw } from '../support/raw-socket.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { snapshot } from '../support/tables.ts'

let server: TestServer
let port: number

beforeAll(async () => {
  server = await startServer()
  port = await listen(server)
})
afterAll(() => server.close())

/** A body that only the schema refuses: whoever skipped it would create a token. */
const BAD = '{"name":"x","undeclared":true}'

const post = (type: string | undefined, rawBody: string) => {
  const lines = [
    'POST /api/v1/tokens HTTP/1.1',
    'Host: x',
    `Authorization: Bearer ${server.adminToken}`,
    ...(type === undefined ? [] : [`Content-Type: ${type}`]),
    `Content-Length: ${Buffer.byteLength(rawBody)}`,
    '',
    rawBody,
  ]
  return sendRaw(port, lines.join('\r\n'), oneAnswer)
}

test.each([
  undefined,
  '',
  'text/plain',
  'text/json',
  'application/jsonp',
  'application/x-json',
  'application/json+x',
  'application',
  '*/*',
  'json',
  'application/x-www-form-urlencoded',
  'multipart/form-data; boundary=x',
  'application/xml',
  'application/json, text/plain',
  'text/plain; a=application/json',
  'text/plain application/json',
  'application/json\ta',
  'application/json garbage',
  'application/json\u00a0',
  'application /json',
])('%j with a body that the schema refuses: 415 or 400, never looked at', async (type) => {
  const before = await snapshot(server)
  const { statuses, text } = await post(type, BAD)
  expect(statuses, text).toHaveLength(1)
  expect([400, 415]).toContain(statuses[0])
  expect(await snapshot(server)).toEqual(before)
})

test.each([
  'application/json',
  'application/json; charset=utf-8',
  'application/json;charset=utf-7',
  'APPLICATION/JSON',
  '  application/json  ',
  'application/json;',
  'application/json; a=b; c=d',
])('%j is JSON, and its schema is applied', async (type) => {
  const { statuses, text } = await post(type, BAD)
  expect(statuses, text).toEqual([400])
  expect(text).toContain('has an unknown member')
})

test('a charset changes nothing about what is read', async () => {
  const utf7 = '{"name":"+AHg-"}'
  const { statuses, text } = await post('application/json; charset=utf-7', utf7)
  expect(statuses).toEqual([201])
  expect(text).toContain('"name":"+AHg-"')
})

test('two Content-Types: the schema is applied all the same', async () => {
  for (const [one, two] of [
    ['application/json', 'text/plain'],
    ['text/plain', 'application/json'],
  ]) {
    const { statuses } = await post(`${one}\r\nContent-Type: ${two}`, BAD)
    expect([400, 415]).toContain(statuses[0])
  }
})

test('a form or plain text that another site could send is refused with 415', async () => {
  for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data']) {
    const headers = { 'content-type': type }
    const answer = await server.call('POST', '/api/v1/tokens', { rawBody: '{"name":"x"}', headers })
    expectProblem(answer, 415, 'unsupported_media_type')
  }
})

test('a JSON type without a body, as generated clients send it, is no body', async () => {
  const headers = { 'content-type': 'application/json' }
  const { id } = (await server.call('POST', '/api/v1/tokens', { body: { name: 'empty' } })).body
  const path = `/api/v1/tokens/${id}`
  expect((await server.call('POST', `${path}/revoke`, { rawBody: '', headers })).status).toBe(200)
  expect((await server.call('DELETE', path, { rawBody: '', headers })).status).toBe(200)
  expect((await server.call('GET', path, { headers })).status).toBe(200)
  const create = await server.call('POST', '/api/v1/tokens', { rawBody: '', headers })
  expectProblem(create, 400, 'invalid_input')
})
