/** What a request presents, as far as it matters who may pass. */
export interface Presented {
  /** Each Authorization header, as it came. */
  authorization: readonly string[]
  /** Path and query, or all of it. */
  url: string
}

/** The one credential of a request, or why there is none. */
export type Bearer = { token: string } | { problem: 'none' | 'malformed' | 'several' }

const SCHEME = /^bearer /i
const TOKEN = /^[\x21-\x2b\x2d-\x7e]+$/
/** The server takes no longer ones. */
const MAX_LENGTH = 15_000

/**
 * Reads `Authorization: Bearer <token>` (RFC 6750, section 2.1). Neither the first nor the last of
 * several wins, and a token in the URL, which lands in logs, is none.
 */
export function bearerOf({ authorization, url }: Presented): Bearer {
  const [header = ''] = authorization
  if (authorization.length > 1) return { problem: 'several' }
  if (!SCHEME.test(header)) return { problem: 'none' }
  // Platforms join repeated headers with a comma, which no token has.
  if (header.includes(',') || hasTokenInQuery(url)) return { problem: 'several' }
  const token = header.slice('bearer '.length)
  return TOKEN.test(token) && token.length <= MAX_LENGTH ? { token } : { problem: 'malformed' }
}

function hasTokenInQuery(url: string): boolean {
  const start = url.indexOf('?')
  return start >= 0 && new URLSearchParams(url.slice(start)).has('access_token')
}

/** The Authorization headers among Node's raw ones: of repeated ones it otherwise keeps one. */
export function authorizationsOf(rawHeaders: readonly string[]): string[] {
  return rawHeaders.filter(
    (_, i) => i % 2 === 1 && rawHeaders[i - 1]?.toLowerCase() === 'authorization',
  )
}
