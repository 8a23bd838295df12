import { type Kysely, sql } from 'kysely'
import type { ClientEnding, Endings, UserEnding } from '../../core/audit/endings.ts'
import type { Schema } from '../schema.ts'

const REASON = 'ended after the backup was made'
const WEBHOOK_REASON =
  'A backup was restored. See that this address is still to be told and has this secret, then enable it.'
const NOT_SENT = 'Not sent: a backup was restored.'
/** Well below what one statement may have as parameters. */
const IDS_AT_ONCE = 500

/**
 * Ends what had ended, in a database that was put back to before. Logins at the OpenID provider and
 * answers kept for repeated requests go in any case: both are short-lived, and nothing tells which of
 * them had ended. Webhooks are disabled in any case: a restore may be for practice, beside the real
 * receivers, and theirs may be old secrets. Returns how many rows of each kind were touched.
 */
export async function endAgain(
  db: Kysely<Schema>,
  endings: Endings,
  atMs: number,
): Promise<Record<string, number>> {
  await db.deleteFrom('oauth_record').execute()
  await db.deleteFrom('idempotency').execute()
  const ended: Record<string, number> = {
    tokens: endings.everything ? await revokeAll(db, atMs) : 0,
    shortened: 0,
    grants: 0,
    users: endings.users.size,
    memberships: 0,
    groups: endings.groups.size,
    roles: endings.roles.size,
    clients: endings.clients.size,
    webhooks: await silenceWebhooks(db, atMs),
  }
  const add = (what: string, count: number) => {
    ended[what] = (ended[what] ?? 0) + count
  }
  for (const ids of batches([...endings.tokens])) {
    add('tokens', await revoke(db, atMs, sql`id in (${sql.join(ids)})`))
  }
  for (const [id, endMs] of endings.shortened)
    add('shortened', await shorten(db, id, { endMs, atMs }))
  for (const id of endings.grants) add('grants', await endGrants(db, atMs, sql`id = ${id}`))
  if (endings.everything) add('grants', await endGrants(db, atMs, sql`1 = 1`))
  for (const [id, ending] of endings.users) add('tokens', await endUser(db, id, ending, atMs))
  for (const [groupId, members] of endings.memberships) {
    for (const [userId, mode] of members) {
      add('memberships', await narrowMembership(db, { groupId, userId, mode }))
    }
  }
  for (const id of endings.groups) {
    await db.deleteFrom('membership').where('group_id', '=', id).execute()
    await db
      .updateTable('group')
      .set({ deleted_at_ms: atMs, updated_at_ms: atMs })
      .where('id', '=', id)
      .where('deleted_at_ms', 'is', null)
      .execute()
  }
  for (const [name, scopes] of endings.roles) await narrowRole(db, name, scopes)
  for (const [id, ending] of endings.clients) add('tokens', await endClient(db, id, ending, atMs))
  for (const [name, value] of Object.entries(endings.policy)) {
    const row = { name, value: JSON.stringify(value ?? null), updated_at_ms: atMs }
    await db
      .insertInto('policy')
      .values(row)
      .onConflict((conflict) => conflict.column('name').doUpdateSet(row))
      .execute()
  }
  return ended
}

/** Returns how many there are. */
async function silenceWebhooks(db: Kysely<Schema>, atMs: number): Promise<number> {
  await db
    .updateTable('delivery')
    .set({ state: 'dead', ended_at_ms: atMs, last_error: NOT_SENT })
    .where('state', '=', 'pending')
    .execute()
  const { numUpdatedRows } = await db
    .updateTable('webhook')
    .set({ state: 'disabled', paused_because: WEBHOOK_REASON, updated_at_ms: atMs })
    .executeTakeFirstOrThrow()
  return Number(numUpdatedRows)
}

function* batches<T>(items: readonly T[]): Generator<T[]> {
  for (let i = 0; i < items.length; i += IDS_AT_ONCE) yield items.slice(i, i + IDS_AT_ONCE)
}

type Condition = ReturnType<typeof sql>

async function revoke(db: Kysely<Schema>, atMs: number, which: Condition): Promise<number> {
  const { numAffectedRows } = await sql`update token set revoked_at_ms = ${atMs},
    revoke_reason = ${REASON}, updated_at_ms = ${atMs}
    where revoked_at_ms is null and ${which}`.execute(db)
  return Number(numAffectedRows ?? 0)
}

async function shorten(
  db: Kysely<Schema>,
  id: string,
  { endMs, atMs }: { endMs: number; atMs: number },
): Promise<number> {
  const { numAffectedRows } = await sql`update token set expires_at_ms = ${endMs},
    updated_at_ms = ${atMs} where id = ${id} and revoked_at_ms is null
    and (expires_at_ms is null or expires_at_ms > ${endMs})`.execute(db)
  return Number(numAffectedRows ?? 0)
}

