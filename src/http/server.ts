import { randomUUID } from 'node:crypto'
import { isIP } from 'node:net'
import cookie from '@fastify/cookie'
import helmet from '@fastify/helmet'
import rateLimit from '@fastify/rate-limit'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import Fastify, { type FastifyBaseLogger, type FastifyInstance, LogController } from 'fastify'
import type { Config } from '../config.ts'
import { CoreError } from '../core/errors.ts'
import { prepareGuard } from './auth.ts'
import { answerErrors, failureOf, problemDocument, type ShapeOf, sendFailure } from './errors.ts'
import { logRequests } from './logging.ts'
import { refuseUnparsed } from './unparsed.ts'

export const BODY_LIMIT_BYTES = 65_536
const MAX_HEADER_BYTES = 16_384
const REQUEST_TIMEOUT_MS = 30_000
const HEADERS_TIMEOUT_MS = 10_000

/** A server with everything that all APIs share, and no route yet. */
export async function createServer(
  config: Pick<Config, 'tls' | 'trustedProxies' | 'publicUrl' | 'loginRateLimit'>,
  { log, shapeOf }: { log: FastifyBaseLogger; shapeOf: ShapeOf },
): Promise<FastifyInstance> {
  const limits = { maxHeaderSize: MAX_HEADER_BYTES, headersTimeout: HEADERS_TIMEOUT_MS }
  const app = Fastify({
    loggerInstance: log,
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: () => randomUUID(),
    requestIdHeader: false,
    bodyLimit: BODY_LIMIT_BYTES,
    requestTimeout: REQUEST_TIMEOUT_MS,
    // Only peers that the operator named may speak for others.
    trustProxy: config.trustedProxies.length > 0 ? config.trustedProxies : false,
    clientErrorHandler: refuseUnparsed(log, shapeOf),
    onProtoPoisoning: 'error',
    onConstructorPoisoning: 'error',
    return503OnClosing: false,
    forceCloseConnections: 'idle',
    routerOptions: { ignoreTrailingSlash: false, maxParamLength: 1024 },
    // What the router itself refuses, such as a path that does not decode. Its message has the raw URL.
    frameworkErrors: (error, request, reply) => {
      const failure = { ...failureOf(error, request), message: 'The path is not valid.' }
      sendFailure(failure, { request, reply, options: shapeOf(request.url) })
    },
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false, allErrors: false } },
    http: limits,
    ...(config.tls === undefined ? {} : { https: { ...config.tls, ...limits } }),
  }).withTypeProvider<TypeBoxTypeProvider>()

  prepareGuard(app)
  if (config.trustedProxies.length > 0) ignoreUnreadableForwarding(app)
  acceptEmptyJson(app)
  await addCommonHeaders(app, config)
  logRequests(app)
  await app.register(cookie)
  await app.register(rateLimit, {
    global: false,
    max: config.loginRateLimit,
    timeWindow: '1 minute',
    errorResponseBuilder: (_, { ttl }) => tooManyCalls(Math.ceil(ttl / 1000)),
  })
  answerErrors(app, problemDocument)
  app.setNotFoundHandler((request, reply) =>
    sendFailure(
      {
        status: 404,
        code: 'route_not_found',
        message: 'There is nothing at this path. /docs lists what there is.',
        retryAfterSeconds: undefined,
      },
      { request, reply, options: shapeOf(request.url) },
    ),
  )
  return app
}

/** To an address from which too much comes that anybody may send. */
export function tooManyCalls(seconds: number): CoreError {
  return new CoreError('too_many_requests', 'Too many requests from this address. Slow down.', {
    retryAfterSeconds: Math.max(1, seconds),
  })
}

/** Headers of every answer. */
async function addCommonHeaders(
  app: FastifyInstance,
  config: Pick<Config, 'publicUrl'>,
): Promise<void> {
  const secure = await securityHeaders(config)
  app.addHook('onRequest', (_, reply, done) => {
    reply.headers(secure)
    done()
  })
  app.addHook('onSend', (request, reply, payload, done) => {
    reply.header('x-request-id', request.id)
    if (!reply.hasHeader('cache-control')) reply.header('cache-control', 'no-store')
    done(null, payload)
  })
}

/** What helmet says to browsers is always the same, so it is asked once, not with every request. */
export async function securityHeaders({
  publicUrl,
}: Pick<Config, 'publicUrl'>): Promise<Record<string, string>> {
  const probe = Fastify()
  await probe.register(helmet, {
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        defaultSrc: ["'none'"],
        baseUri: ["'none'"],
        formAction: ["'none'"],
        frameAncestors: ["'none'"],
      },
    },
    referrerPolicy: { policy: 'no-referrer' },
    // Only older browsers knew these, and each header costs every answer its share of time.
    originAgentCluster: false,
    xDnsPrefetchControl: false,
    xDownloadOptions: false,
    xPermittedCrossDomainPolicies: false,
    xXssProtection: false,
    strictTransportSecurity: publicUrl.startsWith('https:')
      ? { maxAge: 31_536_000, includeSubDomains: true }
      : false,
  })
  let headers = {}
  probe.setNotFoundHandler((_, reply) => {
    headers = reply.raw.getHeaders()
    reply.send()
  })
  await probe.inject('/')
  await probe.close()
  return headers
}

/** A forwarded address that is none says nothing about the client: then the peer itself counts. */
function ignoreUnreadableForwarding(app: FastifyInstance): void {
  app.addHook('onRequest', async ({ ip, raw }) => {
    if (isIP(ip) === 0) delete raw.headers['x-forwarded-for']
  })
}

/** Route option for doors that answer without a credential: so many per minute and address. */
export const publicDoor = { config: { public: true, rateLimit: {} } }

/** The same for doors that hash a password. */
export const passwordDoor = { config: { ...publicDoor.config, weight: 'heavy' } } as const

/**
 * Generated clients send `Content-Type: application/json` with no body at all; Fastify's own parser
 * refuses exactly those.
 */
function acceptEmptyJson(app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser('error', 'error')
  app.removeContentTypeParser(['application/json', 'text/plain'])
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    if (body.length === 0) done(null, undefined)
    else void parse(request, body as string, done)
  })
}
