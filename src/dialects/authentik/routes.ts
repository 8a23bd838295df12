import type { TSchema } from 'typebox'
import type { Caller } from '../../core/caller.ts'
import type { Core } from '../../core/core.ts'
import { CoreError } from '../../core/errors.ts'
import type { ClientToken } from '../../core/tokens/oauth-read.ts'
import { callerOf } from '../../http/auth.ts'
import type { ApiParts } from '../../http/parts.ts'
import type { Scope } from '../../http/scope.ts'
import { noMatch } from './errors.ts'
import { AUTHORIZATION_CODES, FAMILIES, type Family } from './families.ts'
import { filterOf } from './filter.ts'
import { grantOut, lastOf, orderOf, paginationOut, serialOf, sheetOf, tokenOut } from './map.ts'
import {
  ExpiringBaseGrantModel,
  failures,
  IdPath,
  ListQuery,
  NoContent,
  NoQuery,
  paginated,
  TokenModel,
  UsedByList,
  ValidationError,
} from './wire.ts'

interface FamilyRoutes<Shown> {
  family: Family
  model: TSchema
  out: (shown: ClientToken, nowMs: number) => Shown
}

/** Twelve operations: four on each family. Every path ends in a slash. */
export function grantRoutes(app: Scope, parts: ApiParts): void {
  for (const family of FAMILIES) {
    const isCode = family === AUTHORIZATION_CODES
    const routes = isCode
      ? { family, model: ExpiringBaseGrantModel, out: grantOut }
      : { family, model: TokenModel, out: tokenOut }
    listRoute(app, parts, routes)
    retrieveRoute(app, parts, routes)
    destroyRoute(app, parts, family)
    usedByRoute(app, parts, family)
  }
}

function listRoute<Shown>(
  app: Scope,
  { core }: ApiParts,
  { family, model, out }: FamilyRoutes<Shown>,
): void {
  const response = { 200: paginated(model), 400: ValidationError, ...failures }
  app.get(
    `/oauth2/${family.path}/`,
    { schema: { querystring: ListQuery, response } },
    async (request, reply) => {
      const caller = callerOf(request)
      const { query } = request
      const wanted = await filterOf(core, caller, { family, query })
      if ('refused' in wanted) return reply.code(400).send(wanted.refused)
      if (wanted.filter === undefined) {
        return { pagination: paginationOut(sheetOf(query, 0)), results: [] }
      }
      const { items, total } = await core.read.clientTokens(caller, {
        filter: wanted.filter,
        order: orderOf(family, lastOf(query.ordering)),
        spanOf(count) {
          const { number, size } = sheetOf(query, count)
          return { offset: (number - 1) * size, limit: size }
        },
      })
      const nowMs = core.clock.now()
      return {
        pagination: paginationOut(sheetOf(query, total)),
        results: items.map((item) => out(item, nowMs)),
      }
    },
  )
}

function retrieveRoute<Shown>(
  app: Scope,
  { core }: ApiParts,
  { family, model, out }: FamilyRoutes<Shown>,
): void {
  app.get(
    `/oauth2/${family.path}/:id/`,
    { schema: { params: IdPath, querystring: NoQuery, response: { 200: model, ...failures } } },
    async (request) => {
      const shown = await find(core, callerOf(request), { family, id: request.params.id })
      return out(shown, core.clock.now())
    },
  )
}

function destroyRoute(app: Scope, { core }: ApiParts, family: Family): void {
  app.delete(
    `/oauth2/${family.path}/:id/`,
    { schema: { params: IdPath, querystring: NoQuery, response: { 204: NoContent, ...failures } } },
    async (request, reply) => {
      const caller = callerOf(request)
      const { token } = await find(core, caller, { family, id: request.params.id })
      const { id } = token
      const reason = 'deleted through authentik'
      const { revoked } = await core.write((w) => w.revokeToken({ caller, id, reason }))
      // Somebody else deleted it between our look and our write.
      if (!revoked.includes(id)) throw new CoreError('not_found', noMatch(family.model))
      return reply.code(204).send(null)
    },
  )
}

function usedByRoute(app: Scope, { core }: ApiParts, family: Family): void {
  app.get(
    `/oauth2/${family.path}/:id/used_by/`,
    {
      schema: { params: IdPath, querystring: NoQuery, response: { 200: UsedByList, ...failures } },
    },
    async (request) => {
      await find(core, callerOf(request), { family, id: request.params.id })
      // Nothing in the original refers to a grant.
      return []
    },
  )
}

/** Throws `not_found`, also for what this caller may not see. */
async function find(
  core: Core,
  caller: Caller,
  { family, id }: { family: Family; id: string },
): Promise<ClientToken> {
  const { filter, model } = family
  const serial = serialOf(id)
  const found =
    serial === undefined ? undefined : await core.read.clientToken(caller, { filter, serial })
  if (found === undefined) throw new CoreError('not_found', noMatch(model))
  return found
}
