import type { TokenEvent } from '../events/event.ts'

/** An event as it goes over every wire: our API, the stream and webhooks. Holds no secret. */
export function eventOut(event: TokenEvent) {
  const { tokenId } = event
  const instant = (ms: number) => new Date(ms).toISOString()
  return {
    id: String(event.id),
    type: event.type,
    timestamp: instant(event.atMs),
    data: {
      token:
        tokenId === undefined
          ? null
          : {
              id: tokenId,
              kind: event.kind ?? null,
              name: event.name ?? null,
              preview: event.preview ?? null,
              ownerId: event.ownerId ?? null,
              expiresAt: event.expiresAtMs === undefined ? null : instant(event.expiresAtMs),
            },
      actor:
        event.actorId === undefined
          ? null
          : { id: event.actorId as string, username: event.actorName ?? null },
      details: event.details,
    },
  }
}
