import type { ErrorOptions, Failure } from '../../http/errors.ts'

interface Answer {
  status: number
  /** The symbol in `code`. */
  code: string
  /** Instead of core's sentence, where that one does not help on this wire. */
  message?: string
}

/** Core's failures in the words of this wire: a new code does not compile until it has an answer. */
function answerTo(code: Failure['code']): Answer {
  switch (code) {
    case 'invalid_input':
      return { status: 400, code: 'InvalidParameter' }
    case 'unauthenticated':
      return { status: 401, code: 'Unauthorized' }
    case 'login_failed':
      return { status: 401, code: 'LoginFailed' }
    case 'password_change_required':
      return {
        status: 401,
        code: 'PasswordChangeRequired',
        message:
          'This password must be replaced first: log in once at POST /api/v1/login with a newPassword of your choice.',
      }
    case 'forbidden':
      return { status: 403, code: 'Forbidden' }
    case 'beyond_rights':
      return { status: 403, code: 'RightsExceeded' }
    case 'beyond_policy':
      return { status: 403, code: 'PolicyViolated' }
    case 'not_found':
      return { status: 404, code: 'NotFound' }
    case 'route_not_found':
      return { status: 404, code: 'RouteNotFound' }
    case 'name_taken':
      return { status: 409, code: 'DuplicateName' }
    case 'last_admin':
      return { status: 409, code: 'LastAdmin' }
    case 'token_not_active':
      return { status: 409, code: 'AccessTokenNotActive' }
    case 'conflict':
      return { status: 409, code: 'Conflict' }
    case 'payload_too_large':
      return { status: 413, code: 'PayloadTooLarge' }
    case 'unsupported_media_type':
      return { status: 415, code: 'UnsupportedMediaType' }
    case 'idempotency_mismatch':
      return { status: 422, code: 'IdempotencyMismatch' }
    case 'too_many_requests':
      return { status: 429, code: 'TooManyRequests' }
    case 'internal_error':
      return { status: 500, code: 'InternalError' }
    case 'not_configured':
      return { status: 501, code: 'NotConfigured' }
    case 'upstream_failed':
      return { status: 502, code: 'UpstreamFailed' }
    case 'unavailable':
      return { status: 503, code: 'Unavailable' }
  }
}

/** `{"code":"<Symbol>","message":"…","details":""}`: the shape of the system's ErrorRecord. */
export const xmsErrors: ErrorOptions = {
  statusOf: ({ code }) => answerTo(code).status,
  shape: ({ code, message }) => {
    const answer = answerTo(code)
    return { code: answer.code, message: answer.message ?? message, details: '' }
  },
}
