import type { ErrorOptions, Failure } from '../../http/errors.ts'
import type { ApiError } from './wire.ts'

/**
 * S7 has one body for every failure and takes our statuses as they are, so that its generated
 * clients raise their UnauthorizedException, ForbiddenException and NotFoundException. The codes are
 * listed one by one: a new one does not compile until somebody has decided.
 */
function apiError({ code, status, message }: Failure): ApiError {
  switch (code) {
    case 'invalid_input':
    case 'unauthenticated':
    case 'login_failed':
    case 'password_change_required':
    case 'forbidden':
    case 'beyond_rights':
    case 'beyond_policy':
    case 'not_found':
    case 'route_not_found':
    case 'name_taken':
    case 'last_admin':
    case 'token_not_active':
    case 'conflict':
    case 'payload_too_large':
    case 'unsupported_media_type':
    case 'idempotency_mismatch':
    case 'too_many_requests':
    case 'internal_error':
    case 'not_configured':
    case 'upstream_failed':
    case 'unavailable':
      return { code: status, message }
  }
}

export const s7Errors: ErrorOptions = { shape: apiError }
