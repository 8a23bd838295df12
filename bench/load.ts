/**
 * The load-generating process: keep-alive connections that each send a request, wait for its answer,
 * and send the next. It parses no more of an answer than it needs, so that it is cheaper than any
 * server it drives. Forked by loader.ts, which sends it jobs.
 */
import { connect } from 'node:net'

export interface Job {
  port: number
  /** Whole requests, sent in turn; `COUNTER` in one becomes a number that was not used before. */
  requests: string[]
  connections: number
  seconds: number
  /** Each request is sent once; the job ends early with the last. */
  once?: boolean
  /**
   * Each connection keeps to one request, whose first id becomes that of the answer before: the
   * successor of what was rotated is rotated next.
   */
  chain?: boolean
  /**
   * Requests due per second. Latency counts from when one was due, so that a slow answer is not
   * excused for those that it held up. Absent: each connection sends as soon as it was answered.
   */
  perSecond?: number
  /** Whether the ids in the answers are wanted. */
  wantsIds?: boolean
}

export interface JobResult {
  answered: number
  /** What was answered, by status. */
  statuses: Record<string, number>
  seconds: number
  p50Ms: number
  p99Ms: number
  /** Empty unless wanted. */
  ids: string[]
}

/** Sent instead of a job: ends the one under way. */
export const FINISH = 'finish'

/** As long as the numbers that replace it, so that lengths stay true. */
export const COUNTER = '#########'

const ID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/
const ANSWERED_ID = /"id":"([^"]+)"/
const END_OF_HEAD = Buffer.from('\r\n\r\n')

let counter = 0
let isFinished = false

process.on('message', (message: Job | typeof FINISH) => {
  if (message === FINISH) {
    isFinished = true
    return
  }
  isFinished = false
  drive(message).then(
    (result) => process.send?.(result),
    (error: unknown) => process.send?.({ error: String(error) }),
  )
})

async function drive(job: Job): Promise<JobResult> {
  const latenciesMs: number[] = []
  const statuses: Record<string, number> = {}
  const ids: string[] = []
  const knowsIds = job.wantsIds === true || job.chain === true
  const connections = await Promise.all(
    Array.from({ length: job.connections }, () => openConnection(job.port)),
  )
  const startMs = performance.now()
  const endMs = startMs + job.seconds * 1000
  const nextFor = requestsOf(job)
  const note = (sinceMs: number, status: string, body: () => string): string | undefined => {
    latenciesMs.push(performance.now() - sinceMs)
    statuses[status] = (statuses[status] ?? 0) + 1
    const id = knowsIds ? ANSWERED_ID.exec(body())?.[1] : undefined
    if (job.wantsIds === true && id !== undefined) ids.push(id)
    return id
  }
  if (job.perSecond === undefined) {
    await Promise.all(connections.map((_, i) => converse(i)))
  } else {
    await pace({ connections, nextFor, note, startMs, endMs, perSecond: job.perSecond })
  }
  const seconds = (performance.now() - startMs) / 1000
  for (const connection of connections) connection.close()
  const sorted = Float64Array.from(latenciesMs).sort()
  const quantile = (q: number) => sorted[Math.floor(sorted.length * q)] ?? 0
  const [p50Ms, p99Ms] = [quantile(0.5), quantile(0.99)]
  return { answered: sorted.length, statuses, seconds, p50Ms, p99Ms, ids }

  /** One request after the other on one connection, until the time is over or nothing is left. */
  function converse(index: number): Promise<void> {
    return new Promise((resolve, reject) => {
      let sinceMs = 0
      const ask = (previousId: string | undefined) => {
        const request = nextFor(index, previousId)
        if (request === undefined) return resolve()
        sinceMs = performance.now()
        connections[index]?.ask(request, onAnswer, reject)
      }
      const onAnswer: OnAnswer = (status, body) => {
        const id = note(sinceMs, status, body)
        if (performance.now() < endMs && !isFinished) ask(id)
        else resolve()
      }
      ask(undefined)
    })
  }
}

/** What a connection sends next; undefined: nothing is left. */
function requestsOf({ requests, once, chain }: Job) {
  let sent = 0
  return (connection: number, previousId: string | undefined): string | undefined => {
    if (chain === true) {
      const request = requests[connection] ?? ''
      return previousId === undefined ? request : request.replace(ID, previousId)
    }
    if (once === true && sent === requests.length) return undefined
    const request = requests[sent++ % requests.length] ?? ''
    if (!request.includes(COUNTER)) return request
    return request.replace(COUNTER, String(++counter).padStart(COUNTER.length, '0'))
  }
}

/** Sends what is due over whichever connection is free. */
function pace(work: {
  connections: Connection[]
  nextFor: (connection: number, previousId: undefined) => string | undefined
  note: (sinceMs: number, status: string, body: () => string) => void
  startMs: number
  endMs: number
  perSecond: number
}): Promise<void> {
  const { connections, startMs, endMs, perSecond } = work
  const free = [...connections]
  let count = 0
  return new Promise((resolve, reject) => {
    const send = (connection: Connection, dueMs: number) => {
      const onAnswer: OnAnswer = (status, body) => {
        work.note(dueMs, status, body)
        free.push(connection)
      }
      connection.ask(work.nextFor(0, undefined) ?? '', onAnswer, reject)
    }
    const turn = () => {
      const nowMs = performance.now()
      const isOver = nowMs >= endMs || isFinished
      if (isOver && free.length === connections.length) return resolve()
      let dueMs = startMs + (count * 1000) / perSecond
      while (!isOver && dueMs <= nowMs) {
        const connection = free.pop()
        if (connection === undefined) break
        send(connection, dueMs)
        dueMs = startMs + (++count * 1000) / perSecond
      }
      // Timers are too coarse: this process spins, on a core of its own if there is one.
      setImmediate(turn)
    }
    turn()
  })
}

type OnAnswer = (status: string, body: () => string) => void

interface Connection {
  /** One at a time. */
  ask(request: string, onAnswer: OnAnswer, onError: (error: Error) => void): void
  close(): void
}

function openConnection(port: number): Promise<Connection> {
  return new Promise((opened, failed) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    let pending: Buffer | undefined
    let answered: OnAnswer = () => undefined
    let broken: (error: Error) => void = failed
    socket.on('error', (error) => broken(error))
    socket.on('close', () => broken(new Error('The server closed a connection.')))
    socket.on('connect', () =>
      opened({
        ask(request, onAnswer, onError) {
          answered = onAnswer
          broken = onError
          socket.write(request, 'latin1')
        },
        close() {
          broken = () => undefined
          socket.destroy()
        },
      }),
    )
    socket.on('data', (chunk: Buffer) => {
      const received = pending === undefined ? chunk : Buffer.concat([pending, chunk])
      const head = headOf(received)
      pending = received
      if (head === undefined || received.length < head.end + head.bodyBytes) return
      pending = undefined
      answered(head.status, () => received.toString('latin1', head.end))
    })
  })
}

/** Undefined while the head is incomplete. */
function headOf(received: Buffer): { status: string; end: number; bodyBytes: number } | undefined {
  const end = received.indexOf(END_OF_HEAD)
  if (end < 0) return undefined
  const head = received.toString('latin1', 0, end)
  const length = /\r\ncontent-length: (\d+)/i.exec(head)?.[1]
  if (length === undefined) throw new Error(`An answer without a length:\n${head}`)
  return { status: head.slice(9, 12), end: end + END_OF_HEAD.length, bodyBytes: Number(length) }
}
