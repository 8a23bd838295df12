import type { FastifyRequest } from 'fastify'
import { type Static, Type } from 'typebox'
import type { Caller } from '../../core/caller.ts'
import { CoreError } from '../../core/errors.ts'
import type { Mode as CoreMode } from '../../core/groups/group.ts'
import { type GroupId, isId, type TokenId, type UserId } from '../../core/id.ts'
import type { Issued, TokenWish } from '../../core/tokens/issue.ts'
import type { GroupLimit } from '../../core/tokens/token.ts'
import type { Writes } from '../../core/writes.ts'
import { acknowledgementOf } from '../acknowledge.ts'
import { callerOf } from '../auth.ts'
import { Nullable } from '../nullable.ts'
import type { ApiParts } from '../parts.ts'
import type { Scope } from '../scope.ts'
import { BlastRadius, blastRadiusOut, DryRunQuery, isDryRun } from './blast-radius.ts'
import { cursorsFor, namesFor, pageOut, pageWish, parseInstant, tokenOut } from './format.ts'
import { InventoryQuery, inventoryWish } from './inventory.ts'
import { doOnce, onceHeaders } from './once.ts'
import { OverlapSeconds } from './rotation.ts'
import {
  AccessLevel,
  Id,
  Instant,
  IssuedToken,
  JsonObject,
  Mode,
  PageQuery,
  pageOf,
  problems,
  Token,
} from './schemas.ts'

const tags = ['tokens']
const params = Type.Object({ id: Id })
const Name = Type.String({ maxLength: 255 })
const Description = Type.String({ maxLength: 2000 })
const Expiry = Nullable(Instant)

export const NewToken = Type.Object(
  {
    ownerId: Type.Optional(Id),
    kind: Type.Optional(Type.Enum(['api', 'service'])),
    name: Name,
    description: Type.Optional(Description),
    accessLevel: Type.Optional(AccessLevel),
    roles: Type.Optional(Nullable(Type.Array(Type.String({ maxLength: 63 }), { maxItems: 200 }))),
    groups: Type.Optional(
      Nullable(
        Type.Array(
          Type.Object(
            { group: Type.String({ maxLength: 150, description: 'Name or id' }), mode: Mode },
            { additionalProperties: false },
          ),
          { maxItems: 200 },
        ),
      ),
    ),
    scopes: Type.Optional(
      Nullable(Type.Array(Type.String({ maxLength: 128 }), { maxItems: 1000 })),
    ),
    allowedIps: Type.Optional(Nullable(Type.Array(Type.String(), { maxItems: 100 }))),
    expiresAt: Type.Optional(Expiry),
    metadata: Type.Optional(JsonObject),
  },
  {
    additionalProperties: false,
    description:
      'What is left out is narrow: READ_ONLY, no roles, no groups, no scopes. `null` for roles, groups or scopes means "all that the owner has, now and later"; for expiresAt "never", if the policy allows.',
  },
)

export const Revocation = Type.Object({
  revoked: Type.Array(Id, { description: 'The token, its family and what was derived from it' }),
  acknowledged: Type.Integer({ description: 'Nodes that say yes no more' }),
  nodes: Type.Integer({
    description:
      'Nodes that may answer. With fewer acknowledged, the others say no as soon as they hear of it, and stop answering when their lease ends before that.',
  }),
})
export const RevocationOrRadius = Type.Union([Revocation, BlastRadius])
export const Quarantine = Type.Object({
  tokens: Type.Array(Id, { description: 'The token and what was derived from it' }),
})
const Reason = Type.Optional(
  Nullable(
    Type.Object(
      { reason: Type.Optional(Type.String({ maxLength: 500 })) },
      { additionalProperties: false },
    ),
  ),
)

function expiresOf(expiresAt: string | null | undefined): TokenWish['expires'] {
  if (expiresAt === undefined) return 'default'
  return expiresAt === null ? 'never' : parseInstant(expiresAt)
}

/** Group limits with ids for names. Throws `invalid_input` for a name that `byName` does not know. */
export async function groupLimits(
  byName: (name: string) => Promise<{ id: GroupId } | undefined>,
  groups: readonly { group: string; mode: CoreMode }[] | null | undefined,
): Promise<readonly GroupLimit[] | null> {
  if (groups === null) return null
  const limits: GroupLimit[] = []
  for (const { group, mode } of groups ?? []) {
    const id = isId(group) ? (group as GroupId) : (await byName(group))?.id
    if (id === undefined) throw new CoreError('invalid_input', `There is no group "${group}".`)
    limits.push({ id, mode })
  }
  return limits
}

