import type { CallOptions, TestServer } from '../support/server.ts'
import type { Call } from './checked.ts'

/** A credential as XMS clients send it, with the content type that they put on every request. */
export function as(token: string, body?: unknown): CallOptions {
  return {
    token: null,
    headers: { 'xms-auth-token': token, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body }),
  }
}

/** The same without a credential. */
export function anonymously(body?: unknown): CallOptions {
  return {
    token: null,
    headers: { 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body }),
  }
}

let names = 0

/** A name that no other token of the test has. */
export function freshName(): string {
  return `token-${++names}`
}

export interface AccessToken {
  id: number
  name: string
  uuid: string
  user: { id: number; name: string }
}

/** Creates a token with the role `builder`, unless told otherwise; its secret must not be logged. */
export async function create(
  { server, xms }: { server: TestServer; xms: Call },
  token: string,
  wish: { name?: string; roles?: string[] } = {},
): Promise<AccessToken> {
  const body = { access_token: { name: freshName(), roles: ['builder'], ...wish } }
  const answer = await xms('POST', '/v1/access-tokens/', as(token, body))
  if (answer.status !== 201) throw new Error(answer.text)
  server.remember(answer.body.access_token.uuid)
  return answer.body.access_token
}

export interface Cast {
  /** With the role builder. */
  alice: { id: string; token: string }
  /** With the roles builder and painter. */
  bob: { id: string; token: string }
  /** An administrator's READ_ONLY token. */
  readOnly: { id: string; token: string }
}

/** The people of these tests. */
export async function cast(server: TestServer): Promise<Cast> {
  for (const name of ['builder', 'painter']) {
    await server.call('POST', '/api/v1/roles', { body: { name } })
  }
  return {
    alice: await server.makeUser({ username: 'alice', roles: ['builder'] }),
    bob: await server.makeUser({ username: 'bob', roles: ['builder', 'painter'] }),
    readOnly: await server.makeUser({
      username: 'reader',
      globalRole: 'ADMIN',
      accessLevel: 'READ_ONLY',
    }),
  }
}
