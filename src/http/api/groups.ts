import { Type } from 'typebox'
import type { GroupId, UserId } from '../../core/id.ts'
import { callerOf } from '../auth.ts'
import type { ApiParts } from '../parts.ts'
import type { Scope } from '../scope.ts'
import { BlastRadius, blastRadiusOut, DryRunQuery, isDryRun } from './blast-radius.ts'
import { cursorsFor, groupOut, pageOut, pageWish } from './format.ts'
import { Group, Id, Member, Mode, NoContent, PageQuery, pageOf, problems } from './schemas.ts'

const tags = ['groups']
const params = Type.Object({ id: Id })
const memberParams = Type.Object({ id: Id, userId: Id })
const Description = Type.String({ maxLength: 2000 })

export function groupRoutes(app: Scope, { core }: ApiParts): void {
  const list = core.cursors('groups')

  app.get(
    '/groups',
    {
      schema: {
        tags,
        summary: 'List groups; admins see all, others their own',
        querystring: Type.Object(
          { ...PageQuery, text: Type.Optional(Type.String({ maxLength: 200 })) },
          { additionalProperties: false },
        ),
        response: { 200: pageOf(Group), ...problems },
      },
    },
    async (request) => {
      const { text } = request.query
      const page = await core.read.groups(callerOf(request), {
        filter: text === undefined ? {} : { text },
        ...pageWish(request.query, cursorsFor(list, request)),
      })
      return pageOut(page, cursorsFor(list, request), groupOut)
    },
  )

  app.post(
    '/groups',
    {
      schema: {
        tags,
        summary: 'Create a group',
        body: Type.Object(
          {
            name: Type.String({ maxLength: 150 }),
            description: Type.Optional(Description),
            parentId: Type.Optional(Id),
          },
          { additionalProperties: false },
        ),
        response: { 201: Group, ...problems },
      },
    },
    async (request, reply) => {
      const { parentId, ...rest } = request.body
      const wish = { ...rest, ...(parentId === undefined ? {} : { parentId: parentId as GroupId }) }
      const group = await core.write((w) => w.createGroup({ caller: callerOf(request), wish }))
      return reply.code(201).header('location', `/api/v1/groups/${group.id}`).send(groupOut(group))
    },
  )

  app.get(
    '/groups/:id',
    { schema: { tags, summary: 'One group', params, response: { 200: Group, ...problems } } },
    async (request) =>
      groupOut(await core.read.group(callerOf(request), request.params.id as GroupId)),
  )

  app.patch(
    '/groups/:id',
    {
      schema: {
        tags,
        summary: 'Rename or describe a group',
        params,
        body: Type.Object(
          {
            name: Type.Optional(Type.String({ maxLength: 150 })),
            description: Type.Optional(Description),
          },
          { additionalProperties: false },
        ),
        response: { 200: Group, ...problems },
      },
    },
    async (request) => {
      const id = request.params.id as GroupId
      const caller = callerOf(request)
      return groupOut(await core.write((w) => w.updateGroup({ caller, id, edit: request.body })))
    },
  )

  app.delete(
    '/groups/:id',
    {
      schema: {
        tags,
        summary: 'Delete a group with its memberships',
        params,
        querystring: DryRunQuery,
        response: { 200: BlastRadius, 204: NoContent, ...problems },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      const id = request.params.id as GroupId
      if (isDryRun(request.query)) {
        return blastRadiusOut(core, await core.rehearse.deleteGroup(caller, id))
      }
      await core.write((w) => w.deleteGroup({ caller, id }))
      return reply.code(204).send(null)
    },
  )

  app.get(
    '/groups/:id/members',
    {
      schema: {
        tags,
        summary: 'Members of a group',
        params,
        response: { 200: Type.Object({ items: Type.Array(Member) }), ...problems },
      },
    },
    async (request) => {
      const members = await core.read.members(callerOf(request), request.params.id as GroupId)
      return { items: members.map(({ userId, username, mode }) => ({ userId, username, mode })) }
    },
  )

  app.put(
    '/groups/:id/members/:userId',
    {
      schema: {
        tags,
        summary: 'Add a member or change the mode',
        params: memberParams,
        body: Type.Object({ mode: Mode }, { additionalProperties: false }),
        response: { 204: NoContent, ...problems },
      },
    },
    async (request, reply) => {
      const wish = {
        groupId: request.params.id as GroupId,
        userId: request.params.userId as UserId,
        mode: request.body.mode,
      }
      await core.write((w) => w.setMembership({ caller: callerOf(request), wish }))
      return reply.code(204).send(null)
    },
  )

  app.delete(
    '/groups/:id/members/:userId',
    {
      schema: {
        tags,
        summary: 'Remove a member',
        params: memberParams,
        response: { 204: NoContent, ...problems },
      },
    },
    async (request, reply) => {
      await core.write((w) =>
        w.removeMembership({
          caller: callerOf(request),
          groupId: request.params.id as GroupId,
          userId: request.params.userId as UserId,
        }),
      )
      return reply.code(204).send(null)
    },
  )
}
