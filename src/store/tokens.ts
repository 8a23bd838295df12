import {
  type Kysely,
  type RawBuilder,
  type Selectable,
  type SelectQueryBuilder,
  type SqlBool,
  sql,
} from 'kysely'
import { CoreError } from '../core/errors.ts'
import type { ClientId, GrantId, TokenId, UserId } from '../core/id.ts'
import { addressKey } from '../core/ip.ts'
import type { SecretFormat } from '../core/secret.ts'
import type {
  ClientTokenFilter,
  ClientTokenOrder,
  Hit,
  NewToken,
  Revocation,
  TokenFilter,
  TokenOrigins,
  TokenStore,
} from '../core/tokens/store.ts'
import {
  type AccessLevel,
  type GroupLimit,
  isOauthKind,
  type Token,
  type TokenKind,
  type TokenState,
  type UseVia,
  type Via,
} from '../core/tokens/token.ts'
import { nextSerial } from './counter.ts'
import { containsKey, containsText, pageRows } from './keyset.ts'
import { type Locks, NO_LOCKS } from './locks.ts'
import type { Schema, TokenTable } from './schema.ts'
import { orNameTaken } from './unique.ts'

export function toToken(row: Selectable<TokenTable>): Token {
  return {
    id: row.id as TokenId,
    serial: row.serial ?? undefined,
    kind: row.kind as TokenKind,
    ownerId: row.owner_id as UserId,
    creatorId: row.creator_id as UserId,
    name: row.name ?? undefined,
    description: row.description,
    via: row.via as Via,
    format: row.format as SecretFormat,
    preview: row.preview,
    limits: {
      accessLevel: row.access_level as AccessLevel,
      roles: list<string>(row.roles),
      groups: list<GroupLimit>(row.groups),
      scopes: list<string>(row.scopes),
      allowedIps: list<string>(row.allowed_ips),
    },
    metadata: JSON.parse(row.metadata) as Record<string, unknown>,
    familyId: row.family_id as TokenId,
    parentId: (row.parent_id ?? undefined) as TokenId | undefined,
    createdAtMs: row.created_at_ms,
    updatedAtMs: row.updated_at_ms,
    expiresAtMs: row.expires_at_ms ?? undefined,
    idleSeconds: row.idle_seconds ?? undefined,
    revokedAtMs: row.revoked_at_ms ?? undefined,
    revokedBy: (row.revoked_by ?? undefined) as UserId | undefined,
    revokeReason: row.revoke_reason ?? undefined,
    supersededAtMs: row.superseded_at_ms ?? undefined,
    supersededBy: (row.superseded_by ?? undefined) as TokenId | undefined,
    overlapEndsAtMs: row.overlap_ends_at_ms ?? undefined,
    quarantinedAtMs: row.quarantined_at_ms ?? undefined,
    quarantinedBy: (row.quarantined_by ?? undefined) as UserId | undefined,
    quarantineReason: row.quarantine_reason ?? undefined,
    lastUsedAtMs: row.last_used_at_ms ?? undefined,
    lastUsedIp: row.last_used_ip ?? undefined,
    lastUsedVia: (row.last_used_via ?? undefined) as UseVia | undefined,
    lastUsedAgent: row.last_used_agent ?? undefined,
    useCount: row.use_count,
    oauth:
      row.client_id === null
        ? undefined
        : {
            clientId: row.client_id as ClientId,
            audience: row.audience ?? undefined,
            boundKey: row.bound_key ?? undefined,
          },
  }
}

function list<T>(json: string | null): readonly T[] | null {
  return json === null ? null : (JSON.parse(json) as T[])
}

