import { randomBytes } from 'node:crypto'
import type { Answer, TestServer } from './server.ts'

export interface HeldToken {
  id: string
  secret: string
}

/** Makes a token through our API; what the wish leaves out is narrow, as the API has it. */
export async function makeToken(
  server: TestServer,
  wish: Record<string, unknown>,
  by = server.adminToken,
): Promise<HeldToken> {
  const { body } = expectStatus(
    201,
    await server.call('POST', '/api/v1/tokens', {
      token: by,
      body: { name: randomBytes(6).toString('hex'), ...wish },
    }),
  )
  return { id: body.id, secret: body.secret }
}

/** All that the owner may do, for `makeToken`. */
export const EVERYTHING = {
  accessLevel: 'FULL_ACCESS',
  roles: null,
  groups: null,
  scopes: null,
} as const

/** Gives a user a password by way of a one-time password, and logs in. */
export async function logIn(
  server: TestServer,
  { id, username }: { id: string; username: string },
): Promise<{ session: string; password: string }> {
  const reset = await server.call('POST', `/api/v1/users/${id}/one-time-password`)
  const oneTimePassword = expectStatus(200, reset).body.oneTimePassword as string
  const password = `${randomBytes(9).toString('base64url')} quiet harbour`
  server.remember(oneTimePassword)
  server.remember(password)
  const login = await server.call('POST', '/api/v1/login', {
    token: null,
    body: { username, password: oneTimePassword, newPassword: password },
  })
  return { session: expectStatus(200, login).body.token as string, password }
}

export async function makeGroup(
  server: TestServer,
  name: string,
  members: Record<string, 'READ' | 'WRITE' | 'ADMIN'> = {},
): Promise<string> {
  const made = await server.call('POST', '/api/v1/groups', { body: { name } })
  const { id } = expectStatus(201, made).body as { id: string }
  for (const [userId, mode] of Object.entries(members)) {
    const url = `/api/v1/groups/${id}/members/${userId}`
    expectStatus(204, await server.call('PUT', url, { body: { mode } }))
  }
  return id
}

export async function makeRole(server: TestServer, name: string, scopes: string[] = []) {
  expectStatus(201, await server.call('POST', '/api/v1/roles', { body: { name, scopes } }))
}

export async function setPolicy(server: TestServer, edit: Record<string, unknown>) {
  expectStatus(200, await server.call('PATCH', '/api/v1/policy', { body: edit }))
}

/** Whether a credential still opens our API. */
export async function isAlive(server: TestServer, token: string): Promise<boolean> {
  const { status } = await server.call('GET', '/api/v1/me', { token })
  if (status !== 200 && status !== 401) throw new Error(`/me answered ${status}`)
  return status === 200
}

function expectStatus(status: number, answer: Answer): Answer {
  if (answer.status !== status) throw new Error(`Not ${status}: ${answer.status} ${answer.text}`)
  return answer
}
