import { type Kysely, type Selectable, type SelectQueryBuilder, sql } from 'kysely'
import { CoreError } from '../core/errors.ts'
import type { GrantId, TokenId } from '../core/id.ts'
import { addressKey } from '../core/ip.ts'
import type { NewToken, TokenOrigins, TokenStore, Usage } from '../core/tokens/store.ts'
import { nextSerial, takeSerial } from './counter.ts'
import { type Locks, lockKey, makerLock, NO_LOCKS } from './locks.ts'
import { prepared } from './prepared.ts'
import type { Schema, TokenTable } from './schema.ts'
import { tokenEndings } from './token-endings.ts'
import { tokenLists } from './token-lists.ts'
import { labelsOf, toRow, toToken } from './token-rows.ts'
import { orNameTaken } from './unique.ts'

/** What a node asks about every secret that it does not know yet. */
const rowByDigest = prepared((db, { digest }: { digest: string }) =>
  db.selectFrom('token').selectAll().where('digest', '=', digest),
)

const insertRow = prepared((db, row: TokenTable) => db.insertInto('token').values(row))

/** With the next serial, in one statement: nobody else gets one until we commit, so every answer counts. */
const insertNumbered = prepared((db, row: TokenTable) =>
  db
    .with('number', (part) => takeSerial(part, 'token'))
    .insertInto('token')
    .values({ ...row, serial: sql<number>`(select value from number)` })
    .returning('serial'),
)

interface SeenUse {
  tokenId: string
  lastUsedAtMs: number
  /** Null: as before. */
  via: string | null
  agent: string | null
  count: number
}

const used = ({ lastUsedAtMs, via, agent, count }: SeenUse) => ({
  // Another node may have seen a later use.
  last_used_at_ms: sql<number>`case when last_used_at_ms > ${lastUsedAtMs}
    then last_used_at_ms else ${lastUsedAtMs} end`,
  last_used_via: sql<string>`coalesce(${via}, last_used_via)`,
  last_used_agent: sql<string>`coalesce(${agent}, last_used_agent)`,
  use_count: sql<number>`use_count + ${count}`,
})

const addUse = prepared((db, use: SeenUse) =>
  db.updateTable('token').set(used(use)).where('id', '=', use.tokenId),
)

/** Another statement, because addresses have an index that need not be written where there is none. */
const addUseFrom = prepared((db, use: SeenUse & { ip: string; ipKey: string | null }) =>
  db
    .updateTable('token')
    .set({ ...used(use), last_used_ip: use.ip, last_used_ip_key: use.ipKey })
    .where('id', '=', use.tokenId),
)

/** When something ended; of the parent also, when it is going to. */
interface Ending {
  ended: number | null
  ends: number | null
}

const NAME_TAKEN = 'The owner has a token of this name. Choose another.'
const named = <T>(statement: Promise<T>) => orNameTaken(statement, NAME_TAKEN)

