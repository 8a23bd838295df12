import type { FastifyBaseLogger } from 'fastify'
import type Provider from 'oidc-provider'
import { errors, type KoaContextWithOIDC } from 'oidc-provider'
import { CoreError } from '../core/errors.ts'
import { oauthRequests } from './request.ts'

/** What the engine refuses, by the endpoint that did. */
const REFUSALS = [
  'authorization.error',
  'grant.error',
  'userinfo.error',
  'pushed_authorization_request.error',
  'device_authorization.error',
  'end_session.error',
] as const

/** The engine tells clients little, as it should; operators find here why. */
export function logEngine(provider: Provider, log: FastifyBaseLogger): void {
  const context = () => ({ requestId: oauthRequests.getStore()?.origin.requestId })
  for (const event of REFUSALS) {
    provider.on(event as 'grant.error', (ctx: KoaContextWithOIDC, error) => {
      const { error: code, error_description: description } = error
      const detail = (error as { error_detail?: string }).error_detail
      const clientId = ctx.oidc.client?.clientId
      log.info({ ...context(), code, description, detail, clientId }, 'OAuth refused a request')
    })
  }
  provider.on('server_error', (_, error: unknown) => {
    if (error instanceof CoreError) {
      log.error({ ...context(), code: error.code, err: error.cause }, error.message)
    } else if (!(error instanceof errors.OIDCProviderError)) {
      log.error({ ...context(), err: error }, 'The OAuth2 engine failed')
    }
  })
  // Koa would print to the console.
  provider.on(
    'error' as never,
    ((error: unknown) => {
      log.error({ ...context(), err: error }, 'The OAuth2 engine failed')
    }) as never,
  )
}
