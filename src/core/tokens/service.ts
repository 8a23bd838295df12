import { mustBeAllowed } from '../access.ts'
import { mustBeWithin } from '../bounds.ts'
import type { Caller } from '../caller.ts'
import type { Deps } from '../deps.ts'
import { CoreError } from '../errors.ts'
import type { Mode } from '../groups/group.ts'
import { setMembership } from '../groups/manage.ts'
import type { TokenId } from '../id.ts'
import type { Repositories } from '../store.ts'
import { nameKey } from '../text.ts'
import { deleteUser, saveUser } from '../users/manage.ts'
import type { User } from '../users/user.ts'
import { type Issued, issueToken, type TokenWish } from './issue.ts'
import { revokeToken } from './revoke.ts'
import { type GroupLimit, UNLIMITED, type Via } from './token.ts'

export interface ServiceWish {
  name: string
  groups: { name: string; mode: Mode }[]
  expires: TokenWish['expires']
}

/** Begins the name of an account that was made for one service token; the token's id ends it. */
const SERVICE_PREFIX = 'service:'

/**
 * A token for a service that has no user yet: makes a service account of its own, named after the
 * token's id so that it can never be taken for a person, with exactly the groups asked for.
 * Throws `forbidden`, `beyond_rights`, `not_found` (group), `invalid_input`.
 */
export async function issueServiceToken(
  deps: Deps,
  tx: Repositories,
  { caller, wish, via }: { caller: Caller; wish: ServiceWish; via: Via },
): Promise<Issued & { user: User }> {
  const policy = deps.policy()
  mustBeAllowed(caller.principal, 'user.manage', { what: undefined, policy })
  const id = deps.newId() as TokenId
  const groups = await groupLimits(tx, wish.groups)
  // Before the account gets its memberships, so that it holds no more than its maker could give.
  const creator = caller.principal.token.limits
  mustBeWithin({ ...creator, groups }, creator)
  const user = await saveUser(deps, tx, {
    actor: caller,
    wish: { username: `${SERVICE_PREFIX}${id}`, displayName: wish.name, kind: 'service' },
  })
  for (const { id: groupId, mode } of groups) {
    await setMembership(deps, tx, { caller, wish: { groupId, userId: user.id, mode } })
  }
  const issued = await issueToken(deps, tx, {
    caller,
    via,
    wish: {
      id,
      ownerId: user.id,
      kind: 'service',
      name: wish.name,
      limits: UNLIMITED,
      expires: wish.expires,
    },
  })
  return { ...issued, user }
}

async function groupLimits(tx: Repositories, groups: ServiceWish['groups']): Promise<GroupLimit[]> {
  const limits: GroupLimit[] = []
  for (const { name, mode } of groups) {
    const group = await tx.groups.byNameKey(nameKey(name))
    if (group === undefined) {
      throw new CoreError('not_found', `There is no group "${name}". Create it first.`)
    }
    limits.push({ id: group.id, mode })
  }
  return limits
}

/**
 * Revokes a service token, and deletes the account that was made for it once no other token needs it.
 * Throws `not_found`, `forbidden`.
 */
export async function revokeServiceToken(
  deps: Deps,
  tx: Repositories,
  { caller, id, reason }: { caller: Caller; id: TokenId; reason: string },
): Promise<void> {
  await revokeToken(deps, tx, { caller, id, reason })
  const token = await tx.tokens.byId(id)
  const owner = token === undefined ? undefined : await tx.users.byId(token.ownerId)
  if (owner?.kind !== 'service' || !owner.username.startsWith(SERVICE_PREFIX)) return
  const left = { ownerId: owner.id, states: ['active' as const, 'quarantined' as const] }
  if ((await tx.tokens.count(left, deps.clock.now())) > 0) return
  await deleteUser(deps, tx, { caller, id: owner.id })
}
