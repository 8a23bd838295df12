import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http'

/** A turn of the event loop that lasts longer makes those wait who are not connected yet. */
const TURN_MS = 5
/** Requests are taken from the room for so long in a turn, and so many at least and at most. */
const SLICE_MS = 10
const SLICE_LEAST = 16
const SLICE_MOST = 64
/** A shorter line is no overload, however slow the machine is: its clients wait for their answers. */
const LINE_LEAST = 32

interface Waiter {
  request: IncomingMessage
  response: ServerResponse
  sinceMs: number
}

export interface RoomOptions {
  isVital: (request: IncomingMessage) => boolean
  /** Takes those that have waited for more than `lateMs`, and may refuse them. */
  late: RequestListener
  lateMs: number
}

/** Where requests wait while there is more to do than can be done. */
export interface WaitingRoom {
  /** How long the request that is being begun has waited, in milliseconds. */
  waitedMs(): number
  /** How long the one has waited that is next; 0 while the line is short. */
  delayMs(): number
  /** Lets requests that the server hands over wait for their turn, where they have to. */
  open(server: Server, options: RoomOptions): void
  /**
   * To be called every few milliseconds. `isStanding`: the line does not get empty; then nobody passes it, so
   * that turns are short and what waits for the database goes on.
   */
  tick(isStanding: boolean): void
}

/**
 * Node answers all that has come in one turn of its event loop, takes in one new connection, and begins
 * anew. When there is much to do, turns become long, and probes and revocations on new connections wait for
 * seconds. So what comes in a turn that lasts too long waits here, from where it is taken in short slices,
 * what is vital by every second turn first. It costs others a look at the clock.
 */
export function waitingRoom({ tickMs }: { tickMs: number }): WaitingRoom {
  const vital: Waiter[] = []
  const others: Waiter[] = []
  let dueMs = performance.now() + tickMs + TURN_MS
  let answer: RequestListener = () => undefined
  let late: RequestListener = answer
  let lateMs = 0
  let waitedMs = 0
  let vitalIsNext = true
  let left = 0
  let taken = 0
  let sliceEndMs = 0

  function next(): Waiter | undefined {
    vitalIsNext = !vitalIsNext
    const [first, second] = vitalIsNext ? [others, vital] : [vital, others]
    return first.shift() ?? second.shift()
  }

  /** One request each, so that what it sets off is done before the clock is looked at again. */
  function step(): void {
    left--
    if (taken < SLICE_LEAST || performance.now() < sliceEndMs) {
      taken++
      begin(next())
    }
    if (left === 0) slice()
  }

  function begin(waiter: Waiter | undefined): void {
    // Whoever has left is not worth the work.
    if (waiter === undefined || waiter.request.socket.destroyed) return
    waitedMs = performance.now() - waiter.sinceMs
    const take = waitedMs > lateMs ? late : answer
    take(waiter.request, waiter.response)
    waitedMs = 0
  }

  function slice(): void {
    const count = Math.min(vital.length + others.length, SLICE_MOST)
    if (count === 0) return
    left = count
    taken = 0
    sliceEndMs = performance.now() + SLICE_MS
    for (let i = 0; i < count; i++) setImmediate(step)
  }

  return {
    waitedMs: () => waitedMs,
    delayMs() {
      const [waiter] = others
      return waiter === undefined || others.length < LINE_LEAST
        ? 0
        : performance.now() - waiter.sinceMs
    },
    open(server, { isVital, ...options }) {
      const [listener, ...more] = server.listeners('request') as RequestListener[]
      if (listener === undefined || more.length > 0) {
        throw new Error('The server must have exactly one request listener.')
      }
      answer = listener
      late = options.late
      lateMs = options.lateMs
      server.removeListener('request', listener)
      server.on('request', (request: IncomingMessage, response: ServerResponse) => {
        const nowMs = performance.now()
        if (nowMs < dueMs && left === 0) {
          listener(request, response)
          return
        }
        const line = isVital(request) ? vital : others
        line.push({ request, response, sinceMs: nowMs })
        if (left === 0) slice()
      })
    },
    tick(isStanding) {
      dueMs = isStanding ? 0 : performance.now() + tickMs + TURN_MS
    },
  }
}
