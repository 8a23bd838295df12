import { Type } from 'typebox'
import type { NodeFacts } from '../../core/nodes/registry.ts'
import { callerOf } from '../auth.ts'
import { Nullable } from '../nullable.ts'
import type { ApiParts } from '../parts.ts'
import type { Scope } from '../scope.ts'
import { instant } from './format.ts'
import { Instant, problems } from './schemas.ts'

export const Node = Type.Object({
  id: Type.String(),
  address: Nullable(
    Type.String({ description: 'Where this very node is reached, past any load balancer' }),
  ),
  version: Type.String(),
  state: Type.Enum(['live', 'draining', 'gone'], {
    description:
      'A draining node still answers; one that was silent for longer than its lease is gone',
  }),
  startedAt: Instant,
  seenAt: Instant,
  leaseSeconds: Type.Number({ description: '0: it needs none, having the database to itself' }),
  position: Type.Integer({ description: 'The number of the last change that it has applied' }),
  self: Type.Boolean({ description: 'Whether it is the node that answers' }),
})
const Nodes = Type.Object({ items: Type.Array(Node) })

/** Which servers share the database, and how far each is. */
export function nodeRoutes(app: Scope, { core }: ApiParts): void {
  const nodeOut = (node: NodeFacts) => ({
    id: node.id,
    address: node.address ?? null,
    version: node.version,
    state: node.state,
    startedAt: instant(node.startedAtMs),
    seenAt: instant(node.seenAtMs),
    leaseSeconds: node.leaseMs / 1000,
    position: node.position,
    self: node.id === core.nodes.id,
  })
  app.get(
    '/nodes',
    {
      schema: {
        tags: ['nodes'],
        summary: 'The servers that share the database, those gone within a day included',
        response: { 200: Nodes, ...problems },
      },
    },
    async (request) => ({ items: (await core.read.nodes(callerOf(request))).map(nodeOut) }),
  )
}
