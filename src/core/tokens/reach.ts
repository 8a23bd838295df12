import type { Caller } from '../caller.ts'
import type { Deps } from '../deps.ts'
import type { TokenId } from '../id.ts'
import { type HeldGroup, limitGroups } from '../rights.ts'
import { heldGroups } from '../users/owner.ts'
import { getToken, listableFilter } from './read.ts'
import type { TokenFilter } from './store.ts'
import type { Token } from './token.ts'

/** A token with the groups that it reaches now: its owner's memberships within its own limits. */
export interface TokenReach {
  token: Token
  groups: readonly HeldGroup[]
}

/** Throws `not_found`, also for what the caller may not see. */
export async function getTokenReach(deps: Deps, caller: Caller, id: TokenId): Promise<TokenReach> {
  const token = await getToken(deps, caller, id)
  const memberships = await deps.store.groups.membershipsOfUser(token.ownerId)
  return { token, groups: [...limitGroups(heldGroups(memberships), token.limits).values()] }
}

/** More rows than a database can have; lists ask for a size. */
const ALL_ROWS = 2 ** 31 - 1

/** Every token that fits one of the filters, newest first within each. Throws `forbidden`. */
export async function everyTokenReach(
  deps: Deps,
  caller: Caller,
  filters: TokenFilter[],
): Promise<TokenReach[]> {
  const nowMs = deps.clock.now()
  const lists = filters
    .map((filter) => listableFilter(deps, caller, filter))
    .map((filter) => deps.store.tokens.list(filter, undefined, ALL_ROWS, nowMs))
  const tokens = (await Promise.all(lists)).flat()
  const memberships = await deps.store.groups.allMemberships()
  const byOwner = new Map(
    [...Map.groupBy(memberships, ({ userId }) => userId)].map(([id, of]) => [id, heldGroups(of)]),
  )
  return tokens.map((token) => ({
    token: deps.usage.overlay(token),
    groups: [...limitGroups(byOwner.get(token.ownerId) ?? new Map(), token.limits).values()],
  }))
}
