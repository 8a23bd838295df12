import type { Selectable } from 'kysely'
import type { ClientId, TokenId, UserId } from '../core/id.ts'
import type { SecretFormat } from '../core/secret.ts'
import type { NewToken } from '../core/tokens/store.ts'
import {
  ACCESS_LEVELS,
  type AccessLevel,
  type GroupLimit,
  isOauthKind,
  type Limits,
  TOKEN_KINDS,
  type Token,
  type TokenKind,
  type UseVia,
  type Via,
} from '../core/tokens/token.ts'
import type { Schema, TokenTable } from './schema.ts'

/** Many thousands of tokens are remembered: what most have in common is kept once. */
const words = new Map<string, string>()

/** The one copy of a word of which there are few. */
function word<T extends string>(text: string): T {
  const known = words.get(text)
  if (known === undefined) words.set(text, text)
  return (known ?? text) as T
}

const NO_METADATA = Object.freeze({})
const NO_LISTS = { roles: null, groups: null, scopes: null, allowedIps: null }
const NO_LIMITS: Record<AccessLevel, Limits> = {
  FULL_ACCESS: Object.freeze({ accessLevel: 'FULL_ACCESS', ...NO_LISTS }),
  READ_ONLY: Object.freeze({ accessLevel: 'READ_ONLY', ...NO_LISTS }),
}

/** Such as were read lately, by how they are stored. */
const limitsRead = new Map<string, Limits>()
const MAX_LIMITS_READ = 5000

/** Those of two tokens that are the same are the same object, so that what follows from them is, too. */
function limitsOf(row: Selectable<TokenTable>): Limits {
  const { access_level, roles, groups, scopes, allowed_ips } = row
  const accessLevel: AccessLevel = access_level === 'FULL_ACCESS' ? 'FULL_ACCESS' : 'READ_ONLY'
  if ((roles ?? groups ?? scopes ?? allowed_ips) === null) return NO_LIMITS[accessLevel]
  // No JSON has a line break in it.
  const key = `${accessLevel}\n${roles}\n${groups}\n${scopes}\n${allowed_ips}`
  const known = limitsRead.get(key)
  if (known !== undefined) return known
  const limits = Object.freeze({
    accessLevel,
    roles: list<string>(roles),
    groups: list<GroupLimit>(groups),
    scopes: list<string>(scopes),
    allowedIps: list<string>(allowed_ips),
  })
  if (limitsRead.size >= MAX_LIMITS_READ) limitsRead.clear()
  limitsRead.set(key, limits)
  return limits
}

/** What a token would be without, if a newer release kept it elsewhere. */
const DECIDING = [
  'roles',
  'groups',
  'scopes',
  'allowed_ips',
  'parent_id',
  'expires_at_ms',
  'idle_seconds',
  'revoked_at_ms',
  'superseded_at_ms',
  'quarantined_at_ms',
  'client_id',
  'audience',
  'bound_key',
] as const

/**
 * Whether this release knows everything that decides about the token. Beside a newer one, which may restrict
 * tokens in ways that are unheard of here, it need not.
 */
function isUnderstood(row: Selectable<TokenTable>): boolean {
  return (
    row.must_know === null &&
    TOKEN_KINDS.includes(row.kind as TokenKind) &&
    ACCESS_LEVELS.includes(row.access_level as AccessLevel) &&
    DECIDING.every((column) => row[column] !== undefined)
  )
}

/** What is not understood is in quarantine as far as this release is concerned, with what comes from it. */
export function toToken(row: Selectable<TokenTable>): Token {
  const token = understood(row)
  if (isUnderstood(row)) return token
  token.quarantinedAtMs ??= row.created_at_ms
  token.quarantineReason ??= 'Made by a newer release of Mintmark, which alone can decide about it.'
  return token
}

function understood(row: Selectable<TokenTable>): Token {
  return {
    id: row.id as TokenId,
    serial: row.serial ?? undefined,
    kind: word<TokenKind>(row.kind),
    ownerId: row.owner_id as UserId,
    creatorId: (row.creator_id === row.owner_id ? row.owner_id : row.creator_id) as UserId,
    name: row.name ?? undefined,
    description: row.description,
    via: word<Via>(row.via),
    format: word<SecretFormat>(row.format),
    preview: row.preview,
    limits: limitsOf(row),
    metadata: row.metadata === '{}' ? NO_METADATA : JSON.parse(row.metadata),
    familyId: (row.family_id === row.id ? row.id : row.family_id) as TokenId,
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
  return json === null ? null : Object.freeze(JSON.parse(json) as T[])
}

export function toRow(
  token: NewToken,
  serial: number,
  parentEndsAtMs: number | undefined,
): TokenTable {
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
    must_know: null,
  }
}

function earliest(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? (a ?? b) : Math.min(a, b)
}

/** What the index of labels holds of a token, so that filters by role, scope and group find it. */
export function labelsOf({ id, limits, createdAtMs }: NewToken): Schema['token_label'][] {
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
