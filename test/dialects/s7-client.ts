import type { CallOptions, TestServer } from '../support/server.ts'
import { type Call, checked } from './checked.ts'

export const S7 = '/api/auth/v1'

/** What the generated Python client sends with every request, body or not. */
const clientHeaders = {
  accept: 'application/json',
  'content-type': 'application/json',
  'user-agent': 'OpenAPI-Generator/1.0.0/python',
}

/** Calls below the base path as the reference client does; every answer is held against the contract. */
export function s7Client(server: () => TestServer, prefix = S7): Call {
  const call = checked(server, 's7')
  return async (method, path, options: CallOptions = {}) => {
    const headers = { ...clientHeaders, ...options.headers }
    const answer = await call(method, prefix + path, { ...options, headers })
    for (const { token } of tokensIn(answer.body)) server().remember(token)
    return answer
  }
}

/** Every secret or access token that an answer carries. */
function tokensIn(body: unknown): { token: string }[] {
  const { refreshToken, accessToken, token } = Object(body)
  return [refreshToken, accessToken, { token }].filter((each) => typeof each?.token === 'string')
}

export interface ServiceToken {
  secret: string
  tokenId: string
  jwt: string
}

/** Makes a service token through the wire and finds its public id. */
export async function makeServiceToken(
  s7: Call,
  body: { tokenName: string } & Record<string, unknown>,
): Promise<ServiceToken> {
  const made = await s7('POST', '/admin/refreshTokens', { body })
  if (made.status !== 200) throw new Error(made.text)
  const list = await s7('GET', '/admin/refreshTokens')
  const named = list.body.refreshTokenInfo.filter(
    (info: { tokenName?: string }) => info.tokenName === body.tokenName,
  )
  return {
    secret: made.body.refreshToken.token,
    tokenId: named[0].tokenId,
    jwt: made.body.accessToken.token,
  }
}

/** Deletes everybody but the first admin, and every group, so that tests can share a server. */
export async function emptyOut(s7: Call): Promise<void> {
  for (const { userId } of (await s7('GET', '/admin/users')).body.users) {
    if (userId !== 'admin') await s7('DELETE', `/admin/users/${encodeURIComponent(userId)}`)
  }
  for (const { groupId } of (await s7('GET', '/admin/groups')).body.groups) {
    await s7('DELETE', `/admin/groups/${encodeURIComponent(groupId)}`)
  }
}
