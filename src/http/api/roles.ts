import { Type } from 'typebox'
import { callerOf } from '../auth.ts'
import type { ApiParts } from '../parts.ts'
import type { Scope } from '../scope.ts'
import { NoContent, problems, Role } from './schemas.ts'

const tags = ['roles']
const params = Type.Object({ name: Type.String({ maxLength: 63 }) })
const Description = Type.String({ maxLength: 2000 })
const Scopes = Type.Array(Type.String({ maxLength: 128 }), { maxItems: 1000 })

/** Roles bundle scopes: holding a role lets a user's tokens carry it and its scopes. */
export function roleRoutes(app: Scope, { core }: ApiParts): void {
  app.get(
    '/roles',
    {
      schema: {
        tags,
        summary: 'All roles',
        response: { 200: Type.Object({ items: Type.Array(Role) }), ...problems },
      },
    },
    async (request) => ({ items: await core.read.roles(callerOf(request)) }),
  )

  app.post(
    '/roles',
    {
      schema: {
        tags,
        summary: 'Define a role',
        body: Type.Object(
          {
            name: Type.String({ maxLength: 63 }),
            description: Type.Optional(Description),
            scopes: Type.Optional(Scopes),
          },
          { additionalProperties: false },
        ),
        response: { 201: Role, ...problems },
      },
    },
    async (request, reply) => {
      const { name, description = '', scopes = [] } = request.body
      const role = await core.write((w) =>
        w.createRole({ caller: callerOf(request), role: { name, description, scopes } }),
      )
      return reply.code(201).send(role)
    },
  )

  app.patch(
    '/roles/:name',
    {
      schema: {
        tags,
        summary: 'Change a role; scopes taken away are gone from all tokens at once',
        params,
        body: Type.Object(
          { description: Type.Optional(Description), scopes: Type.Optional(Scopes) },
          { additionalProperties: false },
        ),
        response: { 200: Role, ...problems },
      },
    },
    async (request) => {
      const { name } = request.params
      const caller = callerOf(request)
      return core.write((w) => w.updateRole({ caller, name, edit: request.body }))
    },
  )

  app.delete(
    '/roles/:name',
    {
      schema: {
        tags,
        summary: 'Delete a role; everyone loses it',
        params,
        response: { 204: NoContent, ...problems },
      },
    },
    async (request, reply) => {
      const { name } = request.params
      await core.write((w) => w.deleteRole({ caller: callerOf(request), name }))
      return reply.code(204).send(null)
    },
  )
}
