import { Type } from 'typebox'
import type { Caller } from '../../core/caller.ts'
import { endOf } from '../../core/tokens/token.ts'
import { mustBeSession } from '../../core/users/login.ts'
import { callerOf, originOf } from '../auth.ts'
import { Nullable } from '../nullable.ts'
import type { ApiParts } from '../parts.ts'
import type { Scope } from '../scope.ts'
import { passwordDoor } from '../server.ts'
import { instant, namesFor, tokenOut, userOut } from './format.ts'
import { AccessLevel, GroupGrant, Instant, NoContent, problems, Token, User } from './schemas.ts'

const tags = ['session']
const Password = Type.String({ minLength: 1, maxLength: 256 })

export const Me = Type.Object({
  user: User,
  token: Token,
  rights: Type.Object({
    accessLevel: AccessLevel,
    admin: Type.Boolean(),
    roles: Type.Array(Type.String()),
    groups: Type.Array(GroupGrant),
    scopes: Nullable(Type.Array(Type.String(), { description: 'null: every scope' })),
  }),
})

/** What remains of the owner's rights after the token's limits. */
export function rightsOut({ rights }: Pick<Caller['principal'], 'rights'>) {
  return {
    accessLevel: rights.accessLevel,
    admin: rights.admin,
    roles: [...rights.roles].sort(),
    groups: [...rights.groups.values()].map(({ id, name, mode }) => ({ id, name, mode })),
    scopes: rights.scopes === 'all' ? null : [...rights.scopes].sort(),
  }
}

/** Login, logout and everything about oneself. */
export function sessionRoutes(app: Scope, { core }: ApiParts): void {
  app.post(
    '/login',
    {
      ...passwordDoor,
      schema: {
        tags,
        summary: 'Log in with name and password',
        description:
          'Answers a session token. A one-time password is replaced in the same step: send `newPassword`.',
        security: [],
        body: Type.Object(
          {
            username: Type.String({ minLength: 1, maxLength: 254, description: 'Or the email' }),
            password: Password,
            newPassword: Type.Optional(Password),
          },
          { additionalProperties: false },
        ),
        response: {
          200: Type.Object({ token: Type.String(), expiresAt: Instant, user: User }),
          ...problems,
        },
      },
    },
    async (request) => {
      const { username, password, newPassword } = request.body
      const session = await core.login({
        name: username,
        password,
        origin: originOf(request, 'api'),
        via: 'api',
        ...(newPassword === undefined ? {} : { newPassword }),
      })
      return {
        token: session.secret.reveal(),
        expiresAt: instant(endOf(session.token) ?? 0),
        user: userOut(session.user),
      }
    },
  )

  app.post(
    '/logout',
    {
      config: { weight: 'vital' },
      schema: { tags, summary: 'End the session', response: { 204: NoContent, ...problems } },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      mustBeSession(caller.principal.token)
      await core.write((w) => w.revokeSelf({ caller, reason: 'logged out' }))
      return reply.code(204).send(null)
    },
  )

  app.get(
    '/me',
    {
      schema: {
        tags,
        summary: 'Who am I, with which token, and what may it do',
        response: { 200: Me, ...problems },
      },
    },
    async (request) => {
      const { principal } = callerOf(request)
      return {
        user: userOut(principal.user),
        token: tokenOut(principal.token, await namesFor(core, [principal.token])),
        rights: rightsOut(principal),
      }
    },
  )

  app.post(
    '/me/password',
    {
      // It takes the current password, so it is a door for guessing, too.
      config: { rateLimit: {}, weight: 'vital' },
      schema: {
        tags,
        summary: 'Change my password',
        description: 'Ends all my other logins. Needs a login session.',
        body: Type.Object(
          { currentPassword: Password, newPassword: Password },
          { additionalProperties: false },
        ),
        response: { 204: NoContent, ...problems },
      },
    },
    async (request, reply) => {
      const { currentPassword, newPassword } = request.body
      const caller = callerOf(request)
      await core.changePassword({ caller, current: currentPassword, next: newPassword })
      return reply.code(204).send(null)
    },
  )
}
