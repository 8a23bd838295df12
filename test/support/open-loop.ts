import { connect, type Socket } from 'node:net'
import { connect as connectSecurely } from 'node:tls'
import {
  type KindResult,
  type LoadJob,
  type LoadKind,
  type LoadResult,
  NUMBER,
} from './load-job.ts'

/**
 * A process that sends requests at a rate of its own, whatever the answers are like: what many clients
 * do that know nothing of each other. It speaks HTTP/1.1 over plain sockets, because it must have
 * strength left when the server has none.
 */

const TICK_MS = 5
/** How long connections may take, and how long is waited when all are there: Node takes them in one by one. */
const CONNECTING_MS = 30_000
const SETTLING_MS = 1500
/** How long answers are waited for when all is sent. */
const LINGER_MS = 3000

interface Tally {
  good: number
  other: Record<string, number>
  acceptedMs: number[]
  refusedMs: number[]
  serverMs: number[]
}

interface Line {
  socket: Socket
  /** What is being asked on it. */
  asked: { tally: Tally; sinceMs: number; sentMs: number } | undefined
  text: string
}

let numbers = 0

/** When this turn of the event loop began, and how long the loop had rested until then. */
const turn = { sinceMs: performance.now(), idleMs: 0, isMarked: false }

/** For how long at most something that is heard now has lain unheard, because others were being heard. */
function unheardMs(nowMs: number): number {
  if (!turn.isMarked) {
    turn.isMarked = true
    setImmediate(() => {
      turn.sinceMs = performance.now()
      turn.idleMs = performance.nodeTiming.idleTime
      turn.isMarked = false
    })
  }
  return nowMs - turn.sinceMs - (performance.nodeTiming.idleTime - turn.idleMs)
}

