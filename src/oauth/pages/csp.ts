import { createHash } from 'node:crypto'
import { isRunning } from './html.ts'

export interface Allowances {
  style: string
  /**
   * Where a form of the page may end up besides this server: full URIs. Undefined: there is no form.
   */
  leadsTo: readonly string[] | undefined
}

/** The `Content-Security-Policy` of one page: nothing but what it contains. */
export function contentSecurityPolicy({ style, leadsTo }: Allowances): string {
  const directives = [
    "default-src 'none'",
    `style-src ${hashSource(style)}`,
    // The icon in the page's own head; without it browsers ask for /favicon.ico.
    'img-src data:',
    `form-action ${leadsTo === undefined ? "'none'" : formSources(leadsTo).join(' ')}`,
    "frame-ancestors 'none'",
    "base-uri 'none'",
  ]
  return directives.join('; ')
}

/** Names an inline style by its content (CSP 3, section 2.3.1). */
export function hashSource(content: string): string {
  return `'sha256-${createHash('sha256').update(content).digest('base64')}'`
}

function formSources(leadsTo: readonly string[]): string[] {
  const sources = leadsTo.map(formSource).filter((source) => source !== undefined)
  return [...new Set(["'self'", ...sources])]
}

/** What CSP's grammar can say of a host: no IPv6 address, and none of the `;`, `,` and `*` of URLs. */
const SAYABLE_HOST = /^[a-z0-9-]+(\.[a-z0-9-]+)*$/

/**
 * The narrowest source that lets a form lead to `uri` and beyond. Chromium holds `form-action` against
 * every redirect that follows a post, those of the client included: a callback that goes on to another
 * host of the same application would be blocked. So https leads to https anywhere, a program on this
 * computer to its other ports, and an app to its own scheme.
 */
export function formSource(uri: string): string | undefined {
  const url = URL.parse(uri)
  if (url === null || isRunning(uri)) return undefined
  if (url.protocol !== 'http:') return url.protocol
  return SAYABLE_HOST.test(url.hostname) ? `http://${url.hostname}:*` : url.protocol
}
