import type { FastifyInstance } from 'fastify'
import { formOf } from './form.ts'
import { ROUTES } from './routes.ts'

/** Both may be asked by a form, too (OpenID Connect Core, 3.1.2.1; RP-Initiated Logout, section 2). */
const DOORS = [ROUTES.authorization, ROUTES.end_session]

/**
 * Turns a posted request into the same one as a link. A browser does not send its login along when
 * another site's form posts, but it does when it is sent on from here.
 */
export function postedRequests(app: FastifyInstance, issuer: string): void {
  for (const url of DOORS) {
    app.post(url, { config: { public: true } }, async (request, reply) => {
      const to = new URL(`${issuer}${url}`)
      for (const [name, value] of formOf(request)) to.searchParams.set(name, value)
      return reply.redirect(to.href, 303)
    })
  }
}
