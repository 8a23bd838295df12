import type { ClientId, GroupId, UserId } from './id.ts'
import type { Repositories } from './store.ts'
import type { UserLabel } from './users/manage.ts'

type Reader<Table extends keyof Repositories> = Pick<Repositories, Table>

/** What clients are called where they are shown. */
export interface ClientLabel {
  clientId: string
  name: string
}

/** Names of users, for showing who owns or made what. Missing: deleted. */
export async function usernames(
  { users }: Reader<'users'>,
  ids: readonly UserId[],
): Promise<Map<UserId, string>> {
  const found = await users.byIds([...new Set(ids)])
  return new Map(found.map((user) => [user.id, user.username]))
}

/** The same with their integer identifiers. */
export async function userLabels(
  { users }: Reader<'users'>,
  ids: readonly UserId[],
): Promise<Map<UserId, UserLabel>> {
  const found = await users.byIds([...new Set(ids)])
  return new Map(found.map(({ id, serial, username }) => [id, { serial, username }]))
}

export async function groupNames({ groups }: Reader<'groups'>): Promise<Map<GroupId, string>> {
  return new Map((await groups.all()).map((group) => [group.id, group.name]))
}

/** What clients are called; deleted ones are missing. */
export async function clientLabels(
  { clients }: Reader<'clients'>,
  ids: readonly ClientId[],
): Promise<Map<ClientId, ClientLabel>> {
  if (ids.length === 0) return new Map()
  const found = await clients.byIds([...new Set(ids)])
  return new Map(found.map(({ id, clientId, name }) => [id, { clientId, name }]))
}
