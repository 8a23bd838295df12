import { AsyncLocalStorage } from 'node:async_hooks'
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyBaseLogger, FastifyInstance, FastifyRequest } from 'fastify'
import { Counter, Gauge } from 'prom-client'
import type { Config } from '../config.ts'
import { CoreError } from '../core/errors.ts'
import { type ShapeOf, sendFailure } from './errors.ts'
import type { Health } from './health.ts'
import type { Metrics } from './metrics.ts'
import { type WaitingRoom, waitingRoom } from './waiting-room.ts'
import { type Weight, weighRoutes } from './weight.ts'

const TICK_MS = 10
/** Behind for so long without a break: that is more than a burst, or one slow query. */
const STANDING_MS = 500
/** In time for so long: it is over. */
const OVER_MS = 1000
/** Without a refusal for so long, the log says that it is over. */
const QUIET_MS = 5000
/** Requests that may be sent on one connection before the first of them is answered. */
const MAX_PIPELINED = 16
/** Connections beyond the limit that are answered rather than dropped: probes come on new ones. */
const SPARE_CONNECTIONS = 100

/** Multiples of `shedAfterMs`. What is vital is not in here. */
const PATIENCE = { heavy: 1, write: 2, light: 4 }
/**
 * After so long in all nothing is begun for a request any more, where lines stand: answers are to come within a
 * second, and from there a change takes several queries and a login several changes.
 */
const LINE_PATIENCE_MS = { heavy: 300, write: 400, light: 600, vital: 700 }
/** Shares of `maxRequests`. */
const SHARE = { heavy: 0.25, write: 0.5, light: 1 }

/** Why a request was refused. `queue`: by the line of changes before the database. */
export type Reason = 'late' | 'requests' | 'connections' | 'pipelined' | 'queue'

declare module 'fastify' {
  interface FastifyRequest {
    /** Refused before anything was done for it; such requests leave no line in the log. */
    refusedForLoad: boolean
    asker: Asker | undefined
  }
}

/** For how long the client has been waiting for whom something is done now, in milliseconds. */
export function waitedMs(): number {
  const { sinceMs } = asker() ?? {}
  return sinceMs === undefined ? 0 : performance.now() - sinceMs
}

export interface Overload {
  /** Notes a refusal that was made elsewhere. */
  refused(weight: Weight, reason: Reason): void
  /** Whether more waits than can be answered in time, and has for a while. */
  isStanding(): boolean
  /**
   * Lets requests wait for their turn. Call it when nothing else takes them from the server any more. `past` is
   * the way past the lane, `isFor` tells what is asked there.
   */
  openRoom(lane: { isFor(url: string): boolean; past: RequestListener }): WaitingRoom
  stop(): void
}

export interface OverloadParts {
  config: Pick<Config, 'shedAfterMs' | 'maxRequests' | 'maxConnections'>
  metrics: Pick<Metrics, 'registry'>
  health: Health
  log: FastifyBaseLogger
  shapeOf: ShapeOf
}

/** A request as those see it who are asked something in its course. */
interface Asker {
  isVital: boolean
  /** When it came, by `performance.now()`. */
  sinceMs: number
  patienceMs: number
  hasBegun: boolean
  response: Pick<ServerResponse, 'headersSent'>
}

const asking = new AsyncLocalStorage<Asker>()

/**
 * The request in whose course something is done now; for the store, before which lines form. Undefined once its
 * answer has begun: what is done after that has a time of its own.
 */
export function asker(): Asker | undefined {
  const asker = asking.getStore()
  return asker?.response.headersSent === true ? undefined : asker
}

/**
 * Refuses requests with 503 and `Retry-After` while there is more to do than can be done, before anything is
 * done for them. Three things are watched: how long they have waited, how many requests are under way, and
 * how many connections are open. Call it before any other hook and any route is made.
 */
