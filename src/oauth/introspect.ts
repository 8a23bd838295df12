import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { can } from '../core/access.ts'
import type { Client } from '../core/clients/client.ts'
import type { Core } from '../core/core.ts'
import type { UserId } from '../core/id.ts'
import { opensApis, type Principal } from '../core/rights.ts'
import { mustNotWait, type TokenReader, verdictOn } from '../http/auth.ts'
import { bearerCredential } from '../http/credential.ts'
import type { Metrics } from '../http/metrics.ts'
import { authenticateClient } from './client-auth.ts'
import { onlyPost, refuseClient } from './client-doors.ts'
import { formOf } from './form.ts'
import { ROUTES } from './routes.ts'

export interface IntrospectionParts extends TokenReader {
  issuer: string
  metrics: Metrics
}

/** Who asks: a client, or a token with the right to. */
type Asker = { client: Client } | { principal: Principal }

const INACTIVE = { active: false }

/**
 * Token introspection (RFC 7662) by our own verify path, for every kind of token. A client learns of
 * tokens of its own and of those for resources that it serves; who holds the role `verifier` of all.
 * Everybody else hears that a token is not active. `ip`, beyond the RFC, is the address of whoever
 * presented the token: one that is limited to addresses is not active without it.
 */
export function introspectionRoute(app: FastifyInstance, parts: IntrospectionParts): void {
  const { core, jwts, issuer, metrics } = parts
  const audiences = [issuer, `${issuer}${ROUTES.token}`, `${issuer}${ROUTES.introspection}`]

  onlyPost(app, ROUTES.introspection)
  app.post(ROUTES.introspection, { config: { public: true } }, async (request, reply) => {
    const asker = await askerOf(request)
    if ('refused' in asker) return refuseClient(request, reply, asker.refused)
    const form = formOf(request)
    const presented = form.get('token')
    if (presented === undefined || presented === '') {
      return refuseClient(request, reply, 'invalid_request')
    }
    return answer(reply, { presented, asker, ip: form.get('ip') })
  })

  async function askerOf(request: FastifyRequest) {
    const bearer = bearerOf(request)
    if (bearer === undefined) {
      return authenticateClient(request, { core, audiences, acceptsPublic: false })
    }
    const verdict = await verdictOn(bearer, { core, jwts, demand: { ip: request.ip } })
    mustNotWait(verdict)
    if (!verdict.active || !opensApis(verdict.principal)) {
      return { refused: 'invalid_client' as const }
    }
    return { principal: verdict.principal }
  }

  async function answer(
    reply: FastifyReply,
    { presented, asker, ip }: { presented: string; asker: Asker; ip: string | undefined },
  ): Promise<FastifyReply> {
    // Whom it was presented to and with which proof is for the resource server to look at.
    const demand = { ignoresBinding: true, ...(ip === undefined ? {} : { ip }) }
    const verdict = await verdictOn(presented, { core, jwts, demand })
    const mayKnow = verdict.active && (await isEntitled(verdict.principal, asker))
    metrics.verdicts.inc({
      outcome: verdict.active ? (mayKnow ? 'active' : 'not_entitled') : verdict.reason,
    })
    if (!verdict.active || !mayKnow) return reply.send(INACTIVE)
    return reply.send(await describe(verdict.principal))
  }

  async function isEntitled({ token }: Principal, asker: Asker): Promise<boolean> {
    if (token.kind === 'oauth_code') return false
    if ('principal' in asker) {
      const who = asker.principal
      return can(who, 'verdict.reason', { what: token, policy: core.policy() })
    }
    const { client } = asker
    if (token.oauth?.clientId === client.id) return true
    // A refresh token is nobody's business but its client's.
    if (token.kind === 'oauth_refresh') return false
    const { audience } = token.oauth ?? {}
    if (audience !== undefined && client.serves.includes(audience)) return true
    return verifiesAll(core, client.serviceUserId)
  }

  /** RFC 7662, section 2.2, with the kind of token that we call it. */
  async function describe({ user, token, rights, derivedUntilMs, derivedFor }: Principal) {
    const expiresAtMs = derivedUntilMs ?? token.expiresAtMs
    const client =
      token.oauth === undefined ? undefined : await core.clients.byId(token.oauth.clientId)
    const isOwnToken = client?.serviceUserId === user.id
    const subject =
      client === undefined || isOwnToken ? undefined : core.oauth.subjectOf(user, client)
    const boundKey = token.oauth?.boundKey
    const audience = derivedFor ?? token.oauth?.audience
    return {
      active: true,
      ...(rights.scopes === 'all' ? {} : { scope: [...rights.scopes].join(' ') }),
      ...(client === undefined ? {} : { client_id: client.clientId }),
      username: user.username,
      ...(token.kind === 'oauth_refresh'
        ? {}
        : { token_type: boundKey === undefined ? 'Bearer' : 'DPoP' }),
      ...(expiresAtMs === undefined ? {} : { exp: Math.floor(expiresAtMs / 1000) }),
      iat: Math.floor(token.createdAtMs / 1000),
      sub: subject ?? (isOwnToken ? client?.clientId : user.id),
      ...(audience === undefined ? {} : { aud: audience }),
      iss: issuer,
      jti: token.id,
      ...(boundKey === undefined ? {} : { cnf: { jkt: boundKey } }),
      kind: token.kind,
    }
  }
}

/** `Authorization: Bearer …`; anything else is for the client to authenticate with. */
function bearerOf(request: FastifyRequest): string | undefined {
  const isBearer = /^bearer /i.test(request.headers.authorization ?? '')
  return isBearer ? bearerCredential(request) : undefined
}

/** Whether a client's service account may know about every token. */
async function verifiesAll(core: Core, id: UserId): Promise<boolean> {
  const owner = await core.oauth.owner(id)
  return owner?.user.active === true && owner.roles.has('verifier')
}
