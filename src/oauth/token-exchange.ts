import type Provider from 'oidc-provider'
import { errors, type TokenEndpointGrantContext } from 'oidc-provider'
import * as grants from 'oidc-provider/lib/helpers/grants.js'
import { API_SCOPES, type Client } from '../core/clients/client.ts'
import type { Core } from '../core/core.ts'
import { hasScope, opensApis, type Principal } from '../core/rights.ts'
import { endOf, type Limits } from '../core/tokens/token.ts'
import { mustNotWait, type TokenReader, verdictOn } from '../http/auth.ts'
import { ownMetadata } from './client-metadata.ts'
import { currentRequest } from './request.ts'
import { unitOf } from './unit.ts'

export const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'
const JWT = 'urn:ietf:params:oauth:token-type:jwt'

/** RFC 8693, section 2.1. */
export const EXCHANGE_PARAMETERS = [
  'subject_token',
  'subject_token_type',
  'requested_token_type',
  'actor_token',
  'actor_token_type',
  'scope',
  'resource',
  'audience',
]

interface ExchangeParams {
  subject_token?: string
  subject_token_type?: string
  requested_token_type?: string
  actor_token?: string
  scope?: string
  audience?: string | string[]
}

type Context = TokenEndpointGrantContext<ExchangeParams>

/**
 * Token exchange (RFC 8693): a client that was given a token, or that a token was presented to, gets
 * one of its own for the same user: for fewer scopes, for no longer, and dead as soon as the first is.
 */
export function tokenExchange(provider: () => Provider, parts: TokenReader) {
  const { core } = parts
  return async (ctx: Context): Promise<void> => {
    const engine = provider()
    const { client: engineClient } = ctx.oidc
    const client = await core.clients.byClientId(engineClient.clientId)
    if (client === undefined) throw new errors.InvalidClient('client not found')
    const proof = await grants.validateDpop(engine, ctx)
    grants.checkDpopRequired(engine, ctx, proof)
    const subject = await subjectOf(ctx, { parts, client, proofKey: proof?.thumbprint })

    const wanted = scopesOf(ctx, { client, subject })
    const [resource, ...more] = await grants.resolveRequestedResources(engine, ctx)
    // A token for one resource must not become one for everything.
    if (resource === undefined && subject.token.oauth?.audience !== undefined) {
      throw new errors.InvalidTarget('name the resource that the new token is for')
    }
    if (more.length > 0) throw new errors.InvalidTarget('only one resource can be asked for')
    const token = new engine.AccessToken({
      client: engineClient,
      accountId: subject.user.id,
      // It comes of no grant: it hangs on the token that it was exchanged for.
      grantId: '',
      gty: TOKEN_EXCHANGE,
      scope: wanted.join(' '),
      expiresIn: ttlOf(core, { subject, ttl: ownMetadata(engineClient).accessTokenTtl }),
      ...(resource === undefined ? {} : { resourceServer: resource }),
    })
    await grants.checkDpopReplay(engine, ctx, proof, engineClient.clientId)
    if (proof !== undefined) token.setThumbprint('jkt', proof.thumbprint)
    actors.set(ctx, engineClient.clientId)
    const accessToken = await token.save()
    bindToSubject(ctx, subject)
    ctx.body = grants.buildTokenResponse(engine, {
      accessToken,
      expiresIn: token.expiration,
      issuedTokenType: ACCESS_TOKEN,
      tokenType: token.tokenType,
      ...(token.scope === undefined ? {} : { scope: token.scope }),
    })
  }
}

/** Who acts for the user in an exchanged token: the `act` claim (RFC 8693, section 4.1). */
const actors = new WeakMap<object, string>()

export function actorClaim(ctx: object | undefined): { act: { sub: string } } | undefined {
  const actor = ctx === undefined ? undefined : actors.get(ctx)
  return actor === undefined ? undefined : { act: { sub: actor } }
}

