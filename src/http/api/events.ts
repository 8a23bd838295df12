import { Readable } from 'node:stream'
import { Type } from 'typebox'
import { CoreError } from '../../core/errors.ts'
import { EVENT_TYPES, type EventType } from '../../core/events/event.ts'
import type { EventFilter } from '../../core/events/store.ts'
import type { TokenId, UserId } from '../../core/id.ts'
import { eventOut } from '../../core/webhooks/payload.ts'
import { callerOf } from '../auth.ts'
import { Nullable } from '../nullable.ts'
import type { ApiParts } from '../parts.ts'
import type { Scope } from '../scope.ts'
import { eventStreams } from './event-stream.ts'
import { cursorsFor, pageOut, pageWish } from './format.ts'
import { Id, Instant, JsonObject, PageQuery, pageOf, problems, TokenKind } from './schemas.ts'

const tags = ['events']

export const EventTypeName = Type.Enum([...EVENT_TYPES])

export const Event = Type.Object({
  id: Type.String({
    description: 'Rises with every event; the `webhook-id` begins with `evt_` and this',
  }),
  type: EventTypeName,
  timestamp: Instant,
  data: Type.Object({
    token: Nullable(
      Type.Object(
        {
          id: Id,
          kind: Nullable(TokenKind),
          name: Nullable(Type.String()),
          preview: Nullable(Type.String()),
          ownerId: Nullable(Id),
          expiresAt: Nullable(Instant),
        },
        { description: 'As it was then' },
      ),
    ),
    actor: Nullable(
      Type.Object(
        { id: Id, username: Nullable(Type.String()) },
        { description: 'Null: the server itself, or nobody known' },
      ),
    ),
    details: JsonObject,
  }),
})

const EventQuery = {
  type: Type.Optional(
    Type.String({
      maxLength: 500,
      description: `Types, comma-separated, of ${EVENT_TYPES.join(', ')}`,
    }),
  ),
  tokenId: Type.Optional(Id),
  ownerId: Type.Optional(Id),
}

/** Throws `invalid_input`. */
function filterOf(query: { type?: string; tokenId?: string; ownerId?: string }): EventFilter {
  const { type, tokenId, ownerId } = query
  return {
    ...(type === undefined ? {} : { types: type.split(',').map(typeOf) }),
    ...(tokenId === undefined ? {} : { tokenId: tokenId as TokenId }),
    ...(ownerId === undefined ? {} : { ownerId: ownerId as UserId }),
  }
}

function typeOf(text: string): EventType {
  const found = EVENT_TYPES.find((type) => type === text.trim())
  if (found !== undefined) return found
  throw new CoreError('invalid_input', `type must be some of ${EVENT_TYPES.join(', ')}.`)
}

/** Where a stream goes on. Throws `invalid_input`. */
function eventNumber(text: string): number {
  const number = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN
  if (Number.isSafeInteger(number)) return number
  throw new CoreError('invalid_input', 'Last-Event-ID must be the id of an event.')
}

export function eventRoutes(app: Scope, { core, health }: ApiParts): void {
  const list = core.cursors('events')
  const streams = eventStreams(core, () => health.draining)

  app.get(
    '/events',
    {
      schema: {
        tags,
        summary: 'What happened to tokens, newest first; admins see all, others their own',
        description: 'Events are kept for 30 days; the audit trail keeps everything.',
        querystring: Type.Object({ ...PageQuery, ...EventQuery }, { additionalProperties: false }),
        response: { 200: pageOf(Event), ...problems },
      },
    },
    async (request) => {
      const cursors = cursorsFor(list, request)
      const page = await core.read.events(callerOf(request), {
        filter: filterOf(request.query),
        ...pageWish(request.query, cursors),
      })
      return pageOut(page, cursors, eventOut)
    },
  )

  app.get(
    '/events/stream',
    {
      // It never ends by itself.
      exposeHeadRoute: false,
      config: { stays: true },
      schema: {
        tags,
        summary: 'The same as they happen, as Server-Sent Events',
        description:
          'Send `Accept: text/event-stream`. Begins with what happens from now on, or after the event that `Last-Event-ID` names. A comment comes every 15 seconds when there is nothing to tell. Ends when the credential does, and when the server shuts down: connect again, with the last id.',
        headers: Type.Object({
          'last-event-id': Type.Optional(
            Type.String({ maxLength: 20, description: 'The last event that arrived' }),
          ),
        }),
        querystring: Type.Object(EventQuery, { additionalProperties: false }),
        response: {
          200: {
            description: 'The stream',
            content: { 'text/event-stream': { schema: Type.String() } },
          },
          ...problems,
        },
      },
    },
    async (request, reply) => {
      // Whoever does not say so would wait for an end that does not come.
      if (!request.headers.accept?.includes('text/event-stream')) {
        throw new CoreError('invalid_input', 'Send the header Accept: text/event-stream.')
      }
      const caller = callerOf(request)
      const filter = filterOf(request.query)
      const last = request.headers['last-event-id']
      const newest = await core.read.lastEventId()
      // Beyond the newest lies what a restored database does not know: its next events come before.
      const afterId = last === undefined ? newest : Math.min(eventNumber(last), newest)
      // Refuses here what the stream would break off for.
      await core.read.eventsAfter(caller, { filter, id: afterId, limit: 1 })
      const gone = new AbortController()
      reply.raw.once('close', () => gone.abort())
      // Who left before this is not told of again.
      if (reply.raw.destroyed || request.raw.socket.destroyed) gone.abort()
      const stream = streams.open({ caller, filter, afterId, signal: gone.signal })
      // Its end is the end of the connection, or a shutdown would wait for it.
      reply
        .type('text/event-stream')
        .header('connection', 'close')
        .header('x-accel-buffering', 'no')
      // What is sent is text, for the document; Fastify takes it from a stream.
      return reply.send(Readable.from(stream, { highWaterMark: 1 }) as unknown as string)
    },
  )
}
