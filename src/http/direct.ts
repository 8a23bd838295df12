import { randomUUID } from 'node:crypto'
import { type Server, STATUS_CODES } from 'node:http'
import { Server as TlsServer } from 'node:https'
import type { Socket } from 'node:net'
import type { Health } from './health.ts'
import { type Asked, isMissing, type Lane, type LaneAnswer } from './lane.ts'
import { plainHeads } from './plain-head.ts'
import { together } from './together.ts'
import type { Waiter, WaitingRoom } from './waiting-room.ts'

/** Whoever has not sent a body by then is looked after by Node. */
const BODY_MS = 1000

type ConnectionListener = (this: Server, socket: Socket) => void

/** A connection that is still ours. */
interface OwnConnection {
  isIdle(): boolean
  close(): void
}

/** A plain head whose body is not all there, with what is. */
interface Begun {
  asked: Asked
  bytes: Buffer
  end: number
}

/** What a request has behind it. */
interface Standing {
  hasLearnt: boolean
  /** Since when it waited for its turn, by `performance.now()`; undefined: it did not have to. */
  waitedSinceMs: number | undefined
}

const NEW: Standing = { hasLearnt: false, waitedSinceMs: undefined }

export interface DirectParts {
  lane: Lane
  health: Health
  room: WaitingRoom
  /** Where more are under way, nothing is looked up for a question: the framework counts and refuses. */
  maxRequests: number
}

/**
 * Answers plain questions on connections that Node's HTTP server has not seen yet, whose parser, message
 * objects and timers cost as much as all else. As soon as anything but a plain question comes, the
 * connection is given to that server for good, with the bytes that nobody has read; so it stays the one
 * that decides what HTTP is, and what every other request is answered.
 */
export function answerDirectly(server: Server, parts: DirectParts): void {
  const event = server instanceof TlsServer ? 'secureConnection' : 'connection'
  const takeOver = connectionListenerOf(server, event)
  const readHead = plainHeads(parts.lane.names)
  const headOf = answerHeads(parts.lane.headers, server)
  const soon = together()
  const open = new Set<OwnConnection>()
  server.removeListener(event, takeOver)
  server.prependListener(event, (socket: Socket) => {
    const giveAway = () => takeOver.call(server, socket)
    open.add(converse(socket, { ...parts, server, readHead, headOf, soon, giveAway, open }))
  })
  closeWithOthers(server, open)
}

interface Means extends DirectParts {
  server: Server
  readHead: ReturnType<typeof plainHeads>
  headOf: ReturnType<typeof answerHeads>
  /** For what had to be waited for anyhow. */
  soon: ReturnType<typeof together>
  /** Lets Node's HTTP server have the connection. */
  giveAway(): void
  open: Set<OwnConnection>
}

