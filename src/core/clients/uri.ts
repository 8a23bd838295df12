import { CoreError } from '../errors.ts'
import type { ClientType } from './client.ts'

const MAX_LENGTH = 2000
/** The characters of a URI (RFC 3986, section 2) but `#` and `*`: no fragment and no wildcard. */
const CHARACTERS = /^[A-Za-z0-9\-._~:/?[\]@!$&'()+,;=%]+$/
const BROKEN_ESCAPE = /%(?![0-9A-Fa-f]{2})/
/** A host as it is; anything else ends up in headers that are made of it, or is decoded on the way. */
const WEB = /^(https?):\/\/((?:\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::\d{1,5})?)(?=[/?]|$)/i
const LOOPBACK = /^(?:localhost|127\.0\.0\.1|\[::1\])(?::\d+)?$/i
/** A private-use scheme is the reverse of a domain name that the app's maker has (RFC 8252, section 7.1). */
const REVERSE_DOMAIN = /^[a-z][a-z0-9+-]*(?:\.[a-z0-9+-]+)+:./i

/**
 * Checks where a client may be sent back to; it is kept and later compared as it is written
 * (RFC 9700, section 2.1). https anywhere, http on this device, and for public clients an app's own
 * scheme. Throws `invalid_input`.
 */
export function checkRedirectUri(text: string, type: ClientType): string {
  const what = 'a redirect URI'
  mustBeUri(text, what)
  if (/^https?:/i.test(text)) {
    mustBeWeb(text, what)
    if (/^http:/i.test(text) && !LOOPBACK.test(authorityOf(text))) {
      throw refusal(
        text,
        what,
        'Use https; http is only for localhost, 127.0.0.1 and [::1], which stay on the device.',
      )
    }
    return text
  }
  if (!REVERSE_DOMAIN.test(text)) {
    throw refusal(
      text,
      what,
      'Use https, or for an app its reverse domain name as the scheme, such as com.example.app:/callback.',
    )
  }
  if (type !== 'public') {
    throw refusal(text, what, "Only a public client may have an app's own scheme. Use https.")
  }
  return text
}

/** Checks a resource indicator: an absolute URI without a fragment (RFC 8707, section 2). Throws `invalid_input`. */
export function checkResource(text: string): string {
  const what = 'a resource'
  mustBeUri(text, what)
  mustBeWeb(text, what)
  return text
}

function mustBeUri(text: string, what: string): void {
  if (text.length > MAX_LENGTH) {
    throw new CoreError('invalid_input', `A URI must have at most ${MAX_LENGTH} characters.`)
  }
  if (!CHARACTERS.test(text) || BROKEN_ESCAPE.test(text)) {
    throw refusal(
      text,
      what,
      'Write it in full and in ASCII, without spaces, wildcards, backslashes or a fragment (#).',
    )
  }
  if (!URL.canParse(text)) throw refusal(text, what, 'Write it like https://app.example.com/path.')
  const { username, password } = new URL(text)
  if (username !== '' || password !== '' || /^[^:]+:\/\/[^/?]*@/.test(text)) {
    throw refusal(text, what, 'Leave out the user name and password.')
  }
}

/** An http or https URI that everybody reads alike, browsers and libraries. */
function mustBeWeb(text: string, what: string): void {
  const { protocol, host } = new URL(text)
  const defaultPort = protocol === 'https:' ? ':443' : ':80'
  const authority = authorityOf(text).toLowerCase()
  if (WEB.test(text) && (authority === host || authority === host + defaultPort)) return
  throw refusal(text, what, 'Write it like https://app.example.com/path, with a plain host name.')
}

function authorityOf(text: string): string {
  return WEB.exec(text)?.[2] ?? ''
}

function refusal(text: string, what: string, way: string): CoreError {
  return new CoreError('invalid_input', `"${text.slice(0, 100)}" cannot be ${what}. ${way}`)
}
