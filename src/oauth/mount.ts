import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type Provider from 'oidc-provider'
import { type AcknowledgeParts, changesAreKnown } from '../http/acknowledge.ts'
import { originOf } from '../http/auth.ts'
import { tooManyCalls } from '../http/server.ts'
import { mustComeFromOurSite, sendErrorPage } from './form.ts'
import type { LoginCookie } from './login-cookie.ts'
import { oauthRequests } from './request.ts'
import { ROUTES } from './routes.ts'

/** Doors of the engine that people come through in a browser, or that are asked without a client. */
const DOORS: ['GET' | 'POST' | 'OPTIONS', string][] = [
  ['GET', '/.well-known/openid-configuration'],
  ['OPTIONS', '/.well-known/openid-configuration'],
  ['GET', '/.well-known/oauth-authorization-server'],
  ['OPTIONS', '/.well-known/oauth-authorization-server'],
  ['GET', ROUTES.jwks],
  ['OPTIONS', ROUTES.jwks],
  ['GET', ROUTES.authorization],
  ['GET', `${ROUTES.authorization}/:uid`],
  ['POST', ROUTES.token],
  ['OPTIONS', ROUTES.token],
  ['GET', ROUTES.userinfo],
  ['POST', ROUTES.userinfo],
  ['OPTIONS', ROUTES.userinfo],
  ['POST', ROUTES.pushed_authorization_request],
  ['OPTIONS', ROUTES.pushed_authorization_request],
  ['POST', ROUTES.device_authorization],
  ['OPTIONS', ROUTES.device_authorization],
  ['GET', ROUTES.end_session],
  ['GET', `${ROUTES.end_session}/success`],
  ['POST', `${ROUTES.end_session}/confirm`],
  ['GET', ROUTES.code_verification],
  ['POST', ROUTES.code_verification],
  ['GET', `${ROUTES.code_verification}/:uid`],
]

/** Doors where guessing could pay, or where anybody makes us write: so many per minute and address. */
const LIMITED = new Set<string>([
  ROUTES.code_verification,
  ROUTES.authorization,
  ROUTES.device_authorization,
])

/** Doors that only pages post to, which the engine shows to people. */
const FORMS = new Set<string>([ROUTES.code_verification, `${ROUTES.end_session}/confirm`])

/** What a browser may do on pages that the engine makes itself: no script but the one it names. */
const BASE_CSP = "default-src 'none'; script-src 'none'; base-uri 'none'; frame-ancestors 'none'"

export interface Mounted extends AcknowledgeParts {
  issuer: string
  login: LoginCookie
  /** What answers a request, by the engine of the moment. */
  handle: () => ReturnType<Provider['callback']>
}

/** Puts the engine's routes into the server; it reads bodies and writes answers by itself. */
export function mountEngine(
  app: FastifyInstance,
  { issuer, login, handle, ...parts }: Mounted,
): void {
  const { host, protocol } = new URL(issuer)
  const countCall = app.createRateLimit()
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (_, __, done) => done(null))

  async function pass(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const { raw } = request
    if (request.method === 'POST' && FORMS.has(request.routeOptions.url ?? ''))
      mustComeFromOurSite(request, issuer)
    // Host and scheme are the operator's word, not the caller's (RFC 8414, section 3.3).
    raw.headers.host = host
    raw.headers['x-forwarded-proto'] = protocol.slice(0, -1)
    delete raw.headers['x-forwarded-host']
    delete raw.headers['x-forwarded-for']
    // Without it the engine publishes endpoints that do not exist.
    Object.assign(raw, { originalUrl: raw.url })
    reply.hijack()
    for (const [name, value] of Object.entries(reply.getHeaders())) {
      if (value !== undefined) reply.raw.setHeader(name, value)
    }
    reply.raw.setHeader('x-request-id', request.id)
    reply.raw.setHeader('cache-control', 'no-store')
    reply.raw.setHeader('content-security-policy', BASE_CSP)
    reply.raw.setHeader('referrer-policy', 'same-origin')
    let known: ReturnType<LoginCookie['read']> | undefined
    const context = {
      origin: originOf(request, 'oauth'),
      login: () => {
        known ??= login.read(raw, request.ip)
        return known
      },
      isKnown: () => changesAreKnown(request, parts),
      async countAnybodys() {
        const found = await countCall(request)
        if (!found.isAllowed && found.isExceeded) throw tooManyCalls(found.ttlInSeconds)
      },
    }
    await oauthRequests.run(context, () => handle()(raw, reply.raw))
    return reply
  }

  for (const [method, url] of DOORS) {
    const config = LIMITED.has(url) ? { public: true, rateLimit: {} } : { public: true }
    const forPeople = FORMS.has(url) ? { errorHandler: sendErrorPage } : {}
    app.route({ method, url, config, handler: pass, ...forPeople })
  }
}
