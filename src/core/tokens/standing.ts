import type { Caller } from '../caller.ts'
import type { Deps } from '../deps.ts'
import { CoreError } from '../errors.ts'
import type { TokenId } from '../id.ts'
import { restrained, restraintOf } from '../policy/restraint.ts'
import { effectiveRights, type Principal } from '../rights.ts'
import type { Repositories } from '../store.ts'
import { descentOf } from './lineage.ts'
import { stateOf, type TokenState } from './token.ts'

/** Whom a token stands for at this moment, and whether it stands at all. */
export interface Standing {
  principal: Principal
  state: TokenState
}

/**
 * As for a verdict, within what its ancestors and the policy leave of the token, but read from `from` and
 * not from what the node remembers. Undefined: the token or its owner is gone, or the owner disabled.
 */
export async function standingOf(
  deps: Pick<Deps, 'clock' | 'loadOwner' | 'policy'>,
  from: Repositories,
  id: TokenId,
): Promise<Standing | undefined> {
  const stored = await from.tokens.glance(id)
  if (stored === undefined) return undefined
  const owner = await deps.loadOwner(stored.ownerId, from)
  if (owner === undefined || !owner.user.active) return undefined
  const { token: saved } = await descentOf(from, stored)
  const token = restrained(saved, await restraintOf(deps.policy(), from, stored))
  return {
    principal: { user: owner.user, token, rights: effectiveRights(owner, token.limits) },
    state: stateOf(token, deps.clock.now()),
  }
}

/**
 * Who asks by now, for what was kept waiting between the question and its transaction. For what takes the
 * token itself, not an access token derived from it. Throws `unauthenticated`.
 */
export async function mustStillStand(
  deps: Pick<Deps, 'clock' | 'loadOwner' | 'policy'>,
  tx: Repositories,
  caller: Caller,
): Promise<Principal> {
  const standing = await standingOf(deps, tx, caller.principal.token.id)
  if (standing?.state === 'active') return standing.principal
  throw new CoreError('unauthenticated', 'The credential is no longer valid.')
}
