import { randomUUID } from 'node:crypto'
import type { Socket } from 'node:net'
import type { ConnectionError, FastifyBaseLogger } from 'fastify'
import { problem } from './errors.ts'

/**
 * Answers what Node's HTTP parser refused before there was a request. Its error carries the raw bytes,
 * credentials included, so only its code is logged.
 */
export function refuseUnparsed(log: FastifyBaseLogger) {
  return (error: ConnectionError, socket: Socket): void => {
    if (error.code === 'ECONNRESET' || socket.destroyed) return
    const requestId = randomUUID()
    const { status, message } = refusalOf(error.code)
    log.debug({ code: error.code, status, requestId }, 'The request could not be parsed')
    const refusal = problem({ status, code: 'invalid_input', message }, requestId)
    const body = JSON.stringify(refusal)
    if (socket.writable) {
      socket.write(
        [
          `HTTP/1.1 ${status} ${refusal.title}`,
          'content-type: application/problem+json',
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

function refusalOf(code: string): { status: number; message: string } {
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    return { status: 408, message: 'The request did not arrive in time. Send it again.' }
  }
  if (code === 'HPE_HEADER_OVERFLOW') {
    return { status: 431, message: 'The request line and headers are too large.' }
  }
  return { status: 400, message: 'This is not an HTTP request that can be understood.' }
}
