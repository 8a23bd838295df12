import type { FastifyRequest } from 'fastify'
import { CoreError } from '../core/errors.ts'

/** Finds the credential in a request; undefined: there is none. Throws when there is more than one. */
export type CredentialReader = (request: FastifyRequest) => string | undefined

/** One credential per request: neither first-wins nor last-wins (RFC 6750, section 2). */
export function ambiguous(): CoreError {
  return new CoreError(
    'unauthenticated',
    'The request carries more than one credential. Send exactly one.',
  )
}

/** How many times a header was sent; Node silently drops repeated Authorization headers. */
export function headerCount(request: FastifyRequest, name: string): number {
  const raw = request.raw.rawHeaders
  let count = 0
  for (let i = 0; i < raw.length; i += 2) if (raw[i]?.toLowerCase() === name) count++
  return count
}

const BEARER = /^bearer ([^\s,]+)$/i

/** What an Authorization header presents as a bearer; undefined: nothing, or not in that form. */
export function bearerOf(header: string): string | undefined {
  return BEARER.exec(header)?.[1]
}

/** `Authorization: Bearer <credential>` (RFC 6750, section 2.1); anything else is no credential. */
export const bearerCredential: CredentialReader = (request) => {
  const header = request.headers.authorization
  if (header === undefined) return undefined
  if (headerCount(request, 'authorization') > 1) throw ambiguous()
  return bearerOf(header) ?? ''
}