async function wishOf(
  w: Writes,
  caller: Caller,
  body: Static<typeof NewToken>,
): Promise<TokenWish> {
  return {
    kind: body.kind ?? 'api',
    name: body.name,
    limits: {
      accessLevel: body.accessLevel ?? 'READ_ONLY',
      roles: body.roles === undefined ? [] : body.roles,
      groups: await groupLimits((name) => w.findGroup({ caller, name }), body.groups),
      scopes: body.scopes === undefined ? [] : body.scopes,
      allowedIps: body.allowedIps ?? null,
    },
    expires: expiresOf(body.expiresAt),
    ...(body.ownerId === undefined ? {} : { ownerId: body.ownerId as UserId }),
    ...(body.description === undefined ? {} : { description: body.description }),
    ...(body.metadata === undefined ? {} : { metadata: body.metadata }),
  }
}

type QuarantineWish = Parameters<Writes['quarantineToken']>[0]

/** Into quarantine, and out of it again. */
const QUARANTINES = {
  quarantine: {
    summary: 'Refuse a token and what is derived from it until it is released',
    change: (w: Writes, wish: QuarantineWish) => w.quarantineToken(wish),
  },
  release: {
    summary: 'Release a token from quarantine, with what was quarantined with it',
    change: (w: Writes, wish: QuarantineWish) => w.releaseToken(wish),
  },
}

