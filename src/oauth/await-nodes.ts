import { currentRequest } from './request.ts'

/**
 * Around all that the engine does: its answers are written past the hooks of our server, and wait here
 * for the nodes as those do there. An answer that says no waits as well: a spent token that comes again
 * ends its family.
 */
export async function awaitNodes(_: unknown, next: () => Promise<void>): Promise<void> {
  try {
    await next()
  } finally {
    await currentRequest().isKnown()
  }
}