function toRow(token: NewToken, serial: number, parentEndsAtMs: number | undefined): TokenTable {
  const json = (value: readonly unknown[] | null) => (value === null ? null : JSON.stringify(value))
  // What the engine issued is marked as superseded when it is spent, so its end is its expiry.
  const isSpent = isOauthKind(token.kind)
  return {
    id: token.id,
    serial,
    kind: token.kind,
    owner_id: token.ownerId,
    creator_id: token.creatorId,
    creator_token_id: token.creatorTokenId ?? null,
    name: token.name ?? null,
    name_key: token.nameKey ?? null,
    description: token.description,
    via: token.via,
    format: token.format,
    digest: token.digest,
    pepper_id: token.pepperId,
    preview: token.preview,
    access_level: token.limits.accessLevel,
    roles: json(token.limits.roles),
    groups: json(token.limits.groups),
    scopes: json(token.limits.scopes),
    allowed_ips: json(token.limits.allowedIps),
    metadata: JSON.stringify(token.metadata),
    family_id: token.familyId,
    parent_id: token.parentId ?? null,
    created_at_ms: token.createdAtMs,
    updated_at_ms: token.updatedAtMs,
    expires_at_ms:
      (isSpent ? earliest(token.expiresAtMs, parentEndsAtMs) : token.expiresAtMs) ?? null,
    idle_seconds: token.idleSeconds ?? null,
    revoked_at_ms: null,
    revoked_by: null,
    revoke_reason: null,
    superseded_at_ms: isSpent ? null : (parentEndsAtMs ?? null),
    superseded_by: null,
    overlap_ends_at_ms: token.overlapEndsAtMs ?? null,
    quarantined_at_ms: null,
    quarantined_by: null,
    quarantine_reason: null,
    quarantine_root: null,
    last_used_at_ms: null,
    last_used_ip: null,
    last_used_ip_key: null,
    last_used_via: null,
    last_used_agent: null,
    use_count: 0,
    client_id: token.oauth?.clientId ?? null,
    audience: token.oauth?.audience ?? null,
    bound_key: token.oauth?.boundKey ?? null,
    engine_record: token.engineRecord ?? null,
    id_claims: token.idClaims === undefined ? null : JSON.stringify(token.idClaims),
  }
}

function earliest(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? (a ?? b) : Math.min(a, b)
}

/** What the index of labels holds of a token, so that filters by role, scope and group find it. */
function labelsOf({ id, limits, createdAtMs }: NewToken): Schema['token_label'][] {
  const labels = (type: Schema['token_label']['type'], values: readonly string[] | undefined) =>
    (values ?? []).map((value) => ({ type, value, token_id: id, created_at_ms: createdAtMs }))
  return [
    ...labels('role', limits.roles ?? undefined),
    ...labels('scope', limits.scopes ?? undefined),
    ...labels(
      'group',
      limits.groups?.map((group) => group.id),
    ),
  ]
}

/** When something ended; of the parent also, when it is going to. */
interface Ending {
  ended: number | null
  ends: number | null
}

const addressOf = (ip: string) => ({
  last_used_ip: ip,
  last_used_ip_key: addressKey(ip) ?? null,
})

const named = <T>(statement: Promise<T>) =>
  orNameTaken(statement, 'The owner has a token of this name. Choose another.')

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