export function tokenRoutes(app: Scope, { core, config }: ApiParts): void {
  const acknowledgement = (request: FastifyRequest) => acknowledgementOf(request, { core, config })
  const list = core.cursors('tokens')
  /** Runs once per Idempotency-Key; the names are looked up afterwards, outside the transaction. */
  async function issueOnce(
    exchange: Parameters<typeof doOnce>[1],
    work: (w: Writes) => Promise<Issued>,
  ) {
    const { token, secret } = await doOnce(core, exchange, async (w) => {
      const issued = await work(w)
      return { token: issued.token, secret: issued.secret.reveal() }
    })
    const names = await namesFor(core, [token], callerOf(exchange.request).principal.user)
    return { ...tokenOut(token, names), secret }
  }

  app.get(
    '/tokens',
    {
      schema: {
        tags,
        summary: 'List tokens, newest first unless q says else; admins see all, others their own',
        querystring: Type.Object(
          { ...PageQuery, ...InventoryQuery },
          { additionalProperties: false },
        ),
        response: { 200: pageOf(Token), ...problems },
      },
    },
    async (request) => {
      const caller = callerOf(request)
      const wish = await inventoryWish(core, caller, request.query)
      const cursors = cursorsFor(list, request)
      const page = await core.read.inventory(caller, {
        ...wish,
        ...pageWish(request.query, cursors),
      })
      const names = await namesFor(core, page.items)
      return pageOut(page, cursors, (token) => tokenOut(token, names))
    },
  )

  app.post(
    '/tokens',
    {
      schema: {
        tags,
        summary: 'Create a token; its secret is shown this once',
        headers: onceHeaders,
        body: NewToken,
        response: { 201: IssuedToken, ...problems },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      const asked = ['create', request.body]
      const body = await issueOnce({ request, reply, asked }, async (w) =>
        w.issueToken({ caller, wish: await wishOf(w, caller, request.body), via: 'api' }),
      )
      return reply.code(201).header('location', `/api/v1/tokens/${body.id}`).send(body)
    },
  )

  app.get(
    '/tokens/:id',
    { schema: { tags, summary: 'One token', params, response: { 200: Token, ...problems } } },
    async (request) => {
      const token = await core.read.token(callerOf(request), request.params.id as TokenId)
      return tokenOut(token, await namesFor(core, [token]))
    },
  )

  app.patch(
    '/tokens/:id',
    {
      schema: {
        tags,
        summary: 'Change name, description or metadata; rights are fixed',
        params,
        body: Type.Object(
          {
            name: Type.Optional(Name),
            description: Type.Optional(Description),
            metadata: Type.Optional(JsonObject),
          },
          { additionalProperties: false },
        ),
        response: { 200: Token, ...problems },
      },
    },
    async (request) => {
      const caller = callerOf(request)
      const id = request.params.id as TokenId
      const token = await core.write((w) => w.updateToken({ caller, id, edit: request.body }))
      return tokenOut(token, await namesFor(core, [token]))
    },
  )

  app.post(
    '/tokens/:id/rotate',
    {
      schema: {
        tags,
        summary:
          'Replace a token by a successor with the same rights; the old secret goes on until the overlap ends',
        params,
        headers: onceHeaders,
        body: Type.Optional(
          Nullable(
            Type.Object(
              { expiresAt: Type.Optional(Expiry), overlapSeconds: Type.Optional(OverlapSeconds) },
              { additionalProperties: false },
            ),
          ),
        ),
        response: { 200: IssuedToken, ...problems },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      const id = request.params.id as TokenId
      const { expiresAt, overlapSeconds } = request.body ?? {}
      const wish = {
        id,
        ...(expiresAt === undefined ? {} : { expires: expiresOf(expiresAt) }),
        ...(overlapSeconds === undefined ? {} : { overlapSeconds }),
      }
      const asked = ['rotate', wish]
      const body = await issueOnce({ request, reply, asked }, (w) =>
        w.rotateToken({ caller, wish, via: 'api' }),
      )
      return reply.send(body)
    },
  )

  app.post(
    '/tokens/:id/revoke',
    {
      config: { weight: 'vital' },
      schema: {
        tags,
        summary: 'Revoke a token; it is dead when this answers',
        params,
        querystring: DryRunQuery,
        body: Reason,
        response: { 200: RevocationOrRadius, ...problems },
      },
    },
    async (request) => {
      const caller = callerOf(request)
      const id = request.params.id as TokenId
      const reason = request.body?.reason ?? ''
      if (isDryRun(request.query)) {
        return blastRadiusOut(core, await core.rehearse.revokeToken(caller, id))
      }
      const { revoked } = await core.write((w) => w.revokeToken({ caller, id, reason }))
      return { revoked, ...(await acknowledgement(request)) }
    },
  )

  for (const [action, { summary, change }] of Object.entries(QUARANTINES)) {
    app.post(
      `/tokens/:id/${action}`,
      {
        config: { weight: action === 'quarantine' ? 'vital' : 'write' },
        schema: { tags, summary, params, body: Reason, response: { 200: Quarantine, ...problems } },
      },
      async (request) => {
        const caller = callerOf(request)
        const id = request.params.id as TokenId
        const reason = request.body?.reason ?? ''
        return core.write((w) => change(w, { caller, id, reason }))
      },
    )
  }

  app.delete(
    '/tokens/:id',
    {
      schema: {
        tags,
        summary: 'The same as revoke, without a reason',
        params,
        querystring: DryRunQuery,
        response: { 200: RevocationOrRadius, ...problems },
      },
    },
    async (request) => {
      const caller = callerOf(request)
      const id = request.params.id as TokenId
      if (isDryRun(request.query)) {
        return blastRadiusOut(core, await core.rehearse.revokeToken(caller, id))
      }
      const { revoked } = await core.write((w) => w.revokeToken({ caller, id, reason: '' }))
      return { revoked, ...(await acknowledgement(request)) }
    },
  )

  app.get(
    '/tokens/self',
    {
      schema: {
        tags,
        summary: 'The token this request is made with',
        response: { 200: Token, ...problems },
      },
    },
    async (request) => {
      // Not the principal's, which is as the policy lets it be.
      const caller = callerOf(request)
      const token = await core.read.token(caller, caller.principal.token.id)
      return tokenOut(token, await namesFor(core, [token]))
    },
  )

  app.post(
    '/tokens/self/revoke',
    {
      config: { weight: 'vital' },
      schema: {
        tags,
        summary: 'Revoke the token this request is made with; every holder may',
        querystring: DryRunQuery,
        body: Reason,
        response: { 200: RevocationOrRadius, ...problems },
      },
    },
    async (request) => {
      const caller = callerOf(request)
      const reason = request.body?.reason ?? 'revoked by its holder'
      if (isDryRun(request.query)) {
        return blastRadiusOut(core, await core.rehearse.revokeSelf(caller))
      }
      const { revoked } = await core.write((w) => w.revokeSelf({ caller, reason }))
      return { revoked, ...(await acknowledgement(request)) }
    },
  )
}
