import { randomUUID } from 'node:crypto'
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type { FastifyInstance } from 'fastify'
import type { Health } from './health.ts'
import { type Asked, isMissing, type Lane, type LaneAnswer, METHOD } from './lane.ts'

interface Exchange {
  request: IncomingMessage
  response: ServerResponse
}

/**
 * Lets plain requests overtake the framework among those that Node's HTTP server has parsed. Returns the way
 * past it.
 */
export function openLane(
  { server }: FastifyInstance,
  { lane, health }: { lane: Lane; health: Health },
): RequestListener {
  const ordinary = listenerOf(server)

  function finish(
    asked: Asked,
    { request, response, body }: Exchange & { body: Buffer | undefined },
  ): void {
    // A body in pieces is rare enough to be put together elsewhere.
    const isWhole = body === undefined || body.length === asked.bodyBytes
    const answer = isWhole ? lane.answer(asked, body) : undefined
    if (answer instanceof Promise) {
      sendLater(answer, asked, { request, response, body })
      return
    }
    if (answer !== undefined) {
      send(answer, asked, response)
      return
    }
    if (body !== undefined) putBack(request, body)
    ordinary(request, response)
  }

  function sendLater(
    answer: Promise<LaneAnswer>,
    asked: Asked,
    { request, response, body }: Exchange & { body: Buffer | undefined },
  ): void {
    // Kept unread until the answer is there, so that a failure can be told by the ordinary route.
    if (body !== undefined) putBack(request, body)
    health.underWay++
    answer
      .then(
        (answer) => {
          send(answer, asked, response)
          request.resume()
        },
        () => ordinary(request, response),
      )
      .finally(() => {
        health.underWay--
      })
  }

  function send({ status, json, bytes }: LaneAnswer, asked: Asked, response: ServerResponse): void {
    const requestId = randomUUID()
    const headers = lane.headers.slice()
    headers.push('x-request-id', requestId, 'cache-control', 'no-store')
    headers.push('content-length', String(bytes))
    response.writeHead(status, headers)
    // Where each character is a byte, it is copied rather than encoded.
    response.end(json, bytes === json.length ? 'latin1' : 'utf8')
    lane.note(asked, status, requestId)
  }

  /** The body is there in the next tick when it came with the head, which is the common case. */
  function readBody(asked: Asked, { request, response }: Exchange): void {
    const body: Buffer | null = request.read()
    if (body !== null) finish(asked, { request, response, body })
    else awaitBody(asked, { request, response })
  }

  function awaitBody(asked: Asked, { request, response }: Exchange): void {
    health.underWay++
    const came = (body: Buffer) => {
      health.underWay--
      request.off('close', left)
      finish(asked, { request, response, body })
    }
    const left = () => {
      health.underWay--
    }
    request.once('data', came)
    request.once('close', left)
  }

  server.removeListener('request', ordinary)
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    const { method, url = '', rawHeaders: raw } = request
    const { remoteAddress } = request.socket
    const asked = method === METHOD ? lane.begin({ url, raw, remoteAddress }) : undefined
    if (asked === undefined || isMissing(asked)) ordinary(request, response)
    else if (asked.route.body !== undefined)
      process.nextTick(readBody, asked, { request, response })
    else finish(asked, { request, response, body: undefined })
  })
  return ordinary
}

/** The framework itself, as the server knows it. */
function listenerOf(server: FastifyInstance['server']): RequestListener {
  const [listener, ...others] = server.listeners('request') as RequestListener[]
  if (listener !== undefined && others.length === 0) return listener
  throw new Error('The server must have exactly one request listener.')
}

/** Undoes the reading of a request's body, all of it or its beginning. */
function putBack(request: IncomingMessage, body: Buffer): void {
  request.pause()
  request.unshift(body)
}
