import { randomUUID } from 'node:crypto'
import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { ConnectionError, FastifyBaseLogger } from 'fastify'
import type { ShapeOf } from './errors.ts'

/**
 * Answers what Node's HTTP parser refused before there was a request. Its error carries the raw bytes,
 * credentials included, so only its code is logged.
 */
export function refuseUnparsed(log: FastifyBaseLogger, shapeOf: ShapeOf) {
  return (error: ConnectionError, socket: Socket): void => {
    if (error.code === 'ECONNRESET' || socket.destroyed) return
    const requestId = randomUUID()
    const { status, message } = refusalOf(error.code)
    log.debug({ code: error.code, status, requestId }, 'The request could not be parsed')
    const { shape, contentType = 'application/json; charset=utf-8' } = shapeOf(pathOf(error))
    const failure = {
      status,
      code: 'invalid_input',
      message,
      retryAfterSeconds: undefined,
    } as const
    const body = JSON.stringify(shape(failure, { id: requestId }) ?? {})
    if (socket.writable) {
      socket.write(
        [
          `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
          `content-type: ${contentType}`,
          `content-length: ${Buffer.byteLength(body)}`,
          'cache-control: no-store',
          'connection: close',
          '',
          body,
        ].join('\r\n'),
      )
    }
    socket.destroy(error)
  }
}

/** What of the request line can be told; enough to choose whose shape the answer takes. */
function pathOf({ rawPacket }: ConnectionError): string {
  // A Buffer, whatever its declared type says.
  const bytes: unknown = rawPacket
  const start = Buffer.isBuffer(bytes) ? bytes.subarray(0, 200).toString('latin1') : ''
  return /^[A-Z]+ (\/[^\s?]*)/.exec(start)?.[1] ?? '/'
}

function refusalOf(code: string): { status: number; message: string } {
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    return { status: 408, message: 'The request did not arrive in time. Send it again.' }
  }
  if (code === 'HPE_HEADER_OVERFLOW') {
    return { status: 431, message: 'The request line and headers are too large.' }
  }
  return { status: 400, message: 'This is not an HTTP request that can be understood.' }
}
