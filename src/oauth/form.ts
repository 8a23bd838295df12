import { createHmac, timingSafeEqual } from 'node:crypto'
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Core } from '../core/core.ts'
import { CoreError } from '../core/errors.ts'
import { failureOf } from '../http/errors.ts'
import { errorPage } from './pages/error-page.ts'
import type { Page } from './pages/page.ts'

export type Form = Map<string, string>

/** Reads posted forms in the scope it is called in. A field that comes twice is refused. */
export function readForms(app: FastifyInstance): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser(
    'application/x-www-form-urlencoded',
    { parseAs: 'string' },
    (_, body, done) => {
      const form: Form = new Map()
      for (const [name, value] of new URLSearchParams(String(body))) {
        if (form.has(name)) {
          done(new CoreError('invalid_input', `The form has ${name} twice.`))
          return
        }
        form.set(name, value)
      }
      done(null, form)
    },
  )
}

export function formOf(request: FastifyRequest): Form {
  return request.body instanceof Map ? (request.body as Form) : new Map()
}

/** Proves that a form was made here for this purpose: no other site can know it. */
export function csrfFor(core: Core, purpose: string): string {
  return createHmac('sha256', core.keyring.derived('csrf')).update(purpose).digest('base64url')
}

/**
 * Refuses what another site made the browser post. Throws `forbidden`.
 * Besides the form's secret, what the browser itself says of where the form was (Fetch Metadata).
 */
export function mustComeFromOurForm(
  request: FastifyRequest,
  { core, purpose, publicUrl }: { core: Core; purpose: string; publicUrl: string },
): void {
  mustComeFromOurSite(request, publicUrl)
  const expected = Buffer.from(csrfFor(core, purpose))
  const presented = Buffer.from(formOf(request).get('csrf') ?? '')
  const isOurs = presented.length === expected.length && timingSafeEqual(presented, expected)
  if (!isOurs) throw foreign()
}

/** Refuses a post of which the browser says that another site's page made it. Throws `forbidden`. */
export function mustComeFromOurSite({ headers }: FastifyRequest, publicUrl: string): void {
  const { origin, 'sec-fetch-site': site } = headers
  const isForeign =
    (site !== undefined && site !== 'same-origin' && site !== 'none') ||
    (origin !== undefined && origin !== new URL(publicUrl).origin)
  if (isForeign) throw foreign()
}

function foreign(): CoreError {
  return new CoreError('forbidden', 'This form is not from here, or too old. Start again.')
}

/** Answers a page under its own policy. Its forms must say where they come from, hence the referrer. */
export function sendPage(reply: FastifyReply, page: Page): FastifyReply {
  return reply
    .code(page.status)
    .header('content-security-policy', page.csp)
    .header('referrer-policy', 'same-origin')
    .type('text/html; charset=utf-8')
    .send(page.html)
}

/** People get pages, not JSON. */
export function sendErrorPage(
  error: FastifyError | CoreError,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  const { status, code, message, retryAfterSeconds } = failureOf(error, request)
  if (retryAfterSeconds !== undefined) reply.header('retry-after', String(retryAfterSeconds))
  return sendPage(reply, errorPage({ status, code, description: message, requestId: request.id }))
}
