import { type Kysely, type SelectQueryBuilder, type SqlBool, sql } from 'kysely'
import type { TokenId } from '../core/id.ts'
import type {
  ClientTokenFilter,
  ClientTokenOrder,
  TokenFilter,
  TokenStore,
} from '../core/tokens/store.ts'
import type { TokenState } from '../core/tokens/token.ts'
import { containsKey, containsText, pageRows } from './keyset.ts'
import type { Schema } from './schema.ts'
import { toToken } from './token-rows.ts'

/** Mirrors `stateOf` in core. */
function stateIs(state: TokenState, nowMs: number) {
  if (state === 'revoked') return sql<SqlBool>`revoked_at_ms is not null`
  if (state === 'superseded') {
    return sql<SqlBool>`(revoked_at_ms is null and superseded_at_ms <= ${nowMs})`
  }
  const alive = sql`revoked_at_ms is null
    and (superseded_at_ms is null or superseded_at_ms > ${nowMs})`
  if (state === 'expired') return sql<SqlBool>`(${alive} and expires_at_ms <= ${nowMs})`
  const free = state === 'quarantined' ? sql`is not null` : sql`is null`
  return sql<SqlBool>`(${alive} and (expires_at_ms is null or expires_at_ms > ${nowMs})
    and quarantined_at_ms ${free})`
}

function filtered<O>(
  start: SelectQueryBuilder<Schema, 'token', O>,
  filter: TokenFilter,
  nowMs: number,
): SelectQueryBuilder<Schema, 'token', O> {
  let query = start
  const { ids, ownerId, creatorId, kinds, states, groupId, role, via, clientId, text } = filter
  if (ids !== undefined) query = query.where('id', 'in', ids)
  if (ownerId !== undefined) query = query.where('owner_id', '=', ownerId)
  if (creatorId !== undefined) query = query.where('creator_id', '=', creatorId)
  if (kinds !== undefined) query = query.where('kind', 'in', kinds)
  if (via !== undefined) query = query.where('via', 'in', via)
  if (clientId !== undefined) query = query.where('client_id', '=', clientId)
  if (states !== undefined) {
    query = query.where((eb) => eb.or(states.map((state) => stateIs(state, nowMs))))
  }
  if (groupId !== undefined) query = labelled(query, 'group', groupId)
  if (role !== undefined) query = labelled(query, 'role', role)
  if (text !== undefined) {
    query = query.where((eb) =>
      eb.or([containsKey('name_key', text), containsText('description', text)]),
    )
  }
  return query
}

function labelled<O>(
  query: SelectQueryBuilder<Schema, 'token', O>,
  type: 'role' | 'scope' | 'group',
  value: string,
): SelectQueryBuilder<Schema, 'token', O> {
  return query.where('id', 'in', (eb) =>
    eb
      .selectFrom('token_label')
      .select('token_id')
      .where('type', '=', type)
      .where('value', '=', value),
  )
}

const ORDER_COLUMNS = {
  serial: sql`token.serial`,
  client: sql`client.serial`,
  owner: sql`owner.serial`,
  expiry: sql`token.expires_at_ms`,
  spent: sql`case when token.superseded_at_ms is null then 0 else 1 end`,
} satisfies Record<ClientTokenOrder['by'], unknown>

/** What never ends comes last, on both databases. */
function inOrder({ by, descending }: ClientTokenOrder) {
  const column = ORDER_COLUMNS[by]
  if (by !== 'expiry') return descending ? sql`${column} desc` : sql`${column} asc`
  return descending ? sql`${column} desc nulls first` : sql`${column} asc nulls last`
}

type Lists = Pick<
  TokenStore,
  'list' | 'listBySerial' | 'count' | 'listOfClients' | 'countOfClients'
>

/** What lists and counts tokens. */
export function tokenLists(db: Kysely<Schema>): Lists {
  const tokens = () => db.selectFrom('token').selectAll()
  const ofClients = ({ kind, withSpent, ownerId, clientId }: ClientTokenFilter) => {
    let query = db
      .selectFrom('token')
      .where('token.client_id', 'is not', null)
      .where('token.revoked_at_ms', 'is', null)
    if (!withSpent) query = query.where('token.superseded_at_ms', 'is', null)
    if (ownerId !== undefined) query = query.where('token.owner_id', '=', ownerId)
    if (clientId !== undefined) query = query.where('token.client_id', '=', clientId)
    if (ownerId === undefined && clientId === undefined) {
      return query.where('token.kind', '=', kind)
    }
    // No index answers an expression: what belongs to one owner or client is less than a whole kind.
    return query.where(sql<SqlBool>`token.kind || '' = ${kind}`)
  }

  return {
    async list(filter, from, size, nowMs) {
      if (filter.ids?.length === 0) return []
      const query = filtered(tokens(), filter, nowMs)
      return (await pageRows(query, from, size)).map(toToken)
    },
    async listBySerial(filter, { offset, limit }, nowMs) {
      const rows = await filtered(tokens(), filter, nowMs)
        .where('serial', 'is not', null)
        .orderBy('serial')
        .limit(limit)
        .offset(offset)
        .execute()
      return rows.map(toToken)
    },
    async count(filter, nowMs) {
      const { count } = await filtered(
        db.selectFrom('token').select((eb) => eb.fn.countAll<number>().as('count')),
        filter,
        nowMs,
      )
        .where('serial', 'is not', null)
        .executeTakeFirstOrThrow()
      return Number(count)
    },
    async listOfClients(filter, order, { offset, limit }) {
      const wanted: ClientTokenOrder[] = [...order, { by: 'serial', descending: false }]
      const sortsBy = (by: ClientTokenOrder['by']) => order.some((each) => each.by === by)
      // Ids first: sorting whole rows up to a deep offset takes four times as long.
      const found = await ofClients(filter)
        .$if(sortsBy('client'), (query) =>
          query.innerJoin('client', 'client.id', 'token.client_id'),
        )
        .$if(sortsBy('owner'), (query) =>
          query.innerJoin('user as owner', 'owner.id', 'token.owner_id'),
        )
        .select('token.id')
        .orderBy(sql.join(wanted.map(inOrder)))
        .limit(limit)
        .offset(offset)
        .execute()
      if (found.length === 0) return []
      const ids = found.map(({ id }) => id)
      const rows = await tokens().where('id', 'in', ids).execute()
      const byId = new Map(rows.map((row) => [row.id, toToken(row)]))
      return ids.flatMap((id) => byId.get(id as TokenId) ?? [])
    },
    async countOfClients(filter) {
      const { count } = await ofClients(filter)
        .select((eb) => eb.fn.countAll<number>().as('count'))
        .executeTakeFirstOrThrow()
      return Number(count)
    },
  }
}