const revokeAll = (db: Kysely<Schema>, atMs: number) => revoke(db, atMs, sql`1 = 1`)

async function endGrants(db: Kysely<Schema>, atMs: number, which: Condition): Promise<number> {
  await revoke(
    db,
    atMs,
    sql`family_id in (select id from "grant" where revoked_at_ms is null and ${which})`,
  )
  const { numAffectedRows } = await sql`update "grant" set revoked_at_ms = ${atMs},
    updated_at_ms = ${atMs} where revoked_at_ms is null and ${which}`.execute(db)
  return Number(numAffectedRows ?? 0)
}

/** Returns how many of the user's tokens it ended. */
async function endUser(
  db: Kysely<Schema>,
  id: string,
  ending: UserEnding,
  atMs: number,
): Promise<number> {
  if (ending.roles !== undefined) {
    let held = db.deleteFrom('user_role').where('user_id', '=', id)
    if (ending.roles.length > 0) held = held.where('role', 'not in', ending.roles)
    await held.execute()
  }
  const change = {
    ...(ending.disabled || ending.deleted ? { active: 0 } : {}),
    ...(ending.demoted ? { global_role: 'USER' } : {}),
    ...(ending.passwordReplaced || ending.deleted
      ? { password_hash: null, password_is_one_time: 0 }
      : {}),
    ...(ending.deleted ? { deleted_at_ms: atMs } : {}),
    updated_at_ms: atMs,
  }
  await db
    .updateTable('user')
    .set(change)
    .where('id', '=', id)
    .where('deleted_at_ms', 'is', null)
    .execute()
  if (ending.deleted) {
    await db.deleteFrom('user_identity').where('user_id', '=', id).execute()
    await db.deleteFrom('membership').where('user_id', '=', id).execute()
    await db.deleteFrom('user_role').where('user_id', '=', id).execute()
    await endGrants(db, atMs, sql`user_id = ${id}`)
    return revoke(db, atMs, sql`owner_id = ${id}`)
  }
  const losesLogins = ending.disabled || ending.passwordReplaced
  return losesLogins ? revoke(db, atMs, sql`owner_id = ${id} and kind = 'session'`) : 0
}

async function narrowMembership(
  db: Kysely<Schema>,
  { groupId, userId, mode }: { groupId: string; userId: string; mode: string | undefined },
): Promise<number> {
  if (mode === undefined) {
    const [{ numDeletedRows }] = (await db
      .deleteFrom('membership')
      .where('group_id', '=', groupId)
      .where('user_id', '=', userId)
      .execute()) as [{ numDeletedRows: bigint }]
    return Number(numDeletedRows)
  }
  const wider = mode === 'READ' ? ['WRITE', 'ADMIN'] : ['ADMIN']
  const [{ numUpdatedRows }] = (await db
    .updateTable('membership')
    .set({ mode })
    .where('group_id', '=', groupId)
    .where('user_id', '=', userId)
    .where('mode', 'in', wider)
    .execute()) as [{ numUpdatedRows: bigint }]
  return Number(numUpdatedRows)
}

async function narrowRole(
  db: Kysely<Schema>,
  name: string,
  scopes: readonly string[] | undefined,
): Promise<void> {
  if (scopes === undefined) {
    await db.deleteFrom('user_role').where('role', '=', name).execute()
    await db.deleteFrom('role').where('name', '=', name).execute()
    return
  }
  const row = await db
    .selectFrom('role')
    .select('scopes')
    .where('name', '=', name)
    .executeTakeFirst()
  if (row === undefined) return
  const kept = (JSON.parse(row.scopes) as string[]).filter((scope) => scopes.includes(scope))
  await db
    .updateTable('role')
    .set({ scopes: JSON.stringify(kept) })
    .where('name', '=', name)
    .execute()
}

/** Returns how many of the client's tokens it ended. */
async function endClient(
  db: Kysely<Schema>,
  id: string,
  ending: ClientEnding,
  atMs: number,
): Promise<number> {
  await db
    .updateTable('client')
    .set({
      ...(ending.disabled || ending.deleted ? { active: 0 } : {}),
      ...(ending.secretReplaced || ending.deleted
        ? { secret_digest: null, secret_pepper_id: null }
        : {}),
      ...(ending.deleted ? { deleted_at_ms: atMs } : {}),
      updated_at_ms: atMs,
    })
    .where('id', '=', id)
    .where('deleted_at_ms', 'is', null)
    .execute()
  if (!ending.deleted && !ending.disabled) return 0
  if (ending.deleted) await endGrants(db, atMs, sql`client_id = ${id}`)
  return revoke(db, atMs, sql`client_id = ${id}`)
}
