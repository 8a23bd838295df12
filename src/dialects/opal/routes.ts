import { mustBeAllowed } from '../../core/access.ts'
import { notFound } from '../../core/errors.ts'
import type { TokenId } from '../../core/id.ts'
import { stateOf } from '../../core/tokens/token.ts'
import { callerOf } from '../../http/auth.ts'
import type { ApiParts } from '../../http/parts.ts'
import type { Scope } from '../../http/scope.ts'
import { filterOf, idOf, pageOut, pageSizeOf, positionOf, SHOWN_KIND, SHOWN_STATES } from './map.ts'
import { Empty, failures, ListQuery, NoQuery, PaginatedTokensList, TokenPath } from './wire.ts'

/** The two operations on first-party API tokens: there is deliberately no call that creates one. */
export function tokenRoutes(app: Scope, { core }: ApiParts): void {
  const cursors = core.cursors('opal')

  app.get(
    '/tokens',
    { schema: { querystring: ListQuery, response: { 200: PaginatedTokensList, ...failures } } },
    async (request) => {
      const caller = callerOf(request)
      // Administrators only, even for one's own tokens.
      const everything = { what: undefined, policy: core.policy() }
      mustBeAllowed(caller.principal, 'administration.read', everything)
      const page = await core.read.tokens(caller, {
        filter: filterOf(request.query),
        from: positionOf(request.query, cursors),
        size: pageSizeOf(request.query),
      })
      return pageOut(page, cursors)
    },
  )

  app.delete(
    '/tokens/:token_id',
    { schema: { params: TokenPath, querystring: NoQuery, response: { 200: Empty, ...failures } } },
    async (request, reply) => {
      const caller = callerOf(request)
      const id = idOf<TokenId>(request.params.token_id, 'token_id')
      const token = await core.read.token(caller, id)
      const isShown =
        token.kind === SHOWN_KIND && SHOWN_STATES.includes(stateOf(token, core.clock.now()))
      if (!isShown) throw notFound('token')
      const reason = 'deleted through Opal'
      const { revoked } = await core.write((w) => w.revokeToken({ caller, id, reason }))
      // Somebody else deleted it between our look and our write.
      if (!revoked.includes(id)) throw notFound('token')
      return reply.code(200).send()
    },
  )
}
