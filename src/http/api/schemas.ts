import { Type } from 'typebox'
import { TOKEN_KINDS, TOKEN_STATES } from '../../core/tokens/token.ts'
import { Nullable } from '../nullable.ts'

/** Shapes that several routes of our own API share. Instants on this wire are RFC 3339, UTC. */

export const Id = Type.String({ format: 'uuid', description: 'UUIDv7' })
export const Instant = Type.String({ format: 'date-time' })

/** Any JSON object. Not `Type.Record`, whose pattern `^.*$` loses keys with a line break. */
export const JsonObject = Type.Unsafe<Record<string, unknown>>({
  type: 'object',
  additionalProperties: true,
})

export const Mode = Type.Enum(['READ', 'WRITE', 'ADMIN'], { description: 'READ < WRITE < ADMIN' })
export const AccessLevel = Type.Enum(['READ_ONLY', 'FULL_ACCESS'])
export const GlobalRole = Type.Enum(['ADMIN', 'USER'])
export const UserKind = Type.Enum(['person', 'service'])
export const TokenKind = Type.Enum([...TOKEN_KINDS])
export const TokenState = Type.Enum([...TOKEN_STATES])

const Problem = Type.Object(
  {
    type: Type.String(),
    title: Type.String(),
    status: Type.Integer(),
    detail: Type.String({ description: 'What went wrong and what to do next.' }),
    code: Type.String({ description: 'Stable name of the problem.' }),
    requestId: Type.String(),
    column: Type.Optional(
      Type.Integer({ description: 'Of a query: the character at which it goes wrong, from 1' }),
    ),
  },
  { description: 'RFC 9457 problem document' },
)

/** Answers that every route may give. */
export const problems = {
  '4xx': {
    description: 'The request was refused.',
    content: { 'application/problem+json': { schema: Problem } },
  },
  '5xx': {
    description: 'Nothing was changed.',
    content: { 'application/problem+json': { schema: Problem } },
  },
}

export const NoContent = Type.Null({ description: 'Done; no content.' })

export const PageQuery = {
  cursor: Type.Optional(
    Type.String({ maxLength: 500, description: '`nextCursor` or `previousCursor` of a page' }),
  ),
  // Query values are text; the number is made by us, because coercion is off everywhere.
  limit: Type.Optional(
    Type.String({ pattern: '^[0-9]{1,4}$', description: 'Rows per page, 1 to 1000; default 100' }),
  ),
}

export const pageOf = <T extends import('typebox').TSchema>(item: T) =>
  Type.Object({
    items: Type.Array(item),
    nextCursor: Nullable(Type.String()),
    previousCursor: Nullable(Type.String()),
  })

export const GroupGrant = Type.Object({ id: Id, name: Type.String(), mode: Mode })

export const Token = Type.Object({
  id: Id,
  kind: TokenKind,
  state: TokenState,
  name: Nullable(Type.String()),
  description: Type.String(),
  owner: Type.Object({ id: Id, username: Nullable(Type.String()) }),
  creator: Type.Object({ id: Id, username: Nullable(Type.String()) }),
  via: Type.String({ description: 'The API through which it was made' }),
  preview: Type.String({ description: 'Enough of the secret to recognise it' }),
  accessLevel: AccessLevel,
  roles: Nullable(Type.Array(Type.String())),
  groups: Nullable(Type.Array(Type.Object({ id: Id, name: Nullable(Type.String()), mode: Mode }))),
  scopes: Nullable(Type.Array(Type.String())),
  allowedIps: Nullable(Type.Array(Type.String())),
  metadata: JsonObject,
  client: Nullable(
    Type.Object(
      { id: Id, clientId: Nullable(Type.String()), name: Nullable(Type.String()) },
      { description: 'The OAuth client that was given it' },
    ),
  ),
  audience: Nullable(Type.String({ description: 'The one resource that it is for (RFC 8707)' })),
  familyId: Id,
  parentId: Nullable(Id),
  createdAt: Instant,
  updatedAt: Instant,
  expiresAt: Nullable(Instant),
  effectiveExpiresAt: Nullable(
    Type.String({
      format: 'date-time',
      description: 'The same, or earlier where the policy says so',
    }),
  ),
  lastUsedAt: Nullable(Instant),
  lastUsedIp: Nullable(Type.String()),
  lastUsedVia: Nullable(
    Type.String({
      description: 'Through which API; verify, introspect or validate: a service asked about it',
    }),
  ),
  lastUsedAgent: Nullable(Type.String({ description: 'User agent of the client' })),
  useCount: Type.Integer(),
  revokedAt: Nullable(Instant),
  revokedBy: Nullable(Id),
  revokeReason: Nullable(Type.String()),
  supersededAt: Nullable(
    Type.String({
      format: 'date-time',
      description: 'When the old secret stops or stopped; until then the token is active',
    }),
  ),
  supersededBy: Nullable(Id),
  overlapEndsAt: Nullable(
    Type.String({
      format: 'date-time',
      description: "Of a successor: until when its predecessor's secret works, too",
    }),
  ),
  quarantinedAt: Nullable(Instant),
  quarantinedBy: Nullable(Id),
  quarantineReason: Nullable(Type.String()),
})

export const IssuedToken = Type.Object({
  ...Token.properties,
  secret: Type.String({ description: 'Shown this once; keep it.' }),
})

export const User = Type.Object({
  id: Id,
  username: Type.String(),
  displayName: Type.String(),
  email: Nullable(Type.String()),
  kind: UserKind,
  globalRole: GlobalRole,
  active: Type.Boolean(),
  attributes: JsonObject,
  hasPassword: Type.Boolean(),
  lastLoginAt: Nullable(Instant),
  createdAt: Instant,
  updatedAt: Instant,
})

export const UserWithRights = Type.Object({
  ...User.properties,
  roles: Type.Array(Type.String(), { description: 'Given roles; `admin` follows globalRole' }),
  groups: Type.Array(GroupGrant),
})

export const Group = Type.Object({
  id: Id,
  name: Type.String(),
  description: Type.String(),
  parentId: Nullable(Id),
  createdAt: Instant,
  updatedAt: Instant,
})

export const Member = Type.Object({ userId: Id, username: Type.String(), mode: Mode })

export const Role = Type.Object({
  name: Type.String(),
  description: Type.String(),
  scopes: Type.Array(Type.String()),
})
