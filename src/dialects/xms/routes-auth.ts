import type { FastifyRequest } from 'fastify'
import { CoreError } from '../../core/errors.ts'
import { mustBeSession } from '../../core/users/login.ts'
import type { Session } from '../../core/users/session.ts'
import { callerOf, letIn, originOf, presentedBy, verdictOn } from '../../http/auth.ts'
import type { ApiParts } from '../../http/parts.ts'
import type { Scope } from '../../http/scope.ts'
import { passwordDoor, publicDoor } from '../../http/server.ts'
import { loginKeys } from './login-keys.ts'
import { policyEdit, policyOut } from './map.ts'
import { loginName, passwordOf, showSession } from './sessions.ts'
import {
  AuthLoginReq,
  AuthRSAKeyResp,
  AuthSecurityPolicyResp,
  AuthSecurityPolicyUpdateReq,
  failures,
  type Identity,
  NoContent,
  NoQuery,
  TokenCreateReq,
  TokenResp,
} from './wire.ts'

/** Sessions, and what the password behind them must obey. */
export function authRoutes(app: Scope, parts: ApiParts): void {
  createTokenRoute(app, parts)
  loginRoutes(app, parts)
  logoutRoute(app, parts)
  securityPolicyRoutes(app, parts)
}

function createTokenRoute(app: Scope, parts: ApiParts): void {
  app.post(
    '/auth/tokens',
    {
      ...passwordDoor,
      schema: {
        querystring: NoQuery,
        body: TokenCreateReq,
        response: { 201: TokenResp, ...failures },
      },
    },
    async (request, reply) => {
      const session = await openSession(parts, request, request.body.auth.identity)
      return reply.code(201).send(await showSession(parts.core, request, session))
    },
  )
}

function openSession(
  parts: ApiParts,
  request: FastifyRequest,
  { password, token }: Identity,
): Promise<Session> {
  if (password !== undefined && token === undefined) {
    const name = loginName(password.user)
    return logIn(parts, request, { name, password: password.user.password })
  }
  if (token !== undefined && password === undefined) {
    return exchange(parts, request, token.uuid)
  }
  throw new CoreError('invalid_input', 'The identity must be either a password or a token.')
}

function logIn(
  { core }: ApiParts,
  request: FastifyRequest,
  who: { name: ReturnType<typeof loginName>; password: string },
): Promise<Session> {
  return core.login({ ...who, origin: originOf(request, 'xms'), via: 'xms', format: 'hex' })
}

/** A session that stands for the presented token, with its limits. READ_ONLY ones get none. */
async function exchange(
  { core, jwts }: ApiParts,
  request: FastifyRequest,
  secret: string,
): Promise<Session> {
  const demand = presentedBy(request, 'xms')
  const principal = letIn(await verdictOn(secret, { core, jwts, demand }))
  const caller = { principal, origin: originOf(request, 'xms') }
  return core.openSessionFromToken({ caller, via: 'xms', format: 'hex' })
}

function loginRoutes(app: Scope, parts: ApiParts): void {
  const { core } = parts
  const keys = loginKeys(core)

  app.post(
    '/auth/rsa-keys',
    {
      ...publicDoor,
      schema: { querystring: NoQuery, response: { 200: AuthRSAKeyResp, ...failures } },
    },
    async () => {
      const { id, publicKeyPem, expiresAtMs } = await keys.current()
      const expiration = new Date(expiresAtMs).toISOString()
      return { rsa_key: { id, public_key: publicKeyPem, expiration } }
    },
  )

  app.post(
    '/auth/tokens::login',
    {
      ...passwordDoor,
      schema: {
        querystring: NoQuery,
        body: AuthLoginReq,
        response: { 201: TokenResp, ...failures },
      },
    },
    async (request, reply) => {
      const { auth } = request.body
      const name = loginName({ name: auth.name ?? '' })
      const password = await passwordOf(core, keys, auth)
      const session = await logIn(parts, request, { name, password })
      return reply.code(201).send(await showSession(core, request, session))
    },
  )
}

function logoutRoute(app: Scope, { core }: ApiParts): void {
  app.post(
    '/auth/tokens::logout',
    {
      config: { weight: 'vital' },
      schema: { querystring: NoQuery, response: { 204: NoContent, ...failures } },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      mustBeSession(caller.principal.token)
      await core.write((w) => w.revokeSelf({ caller, reason: 'logged out' }))
      return reply.code(204).send(null)
    },
  )
}

function securityPolicyRoutes(app: Scope, { core }: ApiParts): void {
  const url = '/auth/security-policy'
  const response = { 200: AuthSecurityPolicyResp, ...failures }

  app.get(url, { schema: { querystring: NoQuery, response } }, async () => ({
    auth_security_policy: policyOut(core.policy()),
  }))

  app.patch(
    url,
    { schema: { querystring: NoQuery, body: AuthSecurityPolicyUpdateReq, response } },
    async (request) => {
      const caller = callerOf(request)
      const edit = policyEdit(request.body.auth_security_policy)
      const policy = await core.write((w) => w.updatePolicy({ caller, edit }))
      return { auth_security_policy: policyOut(policy) }
    },
  )
}