async function run(job: LoadJob): Promise<LoadResult> {
  const tallies = new Map(job.kinds.map(({ name }) => [name, newTally()]))
  const deck = job.kinds.flatMap((kind) => Array.from({ length: kind.share }, () => kind))
  const idle: Line[] = []
  const late = { sendMs: [] as number[], hearMs: [] as number[] }
  let open = 0
  let opening = 0
  let sent = 0
  let unsent = 0
  let isOver = false

  function openLine(): Line {
    const line: Line = {
      socket: connected(job),
      asked: undefined,
      text: '',
    }
    open++
    opening++
    const opened = () => {
      opening--
    }
    line.socket.once(job.secure === true ? 'secureConnect' : 'connect', opened)
    line.socket.setEncoding('latin1')
    line.socket.on('data', (chunk) => heard(line, String(chunk)))
    line.socket.on('error', () => undefined)
    line.socket.on('close', () => {
      open--
      const i = idle.indexOf(line)
      if (i >= 0) idle.splice(i, 1)
      if (line.asked !== undefined) note(line.asked.tally.other, '0')
      line.asked = undefined
    })
    return line
  }

  function heard(line: Line, chunk: string): void {
    line.text = line.text === '' ? chunk : line.text + chunk
    const end = line.text.indexOf('\r\n\r\n')
    if (end < 0) return
    const head = line.text.slice(0, end).toLowerCase()
    const length = Number(/\r\ncontent-length: (\d+)/.exec(head)?.[1] ?? 0)
    const isChunked = head.includes('\r\ntransfer-encoding: chunked')
    if (isChunked ? !line.text.endsWith('0\r\n\r\n') : line.text.length < end + 4 + length) return
    line.text = ''
    finish(line, head)
  }

  function finish(line: Line, head: string): void {
    const { asked } = line
    line.asked = undefined
    if (asked !== undefined) {
      const status = head.slice(9, 12)
      const nowMs = performance.now()
      const tookMs = nowMs - asked.sinceMs
      const hearMs = unheardMs(nowMs)
      late.hearMs.push(hearMs)
      if (status.startsWith('2')) {
        asked.tally.acceptedMs.push(tookMs)
        asked.tally.serverMs.push(nowMs - asked.sentMs - hearMs)
        if (tookMs <= job.deadlineMs) asked.tally.good++
      } else if ((status === '503' || status === '429') && /\r\nretry-after: [1-9]/.test(head)) {
        asked.tally.refusedMs.push(tookMs)
      } else note(asked.tally.other, status)
    }
    if (head.includes('\r\nconnection: close')) line.socket.destroy()
    else if (job.rate === undefined && !isOver) ask(line, performance.now())
    else idle.push(line)
  }

  function ask(line: Line, sinceMs: number): void {
    const kind = deck[Math.floor(Math.random() * deck.length)] as LoadKind
    const request = kind.requests[sent % kind.requests.length] as string
    const sentMs = performance.now()
    late.sendMs.push(sentMs - sinceMs)
    line.asked = { tally: tallies.get(kind.name) as Tally, sinceMs, sentMs }
    sent++
    line.socket.write(withNumber(request))
  }

  // Clients keep connections. Node takes in one new one in a turn, which is another trial.
  if (job.rate !== undefined) {
    while (open < job.connections) idle.push(openLine())
    const latestMs = performance.now() + CONNECTING_MS
    while (opening > 0 && performance.now() < latestMs) await pause(TICK_MS)
    await pause(SETTLING_MS)
  }
  const beganMs = performance.now()
  const endMs = beganMs + job.seconds * 1000
  if (job.rate === undefined) {
    for (let i = 0; i < job.connections; i++) ask(openLine(), beganMs)
    await pause(job.seconds * 1000)
  } else {
    let due = 0
    for (let nowMs = beganMs; nowMs < endMs; nowMs = performance.now()) {
      const wanted = ((nowMs - beganMs) / 1000) * job.rate
      for (; due < wanted; due++) {
        const line = idle.pop() ?? (open < job.connections ? openLine() : undefined)
        if (line === undefined) unsent++
        // Since it was due, not since it was sent: a generator that is late must not flatter.
        else ask(line, beganMs + (due / job.rate) * 1000)
      }
      await pause(TICK_MS)
    }
  }
  isOver = true
  const seconds = (performance.now() - beganMs) / 1000
  const lingerMs = performance.now() + LINGER_MS
  while (idle.length < open && performance.now() < lingerMs) await pause(TICK_MS)
  const lateness = { sendP99Ms: share(late.sendMs, 0.99), hearP99Ms: share(late.hearMs, 0.99) }
  return { seconds, sent, unsent, lateness, kinds: Object.fromEntries([...tallies].map(resultOf)) }
}

function connected({ port, secure }: LoadJob): Socket {
  const to = { port, host: '127.0.0.1', noDelay: true }
  return secure === true ? connectSecurely({ ...to, rejectUnauthorized: false }) : connect(to)
}

function withNumber(request: string): string {
  if (!request.includes(NUMBER)) return request
  return request.replaceAll(NUMBER, String(++numbers).padStart(NUMBER.length, '0'))
}

function newTally(): Tally {
  return { good: 0, other: {}, acceptedMs: [], refusedMs: [], serverMs: [] }
}

function resultOf([name, tally]: [string, Tally]): [string, KindResult] {
  const { good, other, acceptedMs, refusedMs, serverMs } = tally
  return [
    name,
    {
      good,
      accepted: acceptedMs.length,
      refused: refusedMs.length,
      other,
      acceptedP50Ms: share(acceptedMs, 0.5),
      acceptedP99Ms: share(acceptedMs, 0.99),
      refusedP99Ms: share(refusedMs, 0.99),
      serverP99Ms: share(serverMs, 0.99),
    },
  ]
}

/** The value below which that share of all lies; 0 of none. */
function share(values: number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return Math.round(sorted[Math.floor(sorted.length * part)] ?? 0)
}

function note(counts: Record<string, number>, key: string): void {
  counts[key] = (counts[key] ?? 0) + 1
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

process.on('message', (job: LoadJob) => {
  run(job).then(
    (result) => process.send?.(result),
    (error: unknown) => {
      throw error
    },
  )
})
