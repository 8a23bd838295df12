import type { FastifyInstance } from 'fastify'

/**
 * One line per request: id, method, route pattern, status, milliseconds, actor. No headers, bodies
 * or raw URLs, because those carry secrets (`?token=` on the XMS wire). None for what was refused unread
 * because there is too much to do.
 */
export function logRequests(app: FastifyInstance): void {
  app.addHook('onResponse', (request, reply, done) => {
    if (request.refusedForLoad) return done()
    const token = request.caller?.principal.token
    request.log.info(
      {
        method: request.method,
        route: request.routeOptions.url ?? 'none',
        status: reply.statusCode,
        milliseconds: Math.round(reply.elapsedTime * 10) / 10,
        actorId: request.caller?.principal.user.id,
        tokenId: token?.id,
      },
      'request',
    )
    done()
  })
}
