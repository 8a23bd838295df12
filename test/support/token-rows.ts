import type { DatabaseSync } from 'node:sqlite'
import { addressKey } from '../../src/core/ip.ts'
import { nameKey } from '../../src/core/text.ts'

/** A token as a test or a benchmark wants it in the inventory: owners, clients and groups are ids. */
export interface TokenRow {
  id: string
  kind: string
  ownerId: string
  creatorId: string
  clientId: string | undefined
  via: string
  accessLevel: string
  name: string | undefined
  description: string
  familyId: string
  parentId: string | undefined
  roles: string[] | null
  scopes: string[] | null
  groups: string[] | null
  createdAtMs: number
  usedAtMs: number | undefined
  ip: string | undefined
  expiresAtMs: number | undefined
  revokedAtMs: number | undefined
  supersededAtMs: number | undefined
}

const NAMED_KINDS = new Set(['api', 'service'])

/** The key under which a token is known by name. */
export function keyOfName({ kind, name }: Pick<TokenRow, 'kind' | 'name'>): string | undefined {
  return name === undefined || !NAMED_KINDS.has(kind) ? undefined : nameKey(name)
}

/** Writes tokens straight into the tables of a database that no server has open. */
export function insertTokens(db: DatabaseSync, rows: Iterable<TokenRow>): void {
  const insertToken = db.prepare(`insert into token (id, serial, kind, owner_id, creator_id, name,
      name_key, description, via, format, digest, pepper_id, preview, access_level, roles, groups,
      scopes, metadata, family_id, parent_id, created_at_ms, updated_at_ms, expires_at_ms,
      revoked_at_ms, superseded_at_ms, last_used_at_ms, last_used_ip, last_used_ip_key, use_count,
      client_id)
    values (?, ?, ?, ?, ?, ?, ?, ?, ?, 'mintmark', ?, 'pepper', 'mm_…', ?, ?, ?, ?, '{}', ?, ?, ?, ?,
      ?, ?, ?, ?, ?, ?, 0, ?)`)
  const insertLabel = db.prepare(
    'insert into token_label (type, value, token_id, created_at_ms) values (?, ?, ?, ?)',
  )
  const or = (value: string | number | undefined) => value ?? null
  const json = (list: unknown[] | null | undefined) => (list == null ? null : JSON.stringify(list))
  const { last } = db
    .prepare('select coalesce(max(serial), 0) + 1000000 as last from token')
    .get() as {
    last: number
  }
  let serial = last
  db.exec('begin')
  for (const row of rows) {
    insertToken.run(
      row.id,
      serial++,
      row.kind,
      row.ownerId,
      row.creatorId,
      or(row.name),
      or(keyOfName(row)),
      row.description,
      row.via,
      `digest of ${row.id}`,
      row.accessLevel,
      json(row.roles),
      json(row.groups?.map((id) => ({ id, mode: 'READ' }))),
      json(row.scopes),
      row.familyId,
      or(row.parentId),
      row.createdAtMs,
      row.createdAtMs,
      or(row.expiresAtMs),
      or(row.revokedAtMs),
      or(row.supersededAtMs),
      or(row.usedAtMs),
      or(row.ip),
      or(row.ip === undefined ? undefined : addressKey(row.ip)),
      or(row.clientId),
    )
    const labels = { role: row.roles, scope: row.scopes, group: row.groups }
    for (const [type, values] of Object.entries(labels)) {
      for (const value of values ?? []) insertLabel.run(type, value, row.id, row.createdAtMs)
    }
  }
  db.exec('commit')
}

/** Writes a user straight into the tables. */
export function insertUser(db: DatabaseSync, { id, username }: { id: string; username: string }) {
  db.prepare(`insert into user (id, serial, username, username_key, display_name, kind, global_role,
      active, attributes, password_is_one_time, created_at_ms, updated_at_ms)
    values (?, (select coalesce(max(serial), 0) + 1 from user), ?, ?, '', 'person', 'USER', 1, '{}', 0,
      0, 0)`).run(id, username, nameKey(username))
}

/** Writes a group straight into the tables. */
export function insertGroup(db: DatabaseSync, { id, name }: { id: string; name: string }): void {
  db.prepare(`insert into "group" (id, serial, name, name_key, description, created_at_ms,
      updated_at_ms)
    values (?, (select coalesce(max(serial), 0) + 1 from "group"), ?, ?, '', 0, 0)`).run(
    id,
    name,
    nameKey(name),
  )
}

/** Writes an OAuth client straight into the tables. */
export function insertClient(
  db: DatabaseSync,
  { id, clientId, userId }: { id: string; clientId: string; userId: string },
): void {
  db.prepare(`insert into client (id, serial, client_id, name, name_key, type, redirect_uris,
      post_logout_redirect_uris, grants, scopes, resources, serves, code_ttl, access_token_ttl,
      refresh_token_ttl, subject_mode, require_pkce, service_user_id, active, created_at_ms,
      updated_at_ms)
    values (?, (select coalesce(max(serial), 0) + 1 from client), ?, ?, ?, 'public', '[]', '[]', '[]',
      '[]', '[]', '[]', '', '', '', 'hashed_user_id', 0, ?, 1, 0, 0)`).run(
    id,
    clientId,
    clientId,
    nameKey(clientId),
    userId,
  )
}
