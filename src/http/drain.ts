import type { Server } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'

const LOOK_MS = 25
/** Looks in a row without a request after which open connections count as abandoned. */
const QUIET_LOOKS = 20
/** The same when no connection is open: long enough for a probe to find out. */
const QUIET_LOOKS_ALONE = 8

/**
 * Answers with `Connection: close` from now on, and resolves once nobody asks any more, or after
 * `maxMs`. Closing at once would cut off requests that are on their way on connections which look idle
 * from here; so clients and load balancers are sent away first.
 */
export async function sendAway(server: Server, { maxMs }: { maxMs: number }): Promise<void> {
  if (!server.listening) return
  const connections = promisify(server.getConnections.bind(server))
  const endMs = performance.now() + maxMs
  // Looks are counted rather than time measured: after a stall, what waits is read before the next one.
  let quietLooks = 0
  server.prependListener('request', (_, response) => {
    quietLooks = 0
    response.setHeader('connection', 'close')
  })
  while (performance.now() < endMs) {
    await sleep(LOOK_MS)
    quietLooks++
    const enough = (await connections()) === 0 ? QUIET_LOOKS_ALONE : QUIET_LOOKS
    if (quietLooks >= enough) return
  }
}

/** Cuts off what is still connected as soon as nothing is under way; a connection may never ask. */
export async function cutOff(server: Server, isBusy: () => boolean): Promise<void> {
  while (isBusy()) await sleep(LOOK_MS)
  server.closeAllConnections()
}
