import { can, mustBeAllowed } from '../access.ts'
import type { Caller } from '../caller.ts'
import type { Deps } from '../deps.ts'
import { type Page, type Position, pageOf } from '../page.ts'
import type { TokenEvent } from './event.ts'
import type { EventFilter } from './store.ts'

/** One page, newest first; admins see all, others what happened to their own tokens. Throws `forbidden`. */
export async function listEvents(
  deps: Deps,
  caller: Caller,
  wish: { filter: EventFilter; from: Position | undefined; size: number },
): Promise<Page<TokenEvent>> {
  const { filter, from, size } = wish
  const rows = await deps.store.events.list(seenBy(deps, caller, filter), from, size + 1)
  return pageOf(rows, { size, from, positionOf: (row) => [row.id, String(row.id)] })
}

/** What came after event `id`, in order. None that comes later has a smaller number. Throws `forbidden`. */
export async function eventsAfter(
  deps: Deps,
  caller: Caller,
  { filter, id, limit }: { filter: EventFilter; id: number; limit: number },
): Promise<TokenEvent[]> {
  return deps.store.events.after(seenBy(deps, caller, filter), id, limit)
}

function seenBy(deps: Deps, { principal }: Caller, filter: EventFilter): EventFilter {
  const policy = deps.policy()
  const seesAll = can(principal, 'event.list', { what: { ownerId: undefined }, policy })
  const ownerId = filter.ownerId ?? (seesAll ? undefined : principal.user.id)
  mustBeAllowed(principal, 'event.list', { what: { ownerId }, policy })
  return ownerId === undefined ? filter : { ...filter, ownerId }
}
