import type { ErrorOptions, Failure } from '../http/errors.ts'

/** Errors as OAuth spells them (RFC 6749, section 5.2). */
export const oauthErrors: ErrorOptions = {
  shape: (failure) => ({ error: errorOf(failure), error_description: sentenceOf(failure) }),
}

function sentenceOf({ code, message }: Failure): string {
  return code === 'unsupported_media_type'
    ? 'Send a form, with the Content-Type application/x-www-form-urlencoded.'
    : message
}

function errorOf({ status, code }: Failure): string {
  if (code === 'unauthenticated') return 'invalid_token'
  if (code === 'forbidden' || code === 'beyond_rights' || code === 'beyond_policy') {
    return 'access_denied'
  }
  if (status === 503) return 'temporarily_unavailable'
  return status >= 500 ? 'server_error' : 'invalid_request'
}