function converse(socket: Socket, means: Means): OwnConnection {
  const { lane, health, room, maxRequests, server, readHead, headOf, soon, open } = means
  const { remoteAddress } = socket
  let begun: Begun | undefined
  /** Nothing is read before the answer is there. */
  let isBusy = false
  let hasAsked = false
  /** An answer is there that the client has yet to read. */
  let isUnread = false
  const self: OwnConnection = {
    // As Node sees it: who has never asked may be about to.
    isIdle: () => hasAsked && !isBusy && begun === undefined && socket.writableLength === 0,
    close: () => socket.destroy(),
  }

  function read(bytes: Buffer): void {
    if (begun === undefined) take(bytes, NEW)
    else complete(begun, bytes)
  }

  function take(bytes: Buffer, so: Standing): void {
    const head = readHead(bytes)
    const asked =
      head === undefined ? undefined : lane.begin({ url: head.url, raw: head.raw, remoteAddress })
    if (head === undefined || asked === undefined) {
      handOver(bytes, so)
      return
    }
    const end = head.end + asked.bodyBytes
    if (so === NEW && !room.mayPass(asked.startedMs)) wait(bytes, asked)
    else if (bytes.length === end) answer(asked, bytes, so)
    else if (bytes.length < end) begin({ asked, bytes, end })
    else handOver(bytes, so)
  }

  /** Begins anew when it is its turn, because much may have changed. */
  function wait(bytes: Buffer, asked: Asked): void {
    const { startedMs: sinceMs } = asked
    pause()
    const waiter: Waiter = {
      sinceMs,
      isGone: () => socket.destroyed,
      begin(isLate) {
        resume()
        const so = { hasLearnt: false, waitedSinceMs: sinceMs }
        if (isLate) handOver(bytes, so)
        else take(bytes, so)
      },
    }
    room.wait(waiter, isMissing(asked) ? 'other' : 'quick')
  }

  function begin(what: Begun): void {
    health.underWay++
    begun = what
    socket.setTimeout(BODY_MS)
  }

  function complete({ asked, bytes, end }: Begun, more: Buffer): void {
    const all = Buffer.concat([bytes, more])
    // A byte now and then breaks the silence, but is no body.
    if (all.length < end && performance.now() - asked.startedMs < BODY_MS) {
      begun = { asked, bytes: all, end }
      return
    }
    drop()
    const isWelcome = !health.draining && !health.isCrowded
    if (all.length === end && isWelcome) answer(asked, all, NEW)
    else handOver(all, NEW)
  }

  /** What was begun is nobody's any more. */
  function drop(): void {
    if (begun === undefined) return
    begun = undefined
    health.underWay--
    socket.setTimeout(keptMs(server))
  }

  function answer(asked: Asked, bytes: Buffer, so: Standing): void {
    const { bodyBytes } = asked
    const body = bodyBytes === 0 ? undefined : bytes.subarray(bytes.length - bodyBytes)
    const answered = lane.answer(asked, body)
    if (answered instanceof Promise) {
      later(answered, { bytes, so }, (answered) => send(answered, asked))
    } else if (answered !== undefined) send(answered, asked)
    else if (so.hasLearnt || health.underWay >= maxRequests) handOver(bytes, so)
    else learn(asked, bytes, so)
  }

  /** A memory that has forgotten, or is behind, is no reason to give a connection away. */
  function learn(asked: Asked, bytes: Buffer, so: Standing): void {
    later(lane.learn(asked), { bytes, so }, () => take(bytes, { ...so, hasLearnt: true }))
  }

  /** Reads nothing until `promise` is kept; if it is not, the ordinary route tells why. */
  function later<T>(
    promise: Promise<T>,
    { bytes, so }: { bytes: Buffer; so: Standing },
    then: (value: T) => void,
  ): void {
    pause()
    health.underWay++
    promise.then(
      (value) =>
        soon(() => {
          resume()
          if (!socket.destroyed) then(value)
          health.underWay--
        }),
      () => {
        handOver(bytes, so)
        health.underWay--
      },
    )
  }

  function send({ status, json, bytes }: LaneAnswer, asked: Asked): void {
    const requestId = randomUUID()
    const text = headOf(status, requestId, bytes) + json
    // Where each character is a byte, it is copied rather than encoded.
    const isTaken = socket.write(text, bytes === json.length ? 'latin1' : 'utf8')
    if (!isTaken) awaitReader()
    if (!hasAsked) {
      hasAsked = true
      socket.setTimeout(keptMs(server))
    }
    lane.note(asked, status, requestId)
  }

  function pause(): void {
    isBusy = true
    socket.pause()
  }

  function resume(): void {
    isBusy = false
    socket.resume()
  }

  /** Who does not read answers is not asked for more questions, nor cut off in the middle of one. */
  function awaitReader(): void {
    socket.pause()
    if (!isUnread) health.underWay++
    isUnread = true
  }

  function noteRead(): void {
    if (isUnread) health.underWay--
    isUnread = false
  }

  function goOn(): void {
    noteRead()
    if (!isBusy) socket.resume()
  }

  function finish(): void {
    drop()
    socket.end()
  }

  function giveUp(): void {
    if (isBusy) return
    if (begun === undefined) socket.destroy()
    else handOver(begun.bytes, NEW)
  }

  function forget(): void {
    drop()
    noteRead()
    open.delete(self)
  }

  function handOver(unread: Buffer, { waitedSinceMs }: Standing): void {
    forget()
    if (socket.destroyed) return
    for (const [event, listener] of listeners) socket.off(event, listener)
    socket.setTimeout(0)
    if (waitedSinceMs !== undefined) room.comesBack(socket, waitedSinceMs)
    // Nothing flows until the new owner listens and the bytes are back in their place.
    socket.pause()
    means.giveAway()
    socket.unshift(unread)
    socket.resume()
  }

  const listeners = [
    ['data', read],
    ['drain', goOn],
    ['end', finish],
    ['timeout', giveUp],
    ['error', ignore],
    ['close', forget],
  ] as const
  for (const [event, listener] of listeners) socket.on(event, listener)
  // Clients open connections before they need them.
  socket.setTimeout(server.headersTimeout)
  return self
}

/** The connection is gone, and there is nobody to tell. */
function ignore(): void {}

/** As long as Node keeps a connection on which nothing is asked. */
function keptMs({ keepAliveTimeout, keepAliveTimeoutBuffer = 0 }: Server): number {
  return keepAliveTimeout === 0 ? 0 : keepAliveTimeout + keepAliveTimeoutBuffer
}

/** Node's own, which parses HTTP. */
function connectionListenerOf(server: Server, event: string): ConnectionListener {
  const listener = server.listeners(event).find(({ name }) => name === 'connectionListener')
  if (listener !== undefined) return listener as ConnectionListener
  throw new Error('Node’s HTTP server does not take its connections where it used to.')
}

/** Whoever closes the connections of `server` closes these with them. */
function closeWithOthers(server: Server, open: ReadonlySet<OwnConnection>): void {
  const closeIdle = server.closeIdleConnections.bind(server)
  const closeAll = server.closeAllConnections.bind(server)
  server.closeIdleConnections = () => {
    for (const connection of open) if (connection.isIdle()) connection.close()
    closeIdle()
  }
  server.closeAllConnections = () => {
    for (const connection of open) connection.close()
    closeAll()
  }
}

/** The head of an answer as Node would write it. */
function answerHeads(headers: readonly string[], server: Server) {
  const lines: string[] = []
  for (let i = 0; i < headers.length; i += 2) lines.push(`${headers[i]}: ${headers[i + 1]}\r\n`)
  const fixed = `${lines.join('')}x-request-id: `
  const date = dates()
  return (status: number, requestId: string, bytes: number): string =>
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${fixed}${requestId}\r\n` +
    `cache-control: no-store\r\ncontent-length: ${bytes}\r\nDate: ${date()}\r\n` +
    `Connection: keep-alive\r\nKeep-Alive: timeout=${Math.floor(server.keepAliveTimeout / 1000)}\r\n\r\n`
}

/** The time of day for a head (RFC 9110, section 6.6.1), put into words once a second. */
function dates(): () => string {
  let [fromMs, text] = [Number.NaN, '']
  return () => {
    const nowMs = Date.now()
    if (!(nowMs >= fromMs && nowMs < fromMs + 1000)) {
      fromMs = nowMs - (nowMs % 1000)
      text = new Date(nowMs).toUTCString()
    }
    return text
  }
}
