import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { CoreError, type ErrorCode } from '../core/errors.ts'

/** What went wrong, before a dialect gives it its own shape. */
export interface Failure {
  /** Status that our own API answers; dialects may choose another. */
  status: number
  /** A CoreError's code, or what HTTP itself refused. */
  code: ErrorCode | HttpCode
  message: string
  retryAfterSeconds: number | undefined
  /** Where in a query the mistake is. */
  column?: number | undefined
}

/** Refused before core was asked. */
export type HttpCode =
  | 'route_not_found'
  | 'payload_too_large'
  | 'unsupported_media_type'
  | 'internal_error'

const STATUS: Record<ErrorCode, number> = {
  invalid_input: 400,
  unauthenticated: 401,
  login_failed: 401,
  password_change_required: 403,
  forbidden: 403,
  beyond_rights: 403,
  beyond_policy: 403,
  not_found: 404,
  name_taken: 409,
  last_admin: 409,
  token_not_active: 409,
  conflict: 409,
  idempotency_mismatch: 422,
  too_many_requests: 429,
  not_configured: 501,
  upstream_failed: 502,
  unavailable: 503,
}

/** Body of an error in an API's own shape. */
export type ErrorShape = (failure: Failure, request: { id: string }) => object | undefined

export interface ErrorOptions {
  shape: ErrorShape
  /** The status in an API that differs from our own. */
  statusOf?: (failure: Failure) => number
  contentType?: string
}

/** Whose shape a refusal takes where no route was reached, by the path that was asked for. */
export type ShapeOf = (path: string) => ErrorOptions

/** Answers errors of the scope in its API's shape. Call it in the scope of each API. */
export function answerErrors(app: FastifyInstance, options: ErrorOptions): void {
  app.setErrorHandler((error: FastifyError | CoreError, request, reply) =>
    sendFailure(failureOf(error, request), { request, reply, options }),
  )
}

/** Sends a failure; also for routes that found no handler. */
export function sendFailure(
  failure: Failure,
  {
    request,
    reply,
    options,
  }: { request: FastifyRequest; reply: FastifyReply; options: ErrorOptions },
): FastifyReply {
  const status = options.statusOf?.(failure) ?? failure.status
  if (status === 401) reply.header('www-authenticate', 'Bearer')
  if (failure.retryAfterSeconds !== undefined) {
    reply.header('retry-after', String(failure.retryAfterSeconds))
  }
  const body = options.shape({ ...failure, status }, request)
  reply.code(status).header('cache-control', 'no-store')
  if (body === undefined) return reply.send()
  return reply
    .header('content-type', options.contentType ?? 'application/json; charset=utf-8')
    .serializer((payload: unknown) => JSON.stringify(payload))
    .send(body)
}

/** Anything thrown → what to tell. Unexpected errors are logged here and say nothing on the wire. */
export function failureOf(error: FastifyError | CoreError, request: FastifyRequest): Failure {
  if (error instanceof CoreError) {
    const { code, message, retryAfterSeconds, column, detail, cause, isToldOnce } = error
    // What an operator left out is no failure, and anybody could fill the log with it.
    if (code === 'not_configured') request.log.warn({ code, detail }, message)
    else if (isToldOnce) request.log.debug({ code, detail }, message)
    else if (STATUS[code] >= 500) request.log.error({ code, detail, err: cause }, message)
    // Without the message, which may repeat what was sent: people paste secrets into wrong fields.
    else request.log.debug({ code, detail }, 'The request was refused')
    return { status: STATUS[code], code, message, retryAfterSeconds, column }
  }
  // Anything can be thrown, with any status on it; only a client's mistake is told as one.
  const status = (error as FastifyError | undefined)?.statusCode ?? 500
  if (status >= 400 && status < 500) return refusedByHttp(error, status)
  request.log.error({ err: error }, 'Unexpected error')
  return {
    status: 500,
    code: 'internal_error',
    message: `Something went wrong on our side. Tell your administrator the request id ${request.id}.`,
    retryAfterSeconds: undefined,
  }
}

function refusedByHttp(error: FastifyError, status: number): Failure {
  const known: Record<number, HttpCode | ErrorCode> = {
    404: 'route_not_found',
    413: 'payload_too_large',
    415: 'unsupported_media_type',
    429: 'too_many_requests',
  }
  const code = known[status] ?? 'invalid_input'
  return {
    status,
    code,
    message: SENTENCES[error.code] ?? sentence(error),
    retryAfterSeconds: undefined,
  }
}

/** What to do about what Fastify itself refuses; its own messages are for developers of servers. */
const SENTENCES: Record<string, string> = {
  FST_ERR_CTP_INVALID_JSON_BODY: 'The body is not valid JSON.',
  FST_ERR_CTP_BODY_TOO_LARGE: 'The body is too large. Send at most 64 KiB.',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'Send JSON, with the Content-Type application/json.',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'The body is not as long as its Content-Length says.',
}

function sentence(error: FastifyError): string {
  const [problem] = error.validation ?? []
  if (problem === undefined) {
    return error.code?.startsWith('FST_') ? error.message : 'The request is not valid.'
  }
  const where = `${error.validationContext ?? 'request'}${problem.instancePath}`
  const extra = problem.params.additionalProperty
  if (typeof extra === 'string') return `${where} has an unknown member "${extra.slice(0, 60)}".`
  const allowed = problem.params.allowedValues
  if (Array.isArray(allowed)) return `${where} must be one of ${allowed.join(', ')}.`
  return `${where} ${problem.message ?? 'is not valid'}.`
}

/** RFC 9457 problem document, the shape of our own API. */
export const problemDocument: ErrorOptions = {
  contentType: 'application/problem+json',
  shape: (failure, request) => problem(failure, request.id),
}

function problem(
  { status, code, message, column }: Omit<Failure, 'retryAfterSeconds'>,
  requestId: string,
) {
  const title = TITLES[status] ?? 'Error'
  const where = column === undefined ? {} : { column }
  return { type: 'about:blank', title, status, detail: message, code, requestId, ...where }
}

const TITLES: Record<number, string> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  408: 'Request Timeout',
  409: 'Conflict',
  413: 'Payload Too Large',
  414: 'URI Too Long',
  415: 'Unsupported Media Type',
  422: 'Unprocessable Content',
  429: 'Too Many Requests',
  431: 'Request Header Fields Too Large',
  500: 'Internal Server Error',
  501: 'Not Implemented',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
}
