import { Type } from 'typebox'
import { mustBeAllowed } from '../../core/access.ts'
import type { RowWish } from '../../core/imports/import.ts'
import { MAX_ROWS } from '../../core/imports/import.ts'
import { callerOf } from '../auth.ts'
import { Nullable } from '../nullable.ts'
import type { ApiParts } from '../parts.ts'
import type { Scope } from '../scope.ts'
import { parseInstant } from './format.ts'
import { AccessLevel, Id, Instant, JsonObject, Mode, problems } from './schemas.ts'

const tags = ['imports']
const BODY_LIMIT_BYTES = 10_485_760

const Row = Type.Object(
  {
    row: Type.Integer({ minimum: 1, description: 'Its place in the file' }),
    externalId: Type.Optional(Type.String({ description: 'Its id in the other system' })),
    secret: Type.Optional(Type.String({ description: 'The secret itself' })),
    hash: Type.Optional(Type.String({ description: 'Or what the other system kept of it' })),
    algorithm: Type.Optional(Type.Enum(['sha256-hex', 'sha256-base64', 'bcrypt', 'argon2'])),
    lookup: Type.Optional(
      Type.String({ description: 'First characters of the secret; needed for bcrypt and argon2' }),
    ),
    name: Type.String(),
    description: Type.Optional(Type.String()),
    owner: Type.String({ description: 'Username' }),
    kind: Type.Optional(Type.Enum(['api', 'service'])),
    accessLevel: Type.Optional(AccessLevel),
    roles: Type.Optional(Nullable(Type.Array(Type.String(), { maxItems: 200 }))),
    groups: Type.Optional(
      Nullable(
        Type.Array(
          Type.Object({ group: Type.String(), mode: Mode }, { additionalProperties: false }),
          { maxItems: 200 },
        ),
      ),
    ),
    scopes: Type.Optional(Nullable(Type.Array(Type.String(), { maxItems: 1000 }))),
    allowedIps: Type.Optional(Nullable(Type.Array(Type.String(), { maxItems: 100 }))),
    createdAt: Type.Optional(Instant),
    expiresAt: Type.Optional(Nullable(Instant)),
    metadata: Type.Optional(JsonObject),
  },
  { additionalProperties: false },
)

const NewImport = Type.Object(
  {
    importId: Type.String({ description: 'The same one again goes on where it was' }),
    dryRun: Type.Optional(Type.Boolean({ description: 'Only says what would be done' })),
    createOwners: Type.Optional(Type.Enum(['service', 'person'])),
    createGroups: Type.Optional(Type.Boolean()),
    rows: Type.Array(Row, { maxItems: MAX_ROWS }),
  },
  { additionalProperties: false },
)

const RowVerdict = Type.Object({
  row: Type.Integer(),
  outcome: Type.Enum(['created', 'exists', 'refused']),
  tokenId: Nullable(Id),
  code: Nullable(Type.String()),
  message: Nullable(Type.String()),
})

export function importRoutes(app: Scope, { core }: ApiParts): void {
  app.post(
    '/imports',
    {
      config: { weight: 'heavy' },
      bodyLimit: BODY_LIMIT_BYTES,
      // Before so much is read: others could keep the server busy with bodies.
      onRequest: async (request) => {
        const policy = core.policy()
        mustBeAllowed(callerOf(request).principal, 'token.import', { what: undefined, policy })
      },
      schema: {
        tags,
        summary: `Take over up to ${MAX_ROWS} tokens of another system; repeating it changes nothing`,
        body: NewImport,
        response: {
          200: Type.Object({ importId: Type.String(), rows: Type.Array(RowVerdict) }),
          ...problems,
        },
      },
    },
    async (request) => {
      const { importId, dryRun = false, createOwners, createGroups = false } = request.body
      const rows = request.body.rows.map(({ createdAt, expiresAt, ...row }): RowWish => {
        return {
          ...row,
          ...(createdAt === undefined ? {} : { createdAtMs: parseInstant(createdAt) }),
          ...(expiresAt === undefined
            ? {}
            : { expiresAtMs: expiresAt === null ? null : parseInstant(expiresAt) }),
        }
      })
      const verdicts = await core.importTokens({
        caller: callerOf(request),
        wish: { importId, dryRun, createOwners, createGroups, rows },
      })
      return {
        importId,
        rows: verdicts.map((verdict) => ({
          ...verdict,
          tokenId: verdict.tokenId ?? null,
          code: verdict.code ?? null,
          message: verdict.message ?? null,
        })),
      }
    },
  )

  app.get(
    '/imports/:importId',
    {
      schema: {
        tags,
        summary: 'How many tokens an import has made',
        params: Type.Object({ importId: Type.String({ maxLength: 100 }) }),
        response: {
          200: Type.Object({ importId: Type.String(), tokens: Type.Integer() }),
          ...problems,
        },
      },
    },
    async (request) => core.read.import(callerOf(request), request.params.importId),
  )
}
