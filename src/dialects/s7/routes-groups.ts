import { Type } from 'typebox'
import { CoreError, notFound } from '../../core/errors.ts'
import type { GroupId } from '../../core/id.ts'
import type { Writes } from '../../core/writes.ts'
import { callerOf } from '../../http/auth.ts'
import type { ApiParts } from '../../http/parts.ts'
import type { Scope } from '../../http/scope.ts'
import { groupFull, memberWish } from './map.ts'
import { failures, GroupFull, GroupList, GroupPost, GroupPut, NoBody } from './wire.ts'

const params = Type.Object({ groupId: Type.String({ minLength: 1 }) })

/** Groups with their members. An S7 `groupId` is our group's name. */
export function groupRoutes(app: Scope, { core }: Pick<ApiParts, 'core'>): void {
  app.get(
    '/admin/groups',
    { config: { weight: 'heavy' }, schema: { response: { 200: GroupList, ...failures } } },
    async (request) => {
      const all = await core.read.everyGroup(callerOf(request))
      return { groups: all.map(({ group, members }) => groupFull(group, members)) }
    },
  )

  app.post(
    '/admin/groups',
    { schema: { body: GroupPost, response: { 200: GroupFull, ...failures } } },
    async (request) => {
      const caller = callerOf(request)
      const { groupId: name, description = '' } = request.body
      const group = await core.write((w) => w.createGroup({ caller, wish: { name, description } }))
      return groupFull(group, [])
    },
  )

  app.get(
    '/admin/groups/:groupId',
    { schema: { params, response: { 200: GroupFull, ...failures } } },
    async (request) => {
      const caller = callerOf(request)
      const group = await core.read.groupByName(caller, request.params.groupId)
      return groupFull(group, await core.read.members(caller, group.id))
    },
  )

  // Members that are not listed stay: the reference only ever adds and re-ranks.
  app.put(
    '/admin/groups/:groupId',
    { schema: { params, body: GroupPut, response: { 200: GroupFull, ...failures } } },
    async (request) => {
      const caller = callerOf(request)
      const { groupId: name, description, users = [] } = request.body
      if (name !== request.params.groupId) throw otherGroup()
      return core.write(async (w) => {
        const { id: groupId } = await groupNamed(w, name)
        const edit = description === undefined ? {} : { description }
        const group = await w.updateGroup({ caller, id: groupId, edit })
        for (const { username, mode } of users.map(memberWish)) {
          const user = await w.userByName(username)
          if (user === undefined) throw notFound('user')
          await w.setMembership({ caller, wish: { groupId, userId: user.id, mode } })
        }
        return groupFull(group, await w.membersOfGroup(groupId))
      })
    },
  )

  app.delete(
    '/admin/groups/:groupId',
    { schema: { params, response: { 200: NoBody, ...failures } } },
    async (request, reply) => {
      const caller = callerOf(request)
      await core.write(async (w) => {
        const { id } = await groupNamed(w, request.params.groupId)
        await w.deleteGroup({ caller, id })
      })
      return reply.code(200).send(undefined)
    },
  )
}

function otherGroup(): CoreError {
  return new CoreError('invalid_input', 'The groupId in the body is not the one in the path.')
}

async function groupNamed(w: Writes, name: string): Promise<{ id: GroupId }> {
  const group = await w.groupByName(name)
  if (group === undefined) throw notFound('group')
  return group
}
