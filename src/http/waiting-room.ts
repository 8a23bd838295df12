import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** A turn of the event loop that lasts longer makes those wait who are not connected yet. */
const TURN_MS = 5
/** Requests are taken from the room for so long in a turn, and so many at least and at most. */
const SLICE_MS = 10
const SLICE_LEAST = 16
const SLICE_MOST = 64
/** A shorter line is no overload, however slow the machine is: its clients wait for their answers. */
const LINE_LEAST = 32

interface Waiter {
  sinceMs: number
  isGone(): boolean
  begin(isLate: boolean): void
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
  /** Whether a request that comes at `nowMs` may go ahead; if not, let it `wait`. */
  mayPass(nowMs: number): boolean
  /** `begin` is told whether it is late. What is vital waits elsewhere. */
  wait(waiter: Waiter): void
  /** The next request that the server hands over on `socket` has waited here before. */
  comesBack(socket: Socket, sinceMs: number): void
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
  const returning = new Map<Socket, number>()
  let lateMs = Number.POSITIVE_INFINITY
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
    if (waiter === undefined || waiter.isGone()) return
    waitedMs = performance.now() - waiter.sinceMs
    waiter.begin(waitedMs > lateMs)
    waitedMs = 0
  }

  function mayPass(nowMs: number): boolean {
    return nowMs < dueMs && left === 0
  }

  function wait(line: Waiter[], waiter: Waiter): void {
    line.push(waiter)
    if (left === 0) slice()
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
    mayPass,
    wait: (waiter) => wait(others, waiter),
    comesBack(socket, sinceMs) {
      returning.set(socket, sinceMs)
      // It is handed over in this turn or never.
      setImmediate(() => returning.delete(socket))
    },
    open(server, { isVital, late, ...options }) {
      const [listener, ...more] = server.listeners('request') as RequestListener[]
      if (listener === undefined || more.length > 0) {
        throw new Error('The server must have exactly one request listener.')
      }
      lateMs = options.lateMs
      server.removeListener('request', listener)
      server.on('request', (request: IncomingMessage, response: ServerResponse) => {
        const nowMs = performance.now()
        if (mayPass(nowMs)) {
          listener(request, response)
          return
        }
        const { socket } = request
        const waiter: Waiter = {
          sinceMs: returning.get(socket) ?? nowMs,
          isGone: () => socket.destroyed,
          begin: (isLate) => (isLate ? late : listener)(request, response),
        }
        if (returning.delete(socket)) begin(waiter)
        else wait(isVital(request) ? vital : others, waiter)
      })
    },
    tick(isStanding) {
      dueMs = isStanding ? 0 : performance.now() + tickMs + TURN_MS
    },
  }
}
