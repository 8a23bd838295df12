import { can, mustBeAllowed } from '../access.ts'
import type { Actor } from '../audit/record.ts'
import type { Caller } from '../caller.ts'
import type { Deps } from '../deps.ts'
import { notFound } from '../errors.ts'
import type { ClientId, GrantId, UserId } from '../id.ts'
import { type Page, pageOf } from '../page.ts'
import type { Repositories } from '../store.ts'
import { checkProse } from '../text.ts'
import type { ListWish } from '../tokens/read.ts'
import { type Revoked, revokeOfGrant } from '../tokens/revoke.ts'
import type { Hit } from '../tokens/store.ts'
import type { Grant } from './grant.ts'
import type { GrantFilter } from './store.ts'

/** Which grants to list; with `ended` also those that were withdrawn or are over. */
export interface GrantQuery extends Omit<GrantFilter, 'liveAtMs'> {
  ended?: boolean
}

/** One page, newest first; whoever names no user and is no admin means the own. Throws `forbidden`. */
export async function listGrants(
  deps: Deps,
  caller: Caller,
  { filter, from, size }: ListWish<GrantQuery>,
): Promise<Page<Grant>> {
  const { principal } = caller
  const policy = deps.policy()
  const { ended = false, ...asked } = filter
  const seesAll = can(principal, 'grant.list', { what: { userId: undefined }, policy })
  const userId = asked.userId ?? (seesAll ? undefined : principal.user.id)
  mustBeAllowed(principal, 'grant.list', { what: { userId }, policy })
  const seen: GrantFilter = {
    ...asked,
    ...(userId === undefined ? {} : { userId }),
    ...(ended ? {} : { liveAtMs: deps.clock.now() }),
  }
  const rows = await deps.store.grants.list(seen, from, size + 1)
  return pageOf(rows, { size, from, positionOf: (grant) => [grant.createdAtMs, grant.id] })
}

/**
 * Takes back what a user let a client do, with every token that came of it. Withdrawing what is
 * already withdrawn changes nothing. Throws `not_found`, also for what the caller may not see, and
 * `forbidden`.
 */
export async function withdrawGrant(
  deps: Deps,
  tx: Repositories,
  { caller, id, reason }: { caller: Caller; id: GrantId; reason: string },
): Promise<Revoked> {
  await mustBeWithdrawable(deps, tx, { caller, id })
  const cleanReason = checkProse(reason, { what: 'The reason', maxLength: 500 })
  const hits = await revokeGrant(deps, tx, { actor: caller, id, reason: cleanReason })
  return { revoked: hits.map((hit) => hit.id) }
}

/** Throws `not_found` and `forbidden`, unless the caller may withdraw the grant. */
export async function mustBeWithdrawable(
  deps: Deps,
  tx: Repositories,
  { caller, id }: { caller: Caller; id: GrantId },
): Promise<void> {
  const policy = deps.policy()
  const grant = await tx.grants.byId(id)
  if (grant === undefined) throw notFound('grant')
  const of = { what: { userId: grant.userId }, policy }
  if (!can(caller.principal, 'grant.list', of)) throw notFound('grant')
  mustBeAllowed(caller.principal, 'grant.withdraw', of)
}

/** More than anybody has to one client: one per login. */
const MAX_GRANTS = 10_000

/**
 * Takes back everything that the caller let a client do, from every login: what people mean when they
 * take an application's access away. Throws `forbidden`, and `not_found` where there is nothing.
 */
export async function withdrawFromClient(
  deps: Deps,
  tx: Repositories,
  { caller, clientId, reason }: { caller: Caller; clientId: ClientId; reason: string },
): Promise<Revoked> {
  const userId = caller.principal.user.id
  const policy = deps.policy()
  mustBeAllowed(caller.principal, 'grant.withdraw', { what: { userId }, policy })
  const filter = { userId, clientId, liveAtMs: deps.clock.now() }
  const revoked: Revoked['revoked'] = []
  const given = await tx.grants.list(filter, undefined, MAX_GRANTS)
  if (given.length === 0) throw notFound('grant')
  for (const { id } of given) {
    const hits = await revokeGrant(deps, tx, { actor: caller, id, reason })
    revoked.push(...hits.map((hit) => hit.id))
  }
  return { revoked }
}

/**
 * Withdraws a grant with all its tokens, once it is settled that the actor may. Returns the tokens
 * that it hit. Where nothing was alive nothing is changed or recorded.
 */
export async function revokeGrant(
  deps: Deps,
  tx: Repositories,
  { actor, id, reason }: { actor: Actor; id: GrantId; reason: string },
): Promise<Hit[]> {
  const hits = await revokeOfGrant(deps, tx, { actor, id, reason })
  const grant = await tx.grants.byId(id)
  if (grant === undefined || grant.revokedAtMs !== undefined) return hits
  const nowMs = deps.clock.now()
  if (hits.length === 0 && grant.expiresAtMs <= nowMs) return hits
  await tx.grants.revoke({ id }, nowMs)
  await record(deps, tx, { actor, id, reason })
  return hits
}

/**
 * Withdraws all grants of a user or to a client that goes. Their tokens are revoked with those of
 * the user or client, by the caller of this.
 */
export async function withdrawAll(
  deps: Deps,
  tx: Repositories,
  {
    actor,
    which,
    reason,
  }: { actor: Actor; which: { userId: UserId } | { clientId: ClientId }; reason: string },
): Promise<void> {
  const withdrawn = await tx.grants.revoke(which, deps.clock.now())
  for (const id of withdrawn) await record(deps, tx, { actor, id, reason })
}

async function record(
  deps: Deps,
  tx: Repositories,
  { actor, id, reason }: { actor: Actor; id: GrantId; reason: string },
): Promise<void> {
  await deps.audit(tx, actor, {
    action: 'grant.withdrawn',
    subjectType: 'grant',
    subjectId: id,
    after: { reason },
  })
}
