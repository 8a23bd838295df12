import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { can } from '../core/access.ts'
import type { Client } from '../core/clients/client.ts'
import type { Core } from '../core/core.ts'
import type { UserId } from '../core/id.ts'
import { opensApis, type Principal } from '../core/rights.ts'
import { endOf, type Token } from '../core/tokens/token.ts'
import type { Demand, Verdict, Yes } from '../core/tokens/verdict.ts'
import { looksLikeJwt } from '../http/access-jwt.ts'
import { checkDemand } from '../http/api/verify.ts'
import { mustNotWait, originOf, presentedBy, type TokenReader, verdictOn } from '../http/auth.ts'
import { bearerCredential, bearerOf } from '../http/credential.ts'
import { keptAnswers } from '../http/kept-answers.ts'
import { type LaneAnswer, type LaneRoute, laneAnswer } from '../http/lane.ts'
import type { Metrics } from '../http/metrics.ts'
import { authenticateClient, basicPair } from './client-auth.ts'
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
 * Everybody else hears that a token is not active. `?consistency=strong` reads what the database says now. `ip`, beyond the RFC, is the address of whoever
 * presented the token: one that is limited to addresses is not active without it.
 */
export function introspectionRoute(app: FastifyInstance, parts: IntrospectionParts): void {
  const { core, jwts, issuer } = parts
  const { noted, describe, clientMayHear } = introspection(parts)
  const audiences = [issuer, `${issuer}${ROUTES.token}`, `${issuer}${ROUTES.introspection}`]

  onlyPost(app, ROUTES.introspection)
  app.post(
    ROUTES.introspection,
    { config: { public: true, weight: 'light' } },
    async (request, reply) => {
      const asker = await askerOf(request)
      if ('refused' in asker) return refuseClient(request, reply, asker.refused)
      const form = formOf(request)
      const presented = form.get('token')
      if (presented === undefined || presented === '') {
        return refuseClient(request, reply, 'invalid_request')
      }
      const { consistency } = request.query as { consistency?: unknown }
      const strong = consistency === 'strong'
      const ip = form.get('ip')
      checkDemand(ip === undefined ? {} : { ip })
      return answer(reply, { presented, asker, ip, strong })
    },
  )

  async function askerOf(request: FastifyRequest) {
    const bearer = bearerIn(request)
    if (bearer === undefined) {
      return authenticateClient(request, { core, audiences, acceptsPublic: false })
    }
    const verdict = await verdictOn(bearer, { core, jwts, demand: presentedBy(request, 'oauth') })
    mustNotWait(verdict)
    if (!verdict.active || !opensApis(verdict.principal)) {
      return { refused: 'invalid_client' as const }
    }
    // For the log, as on guarded routes.
    request.caller = { principal: verdict.principal, origin: originOf(request, 'oauth') }
    return { principal: verdict.principal }
  }

  async function answer(
    reply: FastifyReply,
    {
      presented,
      asker,
      ip,
      strong,
    }: { presented: string; asker: Asker; ip: string | undefined; strong: boolean },
  ): Promise<FastifyReply> {
    const demand = ip === undefined ? DEMAND : { ...DEMAND, ip }
    const verdict = await verdictOn(presented, { core, jwts, demand, strong })
    const mayKnow = verdict.active && (await isEntitled(verdict.principal, asker))
    if (!noted(verdict, mayKnow)) return reply.send(INACTIVE)
    return reply.send(await describe(verdict.principal))
  }

  async function isEntitled({ token }: Principal, asker: Asker): Promise<boolean> {
    if ('principal' in asker) return mayHear(core, token, asker.principal)
    return clientMayHear(token, asker.client)
  }
}

/** Whom a token was presented to and with which proof is for the resource server to look at. */
const DEMAND: Demand = { ignoresBinding: true, via: 'introspect' }

/** Whether who asks by a token of their own may know about this one. */
function mayHear(core: Core, token: Token, asker: Principal): boolean {
  if (token.kind === 'oauth_code') return false
  return can(asker, 'verdict.reason', { what: token, policy: core.policy() })
}

