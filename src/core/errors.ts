/**
 * Everything that can go wrong on purpose. Each dialect answers every code with its own status and
 * body, so a new code does not compile until all of them have decided. Codes are never renamed.
 */
export type ErrorCode =
  | 'invalid_input'
  | 'unauthenticated'
  | 'login_failed'
  | 'password_change_required'
  | 'forbidden'
  | 'beyond_rights'
  | 'beyond_policy'
  | 'not_found'
  | 'name_taken'
  | 'last_admin'
  | 'token_not_active'
  | 'conflict'
  | 'idempotency_mismatch'
  | 'too_many_requests'
  | 'not_configured'
  | 'upstream_failed'
  | 'unavailable'

export interface ErrorExtras {
  /** For the log, never for the wire. */
  detail?: Record<string, unknown>
  /** For the log, never for the wire. */
  cause?: unknown
  /** Seconds after which trying again makes sense; becomes `Retry-After`. */
  retryAfterSeconds?: number
  /** Where in a text that the caller wrote the mistake is: characters, from 1. */
  column?: number
  /** Whoever refuses tells the log once for many: of too much to do, of a lost database. */
  isToldOnce?: boolean
}

/** An expected failure. `message` is for the caller and says what to do next. */
export class CoreError extends Error {
  readonly code: ErrorCode
  readonly detail: Record<string, unknown> | undefined
  readonly retryAfterSeconds: number | undefined
  readonly column: number | undefined
  readonly isToldOnce: boolean

  constructor(code: ErrorCode, message: string, extras: ErrorExtras = {}) {
    super(message, extras.cause === undefined ? undefined : { cause: extras.cause })
    this.name = 'CoreError'
    this.code = code
    this.detail = extras.detail
    this.retryAfterSeconds = extras.retryAfterSeconds
    this.column = extras.column
    this.isToldOnce = extras.isToldOnce ?? false
  }
}

/** The one wording for "there is nothing here that you may see", so that no caller can tell which. */
export function notFound(
  what:
    | 'token'
    | 'user'
    | 'group'
    | 'role'
    | 'membership'
    | 'client'
    | 'grant'
    | 'key'
    | 'job'
    | 'rule'
    | 'webhook'
    | 'delivery',
): CoreError {
  return new CoreError('not_found', `There is no such ${what}.`)
}
