import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** A turn of the event loop that lasts longer makes those wait who are not connected yet. */
const TURN_MS = 5
/**
 * Requests are taken from the room for so long in a turn, and so many at least and at most. Each query of what is
 * under way takes a turn.
 */
const SLICE_MS = 5
const SLICE_LEAST = 4
const SLICE_MOST = 64
/** What is quick has so long in a turn to itself. */
const QUICK_MS = 3
/** A shorter line is no overload, however slow the machine is: its clients wait for their answers. */
const LINE_LEAST = 32

/** Which line a request belongs to. `quick`: answered from memory, in a small part of what others take. */
export type Pace = 'vital' | 'quick' | 'other'

export interface Waiter {
  sinceMs: number
  isGone(): boolean
  begin(isLate: boolean): void
}

export interface RoomOptions {
  paceOf: (request: IncomingMessage) => Pace
  /** Takes those that have waited for more than `lateMs`, and may refuse them. */
  late: RequestListener
  lateMs: number
}

/** Where requests wait while there is more to do than can be done. */
export interface WaitingRoom {
  /** How long the request that is being begun has waited, in milliseconds. */
  waitedMs(): number
  /** How long the one has waited that is next, of those that are not vital; 0 while the lines are short. */
  delayMs(): number
  /** Lets requests that the server hands over wait for their turn, where they have to. */
  open(server: Server, options: RoomOptions): void
  /** Whether a request that comes at `nowMs` may go ahead; if not, let it `wait`. */
  mayPass(nowMs: number): boolean
  /** `begin` is told whether it is late. What is vital waits elsewhere. */
  wait(waiter: Waiter, pace: Exclude<Pace, 'vital'>): void
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
 * seconds. So what comes in a turn that lasts too long waits here, from where it is taken in short slices:
 * what is quick first, for part of the time, because it holds up nobody, and then what is vital by every second
 * turn. It costs others a look at the clock.
 */
export function waitingRoom({ tickMs }: { tickMs: number }): WaitingRoom {
  const lines: Record<Pace, Waiter[]> = { vital: [], quick: [], other: [] }
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
    const [first, second] = vitalIsNext ? [lines.other, lines.vital] : [lines.vital, lines.other]
    return first.shift() ?? second.shift()
  }

  /**
   * Begins a slice. The time counts from here, not from when it was planned: until now all was read that has
   * come, which may have taken as long.
   */
  function quickStep(): void {
    left--
    const nowMs = performance.now()
    sliceEndMs = nowMs + SLICE_MS
    taken = 0
    while (lines.quick.length > 0 && performance.now() < nowMs + QUICK_MS)
      begin(lines.quick.shift())
    if (left === 0) slice()
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

  function wait(waiter: Waiter, pace: Pace): void {
    lines[pace].push(waiter)
    if (left === 0) slice()
  }

  function slice(): void {
    const count = Math.min(lines.vital.length + lines.other.length, SLICE_MOST)
    if (count === 0 && lines.quick.length === 0) return
    left = count + 1
    setImmediate(quickStep)
    for (let i = 0; i < count; i++) setImmediate(step)
  }

  function delayMs(): number {
    const nowMs = performance.now()
    const delays = [lines.quick, lines.other].map((line) =>
      line.length < LINE_LEAST ? 0 : nowMs - (line[0]?.sinceMs ?? nowMs),
    )
    return Math.max(...delays)
  }

  return {
    waitedMs: () => waitedMs,
    delayMs,
    mayPass,
    wait,
    comesBack(socket, sinceMs) {
      returning.set(socket, sinceMs)
      // It is handed over in this turn or never.
      setImmediate(() => returning.delete(socket))
    },
    open(server, { paceOf, late, ...options }) {
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
        else wait(waiter, paceOf(request))
      })
    },
    tick(isStanding) {
      dueMs = isStanding ? 0 : performance.now() + tickMs + TURN_MS
    },
  }
}
