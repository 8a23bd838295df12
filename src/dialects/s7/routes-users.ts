import { Type } from 'typebox'
import type { Caller } from '../../core/caller.ts'
import { CoreError, notFound } from '../../core/errors.ts'
import type { GroupId, UserId } from '../../core/id.ts'
import type { Writes } from '../../core/writes.ts'
import { callerOf } from '../../http/auth.ts'
import type { ApiParts } from '../../http/parts.ts'
import type { Scope } from '../../http/scope.ts'
import { type GroupWish, groupWish, userInfo } from './map.ts'
import { failures, NoBody, UserInfo, UserInfoList, UserPost, UserPut } from './wire.ts'

const params = Type.Object({ userId: Type.String({ minLength: 1 }) })

/** Users with their memberships. An S7 `userId` is our username. */
export function userRoutes(app: Scope, { core }: Pick<ApiParts, 'core'>): void {
  app.get(
    '/admin/users',
    { config: { weight: 'heavy' }, schema: { response: { 200: UserInfoList, ...failures } } },
    async (request) => {
      const all = await core.read.everyUser(callerOf(request))
      return { users: all.map(({ user, memberships }) => userInfo(user, memberships)) }
    },
  )

  app.post(
    '/admin/users',
    { schema: { body: UserPost, response: { 200: UserInfo, ...failures } } },
    async (request) => {
      const caller = callerOf(request)
      const { userId: username, globalRole = 'USER', groups = [] } = request.body
      return core.write(async (w) => {
        const user = await w.createUser({ caller, wish: { username, globalRole } })
        await join(w, { caller, userId: user.id, wishes: groups.map(groupWish) })
        return userInfo(user, await w.membershipsOfUser(user.id))
      })
    },
  )

  app.get(
    '/admin/users/:userId',
    { schema: { params, response: { 200: UserInfo, ...failures } } },
    async (request) => {
      const caller = callerOf(request)
      const user = await core.read.userByName(caller, request.params.userId)
      return userInfo(user, await core.read.membershipsOfUser(caller, user.id))
    },
  )

  app.put(
    '/admin/users/:userId',
    { schema: { params, body: UserPut, response: { 200: UserInfo, ...failures } } },
    async (request) => {
      const caller = callerOf(request)
      const { userId, globalRole, groups } = request.body
      if (userId !== undefined && userId !== request.params.userId) throw otherUser()
      return core.write(async (w) => {
        const { id } = await userNamed(w, request.params.userId)
        const edit = globalRole === undefined ? {} : { globalRole }
        const user = await w.updateUser({ caller, id, edit })
        if (groups !== undefined) {
          const stays = await join(w, { caller, userId: id, wishes: groups.map(groupWish) })
          await leaveOthers(w, { caller, userId: id, stays })
        }
        return userInfo(user, await w.membershipsOfUser(id))
      })
    },
  )

  app.delete(
    '/admin/users/:userId',
    { schema: { params, response: { 200: NoBody, ...failures } } },
    async (request, reply) => {
      const caller = callerOf(request)
      await core.write(async (w) => {
        const { id } = await userNamed(w, request.params.userId)
        await w.deleteUser({ caller, id })
      })
      return reply.code(200).send(undefined)
    },
  )
}

function otherUser(): CoreError {
  return new CoreError('invalid_input', 'The userId in the body is not the one in the path.')
}

async function userNamed(w: Writes, name: string): Promise<{ id: UserId }> {
  const user = await w.userByName(name)
  if (user === undefined) throw notFound('user')
  return user
}

/** Puts a user into groups; those that do not exist are made. Returns the groups. */
async function join(
  w: Writes,
  { caller, userId, wishes }: { caller: Caller; userId: UserId; wishes: GroupWish[] },
): Promise<Set<GroupId>> {
  const joined = new Set<GroupId>()
  for (const { name, description, mode } of wishes) {
    const wish = { name, ...(description === undefined ? {} : { description }) }
    const group = (await w.groupByName(name)) ?? (await w.createGroup({ caller, wish }))
    if (joined.has(group.id)) {
      throw new CoreError('invalid_input', `The group "${name}" is listed twice.`)
    }
    joined.add(group.id)
    await w.setMembership({ caller, wish: { groupId: group.id, userId, mode } })
  }
  return joined
}

async function leaveOthers(
  w: Writes,
  { caller, userId, stays }: { caller: Caller; userId: UserId; stays: ReadonlySet<GroupId> },
): Promise<void> {
  for (const { groupId } of await w.membershipsOfUser(userId)) {
    if (!stays.has(groupId)) await w.removeMembership({ caller, groupId, userId })
  }
}
