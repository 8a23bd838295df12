import type { FastifyRequest } from 'fastify'
import type { AuditRecord } from '../../core/audit/event.ts'
import type { Core } from '../../core/core.ts'
import { CoreError } from '../../core/errors.ts'
import type { Group } from '../../core/groups/group.ts'
import type { ClientId, GroupId, TokenId, UserId } from '../../core/id.ts'
import type { Cursors, ListCursors, Page, Position } from '../../core/page.ts'
import { least } from '../../core/policy/restraint.ts'
import { stateOf, type Token } from '../../core/tokens/token.ts'
import type { User } from '../../core/users/user.ts'
import { callerOf } from '../auth.ts'

/** Epoch milliseconds → RFC 3339 in UTC. */
export function instant(ms: number): string {
  return new Date(ms).toISOString()
}

export function instantOrNull(ms: number | undefined): string | null {
  return ms === undefined ? null : instant(ms)
}

/** RFC 3339 → epoch milliseconds; the schema has checked the form. Throws `invalid_input`. */
export function parseInstant(text: string): number {
  const ms = Date.parse(text)
  if (Number.isNaN(ms)) {
    throw new CoreError('invalid_input', `"${text}" is not an instant like 2030-01-31T12:00:00Z.`)
  }
  return ms
}

/** Names that a token's ids stand for. */
export interface Names {
  users: Map<UserId, string>
  groups: Map<GroupId, string>
  clients: Map<ClientId, { clientId: string; name: string }>
  /** When the policy ends tokens. */
  policyEnds: Map<TokenId, number>
  nowMs: number
}

/** Looks up, in as few queries as possible, the names that these tokens show; the asker's own is known. */
export async function namesFor(
  core: Core,
  tokens: readonly Token[],
  asker?: Pick<User, 'id' | 'username'>,
): Promise<Names> {
  const ids = tokens
    .flatMap(({ ownerId, creatorId }) => [ownerId, creatorId])
    .filter((id) => id !== asker?.id)
  const needsGroups = tokens.some(
    ({ limits }) => limits.groups !== null && limits.groups.length > 0,
  )
  const users = await core.usernames(ids)
  if (asker !== undefined) users.set(asker.id, asker.username)
  return {
    users,
    groups: needsGroups ? await core.groupNames() : new Map(),
    clients: await core.clientLabels(
      tokens.flatMap(({ oauth }) => (oauth === undefined ? [] : [oauth.clientId])),
    ),
    policyEnds: await core.policyEnds(tokens),
    nowMs: core.clock.now(),
  }
}

export function tokenOut(token: Token, { users, groups, clients, policyEnds, nowMs }: Names) {
  const { limits } = token
  const clientOut = (id: ClientId) => ({
    id,
    clientId: clients.get(id)?.clientId ?? null,
    name: clients.get(id)?.name ?? null,
  })
  const person = (id: UserId) => ({ id, username: users.get(id) ?? null })
  return {
    id: token.id,
    kind: token.kind,
    state: stateOf(token, nowMs),
    name: token.name ?? null,
    description: token.description,
    owner: person(token.ownerId),
    creator: person(token.creatorId),
    via: token.via,
    preview: token.preview,
    accessLevel: limits.accessLevel,
    roles: limits.roles === null ? null : [...limits.roles],
    groups:
      limits.groups === null
        ? null
        : limits.groups.map(({ id, mode }) => ({ id, name: groups.get(id) ?? null, mode })),
    scopes: limits.scopes === null ? null : [...limits.scopes],
    allowedIps: limits.allowedIps === null ? null : [...limits.allowedIps],
    metadata: token.metadata,
    client: token.oauth === undefined ? null : clientOut(token.oauth.clientId),
    audience: token.oauth?.audience ?? null,
    familyId: token.familyId,
    parentId: token.parentId ?? null,
    createdAt: instant(token.createdAtMs),
    updatedAt: instant(token.updatedAtMs),
    expiresAt: instantOrNull(token.expiresAtMs),
    effectiveExpiresAt: instantOrNull(least(token.expiresAtMs, policyEnds.get(token.id))),
    lastUsedAt: instantOrNull(token.lastUsedAtMs),
    lastUsedIp: token.lastUsedIp ?? null,
    lastUsedVia: token.lastUsedVia ?? null,
    lastUsedAgent: token.lastUsedAgent ?? null,
    useCount: token.useCount,
    revokedAt: instantOrNull(token.revokedAtMs),
    revokedBy: token.revokedBy ?? null,
    revokeReason: token.revokeReason ?? null,
    supersededAt: instantOrNull(token.supersededAtMs),
    supersededBy: token.supersededBy ?? null,
    overlapEndsAt: instantOrNull(token.overlapEndsAtMs),
    quarantinedAt: instantOrNull(token.quarantinedAtMs),
    quarantinedBy: token.quarantinedBy ?? null,
    quarantineReason: token.quarantineReason ?? null,
  }
}

export function userOut(user: User) {
  return {
    id: user.id,
    username: user.username,
    displayName: user.displayName,
    email: user.email ?? null,
    kind: user.kind,
    globalRole: user.globalRole,
    active: user.active,
    attributes: user.attributes,
    hasPassword: user.hasPassword,
    lastLoginAt: instantOrNull(user.lastLoginAtMs),
    createdAt: instant(user.createdAtMs),
    updatedAt: instant(user.updatedAtMs),
  }
}

export function groupOut(group: Group) {
  return {
    id: group.id,
    name: group.name,
    description: group.description,
    parentId: group.parentId ?? null,
    createdAt: instant(group.createdAtMs),
    updatedAt: instant(group.updatedAtMs),
  }
}

export function auditOut(record: AuditRecord) {
  return {
    sequence: record.sequence,
    at: instant(record.atMs),
    action: record.action,
    subjectType: record.subjectType,
    subjectId: record.subjectId,
    actorId: record.actorId ?? null,
    actorName: record.actorName ?? null,
    actorTokenId: record.actorTokenId ?? null,
    ip: record.ip ?? null,
    requestId: record.requestId ?? null,
    via: record.via,
    before: record.before ?? null,
    after: record.after ?? null,
    hash: record.hash,
  }
}

/** Cursors for this caller and this question alone; how many rows a page has may change. */
export function cursorsFor(list: ListCursors, request: FastifyRequest): Cursors {
  const { cursor: _, limit: __, ...query } = request.query as Record<string, unknown>
  const asked = Object.entries(query).toSorted(([a], [b]) => (a < b ? -1 : 1))
  return list.within([callerOf(request).principal.user.id, asked])
}

/** A page with its cursors as text. */
export function pageOut<T, O>(page: Page<T>, cursors: Cursors, out: (item: T) => O) {
  const text = (position: Position | undefined) =>
    position === undefined ? null : cursors.encode(position)
  return {
    items: page.items.map(out),
    nextCursor: text(page.next),
    previousCursor: text(page.previous),
  }
}

const DEFAULT_PAGE_SIZE = 100
const MAX_PAGE_SIZE = 1000

/** The page asked for. Throws `invalid_input`. */
export function pageWish(
  query: { cursor?: string; limit?: string },
  cursors: Cursors,
): { from: Position | undefined; size: number } {
  const size = query.limit === undefined ? DEFAULT_PAGE_SIZE : Number(query.limit)
  if (size < 1 || size > MAX_PAGE_SIZE) {
    throw new CoreError('invalid_input', `limit must be from 1 to ${MAX_PAGE_SIZE}.`)
  }
  return { from: query.cursor === undefined ? undefined : cursors.decode(query.cursor), size }
}
