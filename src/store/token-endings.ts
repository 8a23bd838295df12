import { type Kysely, type RawBuilder, sql, type UpdateObject } from 'kysely'
import type { TokenId } from '../core/id.ts'
import type { Hit, Revocation, TokenStore } from '../core/tokens/store.ts'
import type { Locks } from './locks.ts'
import type { Schema } from './schema.ts'

type Endings = Pick<
  TokenStore,
  | 'supersede'
  | 'endDerived'
  | 'moveOverlap'
  | 'spend'
  | 'revokeAlone'
  | 'revokeTree'
  | 'revokeDerived'
  | 'revokeOwned'
  | 'revokeFamily'
  | 'revokeOfClient'
  | 'revokeMany'
  | 'shorten'
  | 'quarantine'
  | 'release'
>

/** What clients were given. */
const isEngines = sql`kind in ('oauth_code', 'oauth_access', 'oauth_refresh')`

const childrenOf = (id: TokenId) => sql`select id from token where parent_id = ${id}`

/** The roots with all that is derived from them: a part of a `with recursive`. */
const lineOf = (roots: RawBuilder<unknown>) => sql`line(id) as (
  select id from token where id in (${roots})
  union
  select child.id from token child join line on child.parent_id = line.id
)`

/** What ends tokens, or stops them for a while. */
export function tokenEndings(db: Kysely<Schema>, locks: Locks): Endings {
  /** Where others write at the same time, rows are locked in one order everywhere. */
  const inOrder = locks.shared ? sql`order by id for no key update` : sql``

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
    const { rows } = await sql<Hit>`
      with recursive ${lineOf(ids)}, alive(id) as (
        select id from token where id in (select id from line) and revoked_at_ms is null ${inOrder}
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
    const endsLater = (column: string) =>
      sql`coalesce(${sql.ref(column)}, ${Number.MAX_SAFE_INTEGER}) > ${endsAtMs}`
    const all: TokenId[] = []
    for (;;) {
      const { rows } = await sql<{ id: TokenId }>`
        with recursive ${lineOf(childrenOf(id))}
        update token set updated_at_ms = ${atMs},
          superseded_at_ms = case when ${isEngines} then superseded_at_ms else ${endsAtMs} end,
          expires_at_ms = case when ${isEngines} then ${endsAtMs} else expires_at_ms end
        where id in (select id from line) and revoked_at_ms is null and case when ${isEngines}
          then superseded_at_ms is null and ${endsLater('expires_at_ms')}
          else ${endsLater('superseded_at_ms')} end
        returning id`.execute(db)
      all.push(...rows.map(({ id }) => id))
      // As with revocations: what others commit while a statement waits for them, it does not see.
      if (rows.length === 0 || !locks.shared) return all
    }
  }

  /** Of what was derived, children and sessions look at their ancestors; what clients were given does not. */
  async function shortenDerived(
    ids: readonly TokenId[],
    expiresAtMs: number,
    atMs: number,
  ): Promise<TokenId[]> {
    if (ids.length === 0) return []
    const children = sql`select id from token where parent_id in (${sql.join(ids)})`
    const { rows } = await sql<{ id: TokenId }>`
      with recursive ${lineOf(children)}, alive(id) as (
        select id from token where id in (select id from line) and ${isEngines}
          and revoked_at_ms is null and expires_at_ms > ${expiresAtMs} ${inOrder}
      )
      update token set expires_at_ms = ${expiresAtMs}, updated_at_ms = ${atMs}
      where id in (select id from alive) returning id`.execute(db)
    return rows.map(({ id }) => id)
  }

  async function quarantineOnce(id: TokenId, { by, reason, atMs }: Revocation): Promise<Hit[]> {
    // What its owner stopped, its owner may start again; so whoever else stops it takes it over.
    const isFree = sql`(quarantined_at_ms is null or (quarantined_by = owner_id
      and cast(${by ?? null} as text) is distinct from owner_id))`
    // What came of a refresh token is beside it in the family, not below it.
    const roots = sql`select ${id} union select kin.id from token
      join token kin on kin.family_id = token.family_id and kin.superseded_at_ms is null
      where token.id = ${id} and token.kind = 'oauth_refresh'`
    const { rows } = await sql<Hit>`
      with recursive ${lineOf(roots)}, alive(id) as (
        select id from token
        where id in (select id from line) and revoked_at_ms is null and ${isFree} ${inOrder}
      )
      update token set quarantined_at_ms = ${atMs}, quarantined_by = ${by ?? null},
        quarantine_reason = ${reason}, quarantine_root = ${id}, updated_at_ms = ${atMs}
      where id in (select id from alive) and ${isFree}
      returning id, kind`.execute(db)
    return rows
  }

  /** Marks a token as replaced, unless somebody was faster with that, or it may not be used. */
  async function replace(id: TokenId, to: UpdateObject<Schema, 'token'>): Promise<boolean> {
    const row = await db
      .updateTable('token')
      .set(to)
      .where('id', '=', id)
      .where('superseded_at_ms', 'is', null)
      .where('revoked_at_ms', 'is', null)
      .where('quarantined_at_ms', 'is', null)
      .returning('id')
      .executeTakeFirst()
    return row !== undefined
  }

  return {
    supersede: (id, { by, atMs, endsAtMs }) =>
      replace(id, {
        serial: null,
        superseded_at_ms: endsAtMs,
        superseded_by: by,
        updated_at_ms: atMs,
      }),
    endDerived,
    async moveOverlap(old, { endsAtMs, atMs }) {
      const { rows } = await sql<{ id: TokenId }>`
        with recursive ${lineOf(childrenOf(old.id))}
        update token set superseded_at_ms = ${endsAtMs}, updated_at_ms = ${atMs}
        where revoked_at_ms is null and superseded_at_ms = ${old.supersededAtMs ?? null}
          and (id = ${old.id} or (superseded_by is null and id in (select id from line)
            and kind in ('api', 'service', 'session')))
        returning id`.execute(db)
      await db
        .updateTable('token')
        .set({ overlap_ends_at_ms: endsAtMs })
        .where('id', '=', old.supersededBy ?? old.id)
        .execute()
      return rows.map(({ id }) => id)
    },
    spend: (id, by, atMs) =>
      replace(id, {
        superseded_at_ms: atMs,
        superseded_by: by ?? null,
        updated_at_ms: atMs,
        last_used_at_ms: atMs,
        use_count: sql<number>`use_count + 1`,
      }),
    revokeAlone: (id, revocation) => revokeAll(sql`select ${id}`, revocation, { alone: true }),
    revokeTree: (id, revocation) => revokeAll(sql`select ${id}`, revocation),
    revokeDerived: (id, revocation) => revokeAll(childrenOf(id), revocation),
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
      const hits = rows.map(({ id }) => id as TokenId)
      return [...hits, ...(await shortenDerived(hits, expiresAtMs, atMs))]
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
  }
}