export function refuseOverload(app: FastifyInstance, parts: OverloadParts): Overload {
  const { config, health, shapeOf } = parts
  const room = waitingRoom({ tickMs: TICK_MS })
  const pressure = watchPressure(config.shedAfterMs, room)
  const connections = watchConnections(app, config, health)
  const underWay: Record<Weight, number> = { vital: 0, light: 0, write: 0, heavy: 0 }
  const pipelined = new WeakMap<Socket, number>()
  const episodes = tellEpisodes(parts.log)
  const refusals = figures(parts.metrics, { underWay, pressure, connections })

  function refused(weight: Weight, reason: Reason): void {
    refusals.inc({ weight, reason })
    episodes.note(reason)
  }

  function whyNot(weight: Weight, socket: Socket): Reason | undefined {
    if (weight === 'vital') return undefined
    if (connections.isCrowded()) return 'connections'
    if (pressure.isTooLate(weight, room.waitedMs())) return 'late'
    if (underWay[weight] >= config.maxRequests * SHARE[weight]) return 'requests'
    if ((pipelined.get(socket) ?? 0) >= MAX_PIPELINED) return 'pipelined'
    return undefined
  }

  function count({ raw, routeOptions }: FastifyRequest, weight: Weight, response: Closing): void {
    if (routeOptions.config.stays === true) return
    const { socket } = raw
    underWay[weight]++
    pipelined.set(socket, (pipelined.get(socket) ?? 0) + 1)
    // Also when the client leaves before it was answered, of which no hook tells in every case.
    response.once('close', () => {
      underWay[weight]--
      pipelined.set(socket, (pipelined.get(socket) ?? 1) - 1)
    })
  }

  const isVitalRequest = weighRoutes(app)
  app.decorateRequest('refusedForLoad', false)
  app.decorateRequest('asker', undefined)
  app.addHook('onRequest', (request, reply, done) => {
    const weight = request.routeOptions.config.weight ?? 'light'
    const reason = whyNot(weight, request.raw.socket)
    if (reason === undefined) {
      count(request, weight, reply.raw)
      request.asker = {
        isVital: weight === 'vital',
        sinceMs: performance.now() - room.waitedMs(),
        patienceMs: LINE_PATIENCE_MS[weight],
        hasBegun: false,
        response: reply.raw,
      }
      asking.run(request.asker, done)
      return
    }
    refused(weight, reason)
    request.refusedForLoad = true
    if (reason === 'connections' || reason === 'pipelined') reply.header('connection', 'close')
    const failure = failureOf()
    // Pages say it in their own way.
    if (request.headers.accept?.includes('text/html'))
      done(new CoreError(failure.code, MESSAGE, failure))
    else sendFailure(failure, { request, reply, options: shapeOf(request.url) })
  })
  // The context of the first hook ends where the body is read.
  app.addHook('preHandler', (request, _, done) => {
    if (request.asker === undefined) done()
    else asking.run(request.asker, done)
  })
  const timer = setInterval(() => {
    pressure.tick()
    room.tick(pressure.isStanding())
    episodes.tick()
    connections.tick()
  }, TICK_MS).unref()
  return {
    refused,
    isStanding: pressure.isStanding,
    openRoom({ isFor, past }) {
      const lateMs = config.shedAfterMs * PATIENCE.light
      const paceOf = (request: IncomingMessage) => {
        if (isFor(request.url ?? '')) return 'quick'
        return isVitalRequest(request) ? 'vital' : 'other'
      }
      room.open(app.server, { paceOf, late: past, lateMs })
      return room
    },
    stop: () => clearInterval(timer),
  }
}

const MESSAGE = 'The server has more to do than it can. Nothing was done. Try again shortly.'

/** A few seconds by the dice, so that those who were refused together do not come back together. */
function failureOf() {
  const retryAfterSeconds = 1 + Math.floor(Math.random() * 3)
  return { status: 503, code: 'unavailable', message: MESSAGE, retryAfterSeconds } as const
}

interface Closing {
  once(event: 'close', listener: () => void): unknown
}

