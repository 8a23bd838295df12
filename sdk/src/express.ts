import { authorizationsOf } from './bearer.ts'
import { type GoodVerdict, type GuardOptions, guardWith, type Verifier } from './guard.ts'

declare global {
  // The place that Express's own types give to middleware.
  namespace Express {
    interface Request {
      /** What let the request in. */
      mintmark?: GoodVerdict
    }
  }
}

/** As much of Express's request as is needed. */
export interface ExpressRequest {
  method: string
  url: string
  rawHeaders: readonly string[]
  ip?: string | undefined
  params: Readonly<Record<string, string | string[]>>
}

/** As much of Express's response as is needed. */
export interface ExpressResponse {
  writeHead(status: number, headers: Record<string, string>): unknown
  end(body: string): unknown
}

/**
 * Middleware for Express 4 and 5: `app.get('/builds', guard(verifier, { scopes: ['build'] }), …)`. The
 * verdict is in `request.mintmark`. The client's address is `request.ip`, so set `trust proxy` if there is
 * one. Throws `invalid_input` for options that make no sense.
 */
export function guard<R extends ExpressRequest = ExpressRequest>(
  verifier: Verifier,
  options: GuardOptions<[R]> = {},
) {
  const decide = guardWith(verifier, options)

  async function pass(request: R, response: ExpressResponse): Promise<boolean> {
    const { method, url, ip, rawHeaders } = request
    const facts = { method, url, ip, authorization: authorizationsOf(rawHeaders) }
    const outcome = await decide(facts, request)
    if ('verdict' in outcome) {
      Object.assign(request, { mintmark: outcome.verdict })
      return true
    }
    const { status, headers, body } = outcome.refusal
    response.writeHead(status, headers)
    response.end(body)
    return false
  }

  // What a framework expects of its handlers must not decide what R is.
  return (
    request: NoInfer<R>,
    response: ExpressResponse,
    next: (error?: unknown) => void,
  ): void => {
    // Express 4 does not look after promises. What `next` itself throws is not ours to catch.
    pass(request, response).then((isIn) => isIn && next(), next)
  }
}
