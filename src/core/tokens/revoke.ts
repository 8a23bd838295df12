import { mustBeAllowed } from '../access.ts'
import type { Actor } from '../audit/record.ts'
import type { Caller } from '../caller.ts'
import type { Deps } from '../deps.ts'
import type { ClientId, GrantId, TokenId } from '../id.ts'
import type { Repositories } from '../store.ts'
import { checkProse } from '../text.ts'
import type { Roots } from './inventory-store.ts'
import type { Hit, OwnedFilter } from './store.ts'
import type { Token } from './token.ts'
import { visible } from './visible.ts'

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
  // Only seen: what is decided here does not change, and its grant is locked before it.
  const token = visible(deps, caller, await tx.tokens.glance(id))
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
  return revokeSettled(deps, tx, { actor, token, reason: cleanReason })
}

/**
 * Kills a token once it is settled that the actor may. An access token or code dies alone, with what
 * is derived from it; every other kind with its family, a refresh token with the grant behind it
 * (RFC 7009, section 2.1).
 */
export async function revokeSettled(
  deps: Deps,
  tx: Repositories,
  { actor, token, reason }: { actor: Actor; token: Token; reason: string },
): Promise<Revoked> {
  const revocation = { by: actor.principal?.user.id, reason, atMs: deps.clock.now() }
  const hits = diesAlone(token)
    ? await tx.tokens.revokeAlone(token.id, revocation)
    : await tx.tokens.revokeTree(token.id, revocation)
  if (token.kind === 'oauth_refresh') await endGrant(deps, tx, { actor, token, reason })
  return announce(deps, tx, { actor, hits, reason })
}

/**
 * The same for many tokens at once: each dies as `revokeSettled` has it. Meant for batches, because all
 * of it is one transaction.
 */
export async function revokeSettledMany(
  deps: Deps,
  tx: Repositories,
  { actor, tokens, reason }: { actor: Actor; tokens: readonly Token[]; reason: string },
): Promise<Revoked> {
  const revocation = { by: actor.principal?.user.id, reason, atMs: deps.clock.now() }
  const hits = await tx.tokens.revokeMany(rootsOf(tokens), revocation)
  for (const token of tokens) {
    if (token.kind === 'oauth_refresh') await endGrant(deps, tx, { actor, token, reason })
  }
  return announce(deps, tx, { actor, hits, reason })
}

/** An access token or code dies alone, with what is derived from it. */
function diesAlone({ kind }: Pick<Token, 'kind'>): boolean {
  return kind === 'oauth_access' || kind === 'oauth_code'
}

/** Tokens that die, by how each does. */
export function rootsOf(tokens: readonly Pick<Token, 'id' | 'kind'>[]): Roots {
  return {
    trees: tokens.filter((token) => !diesAlone(token)).map(({ id }) => id),
    alone: tokens.filter(diesAlone).map(({ id }) => id),
  }
}

async function endGrant(
  deps: Deps,
  tx: Repositories,
  { actor, token, reason }: { actor: Actor; token: Token; reason: string },
): Promise<void> {
  // The family of a client's tokens is the grant they came of.
  const id = token.familyId as string as GrantId
  for (const ended of await tx.grants.revoke({ id }, deps.clock.now())) {
    await deps.audit(tx, actor, {
      action: 'grant.withdrawn',
      subjectType: 'grant',
      subjectId: ended,
      after: { reason },
    })
  }
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

/** Kills all that a client was given; when it is disabled or deleted. */
export async function revokeOfClient(
  deps: Deps,
  tx: Repositories,
  { actor, id, reason }: { actor: Actor; id: ClientId; reason: string },
): Promise<Revoked> {
  const revocation = { by: actor.principal?.user.id, reason, atMs: deps.clock.now() }
  const hits = await tx.tokens.revokeOfClient(id, revocation)
  return announce(deps, tx, { actor, hits, reason })
}

/** Kills all that came of a grant; when it is withdrawn. Returns whom it hit. */
export async function revokeOfGrant(
  deps: Deps,
  tx: Repositories,
  { actor, id, reason }: { actor: Actor; id: GrantId; reason: string },
): Promise<Hit[]> {
  const revocation = { by: actor.principal?.user.id, reason, atMs: deps.clock.now() }
  const hits = await tx.tokens.revokeFamily(id, revocation)
  await announce(deps, tx, { actor, hits, reason })
  return hits
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
