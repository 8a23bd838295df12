import type { FastifyRequest } from 'fastify'
import { CoreError } from '../../core/errors.ts'
import {
  ambiguous,
  bearerCredential,
  type CredentialReader,
  headerCount,
} from '../../http/credential.ts'

const HEADER = 'xms-auth-token'
const COOKIE = 'XMS_AUTH_TOKEN='

/**
 * XMS clients put their credential into a header, the query, a cookie, or several of them at once (the
 * official Go client fills header and query): equal values are one credential, different ones none.
 */
export function xmsCredential({ queryToken }: { queryToken: boolean }): CredentialReader {
  return (request) => {
    const inQuery = queryCredentials(request)
    if (inQuery.length > 0 && !queryToken) {
      throw new CoreError(
        'unauthenticated',
        'This server takes no token from the query. Send it in the header Xms-Auth-Token.',
      )
    }
    const bearer = bearerCredential(request)
    const presented = [
      ...headerCredentials(request),
      ...inQuery,
      ...cookieCredentials(request),
      ...(bearer === undefined ? [] : [bearer]),
    ]
    if (new Set(presented).size > 1) throw ambiguous()
    return presented[0]
  }
}

/** Python clients may be told to prefix the value. */
function withoutPrefix(value: string): string {
  return value.replace(/^bearer /i, '')
}

function headerCredentials(request: FastifyRequest): string[] {
  const value = request.headers[HEADER]
  if (value === undefined) return []
  if (headerCount(request, HEADER) > 1) throw ambiguous()
  return [withoutPrefix(String(value))]
}

function queryCredentials({ query }: FastifyRequest): string[] {
  // Asked before the schema is checked: the parser gives a string, or a list when it is repeated.
  const { token } = query as { token?: string | string[] }
  if (Array.isArray(token)) throw ambiguous()
  return token === undefined ? [] : [withoutPrefix(token)]
}

/** Read from the header itself, because a parser keeps only one of several equal names. */
function cookieCredentials(request: FastifyRequest): string[] {
  const values = (request.headers.cookie ?? '')
    .split(';')
    .map((pair) => pair.trim())
    .filter((pair) => pair.startsWith(COOKIE))
    .map((pair) => pair.slice(COOKIE.length))
  if (values.length > 1) throw ambiguous()
  // A browser adds cookies to what other sites make it send, so those requests carry none (CSRF).
  return sentByAnotherSite(request) ? [] : values
}

function sentByAnotherSite({ headers, host }: FastifyRequest): boolean {
  const site = headers['sec-fetch-site']
  if (site !== undefined && site !== 'same-origin' && site !== 'none') return true
  const { origin } = headers
  return origin !== undefined && (!URL.canParse(origin) || new URL(origin).host !== host)
}