/** What both doors answer alike. */
function introspection({ core, issuer, metrics }: Omit<IntrospectionParts, 'jwts'>) {
  /** Counts a verdict. Returns whether it may be told. */
  function noted(verdict: Verdict, mayKnow: boolean): verdict is Yes {
    metrics.countVerdict(verdict.active ? (mayKnow ? 'active' : 'not_entitled') : verdict.reason)
    return verdict.active && mayKnow
  }

  /** A promise where it takes a look at the client's service account. */
  function clientMayHear(token: Token, client: Client): boolean | Promise<boolean> {
    if (token.kind === 'oauth_code') return false
    if (token.oauth?.clientId === client.id) return true
    // A refresh token is nobody's business but its client's.
    if (token.kind === 'oauth_refresh') return false
    const { audience } = token.oauth ?? {}
    if (audience !== undefined && client.serves.includes(audience)) return true
    return verifiesAll(core, client.serviceUserId)
  }

  async function describe(principal: Principal) {
    const { oauth } = principal.token
    return described(principal, oauth && (await core.clients.byId(oauth.clientId)))
  }

  /** RFC 7662, section 2.2, with the kind of token that we call it. */
  function described(
    { user, token, rights, derivedUntilMs, derivedFor }: Principal,
    client: Client | undefined,
  ) {
    const expiresAtMs = derivedUntilMs ?? endOf(token)
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

  return { noted, clientMayHear, describe, described }
}

/** A form with nothing that needs decoding, and no more in it than the ordinary route looks at. */
const PLAIN_FORM = /^token=([A-Za-z0-9._~-]{1,512})(?:&token_type_hint=[a-z_]{1,32})?$/

/** The same in front of the framework, as long as the question is plain and the asker remembered. */
export function introspectionLane(parts: Omit<IntrospectionParts, 'jwts'>): LaneRoute {
  const { core } = parts
  const { noted, clientMayHear, described } = introspection(parts)
  const no = laneAnswer(200, INACTIVE)
  const kept = keptAnswers()

  function answerToken(verdict: Verdict, asker: Principal): LaneAnswer | Promise<LaneAnswer> {
    return answer(verdict, verdict.active && mayHear(core, verdict.principal.token, asker))
  }

  function answerClient(verdict: Verdict, client: Client): LaneAnswer | Promise<LaneAnswer> {
    const mayKnow = verdict.active && clientMayHear(verdict.principal.token, client)
    return mayKnow instanceof Promise
      ? mayKnow.then((mayKnow) => answer(verdict, mayKnow))
      : answer(verdict, mayKnow)
  }

  function answer(verdict: Verdict, mayKnow: boolean): LaneAnswer | Promise<LaneAnswer> {
    if (!noted(verdict, mayKnow)) return no
    const { oauth } = verdict.principal.token
    if (oauth === undefined) return describe(verdict, undefined)
    const client = core.clients.rememberedById(oauth.clientId)
    return client === undefined
      ? core.clients.byId(oauth.clientId).then((client) => describe(verdict, client))
      : describe(verdict, client)
  }

  /** What a client is called may change while its tokens stay. */
  function describe(verdict: Yes, client: Client | undefined): LaneAnswer {
    const known = kept.of(verdict, client)
    if (known !== undefined) return known
    return kept.keep(verdict, laneAnswer(200, described(verdict.principal, client)), client)
  }

  return {
    path: ROUTES.introspection,
    pattern: ROUTES.introspection,
    body: 'form',
    credentialHeader: 'authorization',
    via: 'oauth',
    strangeHeaders: [],
    credential: bearerOf,
    question(query, body) {
      const secret = plainToken(query, body)
      if (secret === undefined) return undefined
      return (asker) => {
        const verdict = core.verifier.verify(secret, DEMAND)
        return verdict instanceof Promise
          ? verdict.then((verdict) => answerToken(verdict, asker))
          : answerToken(verdict, asker)
      }
    },
    otherwise({ header, query, body }) {
      const secret = core.isCurrent() ? plainToken(query, body) : undefined
      const pair = secret === undefined ? undefined : basicPair(header)
      const client = pair && core.clients.remembered(pair.id, pair.secret)
      if (secret === undefined || client === undefined) return undefined
      const verdict = core.verifier.verify(secret, DEMAND)
      return verdict instanceof Promise
        ? verdict.then((verdict) => answerClient(verdict, client))
        : answerClient(verdict, client)
    },
    async learn(header) {
      const pair = basicPair(header)
      if (pair === undefined) return
      if (!core.isCurrent()) await core.catchUp()
      await core.clients.byClientId(pair.id)
    },
  }
}

/** The token that is asked about, where nothing else is said and nothing needs decoding. */
function plainToken(query: string, body: Buffer | undefined): string | undefined {
  const secret = query === '' ? PLAIN_FORM.exec(body?.toString('latin1') ?? '')?.[1] : undefined
  return secret === undefined || looksLikeJwt(secret) ? undefined : secret
}

/** `Authorization: Bearer …`; anything else is for the client to authenticate with. */
function bearerIn(request: FastifyRequest): string | undefined {
  const isBearer = /^bearer /i.test(request.headers.authorization ?? '')
  return isBearer ? bearerCredential(request) : undefined
}

/** Whether a client's service account may know about every token. */
async function verifiesAll(core: Core, id: UserId): Promise<boolean> {
  const owner = await core.oauth.owner(id)
  return owner?.user.active === true && owner.roles.has('verifier')
}
