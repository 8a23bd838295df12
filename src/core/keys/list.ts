import { mustBeAllowed } from '../access.ts'
import type { Caller } from '../caller.ts'
import type { Deps } from '../deps.ts'
import { inOrder, type KeyName, LASTING } from './purposes.ts'

/** What may be known about a key. */
export interface KeyFacts {
  id: string
  purpose: KeyName
  algorithm: string
  createdAtMs: number
  /** Does no new work since then; undefined: current. */
  retiredAtMs: number | undefined
}

/** The keys that last, current ones first. Throws `forbidden`. */
export async function listKeys(deps: Deps, caller: Caller): Promise<KeyFacts[]> {
  mustBeAllowed(caller.principal, 'key.read', { what: undefined, policy: deps.policy() })
  return inOrder(await deps.store.keys.all()).map(({ id, purpose, createdAtMs, retiredAtMs }) => ({
    id,
    purpose: LASTING[purpose].name,
    algorithm: LASTING[purpose].algorithm,
    createdAtMs,
    retiredAtMs,
  }))
}
