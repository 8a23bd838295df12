/**
 * The load-generating process: keep-alive connections that each send a request, wait for its answer,
 * and send the next. It parses no more of an answer than it needs, so that it is cheaper than any
 * server it drives. Forked by run.ts, which sends it jobs.
 */
import { connect, type Socket } from 'node:net'

export interface Job {
  port: number
  /** Whole requests, sent in turn; `COUNTER` in one becomes a number that was not used before. */
  requests: string[]
  connections: number
  seconds: number
}

export interface JobResult {
  answered: number
  /** What was answered, by status. */
  statuses: Record<string, number>
  seconds: number
  p50Ms: number
  p99Ms: number
}

/** As long as the numbers that replace it, so that lengths stay true. */
export const COUNTER = '#########'

let counter = 0
const END_OF_HEAD = Buffer.from('\r\n\r\n')

process.on('message', (job: Job) => {
  drive(job).then(
    (result) => process.send?.(result),
    (error: unknown) => process.send?.({ error: String(error) }),
  )
})

async function drive(job: Job): Promise<JobResult> {
  const latenciesMs: number[] = []
  const statuses: Record<string, number> = {}
  const startMs = performance.now()
  const endMs = startMs + job.seconds * 1000
  let next = 0
  const nextRequest = () => prepared(job.requests[next++ % job.requests.length] ?? '')
  const onAnswer = (status: string, tookMs: number) => {
    latenciesMs.push(tookMs)
    statuses[status] = (statuses[status] ?? 0) + 1
  }
  await Promise.all(
    Array.from({ length: job.connections }, () =>
      converse(job.port, { nextRequest, onAnswer, endMs }),
    ),
  )
  const seconds = (performance.now() - startMs) / 1000
  const sorted = Float64Array.from(latenciesMs).sort()
  const quantile = (q: number) => sorted[Math.floor(sorted.length * q)] ?? 0
  return {
    answered: sorted.length,
    statuses,
    seconds,
    p50Ms: quantile(0.5),
    p99Ms: quantile(0.99),
  }
}

function prepared(request: string): string {
  if (!request.includes(COUNTER)) return request
  return request.replace(COUNTER, String(++counter).padStart(COUNTER.length, '0'))
}

/** One connection, until the time is over. */
function converse(
  port: number,
  talk: {
    nextRequest: () => string
    onAnswer: (status: string, tookMs: number) => void
    endMs: number
  },
): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket: Socket = connect({ port, host: '127.0.0.1', noDelay: true })
    let sentMs = 0
    let pending: Buffer | undefined
    const send = () => {
      sentMs = performance.now()
      socket.write(talk.nextRequest(), 'latin1')
    }
    socket.on('connect', send)
    socket.on('error', reject)
    socket.on('close', () => reject(new Error('The server closed a connection.')))
    socket.on('data', (chunk: Buffer) => {
      const received = pending === undefined ? chunk : Buffer.concat([pending, chunk])
      const head = headOf(received)
      pending = received
      if (head === undefined || received.length < head.length) return
      pending = undefined
      const nowMs = performance.now()
      talk.onAnswer(head.status, nowMs - sentMs)
      if (nowMs < talk.endMs) return send()
      socket.removeAllListeners('close').destroy()
      resolve()
    })
  })
}

/** Status and whole length of an answer; undefined while its head is incomplete. */
function headOf(received: Buffer): { status: string; length: number } | undefined {
  const end = received.indexOf(END_OF_HEAD)
  if (end < 0) return undefined
  const head = received.toString('latin1', 0, end)
  const length = /\r\ncontent-length: (\d+)/i.exec(head)?.[1]
  if (length === undefined) throw new Error(`An answer without a length:\n${head}`)
  return { status: head.slice(9, 12), length: end + END_OF_HEAD.length + Number(length) }
}
