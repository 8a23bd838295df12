import { isIP } from 'node:net'
import type { FastifyReply } from 'fastify'
import { type Static, Type } from 'typebox'
import { can } from '../../core/access.ts'
import { CoreError } from '../../core/errors.ts'
import type { Principal } from '../../core/rights.ts'
import type { TokenKind as TokenKindName } from '../../core/tokens/token.ts'
import type { Demand } from '../../core/tokens/verify.ts'
import { callerOf, verdictOn } from '../auth.ts'
import type { ApiParts } from '../parts.ts'
import type { Scope } from '../scope.ts'
import { instantOrNull } from './format.ts'
import {
  AccessLevel,
  GroupGrant,
  Id,
  Instant,
  JsonObject,
  Mode,
  Nullable,
  problems,
  TokenKind,
} from './schemas.ts'
import { rightsOut } from './session.ts'

export const Question = Type.Object(
  {
    token: Type.String({ minLength: 1, maxLength: 15_000, description: 'The secret to check' }),
    role: Type.Optional(Type.String({ maxLength: 63 })),
    scope: Type.Optional(Type.String({ maxLength: 128 })),
    group: Type.Optional(Type.String({ maxLength: 150, description: 'Name or id' })),
    mode: Type.Optional(Mode),
    ip: Type.Optional(
      Type.String({ maxLength: 64, description: 'Address of the client that presented the token' }),
    ),
    audience: Type.Optional(
      Type.String({
        maxLength: 2000,
        description: 'The resource that you are; a token for a resource is good there alone',
      }),
    ),
    boundKey: Type.Optional(
      Type.String({
        maxLength: 64,
        description: 'Thumbprint of the key whose DPoP proof you have checked (RFC 9449)',
      }),
    ),
  },
  { additionalProperties: false },
)

/** One flat shape for both answers keeps the serializer a single compiled function. */
export const Answer = Type.Object({
  active: Type.Boolean(),
  reason: Type.Optional(
    Type.String({ description: 'Why not; only for admins, the owner and holders of `verifier`' }),
  ),
  tokenId: Type.Optional(Id),
  kind: Type.Optional(TokenKind),
  name: Type.Optional(Nullable(Type.String())),
  owner: Type.Optional(Type.Object({ id: Id, username: Type.String() })),
  accessLevel: Type.Optional(AccessLevel),
  admin: Type.Optional(Type.Boolean()),
  roles: Type.Optional(Type.Array(Type.String())),
  groups: Type.Optional(Type.Array(GroupGrant)),
  scopes: Type.Optional(Nullable(Type.Array(Type.String()))),
  expiresAt: Type.Optional(Nullable(Instant)),
  metadata: Type.Optional(JsonObject),
  audience: Type.Optional(Nullable(Type.String())),
})

/** What is said of a live token. */
function activeAnswer(principal: Principal) {
  const { token, user } = principal
  return {
    active: true,
    tokenId: token.id,
    kind: token.kind,
    name: token.name ?? null,
    owner: { id: user.id, username: user.username },
    ...rightsOut(principal),
    expiresAt: instantOrNull(principal.derivedUntilMs ?? token.expiresAtMs),
    metadata: token.metadata,
    audience: token.oauth?.audience ?? null,
  }
}

/** Codes and refresh tokens are for the token endpoint; whoever presents one elsewhere presents nothing. */
const VERIFIABLE: readonly TokenKindName[] = ['api', 'service', 'session', 'oauth_access']

/** A demand that says less than was meant must not be answered yes. Throws `invalid_input`. */
function checkDemand({ group, mode, ip }: Omit<Static<typeof Question>, 'token'>): void {
  if (mode !== undefined && group === undefined) {
    throw new CoreError('invalid_input', 'mode says how deep into a group; name the group, too.')
  }
  if (ip !== undefined && isIP(ip) === 0) {
    throw new CoreError('invalid_input', `"${ip}" is not an IP address.`)
  }
}

/** Is this token good, and for this? The question that everything behind us asks on every request. */
export function verifyRoutes(app: Scope, { core, jwts, metrics }: ApiParts): void {
  /** JSON by principal, which is one and the same object for as long as its token is cached. */
  const answers = new WeakMap<Principal, string>()
  const jsonFor = (principal: Principal, reply: FastifyReply): string => {
    const known = answers.get(principal)
    if (known !== undefined) return known
    const json = String(reply.serializeInput(activeAnswer(principal), '200'))
    answers.set(principal, json)
    return json
  }

  app.post(
    '/tokens/verify',
    {
      schema: {
        tags: ['tokens'],
        summary: 'Is this token active, and does it hold this role, scope or group mode?',
        description: 'Any active token may ask; nothing is changed, so READ_ONLY ones may, too.',
        body: Question,
        response: { 200: Answer, ...problems },
      },
    },
    async (request, reply) => {
      const { token, ...demand } = request.body
      checkDemand(demand)
      const wanted = { ...demand, kinds: VERIFIABLE } as Demand
      const verdict = await verdictOn(token, { core, jwts, demand: wanted })
      metrics.verdicts.inc({ outcome: verdict.active ? 'active' : verdict.reason })
      if (verdict.active) {
        // Fastify sends a string as it is; the type wants the object that it was made from.
        const json = jsonFor(verdict.principal, reply) as unknown as Static<typeof Answer>
        return reply.header('content-type', 'application/json; charset=utf-8').send(json)
      }
      const what = verdict.principal?.token
      const mayKnow = can(callerOf(request).principal, 'verdict.reason', {
        what,
        policy: core.policy(),
      })
      return mayKnow ? { active: false, reason: verdict.reason } : { active: false }
    },
  )
}
