import { mustBeAllowed } from '../access.ts'
import type { Actor } from '../audit/record.ts'
import type { Caller } from '../caller.ts'
import type { Deps } from '../deps.ts'
import { CoreError } from '../errors.ts'
import type { TokenId } from '../id.ts'
import type { Repositories } from '../store.ts'
import { checkProse } from '../text.ts'
import { lockedLine } from './locked-line.ts'
import type { Hit } from './store.ts'
import { stateOf, type Token } from './token.ts'
import { visible } from './visible.ts'

/** Which tokens a quarantine or its end reached. */
export interface Quarantined {
  tokens: TokenId[]
}

/**
 * Refuses a token, and all that is derived from it (of a refresh token, all that came of its grant), until
 * it is released: dead when this returns, but not for good. Quarantining what is quarantined already
 * changes nothing, unless its owner did that: then it becomes that of whoever else does it now. Throws
 * `not_found`, `forbidden`, `token_not_active`.
 */
export async function quarantineToken(
  deps: Deps,
  tx: Repositories,
  { caller, id, reason }: { caller: Caller; id: TokenId; reason: string },
): Promise<Quarantined> {
  const policy = deps.policy()
  const token = visible(deps, caller, await tx.tokens.byId(id))
  mustBeAllowed(caller.principal, 'token.quarantine', { what: token, policy })
  const state = stateOf(token, deps.clock.now())
  if (state !== 'active' && state !== 'quarantined') {
    throw new CoreError('token_not_active', `The token is ${state}; nobody can use it anyway.`)
  }
  const clean = checkProse(reason, { what: 'The reason', maxLength: 500 })
  return quarantineSettled(deps, tx, { actor: caller, token, reason: clean })
}

/** The same once it is settled that the actor may. */
export async function quarantineSettled(
  deps: Deps,
  tx: Repositories,
  { actor, token, reason }: { actor: Actor; token: Pick<Token, 'id'>; reason: string },
): Promise<Quarantined> {
  const hits = await tx.tokens.quarantine(token.id, {
    by: actor.principal?.user.id,
    reason,
    atMs: deps.clock.now(),
  })
  return announce(deps, tx, { actor, hits, action: 'token.quarantined', reason })
}

/**
 * Ends the quarantine of a token and of all that was quarantined with it. The same report of a leak, come
 * again, does not bring it back. Throws `not_found`,
 * `forbidden`, `conflict` when it is not quarantined, or one that it comes from is.
 */
export async function releaseToken(
  deps: Deps,
  tx: Repositories,
  { caller, id, reason }: { caller: Caller; id: TokenId; reason: string },
): Promise<Quarantined> {
  const policy = deps.policy()
  // Before the token is locked, as reports do; whoever may not, or finds nothing to release, takes it back.
  await tx.leaks.settle(id, deps.clock.now())
  const line = await lockedLine(tx, visible(deps, caller, await tx.tokens.glance(id)))
  const token = visible(deps, caller, line?.token)
  mustBeAllowed(caller.principal, 'token.release', { what: token, policy })
  const clean = checkProse(reason, { what: 'The reason', maxLength: 500 })
  const above = line?.ancestors.find(isHeldBack)
  if (above !== undefined) {
    throw new CoreError(
      'conflict',
      `It comes from the token ${above.id}, which is quarantined. Release that one first.`,
    )
  }
  const hits = await tx.tokens.release(id, deps.clock.now())
  if (hits.length === 0) {
    throw new CoreError(
      'conflict',
      token.quarantinedAtMs === undefined
        ? 'The token is not quarantined.'
        : 'The token is revoked, or quarantined with the one that it was derived from. Release that one.',
    )
  }
  return announce(deps, tx, { actor: caller, hits, action: 'token.released', reason: clean })
}

function isHeldBack({ quarantinedAtMs, revokedAtMs }: Token): boolean {
  return quarantinedAtMs !== undefined && revokedAtMs === undefined
}

async function announce(
  deps: Deps,
  tx: Repositories,
  fact: {
    actor: Actor
    hits: Hit[]
    action: 'token.quarantined' | 'token.released'
    reason: string
  },
): Promise<Quarantined> {
  for (const { id } of fact.hits) {
    await tx.changes.append({ subject: 'token', id })
    await deps.audit(tx, fact.actor, {
      action: fact.action,
      subjectType: 'token',
      subjectId: id,
      after: { reason: fact.reason },
    })
  }
  return { tokens: fact.hits.map(({ id }) => id) }
}
