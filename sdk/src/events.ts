import type { Event, EventFilter, EventQuery } from './event-types.ts'
import type { CallOptions, Send, Stream } from './http.ts'
import { everyItem } from './pages.ts'
import type { Page } from './types.ts'

function queryOf<Q extends EventFilter>({ types, ...query }: Q) {
  return types === undefined ? query : { ...query, type: types.join(',') }
}

/** What happens to tokens. Admins hear of all, others of their own. */
export function events(send: Send, stream: Stream) {
  const list = (query: EventQuery = {}, options: CallOptions = {}): Promise<Page<Event>> =>
    send({ method: 'GET', path: '/events', query: queryOf(query), repeatable: true, ...options })

  return {
    /** One page, newest first. */
    list,

    /** All events that fit, newest first, fetched page by page. */
    listAll(query: EventQuery = {}, options: CallOptions = {}): AsyncGenerator<Event> {
      return everyItem((page: EventQuery) => list(page, options), query)
    },

    /**
     * Events as they happen, from now on or after `lastEventId`, until the connection ends: with the
     * credential, with a shutdown, or by chance. Follow again, with the id of the last one.
     */
    async *follow(
      { lastEventId, ...filter }: EventFilter & { lastEventId?: string } = {},
      options: CallOptions = {},
    ): AsyncGenerator<Event> {
      const headers = {
        accept: 'text/event-stream',
        ...(lastEventId === undefined ? {} : { 'last-event-id': lastEventId }),
      }
      const query = queryOf(filter)
      let rest = ''
      const pieces = stream({ method: 'GET', path: '/events/stream', query, headers, ...options })
      for await (const text of pieces) {
        const frames = (rest + text).split('\n\n')
        rest = frames.pop() ?? ''
        for (const frame of frames) {
          const data = /^data: (.*)$/m.exec(frame)?.[1]
          if (data !== undefined) yield JSON.parse(data) as Event
        }
      }
    },
  }
}
