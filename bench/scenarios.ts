import { randomBytes } from 'node:crypto'
import { makeSecret } from '../src/core/secret.ts'
import { COUNTER } from './load.ts'

/** What a scenario may use: an asking token, and live tokens to ask about. */
export interface Fixture {
  token: string
  secrets: string[]
}

/** One kind of request, sent to every subject alike. */
export interface Scenario {
  name: string
  summary: string
  /** What Mintmark must answer to each. */
  status: number
  requests(fixture: Fixture): string[]
}

const UNKNOWN_SECRETS = 1000

function post(path: string, { token, body }: { token: string; body: object }): string {
  const json = JSON.stringify(body)
  return [
    `POST /api/v1${path} HTTP/1.1`,
    'Host: localhost',
    `Authorization: Bearer ${token}`,
    'Content-Type: application/json',
    `Content-Length: ${Buffer.byteLength(json)}`,
    '',
    json,
  ].join('\r\n')
}

function get(path: string, { token }: { token: string }): string {
  return `GET /api/v1${path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${token}\r\n\r\n`
}

function verify(token: string, secret: string): string {
  return post('/tokens/verify', { token, body: { token: secret } })
}

export const SCENARIOS: Scenario[] = [
  {
    name: 'verify',
    summary: 'a live token that the server has seen before',
    status: 200,
    requests: ({ token, secrets }) => secrets.map((secret) => verify(token, secret)),
  },
  {
    name: 'unknown',
    summary: 'a well-formed secret that nobody has',
    status: 200,
    requests: ({ token }) =>
      Array.from({ length: UNKNOWN_SECRETS }, () =>
        verify(token, makeSecret('mintmark', 'api', randomBytes)),
      ),
  },
  {
    name: 'malformed',
    summary: 'text that cannot be a secret',
    status: 200,
    requests: ({ token, secrets }) => secrets.map((secret) => verify(token, `${secret}x`)),
  },
  {
    name: 'list',
    summary: 'the first 50 of all tokens',
    status: 200,
    requests: ({ token }) => [get('/tokens?limit=50', { token })],
  },
  {
    name: 'create',
    summary: 'a new token, durable before the answer',
    status: 201,
    requests: ({ token }) => [post('/tokens', { token, body: { name: `bench ${COUNTER}` } })],
  },
]