/** Whom the presented token stands for, if this client may exchange it. */
async function subjectOf(
  ctx: Context,
  wish: { parts: TokenReader; client: Client; proofKey: string | undefined },
): Promise<Principal> {
  const { subject_token, subject_token_type, requested_token_type, actor_token, audience } =
    ctx.oidc.params
  if (subject_token === undefined || subject_token_type === undefined) {
    throw new errors.InvalidRequest('subject_token and subject_token_type are required')
  }
  if (subject_token_type !== ACCESS_TOKEN && subject_token_type !== JWT) {
    throw new errors.InvalidRequest('subject_token_type must be an access token or a JWT')
  }
  if (requested_token_type !== undefined && requested_token_type !== ACCESS_TOKEN) {
    throw new errors.InvalidRequest('requested_token_type must be an access token')
  }
  if (actor_token !== undefined) throw new errors.InvalidRequest('actor_token is not supported')
  if (audience !== undefined) throw new errors.InvalidTarget('name the target as resource')
  const { parts, client, proofKey } = wish
  const demand = { ip: currentRequest().origin.ip ?? '', ignoresBinding: true }
  const verdict = await verdictOn(subject_token, { ...parts, demand })
  mustNotWait(verdict)
  if (!verdict.active || !mayExchange(verdict.principal, client)) {
    throw new errors.InvalidGrant('subject_token is not valid here')
  }
  const { oauth } = verdict.principal.token
  if (oauth?.boundKey !== undefined && oauth.boundKey !== proofKey) {
    throw new errors.InvalidGrant('subject_token is bound to another key')
  }
  return verdict.principal
}

/** Its own token, one presented to it as a resource server, or an api token that somebody gave it. */
function mayExchange({ token, derivedUntilMs }: Principal, client: Client): boolean {
  if (derivedUntilMs !== undefined) return false
  if (token.kind === 'api') return true
  if (token.kind !== 'oauth_access' || token.oauth === undefined) return false
  const { clientId, audience } = token.oauth
  return clientId === client.id || (audience !== undefined && client.serves.includes(audience))
}

function scopesOf(
  ctx: Context,
  { client, subject }: { client: Client; subject: Principal },
): string[] {
  const holds = (scope: string) => mayHandOn(subject, scope)
  const { scope } = ctx.oidc.params
  const asked = scope === undefined ? undefined : [...new Set(scope.split(' ').filter(Boolean))]
  if (asked === undefined) {
    return client.scopes.filter((scope) => holds(scope) && !isApiScope(scope))
  }
  const beyond = asked.filter((scope) => !client.scopes.includes(scope) || !holds(scope))
  if (beyond.length > 0) {
    throw new errors.InvalidScope('more was asked for than the token holds', beyond.join(' '))
  }
  return asked
}

function isApiScope(scope: string): boolean {
  return API_SCOPES.some((each) => each === scope)
}

/** What opens our APIs by itself may hand that on; what is for another resource does not open them. */
function mayHandOn(subject: Principal, scope: string): boolean {
  if (!isApiScope(scope)) return hasScope(subject.rights, scope)
  return subject.token.oauth?.audience === undefined && opensApis(subject)
}

function ttlOf(core: Core, { subject, ttl }: { subject: Principal; ttl: number }): number {
  const expiresAtMs = endOf(subject.token)
  if (expiresAtMs === undefined) return ttl
  return Math.max(1, Math.min(ttl, Math.floor((expiresAtMs - core.clock.now()) / 1000)))
}

/** The new token is the old one's child, within its limits. */
function bindToSubject(ctx: Context, { token: subject }: Principal): void {
  const made = unitOf(ctx)?.saves.at(-1)
  if (made === undefined) throw new Error('The exchanged token was not saved.')
  made.parentId = subject.id
  made.limits = narrowed(subject.limits, made.scopes)
}

function narrowed(subject: Limits, scopes: readonly string[]): Limits {
  const { allowedIps } = subject
  if (API_SCOPES.some((scope) => scopes.includes(scope))) return { ...subject, scopes }
  return {
    accessLevel: 'READ_ONLY',
    roles: [],
    groups: scopes.includes('groups') ? subject.groups : [],
    scopes,
    allowedIps,
  }
}
