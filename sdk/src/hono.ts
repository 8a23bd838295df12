import { type GoodVerdict, type GuardOptions, guardWith, type Verifier } from './guard.ts'
import { factsOf, responseOf } from './web.ts'

/** For `new Hono<{ Variables: MintmarkVariables }>()`, so that `c.get('mintmark')` has its type. */
export interface MintmarkVariables {
  /** What let the request in. */
  mintmark: GoodVerdict
}

/** As much of Hono's context as is needed. */
export interface HonoContext {
  req: { raw: Request; param(name: string): string | undefined }
  set(key: 'mintmark', value: GoodVerdict): void
}

/**
 * Middleware for Hono: `app.get('/builds', guard(verifier, { scopes: ['build'] }), …)`. The verdict is
 * `c.get('mintmark')`. Hono does not know the client's address; `ip` has to, such as
 * `(c) => getConnInfo(c).remote.address`. Throws `invalid_input` for options that make no sense.
 */
export function guard<C extends HonoContext = HonoContext>(
  verifier: Verifier,
  options: GuardOptions<[C]> = {},
) {
  const decide = guardWith(verifier, options)

  // What a framework expects of its handlers must not decide what C is.
  return async (c: NoInfer<C>, next: () => Promise<void>): Promise<Response | undefined> => {
    const outcome = await decide(factsOf(c.req.raw), c)
    if ('refusal' in outcome) return responseOf(outcome.refusal)
    c.set('mintmark', outcome.verdict)
    await next()
    return undefined
  }
}
