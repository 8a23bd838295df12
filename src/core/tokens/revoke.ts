import { mustBeAllowed, mustBeVisible } from '../access.ts'
import type { Actor } from '../audit/record.ts'
import type { Caller } from '../caller.ts'
import type { Deps } from '../deps.ts'
import { notFound } from '../errors.ts'
import type { TokenId } from '../id.ts'
import type { Repositories } from '../store.ts'
import { checkProse } from '../text.ts'
import type { Hit, OwnedFilter } from './store.ts'
import type { Token } from './token.ts'

/** What a revocation reached: the token, its family, and everything derived from them. */
export interface Revoked {
  revoked: TokenId[]
}

/**
 * Kills a token with its family and everything derived from it. When this returns, the commit is
 * durable and no cached verdict is left. Revoking what is already revoked changes nothing.
 * Throws `not_found`, `forbidden`.
 */
export async function revokeToken(
  deps: Deps,
  tx: Repositories,
  { caller, id, reason }: { caller: Caller; id: TokenId; reason: string },
): Promise<Revoked> {
  const policy = deps.policy()
  const token = await tx.tokens.byId(id)
  if (token === undefined) throw notFound('token')
  mustBeVisible(caller.principal, 'token.read', { what: token, policy })
  mustBeAllowed(caller.principal, 'token.revoke', { what: token, policy })
  return revokeTree(deps, tx, { actor: caller, token, reason })
}

/**
 * Kills the token that is being presented. Its holder may always do that, READ_ONLY or not: throwing
 * a key away is no change to what it opens. Throws `forbidden` for an access token derived from it.
 */
export async function revokeSelf(
  deps: Deps,
  tx: Repositories,
  { caller, reason }: { caller: Caller; reason: string },
): Promise<Revoked> {
  const policy = deps.policy()
  mustBeAllowed(caller.principal, 'token.revoke-self', { what: undefined, policy })
  return revokeTree(deps, tx, { actor: caller, token: caller.principal.token, reason })
}

async function revokeTree(
  deps: Deps,
  tx: Repositories,
  { actor, token, reason }: { actor: Caller; token: Token; reason: string },
): Promise<Revoked> {
  const cleanReason = checkProse(reason, { what: 'The reason', maxLength: 500 })
  const revocation = { by: actor.principal.user.id, reason: cleanReason, atMs: deps.clock.now() }
  const hits = await tx.tokens.revokeTree(token.id, revocation)
  return announce(deps, tx, { actor, hits, reason: cleanReason })
}

/** Kills what was derived from a token, not the token itself; when it is rotated away. */
export async function revokeDerived(
  deps: Deps,
  tx: Repositories,
  { actor, id, reason }: { actor: Caller; id: TokenId; reason: string },
): Promise<Revoked> {
  const revocation = { by: actor.principal.user.id, reason, atMs: deps.clock.now() }
  const hits = await tx.tokens.revokeDerived(id, revocation)
  return announce(deps, tx, { actor, hits, reason })
}

/** Kills everything an owner holds; when a user is disabled, deleted or gets a new password. */
export async function revokeOwned(
  deps: Deps,
  tx: Repositories,
  wish: OwnedFilter & { actor: Actor; reason: string },
): Promise<Revoked> {
  const { actor, reason, ...filter } = wish
  const hits = await tx.tokens.revokeOwned(filter, {
    by: actor.principal?.user.id,
    reason,
    atMs: deps.clock.now(),
  })
  return announce(deps, tx, { actor, hits, reason })
}

async function announce(
  deps: Deps,
  tx: Repositories,
  fact: { actor: Actor; hits: Hit[]; reason: string },
): Promise<Revoked> {
  for (const { id, kind } of fact.hits) {
    await tx.changes.append({ subject: 'token', id })
    await deps.audit(tx, fact.actor, {
      action: kind === 'session' ? 'session.closed' : 'token.revoked',
      subjectType: 'token',
      subjectId: id,
      after: { reason: fact.reason },
    })
  }
  return { revoked: fact.hits.map(({ id }) => id) }
}
