import { Type } from 'typebox'
import type { Grant } from '../../core/grants/grant.ts'
import type { GrantQuery } from '../../core/grants/manage.ts'
import type { ClientId, GrantId, UserId } from '../../core/id.ts'
import { acknowledgementOf } from '../acknowledge.ts'
import { callerOf } from '../auth.ts'
import { Nullable } from '../nullable.ts'
import type { ApiParts } from '../parts.ts'
import type { Scope } from '../scope.ts'
import { blastRadiusOut, DryRunQuery, isDryRun } from './blast-radius.ts'
import { cursorsFor, instant, instantOrNull, pageOut, pageWish } from './format.ts'
import { Id, Instant, PageQuery, pageOf, problems } from './schemas.ts'
import { RevocationOrRadius } from './tokens.ts'

const tags = ['grants']

export const OAuthGrant = Type.Object({
  id: Id,
  user: Type.Object({ id: Id, username: Nullable(Type.String()) }),
  client: Type.Object({
    id: Id,
    clientId: Nullable(Type.String()),
    name: Nullable(Type.String()),
  }),
  sessionId: Nullable({ ...Id, description: 'The login during which it was given' }),
  scopes: Type.Array(Type.String()),
  resources: Type.Array(Type.String()),
  createdAt: Instant,
  updatedAt: Instant,
  expiresAt: Instant,
  revokedAt: Nullable(Instant),
})

/** What users let OAuth clients do. */
export function grantRoutes(app: Scope, { core, config }: ApiParts): void {
  const list = core.cursors('grants')

  /** Looks up what is called by name in a page of grants, and shows them. */
  async function shown(grants: readonly Grant[]) {
    const [users, clients] = await Promise.all([
      core.usernames(grants.map(({ userId }) => userId)),
      core.clientLabels(grants.map(({ clientId }) => clientId)),
    ])
    return ({ userId, clientId, ...grant }: Grant) => ({
      id: grant.id,
      user: { id: userId, username: users.get(userId) ?? null },
      client: {
        id: clientId,
        clientId: clients.get(clientId)?.clientId ?? null,
        name: clients.get(clientId)?.name ?? null,
      },
      sessionId: grant.sessionId ?? null,
      scopes: [...grant.scopes],
      resources: [...grant.resources],
      createdAt: instant(grant.createdAtMs),
      updatedAt: instant(grant.updatedAtMs),
      expiresAt: instant(grant.expiresAtMs),
      revokedAt: instantOrNull(grant.revokedAtMs),
    })
  }

  app.get(
    '/grants',
    {
      schema: {
        tags,
        summary: 'List what users let OAuth clients do; admins see all, others their own',
        querystring: Type.Object(
          {
            ...PageQuery,
            userId: Type.Optional(Id),
            clientId: Type.Optional({ ...Id, description: "The client's id, not its client id" }),
            all: Type.Optional(
              Type.Enum(['true', 'false'], {
                description: 'Also those that were withdrawn or are over',
              }),
            ),
          },
          { additionalProperties: false },
        ),
        response: { 200: pageOf(OAuthGrant), ...problems },
      },
    },
    async (request) => {
      const { userId, clientId, all } = request.query
      const filter: GrantQuery = {
        ...(userId === undefined ? {} : { userId: userId as UserId }),
        ...(clientId === undefined ? {} : { clientId: clientId as ClientId }),
        ended: all === 'true',
      }
      const page = await core.read.grants(callerOf(request), {
        filter,
        ...pageWish(request.query, cursorsFor(list, request)),
      })
      return pageOut(page, cursorsFor(list, request), await shown(page.items))
    },
  )

  app.delete(
    '/grants/:id',
    {
      schema: {
        tags,
        summary: 'Withdraw a grant; all tokens that came of it are dead when this answers',
        params: Type.Object({ id: Id }),
        querystring: DryRunQuery,
        response: { 200: RevocationOrRadius, ...problems },
      },
    },
    async (request) => {
      const caller = callerOf(request)
      const id = request.params.id as GrantId
      if (isDryRun(request.query)) {
        return blastRadiusOut(core, await core.rehearse.withdrawGrant(caller, id))
      }
      const { revoked } = await core.write((w) =>
        w.withdrawGrant({ caller, id, reason: 'grant withdrawn' }),
      )
      return { revoked, ...(await acknowledgementOf(request, { core, config })) }
    },
  )
}
