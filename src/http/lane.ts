import { randomUUID } from 'node:crypto'
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import { isIP } from 'node:net'
import proxyAddress from '@fastify/proxy-addr'
import type { FastifyBaseLogger, FastifyInstance } from 'fastify'
import { opensApis, type Principal } from '../core/rights.ts'
import type { SecretKey } from '../core/secret.ts'
import type { Via } from '../core/tokens/token.ts'
import type { Verifier } from '../core/tokens/verify.ts'
import { looksLikeJwt } from './access-jwt.ts'
import type { Health } from './health.ts'
import type { RequestMeter } from './metrics.ts'
import { BODY_LIMIT_BYTES } from './server.ts'

/** A prepared answer. Its length is known from the start, so that head and body are one write. */
export interface LaneAnswer {
  status: number
  json: string
  bytes: number
}

export function laneAnswer(status: number, body: object): LaneAnswer {
  const json = JSON.stringify(body)
  return { status, json, bytes: Buffer.byteLength(json) }
}

/** Answers an asker who is authenticated. */
export type Reply = (asker: Principal) => LaneAnswer | Promise<LaneAnswer>

/**
 * A route that is asked far more often than all others. Its plain requests are answered in front of the
 * framework; each function says `undefined` to whatever is not plain, and the ordinary route of the
 * same path then answers as if there were no lane.
 */
export interface LaneRoute {
  path: string
  /** The pattern by which the log and the figures know the ordinary route. */
  pattern: string
  /** What kind of body is read; without one, a request with a body is not plain. */
  body: 'json' | 'form' | undefined
  /** The header that holds the credential, in lower case. */
  credentialHeader: string
  /** Through which API the credential is presented. */
  via: Via
  /** Further headers that the ordinary route looks at; a request with one of them is not plain. */
  strangeHeaders: readonly string[]
  /** The secret presented; `query` is what follows the question mark. */
  credential(header: string, query: string): string | undefined
  question(query: string, body: Buffer | undefined): Reply | undefined
  /**
   * Where not only tokens ask: the answer to who presents something else in the credential header,
   * authenticated as of now.
   */
  otherwise?(presented: Presented): LaneAnswer | Promise<LaneAnswer> | undefined
}

/** What is not the secret of a token, with the question. */
export interface Presented {
  header: string
  query: string
  body: Buffer | undefined
}

export interface LaneParts {
  routes: readonly LaneRoute[]
  verifier: Verifier
  health: Health
  meter: RequestMeter
  log: FastifyBaseLogger
  /** Headers of every answer. */
  headers: Record<string, string>
  /** Ranges of those that may speak for the client's address. */
  trustedProxies: string[]
}

const METHOD = 'POST'
const CONTENT_TYPE = 'application/json; charset=utf-8'
const BODY_TYPES = {
  json: /^application\/json(?:; ?charset=utf-8)?$/i,
  form: /^application\/x-www-form-urlencoded(?:; ?charset=utf-8)?$/i,
}
const LENGTH = /^(?:0|[1-9]\d{0,5})$/

/** What a header of a plain request is read as; all others are as little looked at as elsewhere. */
type Use = 'credential' | 'type' | 'length' | 'forwarded' | 'strange'

interface OpenRoute extends LaneRoute {
  uses: ReadonlyMap<string, Use>
  /** By length of a name: whether any name in `uses` is that long. Most headers end here. */
  lengths: readonly boolean[]
  /** Writes what is the same in each line only once. */
  log: FastifyBaseLogger
  observe: (status: number, seconds: number) => void
}

/** One plain request on its way. */
interface Asked {
  route: OpenRoute
  query: string
  /** Of the secret presented; undefined: something else was. */
  key: SecretKey | undefined
  header: string
  bodyBytes: number
  ip: string
  via: Via
  agent: readonly string[]
  startedMs: number
}

/** A request whose answer is not there yet. */
interface Waiting {
  asked: Asked
  /** Undefined: who asks is no token. */
  asker: Principal | undefined
  request: IncomingMessage
  body: Buffer | undefined
  response: ServerResponse
}

/**
 * Lets plain requests of `routes` overtake the framework: same authentication, verdicts, headers, log
 * lines and figures, without the router, the hooks and the schemas. It answers successes and verdicts
 * only. Nothing is decided, counted or logged here before a request has proven plain; every other one
 * goes to the framework untouched, so that each refusal is made in one place. Returns the way past it.
 */
