import {
  type Facts,
  type GoodVerdict,
  type GuardOptions,
  guardWith,
  type Verifier,
} from './guard.ts'
import type { Refusal } from './refusal.ts'

/**
 * Wraps what answers a Request with a Response: route handlers of Next.js, Deno, Bun and workers.
 *
 *     export const GET = guard(verifier, { scopes: ['build'] }, (request, verdict, context) => …)
 *
 * `context` is what the platform gives besides the request. The client's address is only known if `ip`
 * reads it from there. Throws `invalid_input` for options that make no sense.
 */
export function guard<Context = unknown>(
  verifier: Verifier,
  options: GuardOptions<[request: Request, context: Context]>,
  handler: (
    request: Request,
    verdict: GoodVerdict,
    context: Context,
  ) => Response | Promise<Response>,
): (request: Request, context: Context) => Promise<Response> {
  const decide = guardWith(verifier, options)
  return async (request, context) => {
    const outcome = await decide(factsOf(request), request, context)
    if ('refusal' in outcome) return responseOf(outcome.refusal)
    return handler(request, outcome.verdict, context)
  }
}

export function factsOf({ method, url, headers }: Request): Facts {
  const authorization = headers.get('authorization')
  return { method, url, authorization: authorization === null ? [] : [authorization] }
}

export function responseOf({ status, headers, body }: Refusal): Response {
  return new Response(body, { status, headers })
}
