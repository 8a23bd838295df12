import { type ClientId, type GroupId, isId, type UserId } from '../id.ts'
import { rangeKeys } from '../ip.ts'
import type { Repositories } from '../store.ts'
import { nameKey } from '../text.ts'
import type { TimeField, TokenQuery } from './filter.ts'
import type { QueryNode, QueryTerm } from './query.ts'
import { agoPeriod, aheadPeriod, type QueryTime } from './query-values.ts'
import type { TokenState } from './token.ts'

/** Where names are looked up, and from when on distances are counted. */
export interface Surroundings {
  store: Pick<Repositories, 'users' | 'groups' | 'clients'>
  nowMs: number
}

/**
 * Puts ids for names and instants for distances. A name that nobody has means no token, so that an
 * answer never tells whether somebody exists.
 */
export async function resolveQuery(around: Surroundings, node: QueryNode): Promise<TokenQuery> {
  if ('all' in node) return { all: await each(around, node.all) }
  if ('any' in node) return { any: await each(around, node.any) }
  if ('not' in node) return { not: await resolveQuery(around, node.not) }
  return resolveTerm(around, node)
}

async function each(around: Surroundings, nodes: readonly QueryNode[]): Promise<TokenQuery[]> {
  const resolved: TokenQuery[] = []
  for (const node of nodes) resolved.push(await resolveQuery(around, node))
  return resolved
}

async function resolveTerm({ store, nowMs }: Surroundings, term: QueryTerm): Promise<TokenQuery> {
  if ('times' in term) {
    const { field } = term
    return anyOf(term.times.map((time) => timeTest(field, time, nowMs)))
  }
  if ('contains' in term) {
    const { field } = term
    return anyOf(term.contains.map((contains) => ({ field, contains })))
  }
  const { field, values } = term
  switch (field) {
    case 'state':
      return { field, oneOf: values as TokenState[] }
    case 'ip':
      return anyOf(values.flatMap((range) => ({ field, ...(rangeKeys(range) ?? NO_RANGE) })))
    case 'name':
      return { field, oneOf: values.map(nameKey) }
    case 'owner':
    case 'creator':
      return { field, oneOf: await idsOf(values, (name) => userIdOf(store, name)) }
    case 'group':
      return { field, oneOf: await idsOf(values, (name) => groupIdOf(store, name)) }
    case 'client':
      return { field, oneOf: await idsOf(values, (name) => clientIdOf(store, name)) }
    default:
      return { field, oneOf: values }
  }
}

/** Keys begin with a digit or a letter, so nothing lies here. */
const NO_RANGE = { fromKey: '', toKey: '' }

function anyOf(tests: TokenQuery[]): TokenQuery {
  const [only] = tests
  return only !== undefined && tests.length === 1 ? only : { any: tests }
}

function timeTest(field: TimeField, time: QueryTime, nowMs: number): TokenQuery {
  if ('never' in time) return { field, never: true }
  if ('during' in time) return { field, during: time.during }
  const { comparison, seconds } = time
  const period = field === 'expires' ? aheadPeriod : agoPeriod
  return { field, during: period(comparison, seconds, nowMs) }
}

async function idsOf(
  names: readonly string[],
  idOf: (name: string) => Promise<string | undefined>,
): Promise<string[]> {
  const ids: string[] = []
  for (const name of names) {
    // No name looks like an id.
    const id = isId(name.toLowerCase()) ? name.toLowerCase() : await idOf(name)
    if (id !== undefined) ids.push(id)
  }
  return ids
}

async function userIdOf(
  { users }: Surroundings['store'],
  name: string,
): Promise<UserId | undefined> {
  return (await users.byUsernameKey(nameKey(name)))?.id
}

async function groupIdOf(
  { groups }: Surroundings['store'],
  name: string,
): Promise<GroupId | undefined> {
  return (await groups.byNameKey(nameKey(name)))?.id
}

async function clientIdOf(
  { clients }: Surroundings['store'],
  clientId: string,
): Promise<ClientId | undefined> {
  return (await clients.byClientId(clientId))?.id
}
