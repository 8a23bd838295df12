import type { KoaContextWithOIDC } from 'oidc-provider'
import { ROUTES } from './routes.ts'

const DEVICE_CODE = 'urn:ietf:params:oauth:grant-type:device_code'

/**
 * The engine answers `invalid_request` when a client asks for a grant that it does not have; the
 * RFCs have their own word for that (RFC 6749, section 5.2).
 */
export async function sayUnauthorized(
  ctx: KoaContextWithOIDC,
  next: () => Promise<void>,
): Promise<void> {
  await next()
  const body = ctx.body as Record<string, unknown> | undefined
  if (ctx.status !== 400 || body?.error !== 'invalid_request') return
  const { client } = ctx.oidc ?? {}
  const grant = grantOf(ctx)
  if (client === undefined || grant === undefined || client.grantTypeAllowed(grant)) return
  body.error = 'unauthorized_client'
}

/** The grant that a request is for; undefined: none is named, or it is no such request. */
function grantOf(ctx: KoaContextWithOIDC): string | undefined {
  if (ctx.path === ROUTES.device_authorization) return DEVICE_CODE
  if (ctx.path !== ROUTES.token) return undefined
  const { grant_type } = (ctx.oidc?.params ?? {}) as { grant_type?: unknown }
  return typeof grant_type === 'string' ? grant_type : undefined
}
