import { AsyncLocalStorage } from 'node:async_hooks'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import type { Core } from '../core/core.ts'
import type { Acknowledgement } from '../core/nodes/registry.ts'

const HEADER = 'mintmark-acknowledged'

/** What a request has changed so far that all nodes must hear of. */
interface Commits {
  /** The number of the last such change; 0: none. */
  sequence: number
  found: Acknowledgement | undefined
}

declare module 'fastify' {
  interface FastifyRequest {
    commits: Commits | undefined
  }
  interface FastifyContextConfig {
    /** Whether `?wait=none` is understood, and the answer tells of acknowledgements. */
    tellsAcknowledged?: boolean
  }
}

/** Handlers commit deep below the routes; this is how an answer learns what its request has changed. */
const underWay = new AsyncLocalStorage<Commits>()

/** For the store, which calls it in the course of whatever made the change. */
export function noteCommitted(sequence: number): void {
  const commits = underWay.getStore()
  if (commits !== undefined) commits.sequence = Math.max(commits.sequence, sequence)
}

export interface AcknowledgeParts {
  core: Pick<Core, 'nodes'>
  config: { revokeWaitMs: number }
}

/** Lets every answer to a change wait for the nodes, whichever API it belongs to. */
export function awaitAcknowledgements(app: FastifyInstance, parts: AcknowledgeParts): void {
  app.decorateRequest('commits', undefined)
  app.addHook('preHandler', (request, _, done) => {
    const commits: Commits = { sequence: 0, found: undefined }
    request.commits = commits
    underWay.run(commits, done)
  })
  app.addHook('onSend', async (request, reply, payload) => {
    if (!hasChanged(request) && request.commits?.found === undefined) return payload
    const found = await acknowledgementOf(request, parts)
    if (request.routeOptions.config.tellsAcknowledged === true) {
      reply.header(HEADER, `${found.acknowledged}/${found.nodes}`)
    }
    return payload
  })
}

/** The same for an answer that others write, past the hooks: resolves when it may go out. */
export async function changesAreKnown(
  request: FastifyRequest,
  parts: AcknowledgeParts,
): Promise<void> {
  if (hasChanged(request)) await acknowledgementOf(request, parts)
}

const hasChanged = ({ commits }: FastifyRequest) => (commits?.sequence ?? 0) !== 0

/**
 * Waits until the nodes know what this request has changed, unless it asked not to. A request that found
 * nothing left to change waits for what others changed: it may be the repetition of one whose answer was
 * lost.
 */
export async function acknowledgementOf(
  request: FastifyRequest,
  { core, config }: AcknowledgeParts,
): Promise<Acknowledgement> {
  const { commits } = request
  if (commits?.found !== undefined) return commits.found
  const found = asksNotToWait(request)
    ? { acknowledged: 1, nodes: core.nodes.figures().nodes }
    : await core.nodes.acknowledged(commits?.sequence || 'everything', config.revokeWaitMs)
  if (commits !== undefined) commits.found = found
  return found
}

function asksNotToWait({ query, routeOptions }: FastifyRequest): boolean {
  const { wait } = query as { wait?: unknown }
  return routeOptions.config.tellsAcknowledged === true && wait === 'none'
}

const Wait = Type.Optional(
  Type.Enum(['all', 'none'], {
    description:
      'Whether the answer waits until all nodes have applied the change (`all`, the default, for MINTMARK_REVOKE_WAIT at most) or comes at once. Where something was taken away, the header `Mintmark-Acknowledged: 3/3` says how many nodes of how many no longer know better.',
  }),
)

/** Declares `wait` for every route of the scope that changes something. Call it before they are made. */
export function offerWait(app: FastifyInstance, { except }: { except: RegExp }): void {
  app.addHook('onRoute', (route) => {
    const methods = [route.method].flat()
    if (methods.some((method) => method === 'GET' || method === 'HEAD')) return
    if (except.test(route.url)) return
    const given = (route.schema?.querystring ?? Type.Object({})) as ReturnType<typeof Type.Object>
    route.schema = {
      ...route.schema,
      querystring: { ...given, properties: { ...given.properties, wait: Wait } },
    }
    route.config = { ...route.config, tellsAcknowledged: true }
  })
}
