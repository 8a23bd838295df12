import type { ErrorOptions, Failure } from '../../http/errors.ts'

/** Core's failures as statuses of this wire: a new code does not compile until it has an answer. */
function statusOf({ code }: Failure): number {
  switch (code) {
    case 'invalid_input':
      return 400
    case 'unauthenticated':
    case 'login_failed':
    case 'password_change_required':
      return 401
    case 'forbidden':
    case 'beyond_rights':
    case 'beyond_policy':
      return 403
    case 'not_found':
    case 'route_not_found':
      return 404
    case 'name_taken':
    case 'last_admin':
    case 'token_not_active':
    case 'conflict':
      return 409
    case 'payload_too_large':
      return 413
    case 'unsupported_media_type':
      return 415
    case 'idempotency_mismatch':
      return 422
    case 'too_many_requests':
      return 429
    case 'internal_error':
      return 500
    case 'not_configured':
      return 501
    case 'upstream_failed':
      return 502
    case 'unavailable':
      return 503
  }
}

/** `{"code":<HTTP status>,"message":"…"}`. */
export const opalErrors: ErrorOptions = {
  statusOf,
  shape: ({ status, message }) => ({ code: status, message }),
}
