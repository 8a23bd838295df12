import { type Kysely, sql } from 'kysely'
import { addressKey } from '../../src/core/ip.ts'
import { nameKey } from '../../src/core/text.ts'
import type { Schema, TokenTable } from '../../src/store/schema.ts'

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
  agent?: string | undefined
  expiresAtMs: number | undefined
  revokedAtMs: number | undefined
  supersededAtMs: number | undefined
  quarantinedAtMs?: number | undefined
  /** Absent: of no secret. */
  digest?: string
  pepperId?: string
}

const NAMED_KINDS = new Set(['api', 'service'])

/** The key under which a token is known by name. */
export function keyOfName({ kind, name }: Pick<TokenRow, 'kind' | 'name'>): string | undefined {
  return name === undefined || !NAMED_KINDS.has(kind) ? undefined : nameKey(name)
}

/** So many rows that no statement has more parameters than either database takes. */
const ROWS_AT_ONCE = 200

/** Writes tokens straight into the tables, behind the back of any server. */
export async function insertTokens(db: Kysely<Schema>, rows: Iterable<TokenRow>): Promise<void> {
  const { last } = await db
    .selectFrom('token')
    .select((eb) => eb.fn.coalesce(eb.fn.max('serial'), eb.lit(0)).as('last'))
    .executeTakeFirstOrThrow()
  let serial = Number(last) + 1_000_000
  const flush = async (batch: TokenRow[]) => {
    if (batch.length === 0) return
    await db
      .insertInto('token')
      .values(batch.map((row) => columnsOf(row, serial++)))
      .execute()
    const labels = batch.flatMap(labelsOf)
    for (let i = 0; i < labels.length; i += ROWS_AT_ONCE) {
      await db
        .insertInto('token_label')
        .values(labels.slice(i, i + ROWS_AT_ONCE))
        .execute()
    }
  }
  let batch: TokenRow[] = []
  for (const row of rows) {
    batch.push(row)
    if (batch.length < ROWS_AT_ONCE) continue
    await flush(batch)
    batch = []
  }
  await flush(batch)
}

function columnsOf(row: TokenRow, serial: number): TokenTable {
  const json = (list: unknown[] | null | undefined) => (list == null ? null : JSON.stringify(list))
  return {
    id: row.id,
    serial,
    kind: row.kind,
    owner_id: row.ownerId,
    creator_id: row.creatorId,
    creator_token_id: null,
    name: row.name ?? null,
    name_key: keyOfName(row) ?? null,
    description: row.description,
    via: row.via,
    format: 'mintmark',
    digest: row.digest ?? `digest of ${row.id}`,
    pepper_id: row.pepperId ?? 'pepper',
    preview: 'mm_…',
    access_level: row.accessLevel,
    roles: json(row.roles),
    groups: json(row.groups?.map((id) => ({ id, mode: 'READ' }))),
    scopes: json(row.scopes),
    allowed_ips: null,
    metadata: '{}',
    family_id: row.familyId,
    parent_id: row.parentId ?? null,
    created_at_ms: row.createdAtMs,
    updated_at_ms: row.createdAtMs,
    expires_at_ms: row.expiresAtMs ?? null,
    idle_seconds: null,
    revoked_at_ms: row.revokedAtMs ?? null,
    revoked_by: null,
    revoke_reason: null,
    superseded_at_ms: row.supersededAtMs ?? null,
    superseded_by: null,
    overlap_ends_at_ms: null,
    last_used_via: null,
    last_used_agent: row.agent ?? null,
    quarantined_at_ms: row.quarantinedAtMs ?? null,
    quarantined_by: null,
    quarantine_reason: null,
    quarantine_root: null,
    last_used_at_ms: row.usedAtMs ?? null,
    last_used_ip: row.ip ?? null,
    last_used_ip_key: (row.ip === undefined ? undefined : addressKey(row.ip)) ?? null,
    use_count: 0,
    client_id: row.clientId ?? null,
    audience: null,
    bound_key: null,
    engine_record: null,
    id_claims: null,
    must_know: null,
  }
}

function labelsOf({ id, roles, scopes, groups, createdAtMs }: TokenRow): Schema['token_label'][] {
  const labels = (type: Schema['token_label']['type'], values: string[] | null) =>
    (values ?? []).map((value) => ({ type, value, token_id: id, created_at_ms: createdAtMs }))
  return [...labels('role', roles), ...labels('scope', scopes), ...labels('group', groups)]
}

const after = (table: 'user' | 'group' | 'client') =>
  sql<number>`(select coalesce(max(serial), 0) + 1 from ${sql.table(table)})`

/** Writes a user straight into the tables. */
export async function insertUser(
  db: Kysely<Schema>,
  { id, username }: { id: string; username: string },
): Promise<void> {
  await db
    .insertInto('user')
    .values({
      id,
      serial: after('user'),
      username,
      username_key: nameKey(username),
      display_name: '',
      email: null,
      email_key: null,
      kind: 'person',
      global_role: 'USER',
      active: 1,
      attributes: '{}',
      password_hash: null,
      password_is_one_time: 0,
      password_expires_at_ms: null,
      password_changed_at_ms: null,
      last_login_at_ms: null,
      created_at_ms: 0,
      updated_at_ms: 0,
      deleted_at_ms: null,
    })
    .execute()
}

/** Writes a group straight into the tables. */
export async function insertGroup(
  db: Kysely<Schema>,
  { id, name }: { id: string; name: string },
): Promise<void> {
  await db
    .insertInto('group')
    .values({
      id,
      serial: after('group'),
      name,
      name_key: nameKey(name),
      description: '',
      parent_id: null,
      created_at_ms: 0,
      updated_at_ms: 0,
      deleted_at_ms: null,
    })
    .execute()
}

/** Writes an OAuth client straight into the tables. */
export async function insertClient(
  db: Kysely<Schema>,
  { id, clientId, userId }: { id: string; clientId: string; userId: string },
): Promise<void> {
  await db
    .insertInto('client')
    .values({
      id,
      serial: after('client'),
      client_id: clientId,
      name: clientId,
      name_key: nameKey(clientId),
      type: 'public',
      secret_digest: null,
      secret_pepper_id: null,
      secret_preview: null,
      jwks: null,
      redirect_uris: '[]',
      post_logout_redirect_uris: '[]',
      grants: '[]',
      scopes: '[]',
      resources: '[]',
      serves: '[]',
      code_ttl: '',
      access_token_ttl: '',
      refresh_token_ttl: '',
      subject_mode: 'hashed_user_id',
      signing_algorithm: 'RS256',
      require_pkce: 0,
      application_slug: null,
      application_name: null,
      service_user_id: userId,
      active: 1,
      created_at_ms: 0,
      updated_at_ms: 0,
      deleted_at_ms: null,
    })
    .execute()
}
