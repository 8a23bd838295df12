import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'
import proxyAddress from '@fastify/proxy-addr'
import type { FastifyBaseLogger } from 'fastify'
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
  /** Whose token opens the route; without it, whatever opens our own APIs. */
  admits?(principal: Principal): boolean
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
  /** Reads what `otherwise` takes from memory. */
  learn?(header: string): Promise<unknown>
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

export const METHOD = 'POST'
const CONTENT_TYPE = 'application/json; charset=utf-8'
const BODY_TYPES = {
  json: /^application\/json(?:; ?charset=utf-8)?$/i,
  form: /^application\/x-www-form-urlencoded(?:; ?charset=utf-8)?$/i,
}
const LENGTH = /^(?:0|[1-9]\d{0,5})$/

/** What a header of a plain request is read as; all others are as little looked at as elsewhere. */
type Use = 'credential' | 'type' | 'length' | 'forwarded' | 'strange'

export interface OpenRoute extends LaneRoute {
  admits(principal: Principal): boolean
  uses: ReadonlyMap<string, Use>
  /** By length of a name: whether any name in `uses` is that long. Most headers end here. */
  lengths: readonly boolean[]
  /** Writes what is the same in each line only once. */
  log: FastifyBaseLogger
  observe: (status: number, seconds: number) => void
}

/** The head of a request, whoever parsed it. */
export interface RequestHead {
  /** Path and query. */
  url: string
  /** Names and values in turn, as they came. */
  raw: readonly string[]
  remoteAddress: string | undefined
}

/** One plain request on its way. */
export interface Asked {
  route: OpenRoute
  query: string
  /** Undefined: something else was presented. */
  secret: string | undefined
  /** Of a secret that memory knows. */
  key: SecretKey | undefined
  header: string
  bodyBytes: number
  ip: string
  via: Via
  agent: readonly string[]
  startedMs: number
  /** Undefined, also once it is answered: who asks is no token. */
  asker: Principal | undefined
}

/**
 * Answers plain questions: same authentication, verdicts, log lines and figures as the framework, without
 * the router, the hooks and the schemas. It answers successes and verdicts only. Nothing is decided,
 * counted or logged before a request has proven plain; every other one is the framework's, so that each
 * refusal is made in one place.
 */
export interface Lane {
  /** Headers of every answer, names and values in turn. */
  headers: readonly string[]
  /** Headers that it looks at, in lower case. */
  names: ReadonlySet<string>
  /** Whether the path is one of a question. */
  isFor(url: string): boolean
  /** A POST, as far as its head tells; undefined: not plain. */
  begin(head: RequestHead): Asked | undefined
  /** Reads what is missing in memory for an answer; whoever asked is to begin anew. */
  learn(asked: Asked): Promise<void>
  /** Decides as of now, whatever was looked up; undefined: not plain after all. */
  answer(asked: Asked, body: Buffer | undefined): LaneAnswer | Promise<LaneAnswer> | undefined
  /** Counts and logs one that was answered. */
  note(asked: Asked, status: number, requestId: string): void
}

export function createLane(parts: LaneParts): Lane {
  const { verifier, health } = parts
  const routes = new Map(parts.routes.map((route) => [route.path, opened(route, parts)]))
  const addressOf = readingForwarded(parts.trustedProxies)
  const routeOf = (url: string, mark: number) => routes.get(mark < 0 ? url : url.slice(0, mark))

  return {
    headers: Object.entries(parts.headers).flat().concat('content-type', CONTENT_TYPE),
    names: new Set([...routes.values()].flatMap(({ uses }) => [...uses.keys(), 'user-agent'])),
    isFor: (url) => routeOf(url, url.indexOf('?')) !== undefined,
    begin({ url, raw, remoteAddress }) {
      if (health.draining || health.isCrowded) return undefined
      const mark = url.indexOf('?')
      const route = routeOf(url, mark)
      if (route === undefined) return undefined
      const startedMs = performance.now()
      const head = plainHead(raw, route)
      if (head === undefined) return undefined
      const query = mark < 0 ? '' : url.slice(mark)
      const { credential: header, forwarded, bodyBytes } = head
      const secret = route.credential(header, query)
      const ip = forwarded === undefined ? remoteAddress : addressOf(remoteAddress, forwarded)
      if (ip === undefined) return undefined
      const isStrange = secret === undefined ? route.otherwise === undefined : looksLikeJwt(secret)
      const known = isStrange || secret === undefined ? undefined : verifier.lookUp(secret)
      if (isStrange || (known !== undefined && !route.admits(known.principal))) return undefined
      const { via } = route
      return {
        route,
        query,
        secret,
        key: known?.key,
        header,
        bodyBytes,
        ip,
        via,
        agent: raw,
        startedMs,
        asker: undefined,
      }
    },
    async learn({ route, secret, header }) {
      if (secret === undefined) await route.learn?.(header)
      else await verifier.learn(secret)
    },
    answer(asked, body) {
      const { route, query, secret, key, header } = asked
      if (secret === undefined) return route.otherwise?.({ header, query, body })
      const reply = key === undefined ? undefined : route.question(query, body)
      if (key === undefined || reply === undefined) return undefined
      const verdict = verifier.verifyKnown(key, asked)
      if (verdict === undefined || !route.admits(verdict.principal)) return undefined
      asked.asker = verdict.principal
      return reply(verdict.principal)
    },
    note({ route, startedMs, asker }, status, requestId) {
      const milliseconds = performance.now() - startedMs
      route.observe(status, milliseconds / 1000)
      route.log.info(
        {
          reqId: requestId,
          status,
          milliseconds: Math.round(milliseconds * 10) / 10,
          actorId: asker?.user.id,
          tokenId: asker?.token.id,
        },
        'request',
      )
    },
  }
}

/** Whether memory does not know who asks. */
export function isMissing({ secret, key }: Asked): boolean {
  return secret !== undefined && key === undefined
}

/** The client's address as the framework has it: what is forwarded counts if it is an address. */
function readingForwarded(trustedProxies: string[]) {
  const isTrusted = proxyAddress.compile(trustedProxies)
  return (remoteAddress: string | undefined, forwarded: string): string | undefined => {
    const request = { socket: { remoteAddress }, headers: { 'x-forwarded-for': forwarded } }
    const address = proxyAddress(request as unknown as IncomingMessage, isTrusted)
    return isIP(address) === 0 ? remoteAddress : address
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
    admits: route.admits ?? opensApis,
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
): { credential: string; bodyBytes: number; forwarded: string | undefined } | undefined {
  let credential: string | undefined
  let type: string | undefined
  let length: string | undefined
  let forwarded: string | undefined
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i] ?? ''
    if (route.lengths[name.length] !== true) continue
    const use = route.uses.get(name.toLowerCase())
    if (use === undefined) continue
    if (use === 'credential' && credential === undefined) credential = raw[i + 1]
    else if (use === 'type' && type === undefined) type = raw[i + 1]
    else if (use === 'length' && length === undefined) length = raw[i + 1]
    // As Node joins them.
    else if (use === 'forwarded') forwarded = joined(forwarded, raw[i + 1] ?? '')
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
  return isPlain ? { credential, bodyBytes, forwarded } : undefined
}

function joined(before: string | undefined, more: string): string {
  return before === undefined ? more : `${before}, ${more}`
}