export function tokenStore(db: Kysely<Schema>, locks: Locks = NO_LOCKS): TokenStore {
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
  const tokens = () => db.selectFrom('token').selectAll()
  const one = async (query: SelectQueryBuilder<Schema, 'token', Selectable<TokenTable>>) => {
    const row = await locks.rows(query).executeTakeFirst()
    return row === undefined ? undefined : toToken(row)
  }

  /**
   * Revokes `roots` with all that is derived from them and, unless they die alone, their families.
   * Where others write at the same time, one statement misses what they commit while it waits for a
   * row; so it is repeated until it finds nothing more. That ends with everything dead:
   * `mustGrowFromTheLiving` keeps new tokens from any that this transaction has revoked.
   */
  async function revokeAll(
    roots: RawBuilder<unknown>,
    revocation: Revocation,
    { alone = false, family }: { alone?: boolean; family?: string } = {},
  ): Promise<Hit[]> {
    const ofFamilies = sql`select family_id from token where id in (${roots})`
    if (!locks.shared) {
      const doomed = alone ? roots : sql`select id from token where family_id in (${ofFamilies})`
      return revokeOnce(doomed, revocation)
    }
    // Both are remembered, because `roots` may leave out what is revoked already.
    const families = new Set(family === undefined ? [] : [family])
    const all: Hit[] = []
    for (;;) {
      const first = alone ? roots : await familyTokens(ofFamilies, families)
      const known = sql`select unnest(cast(${all.map(({ id }) => id)} as text[]))`
      const hits = await revokeOnce(sql`${first} union all ${known}`, revocation)
      if (hits.length === 0) return all
      all.push(...hits)
    }
  }

  /**
   * Adds what `found` selects to `families`, and selects the tokens of all of them. Grants are locked
   * before any of their tokens, as everywhere: two that lock in different orders wait for each other.
   */
  async function familyTokens(
    found: RawBuilder<unknown>,
    families: Set<string>,
  ): Promise<RawBuilder<unknown>> {
    const { rows } = await sql<{ family_id: string }>`${found}`.execute(db)
    for (const { family_id } of rows) families.add(family_id)
    const ids = sql`cast(${[...families]} as text[])`
    await sql`select id from "grant" where id = any(${ids}) order by id for no key update`.execute(
      db,
    )
    return sql`select id from token where family_id = any(${ids})`
  }

  async function revokeOnce(ids: RawBuilder<unknown>, revocation: Revocation): Promise<Hit[]> {
    const inOrder = locks.shared ? sql`order by id for no key update` : sql``
    const { rows } = await sql<Hit>`
      with recursive doomed(id) as (
        select id from token where id in (${ids})
        union
        select child.id from token child join doomed on child.parent_id = doomed.id
      ), alive(id) as (
        select id from token where id in (select id from doomed) and revoked_at_ms is null ${inOrder}
      )
      update token set revoked_at_ms = ${revocation.atMs}, revoked_by = ${revocation.by ?? null},
        revoke_reason = ${revocation.reason}, updated_at_ms = ${revocation.atMs}
      where id in (select id from alive) and revoked_at_ms is null
      returning id, kind`.execute(db)
    return rows
  }

  async function endDerived(
    id: TokenId,
    { endsAtMs, atMs }: { endsAtMs: number; atMs: number },
  ): Promise<TokenId[]> {
    const isEngines = sql`kind in ('oauth_code', 'oauth_access', 'oauth_refresh')`
    const endsLater = (column: string) =>
      sql`coalesce(${sql.ref(column)}, ${Number.MAX_SAFE_INTEGER}) > ${endsAtMs}`
    const all: TokenId[] = []
    for (;;) {
      const { rows } = await sql<{ id: TokenId }>`
        with recursive derived(id) as (
          select id from token where parent_id = ${id}
          union
          select child.id from token child join derived on child.parent_id = derived.id
        )
        update token set updated_at_ms = ${atMs},
          superseded_at_ms = case when ${isEngines} then superseded_at_ms else ${endsAtMs} end,
          expires_at_ms = case when ${isEngines} then ${endsAtMs} else expires_at_ms end
        where id in (select id from derived) and revoked_at_ms is null and case when ${isEngines}
          then superseded_at_ms is null and ${endsLater('expires_at_ms')}
          else ${endsLater('superseded_at_ms')} end
        returning id`.execute(db)
      all.push(...rows.map(({ id }) => id))
      // As with revocations: what others commit while a statement waits for them, it does not see.
      if (rows.length === 0 || !locks.shared) return all
    }
  }

  async function quarantineOnce(id: TokenId, { by, reason, atMs }: Revocation): Promise<Hit[]> {
    const inOrder = locks.shared ? sql`order by id for no key update` : sql``
    const { rows } = await sql<Hit>`
      with recursive hit(id) as (
        select id from token where id = ${id}
        union
        select child.id from token child join hit on child.parent_id = hit.id
      ), alive(id) as (
        select id from token where id in (select id from hit)
          and revoked_at_ms is null and quarantined_at_ms is null ${inOrder}
      )
      update token set quarantined_at_ms = ${atMs}, quarantined_by = ${by ?? null},
        quarantine_reason = ${reason}, quarantine_root = ${id}, updated_at_ms = ${atMs}
      where id in (select id from alive) and quarantined_at_ms is null
      returning id, kind`.execute(db)
    return rows
  }

  /** When each of these ended. None does from now on, and all lock them in this one order. */
  async function held({
    clientId,
    ownerId,
    grantId,
    parentId,
  }: Record<keyof TokenOrigins, string | null>): Promise<Ending[]> {
    const still = locks.shared ? sql`for share` : sql``
    const { rows } = await sql<Ending>`
      with maker as (select deleted_at_ms from client where id = ${clientId} ${still}),
        owner as (select deleted_at_ms from "user" where id = ${ownerId} ${still}),
        consent as (select revoked_at_ms from "grant" where id = ${grantId} ${still}),
        parent as (select coalesce(revoked_at_ms, quarantined_at_ms) as revoked_at_ms, case when kind in ('api', 'service', 'session')
          then superseded_at_ms end as ends_at_ms from token where id = ${parentId} ${still})
      select deleted_at_ms as ended, cast(null as bigint) as ends from maker
      union all select deleted_at_ms, null from owner
      union all select revoked_at_ms, null from consent
      union all select revoked_at_ms, ends_at_ms from parent`.execute(db)
    return rows
  }

  /**
   * Whoever owns the token, and whatever it comes from, must not end while it is being made: it would
   * outlive their end. Returns when its parent will end whatever happens, because it is being rotated.
   * Throws `conflict` when one of them has ended already.
   */
  async function mustGrowFromTheLiving(token: NewToken): Promise<number | undefined> {
    const clientId = token.oauth?.clientId ?? null
    // A successor was made way for by a statement that holds its predecessor; locking the parent after
    // that would be the wrong way round for whoever revokes from the top.
    const parentId = token.serial === undefined ? (token.parentId ?? null) : null
    const rows = await held({ clientId, ownerId: token.ownerId, grantId: token.familyId, parentId })
    const ends = rows.flatMap(({ ends }) => ends ?? [])
    const isOver = ends.some((atMs) => atMs <= token.createdAtMs)
    if (!isOver && rows.every(({ ended }) => ended === null)) return ends[0]
    throw new CoreError(
      'conflict',
      'What the token was to be made from has ended meanwhile. Look again.',
    )
  }

  return {
    async insert(token) {
      const parentEndsAtMs = await mustGrowFromTheLiving(token)
      const serial = token.serial ?? (await nextSerial(db, 'token'))
      const row = toRow(token, serial, parentEndsAtMs)
      await named(db.insertInto('token').values(row).execute())
      const labels = labelsOf(token)
      if (labels.length > 0) await db.insertInto('token_label').values(labels).execute()
      return toToken(row)
    },
    async hold({ clientId, ownerId, grantId, parentId }) {
      if (!locks.shared) return
      await held({ clientId, ownerId, grantId: grantId ?? null, parentId: parentId ?? null })
    },
    byId: (id) => one(tokens().where('id', '=', id)),
    async glance(id) {
      const row = await tokens().where('id', '=', id).executeTakeFirst()
      return row === undefined ? undefined : toToken(row)
    },
    async byIds(ids) {
      if (ids.length === 0) return []
      const rows = await tokens().where('id', 'in', ids).execute()
      return rows.map(toToken)
    },
    bySerial: (serial) => one(tokens().where('serial', '=', serial)),
    byDigest: (digest) => one(tokens().where('digest', '=', digest)),
    async hasLiveName(ownerId, nameKey) {
      const row = await db
        .selectFrom('token')
        .select('id')
        .where('owner_id', '=', ownerId)
        .where('name_key', '=', nameKey)
        .where('revoked_at_ms', 'is', null)
        .where('superseded_at_ms', 'is', null)
        .executeTakeFirst()
      return row !== undefined
    },
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
    async update(id, to) {
      await named(
        db
          .updateTable('token')
          .set({
            name: to.name ?? null,
            name_key: to.nameKey ?? null,
            description: to.description,
            metadata: to.metadata,
            updated_at_ms: to.atMs,
          })
          .where('id', '=', id)
          .execute(),
      )
    },
    async supersede(id, { by, atMs, endsAtMs }) {
      const row = await db
        .updateTable('token')
        .set({
          serial: null,
          superseded_at_ms: endsAtMs,
          superseded_by: by,
          updated_at_ms: atMs,
        })
        .where('id', '=', id)
        .where('superseded_at_ms', 'is', null)
        .where('revoked_at_ms', 'is', null)
        .where('quarantined_at_ms', 'is', null)
        .returning('id')
        .executeTakeFirst()
      return row !== undefined
    },
    async predecessorOf({ id, familyId }) {
      return one(tokens().where('family_id', '=', familyId).where('superseded_by', '=', id))
    },
    endDerived,
    async moveOverlap(old, { endsAtMs, atMs }) {
      const { rows } = await sql<{ id: TokenId }>`
        with recursive derived(id) as (
          select id from token where parent_id = ${old.id}
          union
          select child.id from token child join derived on child.parent_id = derived.id
        )
        update token set superseded_at_ms = ${endsAtMs}, updated_at_ms = ${atMs}
        where revoked_at_ms is null and superseded_at_ms = ${old.supersededAtMs ?? null}
          and (id = ${old.id} or (superseded_by is null and id in (select id from derived)
            and kind in ('api', 'service', 'session')))
        returning id`.execute(db)
      await db
        .updateTable('token')
        .set({ overlap_ends_at_ms: endsAtMs })
        .where('id', '=', old.supersededBy ?? old.id)
        .execute()
      return rows.map(({ id }) => id)
    },
    async spend(id, by, atMs) {
      const row = await db
        .updateTable('token')
        .set((eb) => ({
          superseded_at_ms: atMs,
          superseded_by: by ?? null,
          updated_at_ms: atMs,
          last_used_at_ms: atMs,
          use_count: eb('use_count', '+', 1),
        }))
        .where('id', '=', id)
        .where('superseded_at_ms', 'is', null)
        .where('revoked_at_ms', 'is', null)
        .where('quarantined_at_ms', 'is', null)
        .returning('id')
        .executeTakeFirst()
      return row !== undefined
    },
    async lastUses(ids) {
      if (ids.length === 0) return new Map()
      const rows = await db
        .selectFrom('token')
        .select(['family_id', (eb) => eb.fn.max('last_used_at_ms').as('at_ms')])
        .where('family_id', 'in', ids)
        .where('last_used_at_ms', 'is not', null)
        .groupBy('family_id')
        .execute()
      return new Map(rows.map((row) => [row.family_id as GrantId, Number(row.at_ms)]))
    },
    async engineRecordOf(id) {
      const row = await db
        .selectFrom('token')
        .select('engine_record')
        .where('id', '=', id)
        .executeTakeFirst()
      return row?.engine_record ?? undefined
    },
    async idClaimsOf(ids) {
      if (ids.length === 0) return new Map()
      const rows = await db
        .selectFrom('token')
        .select(['id', 'id_claims'])
        .where('id', 'in', ids)
        .execute()
      return new Map(rows.map((row) => [row.id as TokenId, JSON.parse(row.id_claims ?? '{}')]))
    },
    revokeAlone: (id, revocation) => revokeAll(sql`select ${id}`, revocation, { alone: true }),
    revokeTree: (id, revocation) => revokeAll(sql`select ${id}`, revocation),
    revokeDerived: (id, revocation) =>
      revokeAll(sql`select id from token where parent_id = ${id}`, revocation),
    revokeOwned({ ownerId, kinds, via, exceptId }, revocation) {
      let owned = db
        .selectFrom('token')
        .select('id')
        .where('owner_id', '=', ownerId)
        .where('revoked_at_ms', 'is', null)
      if (kinds !== undefined) owned = owned.where('kind', 'in', kinds)
      if (via !== undefined) owned = owned.where('via', 'in', via)
      if (exceptId !== undefined) owned = owned.where('id', '!=', exceptId)
      return revokeAll(sql`${owned}`, revocation)
    },
    revokeFamily: (id, revocation) =>
      revokeAll(sql`select id from token where family_id = ${id}`, revocation, { family: id }),
    revokeOfClient: (id, revocation) =>
      revokeAll(
        sql`select id from token where client_id = ${id} and revoked_at_ms is null`,
        revocation,
      ),
    async revokeMany({ trees, alone }, revocation) {
      const hits: Hit[] = []
      const those = (ids: readonly TokenId[]) =>
        sql`select id from token where id in (${sql.join(ids)})`
      if (trees.length > 0) hits.push(...(await revokeAll(those(trees), revocation)))
      if (alone.length > 0)
        hits.push(...(await revokeAll(those(alone), revocation, { alone: true })))
      return hits
    },
    async shorten(ids, expiresAtMs, atMs) {
      if (ids.length === 0) return []
      const live = db
        .selectFrom('token')
        .select('id')
        .where('id', 'in', ids)
        .where('revoked_at_ms', 'is', null)
        // What is being rotated is alive, too, until its overlap ends.
        .where((eb) =>
          eb.or([eb('superseded_at_ms', 'is', null), eb('superseded_at_ms', '>', expiresAtMs)]),
        )
        .where((eb) =>
          eb.or([eb('expires_at_ms', 'is', null), eb('expires_at_ms', '>', expiresAtMs)]),
        )
      const rows = await db
        .updateTable('token')
        .set({ expires_at_ms: expiresAtMs, updated_at_ms: atMs })
        .where('id', 'in', locks.rows(live.orderBy('id')))
        .returning('id')
        .execute()
      return rows.map(({ id }) => id as TokenId)
    },
    async quarantine(id, quarantine) {
      const all = await quarantineOnce(id, quarantine)
      // As with revocations: what others commit while a row is waited for is found by looking again.
      while (locks.shared) {
        const more = await quarantineOnce(id, quarantine)
        if (more.length === 0) break
        all.push(...more)
      }
      return all
    },
    async release(id, atMs) {
      const { rows } = await sql<Hit>`
        update token set quarantined_at_ms = null, quarantined_by = null, quarantine_reason = null,
          quarantine_root = null, updated_at_ms = ${atMs}
        where quarantine_root = ${id} and revoked_at_ms is null
        returning id, kind`.execute(db)
      return rows
    },
    async recordUse(uses) {
      // In one order everywhere, so that two nodes do not wait for each other.
      for (const use of uses.toSorted((a, b) => (a.tokenId < b.tokenId ? -1 : 1))) {
        if (use.count === 0) continue
        await db
          .updateTable('token')
          .set((eb) => ({
            // Another node may have seen a later use.
            last_used_at_ms: sql<number>`case when last_used_at_ms > ${use.lastUsedAtMs}
              then last_used_at_ms else ${use.lastUsedAtMs} end`,
            ...(use.lastUsedIp === undefined ? {} : addressOf(use.lastUsedIp)),
            ...(use.lastUsedVia === undefined ? {} : { last_used_via: use.lastUsedVia }),
            ...(use.lastUsedAgent === undefined ? {} : { last_used_agent: use.lastUsedAgent }),
            use_count: eb('use_count', '+', use.count),
          }))
          .where('id', '=', use.tokenId)
          .execute()
      }
    },
    async purge(endedBeforeMs, limit) {
      const { rows } = await sql<{ id: string }>`
        delete from token where id in (
          select id from token
          where revoked_at_ms < ${endedBeforeMs} or superseded_at_ms < ${endedBeforeMs}
            or expires_order < ${endedBeforeMs}
          limit ${limit})
        returning id`.execute(db)
      const ids = rows.map(({ id }) => id)
      if (ids.length === 0) return 0
      await db.deleteFrom('use_count').where('token_id', 'in', ids).execute()
      await db.deleteFrom('rotation_caller').where('token_id', 'in', ids).execute()
      return ids.length
    },
  }
}
