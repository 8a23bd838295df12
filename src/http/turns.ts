import type { FastifyInstance } from 'fastify'

/** How long requests may follow one another before others are heard. */
const MAX_MS = 10

interface Surroundings {
  now(): number
  /** Calls back once whatever else waits has had its turn. */
  defer(work: () => void): void
}

const EVENT_LOOP: Surroundings = {
  now: () => performance.now(),
  defer: (work) => setImmediate(work),
}

/**
 * Begins pieces of work at once while the present turn of the event loop is young, and the others, in
 * their order, in turns to come.
 */
export function turns({ now, defer } = EVENT_LOOP): (begin: () => void) => void {
  const waiting: (() => void)[] = []
  /** Undefined: nothing has begun since others were heard. */
  let endsAtMs: number | undefined

  function open(): number {
    defer(next)
    return now() + MAX_MS
  }

  function next(): void {
    endsAtMs = undefined
    if (waiting.length === 0) return
    endsAtMs = open()
    do waiting.shift()?.()
    while (waiting.length > 0 && now() < endsAtMs)
  }

  return (begin) => {
    endsAtMs ??= open()
    if (waiting.length === 0 && now() < endsAtMs) begin()
    else waiting.push(begin)
  }
}

/**
 * SQLite answers synchronously, so a request that reads a page is served in one go, and so would be all
 * that arrived with it: with thirty lists at once nobody else was heard for a tenth of a second.
 */
export function takeTurns(app: FastifyInstance): void {
  const inTurn = turns()
  app.addHook('onRequest', (_request, _reply, done) => inTurn(done))
}
