import { mustBeAllowed } from '../access.ts'
import type { Caller } from '../caller.ts'
import type { Deps } from '../deps.ts'
import { CoreError } from '../errors.ts'
import type { Mode } from '../groups/group.ts'
import { setMembership } from '../groups/manage.ts'
import type { UserId } from '../id.ts'
import type { Repositories } from '../store.ts'
import { nameKey } from '../text.ts'
import { saveUser } from '../users/manage.ts'
import type { User } from '../users/user.ts'
import { type Issued, issueToken, type TokenWish } from './issue.ts'
import { UNLIMITED, type Via } from './token.ts'

export interface ServiceWish {
  name: string
  groups: { name: string; mode: Mode }[]
  expires: TokenWish['expires']
}

/**
 * A token for a service that has no user yet: makes a service account of its own, named after its id
 * so that it can never be taken for a person, with exactly the groups asked for.
 * Throws `forbidden`, `not_found` (group), `invalid_input`.
 */
export async function issueServiceToken(
  deps: Deps,
  tx: Repositories,
  { caller, wish, via }: { caller: Caller; wish: ServiceWish; via: Via },
): Promise<Issued & { user: User }> {
  const policy = deps.policy()
  mustBeAllowed(caller.principal, 'user.manage', { what: undefined, policy })
  const id = deps.newId() as UserId
  const user = await saveUser(deps, tx, {
    actor: caller,
    id,
    wish: { username: `service:${id}`, displayName: wish.name, kind: 'service' },
  })
  for (const { name, mode } of wish.groups) {
    const group = await tx.groups.byNameKey(nameKey(name))
    if (group === undefined) {
      throw new CoreError('not_found', `There is no group "${name}". Create it first.`)
    }
    await setMembership(deps, tx, { caller, wish: { groupId: group.id, userId: id, mode } })
  }
  const issued = await issueToken(deps, tx, {
    caller,
    via,
    wish: {
      ownerId: id,
      kind: 'service',
      name: wish.name,
      limits: UNLIMITED,
      expires: wish.expires,
    },
  })
  return { ...issued, user }
}
