import { can } from '../access.ts'
import type { Caller } from '../caller.ts'
import type { Client } from '../clients/client.ts'
import { subjectOf } from '../clients/subject.ts'
import type { Deps } from '../deps.ts'
import type { GroupOfUser } from '../groups/store.ts'
import type { TokenId } from '../id.ts'
import type { User } from '../users/user.ts'
import { listableFilter, type Span } from './read.ts'
import type { ClientTokenFilter, ClientTokenOrder } from './store.ts'
import type { Token } from './token.ts'

/** A token that a client was given, with all that stands around it. */
export interface ClientToken {
  token: Token
  client: Client
  owner: User
  /** What `sub` says of the owner to clients that see a hashed id. */
  ownerHash: string
  groups: readonly GroupOfUser[]
  /** Claims of the ID token that came with it; none: there was no ID token. */
  idClaims: Record<string, unknown>
}

export interface ClientTokenListWish {
  filter: ClientTokenFilter
  order: readonly ClientTokenOrder[]
  /** Which rows to show, once it is known how many there are. */
  spanOf: (total: number) => Span
}

/**
 * Tokens of clients with an offset, for the dialect whose wire counts rows. The number of queries
 * does not depend on the number of rows. Throws `forbidden`, and what `spanOf` throws.
 */
export async function listClientTokens(
  deps: Deps,
  caller: Caller,
  { filter, order, spanOf }: ClientTokenListWish,
): Promise<{ items: ClientToken[]; total: number }> {
  const wanted = filter.ownerId === undefined ? {} : { ownerId: filter.ownerId }
  const { ownerId } = listableFilter(deps, caller, wanted)
  const seen: ClientTokenFilter = ownerId === undefined ? filter : { ...filter, ownerId }
  const total = await deps.store.tokens.countOfClients(seen)
  const rows = await deps.store.tokens.listOfClients(seen, order, spanOf(total))
  return { items: await withSurroundings(deps, rows), total }
}

/** The one of that serial among those; undefined when there is none that the caller may see. */
export async function findClientToken(
  deps: Deps,
  caller: Caller,
  { filter, serial }: { filter: ClientTokenFilter; serial: number },
): Promise<ClientToken | undefined> {
  const token = await deps.store.tokens.bySerial(serial)
  if (token === undefined || !isAmong(token, filter)) return undefined
  if (!can(caller.principal, 'token.read', { what: token, policy: deps.policy() })) return undefined
  const [found] = await withSurroundings(deps, [token])
  return found
}

/** Mirrors what the store lists. */
function isAmong(token: Token, { kind, withSpent }: ClientTokenFilter): boolean {
  if (token.kind !== kind || token.revokedAtMs !== undefined) return false
  return withSpent || token.supersededAtMs === undefined
}

/**
 * The client of a serial; undefined when there is none that the caller may know of: those who may not
 * read clients know the ones that hold such tokens of theirs.
 */
export async function findClientOfTokens(
  deps: Deps,
  { principal }: Caller,
  { filter, serial }: { filter: ClientTokenFilter; serial: number },
): Promise<Client | undefined> {
  const client = await deps.store.clients.bySerial(serial)
  if (client === undefined) return undefined
  if (can(principal, 'client.read', { what: undefined, policy: deps.policy() })) return client
  const own = { ...filter, ownerId: principal.user.id, clientId: client.id }
  return (await deps.store.tokens.countOfClients(own)) > 0 ? client : undefined
}

/** Looks everything up together. Leaves out tokens whose owner was deleted while we were reading. */
async function withSurroundings(deps: Deps, rows: Token[]): Promise<ClientToken[]> {
  const { store, keyring, usage } = deps
  const ownerIds = [...new Set(rows.map(({ ownerId }) => ownerId))]
  const clientIds = new Set(
    rows.flatMap(({ oauth }) => (oauth === undefined ? [] : oauth.clientId)),
  )
  const [users, groups, clients, claims] = await Promise.all([
    store.users.byIds(ownerIds),
    store.groups.groupsOfUsers(ownerIds),
    store.clients.byIds([...clientIds]),
    store.tokens.idClaimsOf(rows.map(({ id }): TokenId => id)),
  ])
  const owners = new Map(users.map((user) => [user.id, user]))
  const known = new Map(clients.map((client) => [client.id, client]))
  const groupsOf = Map.groupBy(groups, ({ userId }) => userId)
  const key = keyring.derived('subject')
  return rows.flatMap((token) => {
    const owner = owners.get(token.ownerId)
    const client = token.oauth === undefined ? undefined : known.get(token.oauth.clientId)
    if (owner === undefined || client === undefined) return []
    return {
      token: usage.overlay(token),
      client,
      owner,
      ownerHash: subjectOf(owner, 'hashed_user_id', key),
      groups: groupsOf.get(owner.id) ?? [],
      idClaims: claims.get(token.id) ?? {},
    }
  })
}
