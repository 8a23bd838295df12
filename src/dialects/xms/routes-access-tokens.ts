import { mustBeAllowed } from '../../core/access.ts'
import { notFound } from '../../core/errors.ts'
import { callerOf } from '../../http/auth.ts'
import type { ApiParts } from '../../http/parts.ts'
import type { Scope } from '../../http/scope.ts'
import {
  accessToken,
  listedOwner,
  mustBeKnownRoles,
  show,
  showAll,
  showIssued,
} from './access-tokens.ts'
import { SHOWN_KIND, SHOWN_STATES, spanOf } from './map.ts'
import { validateRoute } from './validate.ts'
import {
  AccessTokenCreateReq,
  AccessTokenCreateResp,
  AccessTokenId,
  AccessTokenResp,
  AccessTokensResp,
  AccessTokenUpdateReq,
  failures,
  ListQuery,
  NoContent,
  NoQuery,
} from './wire.ts'

/** The collection ends in a slash; the original redirects those who forget it, we just answer. */
const COLLECTION = ['/access-tokens/', '/access-tokens']

/** The seven access-token operations. A colon of the path is written twice. */
export function accessTokenRoutes(app: Scope, parts: ApiParts): void {
  for (const url of COLLECTION) {
    listRoute(app, url, parts)
    createRoute(app, url, parts)
  }
  tokenRoutes(app, parts)
  regenerateRoute(app, parts)
  validateRoute(app, parts)
}

function listRoute(app: Scope, url: string, { core }: ApiParts): void {
  app.get(
    url,
    { schema: { querystring: ListQuery, response: { 200: AccessTokensResp, ...failures } } },
    async (request, reply) => {
      const caller = callerOf(request)
      const span = spanOf(request.query)
      const owner = await listedOwner(core, caller, request.query)
      const { role } = request.query
      if (owner === 'nobody') {
        reply.header('x-total-count', '0')
        return { access_tokens: [] }
      }
      const { items, total } = await core.read.tokensBySerial(caller, {
        filter: {
          kinds: [SHOWN_KIND],
          states: SHOWN_STATES,
          ...(owner === 'everybody' ? {} : owner),
          ...(role === undefined ? {} : { role }),
        },
        span,
      })
      // In a header, because newer Go clients refuse any member beside the list.
      reply.header('x-total-count', String(total))
      return { access_tokens: await showAll(core, items) }
    },
  )
}

function createRoute(app: Scope, url: string, { core }: ApiParts): void {
  app.post(
    url,
    {
      schema: {
        querystring: NoQuery,
        body: AccessTokenCreateReq,
        response: { 201: AccessTokenCreateResp, ...failures },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      const { name, roles, description = '' } = request.body.access_token
      const what = { ownerId: caller.principal.user.id, kind: SHOWN_KIND } as const
      mustBeAllowed(caller.principal, 'token.create', { what, policy: core.policy() })
      await mustBeKnownRoles(core, caller, roles)
      const issued = await core.write((w) =>
        w.issueToken({
          caller,
          via: 'xms',
          wish: {
            kind: SHOWN_KIND,
            name,
            description,
            limits: {
              accessLevel: 'FULL_ACCESS',
              roles,
              groups: null,
              scopes: [],
              allowedIps: null,
            },
            expires: 'never',
            format: 'hex',
          },
        }),
      )
      return reply.code(201).send(await showIssued(core, issued))
    },
  )
}

function tokenRoutes(app: Scope, { core }: ApiParts): void {
  const url = '/access-tokens/:id(^\\d+)'
  const schema = { params: AccessTokenId, querystring: NoQuery }
  const response = { 200: AccessTokenResp, ...failures }

  app.get(url, { schema: { ...schema, response } }, async (request) => {
    const token = await accessToken(core, callerOf(request), request.params.id)
    return { access_token: await show(core, token) }
  })

  app.patch(
    url,
    { schema: { ...schema, body: AccessTokenUpdateReq, response } },
    async (request) => {
      const caller = callerOf(request)
      const { id } = await accessToken(core, caller, request.params.id)
      const edit = { name: request.body.access_token.name }
      const token = await core.write((w) => w.updateToken({ caller, id, edit }))
      return { access_token: await show(core, token) }
    },
  )

  app.delete(
    url,
    { schema: { ...schema, response: { 204: NoContent, ...failures } } },
    async (request, reply) => {
      const caller = callerOf(request)
      const { id } = await accessToken(core, caller, request.params.id)
      const reason = 'deleted through XMS'
      const { revoked } = await core.write((w) => w.revokeToken({ caller, id, reason }))
      // Somebody else deleted it between our look and our write.
      if (!revoked.includes(id)) throw notFound('token')
      return reply.code(204).send(null)
    },
  )
}

function regenerateRoute(app: Scope, { core }: ApiParts): void {
  app.post(
    '/access-tokens/:id(^\\d+)::regenerate',
    {
      schema: {
        params: AccessTokenId,
        querystring: NoQuery,
        response: { 200: AccessTokenCreateResp, ...failures },
      },
    },
    async (request) => {
      const caller = callerOf(request)
      const { id } = await accessToken(core, caller, request.params.id)
      const issued = await core.write((w) =>
        w.rotateToken({ caller, wish: { id, overlapSeconds: 0 }, via: 'xms' }),
      )
      return showIssued(core, issued)
    },
  )
}