export function tokenStore(db: Kysely<Schema>, locks: Locks = NO_LOCKS): TokenStore {
  const tokens = () => db.selectFrom('token').selectAll()
  const one = async (query: SelectQueryBuilder<Schema, 'token', Selectable<TokenTable>>) => {
    const row = await locks.rows(query).executeTakeFirst()
    return row === undefined ? undefined : toToken(row)
  }

  /** When each of these ended. None does from now on, and all lock them in this one order. */
  async function held({
    clientId,
    ownerId,
    grantId,
    parentId,
  }: Record<keyof TokenOrigins, string | null>): Promise<Ending[]> {
    const still = locks.shared ? sql`for share` : sql``
    // First of all, where whoever ends one of them is waiting.
    const turn = locks.shared ? sql`and (select count(*) from turn) > 0` : sql``
    const key = lockKey(sql`${makerLock('')} || id`)
    const turns = locks.shared
      ? sql`turn as materialized (select pg_advisory_xact_lock_shared(${key})
          from unnest(array[cast(${clientId} as text), cast(${ownerId} as text)]) as id where id is not null),`
      : sql``
    const { rows } = await sql<Ending>`
      with ${turns} maker as (select deleted_at_ms from client where id = ${clientId} ${turn} ${still}),
        owner as (select deleted_at_ms from "user" where id = ${ownerId} ${turn} ${still}),
        consent as (select revoked_at_ms from "grant" where id = ${grantId} ${still}),
        parent as (select coalesce(revoked_at_ms, quarantined_at_ms,
            case when must_know is not null then created_at_ms end) as revoked_at_ms, case when kind in ('api', 'service', 'session')
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

  /**
   * Of one that ends with its parent's overlap, whose name the index therefore leaves free: for the children
   * of the parent's successor, which come to be meanwhile, but not for one beside it.
   */
  async function mustDifferFromSiblings(token: NewToken): Promise<void> {
    const { ownerId, nameKey, parentId, createdAtMs } = token
    if (nameKey === undefined) return
    const { rows } = await sql`select 1 from token where name_order = ${nameKey}
      and owner_id = ${ownerId} and revoked_at_ms is null
      and (superseded_at_ms is null or (superseded_at_ms > ${createdAtMs}
        and superseded_by is null and parent_id = ${parentId ?? null})) limit 1`.execute(db)
    if (rows.length > 0) throw new CoreError('name_taken', NAME_TAKEN)
  }

  async function inserted(token: NewToken): Promise<TokenTable> {
    const isNumbered = token.serial === undefined && locks.shared
    if (isNumbered && token.parentId === undefined) {
      // Asked together: what has no parent is the same whatever the answer, and undone if that is no.
      const [, row] = await Promise.all([mustGrowFromTheLiving(token), numbered(token)])
      return row
    }
    const parentEndsAtMs = await mustGrowFromTheLiving(token)
    if (isNumbered && parentEndsAtMs === undefined) return numbered(token)
    const serial = token.serial ?? (await nextSerial(db, 'token'))
    const row = toRow(token, serial, parentEndsAtMs)
    if (parentEndsAtMs !== undefined) await mustDifferFromSiblings(token)
    await named(insertRow(db, row))
    return row
  }

  async function numbered(token: NewToken): Promise<TokenTable> {
    const row = toRow(token, 0, undefined)
    const [given] = await named(insertNumbered(db, row))
    return { ...row, serial: given?.serial ?? null }
  }

  function addSeen({ tokenId, lastUsedAtMs, lastUsedIp: ip, count, ...use }: Usage) {
    const [via, agent] = [use.lastUsedVia ?? null, use.lastUsedAgent ?? null]
    const seen = { tokenId, lastUsedAtMs, via, agent, count }
    if (ip === undefined) return addUse(db, seen)
    return addUseFrom(db, { ...seen, ip, ipKey: addressKey(ip) ?? null })
  }

  return {
    ...tokenLists(db),
    ...tokenEndings(db, locks),
    async insert(token) {
      const row = await inserted(token)
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
    async byDigest(digest) {
      if (locks.shared) return one(tokens().where('digest', '=', digest))
      const [row] = await rowByDigest(db, { digest })
      return row && toToken(row)
    },
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
    async predecessorOf({ id, familyId }) {
      return one(tokens().where('family_id', '=', familyId).where('superseded_by', '=', id))
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
    async recordUse(uses) {
      // In one order everywhere, so that two nodes do not wait for each other.
      const sorted = uses
        .filter(({ count }) => count > 0)
        .toSorted((a, b) => (a.tokenId < b.tokenId ? -1 : 1))
      await Promise.all(sorted.map(addSeen))
    },
    async purge(endedBeforeMs, limit) {
      // A spent token of a client is kept until it expires: presented again, it must be recognised.
      const { rows } = await sql<{ id: string }>`
        delete from token where id in (
          select id from token
          where revoked_at_ms < ${endedBeforeMs}
            or (superseded_at_ms < ${endedBeforeMs} and coalesce(client_id, '') = '')
            or expires_order < ${endedBeforeMs}
          limit ${limit})
        returning id`.execute(db)
      const ids = rows.map(({ id }) => id)
      if (ids.length === 0) return 0
      await db.deleteFrom('use_count').where('token_id', 'in', ids).execute()
      await db.deleteFrom('rotation_caller').where('token_id', 'in', ids).execute()
      await db.deleteFrom('leak').where('token_id', 'in', ids).execute()
      return ids.length
    },
  }
}
