import { randomBytes } from 'node:crypto'
import { makeSecret } from '../src/core/secret.ts'
import { COUNTER } from './load.ts'

/** What a scenario may use: an asking token, and live tokens to ask about. */
export interface Fixture {
  token: string
  secrets: string[]
  /** An S7 refresh token. */
  service: string
  /** A client with access tokens of its own. */
  client: { id: string; secret: string; accessTokens: string[] }
}

/** Peers that the lock file under bench/ brings. */
export type PackagedPeer = 'oidc-provider' | 'better-auth'
export type PeerName = PackagedPeer | 'glewlwyd'

export type Limit = 'bare' | 'commits' | 'signatures'

/** One kind of request. */
export interface Scenario {
  name: string
  summary: string
  /** What is asked: Mintmark unless said otherwise; `cold` is one that caches next to nothing. */
  subject?: 'mintmark' | 'cold' | PeerName
  /** What it is measured beside; default: the bare server, which gets the same requests. */
  limit?: Limit
  connections?: number
  /** How many of what is counted one request stands for. */
  counts?: number
  /** What must be answered to each. */
  status: number
  /** How many tokens are made anew for each slice of so many seconds. */
  fresh?(seconds: number): number
  /** See `Job`. */
  once?: boolean
  chain?: boolean
  /** Whether latency is measured at half of the peak rate, too. */
  isPaced?: boolean
  /** Peers bring their own. `ids` are those of fresh tokens. */
  requests?(fixture: Fixture, ids: string[]): string[]
}

export const BATCH = 100

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

/** A request for a page. */
export function get(path: string, { token }: { token: string }): string {
  return `GET ${path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${token}\r\n\r\n`
}

/** A request with fields, `body`, as an HTML form has them. */
export function form(
  path: string,
  { authorization, body }: { authorization: string; body: string },
) {
  return [
    `POST ${path} HTTP/1.1`,
    'Host: localhost',
    `Authorization: ${authorization}`,
    'Content-Type: application/x-www-form-urlencoded',
    `Content-Length: ${body.length}`,
    '',
    body,
  ].join('\r\n')
}

const INTROSPECTION = '/oauth2/introspect'
/** As many as a server of one core and a fast disk revokes in a second, and then some. */
const REVOKED_PER_SECOND = 3000

/** A question about a secret. */
export function verify(token: string, secret: string): string {
  return post('/tokens/verify', { token, body: { token: secret } })
}

/** A request for a new token. */
export function creation({ token }: Fixture): string {
  return post('/tokens', { token, body: { name: `bench ${COUNTER}` } })
}

/** Each of `list` once, in groups of `size`. */
function inGroups<T>(list: readonly T[], size: number): T[][] {
  const count = Math.ceil(list.length / size)
  return Array.from({ length: count }, (_, i) => list.slice(i * size, (i + 1) * size))
}

export const SCENARIOS: Scenario[] = [
  {
    name: 'verify',
    summary: 'a live token that the server has seen before',
    status: 200,
    isPaced: true,
    requests: ({ token, secrets }) => secrets.map((secret) => verify(token, secret)),
  },
  {
    name: 'batch',
    summary: `the same, ${BATCH} tokens per request; counted in tokens`,
    counts: BATCH,
    status: 200,
    requests: ({ token, secrets }) =>
      inGroups(secrets, BATCH).map((questions) =>
        post('/tokens/verify:batch', { token, body: { questions } }),
      ),
  },
  {
    name: 'introspect',
    summary: 'the same through OAuth introspection (RFC 7662), asked by a token',
    status: 200,
    isPaced: true,
    requests: ({ token, secrets }) =>
      secrets.map((secret) =>
        form(INTROSPECTION, { authorization: `Bearer ${token}`, body: `token=${secret}` }),
      ),
  },
  {
    name: 'introspect-client',
    summary: 'an access token, asked by the client that it was issued to',
    status: 200,
    requests: ({ client: { id, secret, accessTokens } }) => {
      const authorization = `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}`
      return accessTokens.map((token) =>
        form(INTROSPECTION, { authorization, body: `token=${token}` }),
      )
    },
  },
  {
    name: 'xms',
    summary: 'the same through XMS validate',
    status: 200,
    isPaced: true,
    requests: ({ token, secrets }) =>
      secrets.map((secret) =>
        [
          `POST /v1/access-tokens:validate?subject_access_token=${secret} HTTP/1.1`,
          'Host: localhost',
          `Xms-Auth-Token: ${token}`,
          'Content-Length: 0',
          '\r\n',
        ].join('\r\n'),
      ),
  },
  {
    name: 'malformed',
    summary: 'text that cannot be a secret',
    status: 200,
    requests: ({ token, secrets }) => secrets.map((secret) => verify(token, `${secret}x`)),
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
    name: 'cold',
    summary: 'a live token that is not in the cache',
    subject: 'cold',
    status: 200,
    requests: ({ token, secrets }) => secrets.map((secret) => verify(token, secret)),
  },
  {
    name: 'oidc-provider',
    summary: 'its introspection, in memory',
    subject: 'oidc-provider',
    status: 200,
  },
  {
    name: 'better-auth',
    summary: 'its verifyApiKey, on SQLite',
    subject: 'better-auth',
    status: 200,
  },
  {
    name: 'glewlwyd',
    summary: 'its introspection, on SQLite; when its Debian package is there',
    subject: 'glewlwyd',
    status: 200,
  },
  {
    name: 'list',
    summary: 'the first 50 of all tokens',
    status: 200,
    requests: ({ token }) => [get('/api/v1/tokens?limit=50', { token })],
  },
  {
    name: 'opal',
    summary: 'the first page of Opal',
    status: 200,
    requests: ({ token }) => [get('/v1/tokens', { token })],
  },
  {
    name: 'create',
    summary: 'a new token, durable before the answer; beside single commits',
    limit: 'commits',
    connections: 64,
    status: 201,
    requests: (fixture) => [creation(fixture)],
  },
  {
    name: 'rotate',
    summary: 'a token replaced by its successor, durable before the answer; beside single commits',
    limit: 'commits',
    connections: 64,
    status: 200,
    fresh: () => 64,
    chain: true,
    requests: ({ token }, ids) =>
      ids.map((id) => post(`/tokens/${id}/rotate`, { token, body: {} })),
  },
  {
    name: 'revoke',
    summary: 'a token revoked, durable before the answer; beside single commits',
    limit: 'commits',
    connections: 64,
    status: 200,
    fresh: (seconds) => Math.ceil(REVOKED_PER_SECOND * seconds),
    once: true,
    requests: ({ token }, ids) =>
      ids.map((id) => post(`/tokens/${id}/revoke`, { token, body: {} })),
  },
  {
    name: 'refresh',
    summary: 'an S7 access token, RS256; beside signatures alone',
    limit: 'signatures',
    status: 200,
    requests: ({ service }) => [
      `POST /api/auth/v1/refresh HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${service}\r\nContent-Length: 0\r\n\r\n`,
    ],
  },
]
