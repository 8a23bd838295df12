/** What an error carries besides its message. */
export interface Failure {
  status: number
  code: string
  detail: string
  requestId?: string | undefined
  retryAfterSeconds?: number | undefined
  column?: number | undefined
  cause?: unknown
}

/**
 * The one error of this SDK. A refusal carries what the server said (RFC 9457); when no server
 * answered, `status` is 0 and `code` is `network_failed`, `timeout` or `aborted`.
 */
export class MintmarkError extends Error {
  /** HTTP status; 0: there was no answer. */
  readonly status: number
  /** Stable name of the problem, such as `not_found`; safe to compare. */
  readonly code: string
  /** A sentence for people: what went wrong and what to do next. */
  readonly detail: string
  /** Names the request in the server's log. */
  readonly requestId: string | undefined
  /** After how many seconds the server wants to be asked again. */
  readonly retryAfterSeconds: number | undefined
  /** Where in the query `q` the mistake is, from 1. */
  readonly column: number | undefined

  constructor(failure: Failure) {
    super(failure.detail, failure.cause === undefined ? undefined : { cause: failure.cause })
    this.name = 'MintmarkError'
    this.status = failure.status
    this.code = failure.code
    this.detail = failure.detail
    this.requestId = failure.requestId
    this.retryAfterSeconds = failure.retryAfterSeconds
    this.column = failure.column
  }
}
