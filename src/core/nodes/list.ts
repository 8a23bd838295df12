import { mustBeAllowed } from '../access.ts'
import type { Caller } from '../caller.ts'
import type { Deps } from '../deps.ts'
import type { NodeFacts } from './registry.ts'

/** The nodes that share the database, those gone lately included. Throws `forbidden`. */
export async function listNodes(deps: Deps, caller: Caller): Promise<NodeFacts[]> {
  mustBeAllowed(caller.principal, 'node.read', { what: undefined, policy: deps.policy() })
  return deps.store.nodes.list()
}
