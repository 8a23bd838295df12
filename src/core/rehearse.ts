import { mustBeAllowed } from './access.ts'
import type { Caller } from './caller.ts'
import { mustBeManageable } from './clients/manage.ts'
import type { Deps } from './deps.ts'
import { mustBeWithdrawable } from './grants/manage.ts'
import { mustBeManageable as mustBeManageableGroup } from './groups/manage.ts'
import type { GrantId, GroupId, TokenId, UserId } from './id.ts'
import { type BulkWish, rehearseBulk } from './jobs/manage.ts'
import { type BlastRadius, blastRadius, type Effect } from './tokens/blast-radius.ts'
import type { TokenQuery } from './tokens/filter.ts'
import { visible } from './tokens/visible.ts'
import { mustBeDeletable, mustBeDisablable } from './users/manage.ts'

/**
 * What would be hit by what ends tokens, without doing it. Each throws what the real thing throws for
 * the same caller, so that a rehearsal that goes well is not followed by a refusal.
 */
export function rehearsalsOf(deps: Deps) {
  const { store } = deps
  const radius = (tokens: TokenQuery, effect: Effect) => blastRadius(deps, { tokens, effect })
  return {
    /** Throws `not_found`, `forbidden`. */
    async revokeToken(caller: Caller, id: TokenId): Promise<BlastRadius> {
      const policy = deps.policy()
      const token = visible(deps, caller, await store.tokens.glance(id))
      mustBeAllowed(caller.principal, 'token.revoke', { what: token, policy })
      return radius({ field: 'id', oneOf: [id] }, 'revoked')
    },
    /** Throws `forbidden` for an access token derived from the one that it is about. */
    async revokeSelf(caller: Caller): Promise<BlastRadius> {
      const { principal } = caller
      mustBeAllowed(principal, 'token.revoke-self', { what: undefined, policy: deps.policy() })
      return radius({ field: 'id', oneOf: [principal.token.id] }, 'revoked')
    },
    /** Throws `invalid_input`, `forbidden`. */
    bulk: (caller: Caller, wish: BulkWish): Promise<BlastRadius> =>
      rehearseBulk(deps, caller, wish),
    /** Throws `not_found`, `forbidden`, `conflict`, `last_admin`. */
    async deleteUser(caller: Caller, id: UserId): Promise<BlastRadius> {
      await mustBeDeletable(deps, store, { caller, id })
      return radius({ field: 'owner', oneOf: [id] }, 'revoked')
    },
    /** Logins are revoked, everything else is refused. Throws `not_found`, `forbidden`, `last_admin`. */
    async disableUser(caller: Caller, id: UserId): Promise<BlastRadius> {
      await mustBeDisablable(deps, store, { caller, id })
      return radius({ field: 'owner', oneOf: [id] }, 'refused')
    },
    /** Whose tokens reach less without the group. Throws `not_found`, `forbidden`. */
    async deleteGroup(caller: Caller, id: GroupId): Promise<BlastRadius> {
      await mustBeManageableGroup(deps, store, { caller, id })
      const members = await store.groups.membershipsOfGroup(id)
      const unlimited: TokenQuery = {
        all: [
          { field: 'owner', oneOf: members.map(({ userId }) => userId) },
          { field: 'group', never: true },
        ],
      }
      return radius({ any: [{ field: 'group', oneOf: [id] }, unlimited] }, 'narrowed')
    },
    /** Disabling a client ends the same as deleting it. Throws `not_found`, `forbidden`. */
    async endClient(caller: Caller, id: string): Promise<BlastRadius> {
      const client = await mustBeManageable(deps, store, { caller, id })
      const account: TokenQuery = { field: 'owner', oneOf: [client.serviceUserId] }
      return radius({ any: [{ field: 'client', oneOf: [client.id] }, account] }, 'revoked')
    },
    /** Throws `not_found`, `forbidden`. */
    async withdrawGrant(caller: Caller, id: GrantId): Promise<BlastRadius> {
      await mustBeWithdrawable(deps, store, { caller, id })
      // The family of a client's tokens is the grant they came of.
      return radius({ field: 'family', oneOf: [id] }, 'revoked')
    },
  }
}
