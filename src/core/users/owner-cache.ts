import type { UserId } from '../id.ts'
import type { Owner } from '../rights.ts'
import { ANY, type Change, type Store } from '../store.ts'

const MAX_OWNERS = 10_000

export interface OwnerCache {
  /** An owner, from memory where it is known; undefined: there is none. */
  byId(id: UserId): Promise<Owner | undefined>
  clear(): void
}

/**
 * Keeps owners between their tokens: most have many, and what all of them share is then read, and held
 * in memory, once. Forgets an owner with the change that touches it, and all of them with what may
 * touch any number: a group's name, a role's scopes, a client whose service account holds them.
 */
export function ownerCache(
  store: Pick<Store, 'onChange'>,
  load: (id: UserId) => Promise<Owner | undefined>,
): OwnerCache {
  const owners = new Map<UserId, Owner>()
  /** Being read: who asks meanwhile waits for the same answer, unless something changed since. */
  const underWay = new Map<UserId, { readAt: number; owner: Promise<Owner | undefined> }>()
  let epoch = 0

  store.onChange((changes) => {
    for (const change of changes) forget(change)
  })

  function forget({ subject, id }: Change): void {
    if (subject === 'token' || subject === 'policy') return
    epoch++
    if (subject === 'user' && id !== ANY) owners.delete(id as UserId)
    else owners.clear()
  }

  async function read(id: UserId, readAt: number): Promise<Owner | undefined> {
    try {
      const owner = await load(id)
      // What was read while something changed may be the old one.
      if (owner === undefined || readAt !== epoch) return owner
      const [oldest] = owners.keys()
      if (owners.size >= MAX_OWNERS && oldest !== undefined) owners.delete(oldest)
      owners.set(id, owner)
      return owner
    } finally {
      if (underWay.get(id)?.readAt === readAt) underWay.delete(id)
    }
  }

  return {
    async byId(id) {
      const known = owners.get(id)
      if (known !== undefined) return known
      const begun = underWay.get(id)
      if (begun?.readAt === epoch) return begun.owner
      const readAt = epoch
      const owner = read(id, readAt)
      underWay.set(id, { readAt, owner })
      return owner
    },
    clear() {
      epoch++
      owners.clear()
    },
  }
}
