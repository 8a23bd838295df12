import { createHmac, timingSafeEqual } from 'node:crypto'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Core } from '../core/core.ts'
import { CoreError } from '../core/errors.ts'
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
  return createHmac('sha256', core.keyring.derived('cookie'))
    .update(`csrf:${purpose}`)
    .digest('base64url')
}

/**
 * Refuses what another site made the browser post. Throws `forbidden`.
 * Besides the form's secret, what the browser itself says of where the form was (Fetch Metadata).
 */
export function mustComeFromOurForm(
  request: FastifyRequest,
  { core, purpose, publicUrl }: { core: Core; purpose: string; publicUrl: string },
): void {
  const site = request.headers['sec-fetch-site']
  const { origin } = request.headers
  const isForeign =
    (site !== undefined && site !== 'same-origin' && site !== 'none') ||
    (origin !== undefined && origin !== new URL(publicUrl).origin)
  const expected = Buffer.from(csrfFor(core, purpose))
  const presented = Buffer.from(formOf(request).get('csrf') ?? '')
  const isOurs = presented.length === expected.length && timingSafeEqual(presented, expected)
  if (isForeign || !isOurs) {
    throw new CoreError('forbidden', 'This form is not from here, or too old. Start again.')
  }
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
