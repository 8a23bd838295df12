import { authorizationsOf } from './bearer.ts'
import { type GuardOptions, guardWith, type Verifier } from './guard.ts'

/** As much of Fastify's request as is needed. */
export interface FastifyRequest {
  method: string
  url: string
  ip: string
  params: unknown
  raw: { rawHeaders: readonly string[] }
}

/** As much of Fastify's reply as is needed. */
export interface FastifyReply {
  code(status: number): unknown
  headers(headers: Record<string, string>): unknown
  send(body: string): unknown
}

/**
 * A hook for Fastify: `app.get('/builds', { onRequest: guard(verifier, { scopes: ['build'] }) }, …)`, or
 * `app.addHook('onRequest', guard(verifier))` for all routes of a scope. `verdictOf(request)` gives the
 * verdict. The client's address is `request.ip`, so set `trustProxy` if there is one. Throws
 * `invalid_input` for options that make no sense.
 */
export function guard<R extends FastifyRequest = FastifyRequest>(
  verifier: Verifier,
  options: GuardOptions<[R]> = {},
) {
  const decide = guardWith(verifier, options)

  // What a framework expects of its hooks must not decide what R is.
  return async (request: NoInfer<R>, reply: FastifyReply): Promise<unknown> => {
    const { method, url, ip, raw } = request
    const facts = { method, url, ip, authorization: authorizationsOf(raw.rawHeaders) }
    const outcome = await decide(facts, request)
    if ('verdict' in outcome) {
      Object.assign(request, { mintmark: outcome.verdict })
      return
    }
    const { status, headers, body } = outcome.refusal
    reply.code(status)
    reply.headers(headers)
    reply.send(body)
    // Tells Fastify that the answer is given.
    return reply
  }
}