export function openLane(app: FastifyInstance, parts: LaneParts): RequestListener {
  const { verifier, health } = parts
  const server = app.server
  const ordinary = listenerOf(server)
  const routes = new Map(parts.routes.map((route) => [route.path, opened(route, parts)]))
  const addressOf = readingForwarded(parts.trustedProxies)
  const fixed = Object.entries(parts.headers).flat().concat('content-type', CONTENT_TYPE)

  /** The request as far as its head tells; undefined: not plain. */
  function begin(request: IncomingMessage): Asked | undefined {
    if (request.method !== METHOD || health.draining || health.isCrowded) return undefined
    const url = request.url ?? ''
    const mark = url.indexOf('?')
    const route = routes.get(mark < 0 ? url : url.slice(0, mark))
    if (route === undefined) return undefined
    const startedMs = performance.now()
    const head = plainHead(request.rawHeaders, route)
    if (head === undefined) return undefined
    const query = mark < 0 ? '' : url.slice(mark)
    const secret = route.credential(head.credential, query)
    const ip = head.isForwarded ? addressOf(request) : request.socket.remoteAddress
    if (ip === undefined) return undefined
    let key: SecretKey | undefined
    if (secret === undefined) {
      if (route.otherwise === undefined) return undefined
    } else {
      if (looksLikeJwt(secret)) return undefined
      const known = verifier.lookUp(secret)
      if (known === undefined || !opensApis(known.principal)) return undefined
      key = known.key
    }
    return {
      route,
      query,
      key,
      header: head.credential,
      bodyBytes: head.bodyBytes,
      ip,
      via: route.via,
      agent: request.rawHeaders,
      startedMs,
    }
  }

  /** Answers, unless the request turns out not to be plain. Decides as of now, whatever was looked up. */
  function finish(
    { asked, request, body }: { asked: Asked; request: IncomingMessage; body: Buffer | undefined },
    response: ServerResponse,
  ): void {
    // A body in pieces is rare enough to be put together elsewhere.
    if (body !== undefined && body.length !== asked.bodyBytes) {
      handOver(request, response, body)
      return
    }
    const { route, query, key, header } = asked
    if (key === undefined) {
      const answer = route.otherwise?.({ header, query, body })
      if (answer === undefined) handOver(request, response, body)
      else if (!(answer instanceof Promise)) send(answer, { asked, asker: undefined, response })
      else sendLater(answer, { asked, asker: undefined, request, body, response })
      return
    }
    const reply = route.question(query, body)
    const verdict = reply === undefined ? undefined : verifier.verifyKnown(key, asked)
    if (reply === undefined || verdict?.active !== true || !opensApis(verdict.principal)) {
      handOver(request, response, body)
      return
    }
    const asker = verdict.principal
    const answer = reply(asker)
    if (!(answer instanceof Promise)) send(answer, { asked, asker, response })
    else sendLater(answer, { asked, asker, request, body, response })
  }

  function sendLater(
    answer: Promise<LaneAnswer>,
    { asked, asker, request, body, response }: Waiting,
  ): void {
    // Kept unread until the answer is there, so that a failure can be told by the ordinary route.
    if (body !== undefined) putBack(request, body)
    health.underWay++
    answer
      .then(
        (answer) => {
          send(answer, { asked, asker, response })
          request.resume()
        },
        () => ordinary(request, response),
      )
      .finally(() => {
        health.underWay--
      })
  }

  function handOver(
    request: IncomingMessage,
    response: ServerResponse,
    body: Buffer | undefined,
  ): void {
    if (body !== undefined) putBack(request, body)
    ordinary(request, response)
  }

  function send(
    { status, json, bytes }: LaneAnswer,
    {
      asked,
      asker,
      response,
    }: { asked: Asked; asker: Principal | undefined; response: ServerResponse },
  ): void {
    const requestId = randomUUID()
    const headers = fixed.slice()
    headers.push('x-request-id', requestId, 'cache-control', 'no-store')
    headers.push('content-length', String(bytes))
    response.writeHead(status, headers)
    // Where each character is a byte, it is copied rather than encoded.
    response.end(json, bytes === json.length ? 'latin1' : 'utf8')
    const milliseconds = performance.now() - asked.startedMs
    asked.route.observe(status, milliseconds / 1000)
    asked.route.log.info(
      {
        reqId: requestId,
        status,
        milliseconds: Math.round(milliseconds * 10) / 10,
        actorId: asker?.user.id,
        tokenId: asker?.token.id,
      },
      'request',
    )
  }

  /** The body is there in the next tick when it came with the head, which is the common case. */
  function readBody(asked: Asked, request: IncomingMessage, response: ServerResponse): void {
    const body: Buffer | null = request.read()
    if (body !== null) finish({ asked, request, body }, response)
    else awaitBody(asked, request, response)
  }

  function awaitBody(asked: Asked, request: IncomingMessage, response: ServerResponse): void {
    health.underWay++
    const came = (body: Buffer) => {
      health.underWay--
      request.off('close', left)
      finish({ asked, request, body }, response)
    }
    const left = () => {
      health.underWay--
    }
    request.once('data', came)
    request.once('close', left)
  }

  server.removeListener('request', ordinary)
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    const asked = begin(request)
    if (asked === undefined) ordinary(request, response)
    else if (asked.route.body !== undefined) process.nextTick(readBody, asked, request, response)
    else {
      finish({ asked, request, body: undefined }, response)
    }
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

/** The client's address as the framework has it: what is forwarded counts if it is an address. */
function readingForwarded(trustedProxies: string[]) {
  const isTrusted = proxyAddress.compile(trustedProxies)
  return (request: IncomingMessage): string | undefined => {
    const address = proxyAddress(request, isTrusted)
    return isIP(address) === 0 ? request.socket.remoteAddress : address
  }
}

function opened(route: LaneRoute, { meter, log, trustedProxies }: LaneParts): OpenRoute {
  const strange = [...route.strangeHeaders, 'transfer-encoding', 'content-encoding']
  const uses = new Map<string, Use>([
    ...strange.map((name): [string, Use] => [name, 'strange']),
    [route.credentialHeader, 'credential'],
    ['content-type', 'type'],
    ['content-length', 'length'],
    ...(trustedProxies.length === 0 ? [] : [['x-forwarded-for', 'forwarded'] as const]),
  ])
  const lengths: boolean[] = Array.from({ length: 64 }, () => false)
  for (const name of uses.keys()) lengths[name.length] = true
  const byStatus = new Map<number, (seconds: number) => void>()
  return {
    ...route,
    uses,
    lengths,
    log: log.child({ method: METHOD, route: route.pattern }),
    observe(status, seconds) {
      let observe = byStatus.get(status)
      if (observe === undefined) {
        observe = meter({ method: METHOD, route: route.pattern, status })
        byStatus.set(status, observe)
      }
      observe(seconds)
    },
  }
}

/**
 * A plain head: the credential header once, a body as the route takes it, and nothing beside them that
 * the ordinary route would look at. Reads the headers as they came, because the dictionary of them
 * costs more to build than all of this.
 */
function plainHead(
  raw: readonly string[],
  route: OpenRoute,
): { credential: string; bodyBytes: number; isForwarded: boolean } | undefined {
  let credential: string | undefined
  let type: string | undefined
  let length: string | undefined
  let isForwarded = false
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i] ?? ''
    if (route.lengths[name.length] !== true) continue
    const use = route.uses.get(name.toLowerCase())
    if (use === undefined) continue
    if (use === 'credential' && credential === undefined) credential = raw[i + 1]
    else if (use === 'type' && type === undefined) type = raw[i + 1]
    else if (use === 'length' && length === undefined) length = raw[i + 1]
    else if (use === 'forwarded') isForwarded = true
    else return undefined
  }
  if (credential === undefined) return undefined
  if (type !== undefined && !BODY_TYPES[route.body ?? 'json'].test(type)) return undefined
  if (length !== undefined && !LENGTH.test(length)) return undefined
  const bodyBytes = Number(length ?? 0)
  const isPlain =
    route.body !== undefined
      ? type !== undefined && bodyBytes > 0 && bodyBytes <= BODY_LIMIT_BYTES
      : bodyBytes === 0
  return isPlain ? { credential, bodyBytes, isForwarded } : undefined
}