interface Pressure {
  /** Whether a request of that weight, which has waited for so long, must not be taken on. */
  isTooLate(weight: keyof typeof PATIENCE, waitedMs: number): boolean
  isStanding(): boolean
  tick(): void
}

/**
 * Waiting for a moment does no harm, and who refused for it would refuse whenever a query is slow. What
 * does harm is a line that stands: then patience is short, and what is dear is refused first.
 */
function watchPressure(shedAfterMs: number, room: WaitingRoom): Pressure {
  let inTimeMs = performance.now()
  let lateMs = Number.NEGATIVE_INFINITY
  let isStanding = false
  return {
    isTooLate(weight, waitedMs) {
      return isStanding && waitedMs > shedAfterMs * PATIENCE[weight]
    },
    isStanding: () => isStanding,
    tick() {
      const nowMs = performance.now()
      if (room.delayMs() > shedAfterMs) lateMs = nowMs
      else inTimeMs = nowMs
      if (nowMs - inTimeMs > STANDING_MS) isStanding = true
      else if (nowMs - lateMs > OVER_MS) isStanding = false
    },
  }
}

interface Connections {
  count(): number
  isCrowded(): boolean
  tick(): void
}

/**
 * Beyond the limit every answer ends its connection, and idle ones are closed. What still comes when the
 * spare ones are taken, too, is dropped unread.
 */
function watchConnections(
  { server }: FastifyInstance,
  { maxConnections }: OverloadParts['config'],
  health: Health,
): Connections {
  let count = 0
  server.maxConnections = maxConnections + SPARE_CONNECTIONS
  server.on('connection', (socket: Socket) => {
    count++
    if (count > maxConnections) health.isCrowded = true
    socket.once('close', () => {
      count--
      if (count <= maxConnections) health.isCrowded = false
    })
  })
  return {
    count: () => count,
    isCrowded: () => health.isCrowded,
    tick() {
      if (health.isCrowded) server.closeIdleConnections()
    },
  }
}

/** One line when refusing begins and one when it is over: a line for each would be load of its own. */
function tellEpisodes(log: FastifyBaseLogger) {
  let sinceMs: number | undefined
  let lastMs = 0
  let count = 0
  return {
    note(reason: Reason) {
      lastMs = performance.now()
      count++
      if (sinceMs !== undefined) return
      sinceMs = lastMs
      count = 1
      log.warn({ reason }, 'There is more to do than can be done: requests are refused')
    },
    tick() {
      if (sinceMs === undefined || performance.now() - lastMs < QUIET_MS) return
      const seconds = Math.round((lastMs - sinceMs) / 1000)
      sinceMs = undefined
      log.warn({ refused: count, seconds }, 'No request is refused for load any more')
    },
  }
}

function figures(
  { registry }: Pick<Metrics, 'registry'>,
  watched: { underWay: Record<Weight, number>; pressure: Pressure; connections: Connections },
): Counter<'weight' | 'reason'> {
  const registers = [registry]
  new Gauge({
    name: 'mintmark_requests_under_way',
    help: 'Requests that are not answered yet, by weight; without those that are answered in front of the framework.',
    labelNames: ['weight'],
    registers,
    collect() {
      for (const [weight, count] of Object.entries(watched.underWay)) this.set({ weight }, count)
    },
  })
  new Gauge({
    name: 'mintmark_connections',
    help: 'Connections that are open.',
    registers,
    collect() {
      this.set(watched.connections.count())
    },
  })
  new Gauge({
    name: 'mintmark_overloaded',
    help: 'Whether the process has been late with its work for long enough to refuse some of it.',
    registers,
    collect() {
      this.set(watched.pressure.isStanding() ? 1 : 0)
    },
  })
  return new Counter({
    name: 'mintmark_requests_refused_total',
    help: 'Requests refused because there was too much to do, by weight and reason.',
    labelNames: ['weight', 'reason'],
    registers,
  })
}
