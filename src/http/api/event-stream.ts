import type { Caller } from '../../core/caller.ts'
import type { Core } from '../../core/core.ts'
import { CoreError } from '../../core/errors.ts'
import type { TokenEvent } from '../../core/events/event.ts'
import type { EventFilter } from '../../core/events/store.ts'
import type { UserId } from '../../core/id.ts'
import { ANY, type Change } from '../../core/store.ts'
import { eventOut } from '../../core/webhooks/payload.ts'

/** Keeps proxies from closing a stream on which nothing happens. */
const HEARTBEAT_MS = 15_000
/** How often the node looks for what other nodes have committed, while anybody listens. */
const LOOK_MS = 500
const EVENTS_AT_ONCE = 100
const MAX_STREAMS = 500
const MAX_STREAMS_PER_USER = 20
/** What a client waits before it connects again. */
const RETRY_MS = 2000

/** What can take a right from anybody; whoever listens is looked at anew. */
const FOR_ALL: ReadonlySet<Change['subject']> = new Set(['policy', 'role', 'group'])

export interface StreamWish {
  caller: Caller
  filter: EventFilter
  afterId: number
  /** Aborted when the listener is gone. */
  signal: AbortSignal
}

/** Streams of events to those who listen, over one node's connections. */
export interface EventStreams {
  /**
   * Events after `afterId` as Server-Sent Events, for as long as the caller's credential is good and no
   * shutdown begins. Nothing is read before the last of it was taken, so that a slow reader costs no
   * memory. Throws `too_many_requests`.
   */
  open(wish: StreamWish): AsyncGenerator<string>
}

/** One listener that waits for news. */
interface Waiting {
  caller: Caller
  wake: () => void
}

export function eventStreams(core: Core, isClosing: () => boolean): EventStreams {
  const waiting = new Set<Waiting>()
  const open = new Map<UserId, number>()
  let lastId = 0
  /** Rises with all news, so that none is missed between a look and the wait that follows. */
  let news = 0
  let timer: NodeJS.Timeout | undefined

  const wakeAll = () => {
    news++
    for (const { wake } of waiting) wake()
  }
  core.onEvent(wakeAll)
  // Whoever loses the credential is sent away at once, not with the next event.
  core.onChange((changes) => {
    for (const { caller, wake } of waiting) {
      const { token, user } = caller.principal
      const isConcerned = changes.some(
        ({ subject, id }) =>
          id === token.id || id === user.id || id === ANY || FOR_ALL.has(subject),
      )
      if (isConcerned) wake()
    }
  })

  async function look(): Promise<void> {
    if (isClosing()) return wakeAll()
    const newest = await core.read.lastEventId()
    if (newest === lastId) return
    lastId = newest
    wakeAll()
  }

  /** Resolves when there is more than `known`, when the heartbeat is due, and when it is time to go. */
  function more(
    { caller, signal }: StreamWish,
    { known, ms }: { known: number; ms: number },
  ): Promise<void> {
    if (news > known || signal.aborted) return Promise.resolve()
    timer ??= setInterval(() => void look().catch(() => undefined), LOOK_MS)
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(heartbeat)
        signal.removeEventListener('abort', done)
        waiting.delete(entry)
        if (waiting.size === 0) {
          clearInterval(timer)
          timer = undefined
        }
        resolve()
      }
      const entry: Waiting = { caller, wake: done }
      const heartbeat = setTimeout(done, ms)
      signal.addEventListener('abort', done)
      waiting.add(entry)
    })
  }

  function enter({ id }: { id: UserId }): () => void {
    const mine = open.get(id) ?? 0
    const all = [...open.values()].reduce((sum, each) => sum + each, 0)
    if (mine >= MAX_STREAMS_PER_USER || all >= MAX_STREAMS) {
      throw new CoreError(
        'too_many_requests',
        'Too many event streams are open. Close one first.',
        {
          retryAfterSeconds: 10,
        },
      )
    }
    open.set(id, mine + 1)
    let isIn = true
    return () => {
      if (!isIn) return
      isIn = false
      const rest = (open.get(id) ?? 1) - 1
      if (rest === 0) open.delete(id)
      else open.set(id, rest)
    }
  }

  async function* stream(wish: StreamWish, leave: () => void): AsyncGenerator<string> {
    const { caller, filter, signal } = wish
    let id = wish.afterId
    let quietSinceMs = performance.now()
    try {
      yield `retry: ${RETRY_MS}\n\n`
      while (!isClosing() && !signal.aborted) {
        const known = news
        const principal = await core.stillHolds(caller)
        if (principal === undefined) return
        const now = { ...caller, principal }
        const events = await core.read.eventsAfter(now, { filter, id, limit: EVENTS_AT_ONCE })
        for (const event of events) {
          yield frame(event)
          id = event.id
          quietSinceMs = performance.now()
        }
        if (events.length === EVENTS_AT_ONCE) continue
        const restMs = quietSinceMs + HEARTBEAT_MS - performance.now()
        if (restMs <= 0) {
          yield ': nothing new\n\n'
          quietSinceMs = performance.now()
        }
        await more(wish, { known, ms: Math.max(restMs, LOOK_MS) })
      }
    } finally {
      leave()
    }
  }

  return {
    open(wish) {
      const leave = enter(wish.caller.principal.user)
      // Of a stream that is never read from, no `finally` is run.
      if (wish.signal.aborted) leave()
      else wish.signal.addEventListener('abort', leave, { once: true })
      return stream(wish, leave)
    },
  }
}

function frame(event: TokenEvent): string {
  return `id: ${event.id}\nevent: ${event.type}\ndata: ${JSON.stringify(eventOut(event))}\n\n`
}
