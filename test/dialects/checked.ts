import { type ContractName, contract } from '../support/contract.ts'
import type { Answer, CallOptions, TestServer } from '../support/server.ts'

export type Call = (method: string, url: string, options?: CallOptions) => Promise<Answer>

/** Calls like `server.call`, holding every answer against the contract. */
export function checked(server: () => TestServer, name: ContractName): Call {
  const { validate } = contract(name)
  return async (method, url, options) => {
    const answer = await server().call(method, url, options)
    const { status, headers, text } = answer
    validate({ method, path: url, status, headers, body: text })
    return answer
  }
}

/** Lets people who are no admins create, change and delete tokens of their own. */
export async function letUsersCreateTokens(server: TestServer, allowed = true): Promise<void> {
  const body = { usersMayCreateTokens: allowed }
  const answer = await server.call('PATCH', '/api/v1/policy', { body })
  if (answer.status !== 200) throw new Error(answer.text)
}

/** Gives an existing user a password of their own, and answers it. */
export async function givePassword(server: TestServer, userId: string): Promise<string> {
  const reset = await server.call('POST', `/api/v1/users/${userId}/one-time-password`)
  const oneTime: string = reset.body.oneTimePassword
  const password = `${oneTime} marble kite`
  for (const secret of [oneTime, password]) server.remember(secret)
  const user = await server.call('GET', `/api/v1/users/${userId}`)
  const login = await server.call('POST', '/api/v1/login', {
    token: null,
    body: { username: user.body.username, password: oneTime, newPassword: password },
  })
  if (login.status !== 200) throw new Error(login.text)
  return password
}
