import { calculateJwkThumbprint, decodeJwt, decodeProtectedHeader, type JWK } from 'jose'
import type { KoaContextWithOIDC } from 'oidc-provider'
import type { Core } from '../core/core.ts'
import { CoreError } from '../core/errors.ts'
import type { GrantId } from '../core/id.ts'
import type { Exchange } from '../core/oauth/exchange.ts'
import { Secret } from '../core/secret.ts'
import { currentRequest } from './request.ts'
import { openUnit, type Unit } from './unit.ts'

type Body = Record<string, unknown>

interface TokenParams {
  grant_type?: string
  refresh_token?: string
  scope?: string
  resource?: string | string[]
}

/**
 * Goes around the engine's token endpoint: what a request changes is committed at once at its end, and
 * a client that repeats its refresh because the answer got lost is answered again, not logged out.
 */
export function tokenEndpoint(
  core: Core,
  { issuer, path, graceSeconds }: { issuer: string; path: string; graceSeconds: number },
) {
  async function commit(ctx: KoaContextWithOIDC, unit: Unit): Promise<void> {
    const body = ctx.body as Body
    keepIdClaims(unit, { body, issuer })
    const request = await requestOf(ctx)
    const outcome = await core.oauth.exchange(exchangeOf(ctx, { unit, body, request }))
    if (outcome === 'spent') await refuseReuse(ctx, { unit, request })
  }

  function exchangeOf(
    ctx: KoaContextWithOIDC,
    { unit, body, request }: { unit: Unit; body: Body; request: unknown },
  ): Exchange {
    const { refresh_token: presented } = paramsOf(ctx)
    const isRefresh = unit.spends?.kind === 'oauth_refresh' && presented !== undefined
    return {
      origin: currentRequest().origin,
      spends: unit.spends,
      consumes: unit.consumes,
      saves: unit.saves,
      retry:
        isRefresh && graceSeconds > 0
          ? { presented: new Secret(presented), request, body, ttlMs: graceSeconds * 1000 }
          : undefined,
    }
  }

  /** Somebody has used it already: the same client's retry is answered again, all else is theft. */
  async function refuseReuse(
    ctx: KoaContextWithOIDC,
    { unit, request }: { unit: Unit; request: unknown },
  ): Promise<void> {
    const { refresh_token: presented } = paramsOf(ctx)
    const token = unit.spends ?? unit.presented
    if (token?.kind === 'oauth_refresh' && presented !== undefined && graceSeconds > 0) {
      const wish = { token, presented: new Secret(presented), request }
      const body = await core.oauth.repeatedAnswer(wish)
      if (body !== undefined) {
        ctx.status = 200
        ctx.body = body
        return
      }
    }
    const { origin } = currentRequest()
    if (token !== undefined) await core.oauth.punishReuse({ origin, token })
    else {
      // A device code that another request was faster with: what it would have become knows the grant.
      const id = (unit.grantId as GrantId | undefined) ?? unit.saves[0]?.grantId
      if (id !== undefined) await core.oauth.revokeGrant({ origin, id, reason: 'used twice' })
    }
    refuse(ctx, 'grant request is invalid')
  }

  return async (ctx: KoaContextWithOIDC, next: () => Promise<void>): Promise<void> => {
    // Elsewhere each step stands by itself and is stored at once.
    if (ctx.path !== path) return next()
    const unit = openUnit(ctx)
    await next()
    if (ctx.oidc?.route !== 'token') return
    try {
      if (ctx.status === 200) await commit(ctx, unit)
      else if (unit.reused) await refuseReuse(ctx, { unit, request: await requestOf(ctx) })
    } catch (error) {
      if (answerRefusal(ctx, error)) return
      ctx.status = 500
      ctx.body = { error: 'server_error' }
      ctx.oidc.provider.emit('server_error', ctx, error)
    }
  }
}

function paramsOf(ctx: KoaContextWithOIDC): TokenParams {
  return (ctx.oidc.params ?? {}) as TokenParams
}

/** What makes two refreshes the same request. */
async function requestOf(ctx: KoaContextWithOIDC): Promise<unknown> {
  const { grant_type, scope, resource } = paramsOf(ctx)
  return [ctx.oidc.client?.clientId, grant_type, scope, resource, await proofKeyOf(ctx)]
}

/** The key that the request's DPoP proof was made with; the engine has checked the proof. */
async function proofKeyOf(ctx: KoaContextWithOIDC): Promise<string | undefined> {
  const proof = ctx.get('dpop')
  if (proof === '') return undefined
  try {
    return await calculateJwkThumbprint(decodeProtectedHeader(proof).jwk as JWK)
  } catch {
    return 'unreadable'
  }
}

/** Tokens remember the claims of the ID token that came with them, or that would have come. */
function keepIdClaims(unit: Unit, { body, issuer }: { body: Body; issuer: string }): void {
  const issued = typeof body.id_token === 'string' ? decodeJwt(body.id_token) : undefined
  for (const token of unit.saves) {
    const { record } = token
    token.idClaims = issued ?? {
      iss: issuer,
      sub: record.accountId ?? record.clientId,
      aud: record.clientId,
      exp: record.exp,
      iat: record.iat,
      ...(record.authTime === undefined ? {} : { auth_time: record.authTime }),
    }
  }
}

function refuse(ctx: KoaContextWithOIDC, description: string): void {
  ctx.status = 400
  ctx.body = { error: 'invalid_grant', error_description: description }
}

/** What core refuses, as OAuth says it; false for everything that is nobody's fault but ours. */
export function answerRefusal(ctx: KoaContextWithOIDC, error: unknown): boolean {
  if (!(error instanceof CoreError)) return false
  if (error.code === 'token_not_active') {
    refuse(ctx, 'grant request is invalid')
    return true
  }
  if (error.code === 'too_many_requests') {
    ctx.status = 429
    ctx.set('Retry-After', String(error.retryAfterSeconds ?? 1))
    ctx.body = { error: 'temporarily_unavailable', error_description: error.message }
    return true
  }
  if (error.code !== 'unavailable') return false
  // What could not be stored was not given out, nor taken back.
  ctx.status = 503
  ctx.set('Retry-After', String(error.retryAfterSeconds ?? 5))
  ctx.body = { error: 'temporarily_unavailable', error_description: error.message }
  return true
}
