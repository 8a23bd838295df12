import { Type } from 'typebox'
import type { Caller } from '../../core/caller.ts'
import type { UserId } from '../../core/id.ts'
import type { UserFilter } from '../../core/users/store.ts'
import type { User as CoreUser } from '../../core/users/user.ts'
import { callerOf } from '../auth.ts'
import { Nullable } from '../nullable.ts'
import type { ApiParts } from '../parts.ts'
import type { Scope } from '../scope.ts'
import {
  BlastRadius,
  blastRadiusOut,
  DryRunQuery,
  isDryRun,
  mustOnlyDisable,
} from './blast-radius.ts'
import { cursorsFor, pageOut, pageWish, userOut } from './format.ts'
import {
  GlobalRole,
  Id,
  JsonObject,
  NoContent,
  PageQuery,
  pageOf,
  problems,
  User,
  UserKind,
  UserWithRights,
} from './schemas.ts'

const tags = ['users']
const params = Type.Object({ id: Id })
const DisplayName = Type.String({ maxLength: 255 })
const Roles = Type.Array(Type.String({ maxLength: 63 }), { maxItems: 200 })

export function userRoutes(app: Scope, { core }: ApiParts): void {
  const list = core.cursors('users')

  /** A user with roles and groups. */
  async function full(caller: Caller, user: CoreUser) {
    const [roles, memberships] = await Promise.all([
      core.read.rolesOfUser(caller, user.id),
      core.read.membershipsOfUser(caller, user.id),
    ])
    return {
      ...userOut(user),
      roles,
      groups: memberships.map(({ groupId, groupName, mode }) => ({
        id: groupId,
        name: groupName,
        mode,
      })),
    }
  }

  app.get(
    '/users',
    {
      schema: {
        tags,
        summary: 'List users, newest first',
        querystring: Type.Object(
          {
            ...PageQuery,
            text: Type.Optional(Type.String({ maxLength: 200 })),
            username: Type.Optional(
              Type.String({ maxLength: 150, description: 'Exactly this one' }),
            ),
            active: Type.Optional(Type.Enum(['true', 'false'])),
            kind: Type.Optional(UserKind),
            globalRole: Type.Optional(GlobalRole),
          },
          { additionalProperties: false },
        ),
        response: { 200: pageOf(User), ...problems },
      },
    },
    async (request) => {
      const { text, username, active, kind, globalRole } = request.query
      const caller = callerOf(request)
      if (username !== undefined) {
        const user = await core.read.userByName(caller, username)
        return { items: [userOut(user)], nextCursor: null, previousCursor: null }
      }
      const filter: UserFilter = {
        ...(text === undefined ? {} : { text }),
        ...(active === undefined ? {} : { active: active === 'true' }),
        ...(kind === undefined ? {} : { kind }),
        ...(globalRole === undefined ? {} : { globalRole }),
      }
      const page = await core.read.users(caller, {
        filter,
        ...pageWish(request.query, cursorsFor(list, request)),
      })
      return pageOut(page, cursorsFor(list, request), userOut)
    },
  )

  app.post(
    '/users',
    {
      schema: {
        tags,
        summary: 'Create a user or a service account',
        body: Type.Object(
          {
            username: Type.String({ maxLength: 150 }),
            displayName: Type.Optional(DisplayName),
            email: Type.Optional(Type.String({ maxLength: 254 })),
            kind: Type.Optional(UserKind),
            globalRole: Type.Optional(GlobalRole),
            active: Type.Optional(Type.Boolean()),
            attributes: Type.Optional(JsonObject),
            roles: Type.Optional(Roles),
          },
          { additionalProperties: false },
        ),
        response: { 201: UserWithRights, ...problems },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      const user = await core.write((w) => w.createUser({ caller, wish: request.body }))
      return reply
        .code(201)
        .header('location', `/api/v1/users/${user.id}`)
        .send(await full(caller, user))
    },
  )

  app.get(
    '/users/:id',
    {
      schema: { tags, summary: 'One user', params, response: { 200: UserWithRights, ...problems } },
    },
    async (request) => {
      const caller = callerOf(request)
      return full(caller, await core.read.user(caller, request.params.id as UserId))
    },
  )

  app.patch(
    '/users/:id',
    {
      schema: {
        tags,
        summary: 'Change a user; what is taken away binds at once',
        description: 'A dry run is for disabling alone: `{"active": false}`.',
        params,
        querystring: DryRunQuery,
        body: Type.Object(
          {
            displayName: Type.Optional(DisplayName),
            email: Type.Optional(Nullable(Type.String({ maxLength: 254 }))),
            globalRole: Type.Optional(GlobalRole),
            active: Type.Optional(Type.Boolean()),
            attributes: Type.Optional(JsonObject),
            roles: Type.Optional(Roles),
          },
          { additionalProperties: false },
        ),
        response: { 200: Type.Union([UserWithRights, BlastRadius]), ...problems },
      },
    },
    async (request) => {
      const caller = callerOf(request)
      const id = request.params.id as UserId
      if (isDryRun(request.query)) {
        mustOnlyDisable(request.body)
        return blastRadiusOut(core, await core.rehearse.disableUser(caller, id))
      }
      const user = await core.write((w) => w.updateUser({ caller, id, edit: request.body }))
      return full(caller, user)
    },
  )

  app.delete(
    '/users/:id',
    {
      schema: {
        tags,
        summary: 'Delete a user and revoke everything of theirs',
        params,
        querystring: DryRunQuery,
        response: { 200: BlastRadius, 204: NoContent, ...problems },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      const id = request.params.id as UserId
      if (isDryRun(request.query)) {
        return blastRadiusOut(core, await core.rehearse.deleteUser(caller, id))
      }
      await core.write((w) => w.deleteUser({ caller, id }))
      return reply.code(204).send(null)
    },
  )

  app.post(
    '/users/:id/one-time-password',
    {
      config: { weight: 'vital' },
      schema: {
        tags,
        summary: 'Give a user a one-time password',
        description:
          'Valid for a day and for one login, which must replace it. Ends all logins of the user.',
        params,
        response: { 200: Type.Object({ oneTimePassword: Type.String() }), ...problems },
      },
    },
    async (request) => {
      const id = request.params.id as UserId
      const password = await core.resetPassword({ caller: callerOf(request), id })
      return { oneTimePassword: password.reveal() }
    },
  )
}
