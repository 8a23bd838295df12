import type { ErrorOptions, Failure } from '../../http/errors.ts'

/** Sentences of the original, which clients and people search for. */
export const SAYINGS = {
  noCredential: 'Authentication credentials were not provided.',
  badCredential: 'Token invalid/expired',
  otherScheme: 'Unsupported authentication type',
  malformedHeader: 'Malformed header',
  noPermission: 'You do not have permission to perform this action.',
  invalidPage: 'Invalid page.',
  invalidChoice: 'Select a valid choice. That choice is not one of the available choices.',
  noPath: 'Not found.',
} as const

export const noMatch = (model: string) => `No ${model} matches the given query.`
export const notAllowed = (method: string) => `Method "${method}" not allowed.`

/** What the credential reader says itself; the guard's own words become the original's. */
const ABOUT_CREDENTIALS: readonly string[] = [
  SAYINGS.noCredential,
  SAYINGS.otherScheme,
  SAYINGS.malformedHeader,
]

interface Answer {
  status: number
  detail: string
}

/** Core's failures in the words of this wire: a new code does not compile until it has an answer. */
function answerTo({ code, status, message, retryAfterSeconds }: Failure): Answer {
  switch (code) {
    case 'invalid_input':
      // 400, or what the HTTP parser chose.
      return { status, detail: aboutJson(message) }
    case 'unauthenticated':
      // Never 401: the original names no scheme to try, so Django REST framework makes it a 403.
      return {
        status: 403,
        detail: ABOUT_CREDENTIALS.includes(message) ? message : SAYINGS.badCredential,
      }
    case 'login_failed':
    case 'password_change_required':
      return { status: 403, detail: message }
    case 'forbidden':
    case 'beyond_rights':
    case 'beyond_policy':
      return { status: 403, detail: SAYINGS.noPermission }
    case 'not_found':
      return { status: 404, detail: message }
    case 'route_not_found':
      return { status: 404, detail: SAYINGS.noPath }
    case 'name_taken':
    case 'last_admin':
    case 'token_not_active':
    case 'conflict':
      return { status: 409, detail: message }
    case 'payload_too_large':
      return { status: 413, detail: message }
    case 'unsupported_media_type':
      return { status: 415, detail: 'Unsupported media type in request.' }
    case 'idempotency_mismatch':
      return { status: 422, detail: message }
    case 'too_many_requests':
      return { status: 429, detail: throttled(retryAfterSeconds) }
    case 'internal_error':
      return { status: 500, detail: message }
    case 'not_configured':
      return { status: 501, detail: message }
    case 'upstream_failed':
      return { status: 502, detail: message }
    case 'unavailable':
      return { status: 503, detail: message }
  }
}

function aboutJson(message: string): string {
  return message.includes('not valid JSON') ? `JSON parse error - ${message}` : message
}

function throttled(seconds: number | undefined): string {
  const until = seconds === undefined ? '' : ` Expected available in ${seconds} seconds.`
  return `Request was throttled.${until}`
}

/** `{"detail":"…"}`. */
export const authentikErrors: ErrorOptions = {
  // Exactly this: the official Go client knows no other way to spell it.
  contentType: 'application/json',
  statusOf: (failure) => answerTo(failure).status,
  shape: (failure) => ({ detail: answerTo(failure).detail }),
}
