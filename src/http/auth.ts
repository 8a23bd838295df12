import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Caller } from '../core/caller.ts'
import type { Core } from '../core/core.ts'
import { CoreError } from '../core/errors.ts'
import { opensApis, type Principal } from '../core/rights.ts'
import { whyWithoutRight } from '../core/tokens/checks.ts'
import { asSigned, isItself, mayComeFrom } from '../core/tokens/presented.ts'
import type { Via } from '../core/tokens/token.ts'
import type { Demand, Verdict } from '../core/tokens/verdict.ts'
import { type AccessJwts, looksLikeJwt } from './access-jwt.ts'
import type { CredentialReader } from './credential.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Set by the guard; read it through `callerOf`. */
    caller: Caller | undefined
  }
  interface FastifyContextConfig {
    /** Answered without a credential. Everything else is guarded. */
    public?: boolean
  }
}

/** What it takes to judge a credential of any kind. */
export interface TokenReader {
  core: Core
  jwts: AccessJwts
}

export interface GuardOptions extends TokenReader {
  /** Where this API's clients put their credential. */
  credential: CredentialReader
  via: Via
}

/** Registers the request decoration once, at the root. */
export function prepareGuard(app: FastifyInstance): void {
  app.decorateRequest('caller', undefined)
}

/**
 * Guards every route of the scope it is called in: deny by default, unless the route says
 * `config: { public: true }`. A hook of each route, never a path prefix, so that no spelling of a path
 * gets around it.
 */
export function guard(app: FastifyInstance, options: GuardOptions): void {
  app.addHook('onRequest', async (request) => {
    if (request.routeOptions.config.public === true) return
    request.caller = await authenticate(request, options)
  })
  // A body may come long after its head, and nothing is done for who lost the right to it meanwhile.
  app.addHook('preValidation', async (request) => {
    const { caller, body } = request
    if (caller === undefined || body === undefined) return
    const principal = await options.core.stillHolds(caller)
    if (principal === undefined || !opensApis(principal)) throw notValid('ended')
    request.caller = { ...caller, principal }
  })
}

/** Who is asking. Throws (a 500) on a route that forgot its guard, rather than answering. */
export function callerOf(request: FastifyRequest): Caller {
  if (request.caller === undefined) throw new Error('This route is not guarded.')
  return request.caller
}

/** What the figures of use keep of a request besides the token. */
export function presentedBy(request: FastifyRequest, via: Via): Demand {
  const userAgent = request.headers['user-agent']
  return { ip: request.ip, via, ...(userAgent === undefined ? {} : { userAgent }) }
}

/** Where the request came from, for routes that answer without a credential. */
export function originOf(request: FastifyRequest, via: Via): Caller['origin'] {
  return { ip: request.ip, requestId: request.id, via }
}

async function authenticate(
  request: FastifyRequest,
  { core, jwts, credential, via }: GuardOptions,
): Promise<Caller> {
  const presented = credential(request)
  if (presented === undefined) {
    throw new CoreError('unauthenticated', 'This needs a credential. Send a token.')
  }
  const demand = presentedBy(request, via)
  const principal = letIn(await verdictOn(presented, { core, jwts, demand }))
  return { principal, origin: originOf(request, via) }
}

/**
 * Whom a credential lets into our own APIs, however it was presented. Throws `unauthenticated`,
 * `too_many_requests`.
 */
export function letIn(verdict: Verdict): Principal {
  mustNotWait(verdict)
  if (!verdict.active) throw notValid(verdict.reason)
  if (!opensApis(verdict.principal)) throw notValid('wrong_kind')
  return verdict.principal
}

/** Which check failed is for the log only; the caller hears one sentence. */
function notValid(reason: string): CoreError {
  return new CoreError('unauthenticated', 'The credential is not valid.', { detail: { reason } })
}

/**
 * Whoever presents a good token hears that it was used too often, so that clients wait rather than give
 * up. Throws `too_many_requests`.
 */
export function mustNotWait(verdict: Verdict): void {
  if (verdict.active || verdict.reason !== 'rate_limited') return
  const { retryAfterSeconds = 1 } = verdict
  throw new CoreError(
    'too_many_requests',
    `This token was used more often than the policy allows. Try again in ${retryAfterSeconds} seconds.`,
    { retryAfterSeconds },
  )
}

const WRONG_AUDIENCE: Verdict = {
  active: false,
  reason: 'wrong_audience',
  principal: undefined,
}

/**
 * The verdict on a secret of any kind, or on an access token derived from one. `strong`: by what the
 * database says now, whatever this node remembers.
 */
export async function verdictOn(
  presented: string,
  { core, jwts, demand, strong = false }: TokenReader & { demand: Demand; strong?: boolean },
): Promise<Verdict> {
  const { verifier } = core
  if (!looksLikeJwt(presented)) {
    return strong ? verifier.verifyStored(presented, demand) : verifier.verify(presented, demand)
  }
  const source = await jwts.sourceOf(presented)
  if (source === undefined) return { active: false, reason: 'malformed', principal: undefined }
  const verdict = strong
    ? await verifier.verifyStoredById(source.id, demand)
    : await verifier.verifyById(source.id, demand)
  if (!verdict.active) return verdict
  if (!source.isDerived) return isItself(verdict.principal.token, source) ? verdict : WRONG_AUDIENCE
  const { limits, expiresAtMs, audience } = source
  if (limits === undefined) {
    return { active: true, principal: { ...verdict.principal, derivedUntilMs: expiresAtMs } }
  }
  if (demand.ignoresBinding !== true && audience !== demand.audience) return WRONG_AUDIENCE
  // The demand was met by the token behind it; now by what was signed of it.
  const principal = asSigned(verdict.principal, { limits, expiresAtMs, audience })
  const reason = mayComeFrom(limits, demand.ip)
    ? whyWithoutRight({ principal }, demand)
    : 'ip_not_allowed'
  return reason === undefined ? { active: true, principal } : { active: false, reason, principal }
}
