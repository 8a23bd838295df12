import { Type } from 'typebox'
import { AUDIT_ACTIONS } from '../../core/audit/event.ts'
import type { AuditFilter } from '../../core/audit/store.ts'
import type { UserId } from '../../core/id.ts'
import { callerOf } from '../auth.ts'
import { Nullable } from '../nullable.ts'
import type { ApiParts } from '../parts.ts'
import type { Scope } from '../scope.ts'
import { auditOut, cursorsFor, pageOut, pageWish, parseInstant } from './format.ts'
import { Id, Instant, JsonObject, PageQuery, pageOf, problems } from './schemas.ts'

const Facts = Nullable(JsonObject)
const Text = Nullable(Type.String())
const SubjectType = Type.Enum([
  'token',
  'user',
  'group',
  'role',
  'client',
  'grant',
  'policy',
  'key',
  'job',
  'webhook',
  'server',
])

export const AuditEvent = Type.Object({
  sequence: Type.Integer(),
  at: Instant,
  action: Type.String(),
  subjectType: SubjectType,
  subjectId: Type.String(),
  actorId: Text,
  actorName: Text,
  actorTokenId: Text,
  ip: Text,
  requestId: Text,
  via: Type.String(),
  before: Facts,
  after: Facts,
  hash: Type.String({ description: 'Seals this record and the one before it' }),
})

const Checkpoint = Type.Object({
  sequence: Type.Integer({ description: 'Last record that it covers' }),
  hash: Type.String(),
  atMs: Type.Integer({ description: 'Epoch milliseconds, as signed' }),
  signature: Type.String({ description: 'base64url' }),
})

export const Checkpoints = Type.Object({
  items: Type.Array(Checkpoint),
  publicKeyPem: Type.String({ description: 'SubjectPublicKeyInfo' }),
})

export function auditRoutes(app: Scope, { core }: ApiParts): void {
  const list = core.cursors('audit')

  app.get(
    '/audit',
    {
      schema: {
        tags: ['audit'],
        summary: 'The audit trail, newest first',
        querystring: Type.Object(
          {
            ...PageQuery,
            actorId: Type.Optional(Id),
            action: Type.Optional(Type.Enum([...AUDIT_ACTIONS])),
            subjectType: Type.Optional(SubjectType),
            subjectId: Type.Optional(Type.String({ maxLength: 100 })),
            from: Type.Optional(Instant),
            to: Type.Optional(Instant),
          },
          { additionalProperties: false },
        ),
        response: { 200: pageOf(AuditEvent), ...problems },
      },
    },
    async (request) => {
      const { actorId, action, subjectType, subjectId, from, to } = request.query
      const filter: AuditFilter = {
        ...(actorId === undefined ? {} : { actorId: actorId as UserId }),
        ...(action === undefined ? {} : { action }),
        ...(subjectType === undefined ? {} : { subjectType }),
        ...(subjectId === undefined ? {} : { subjectId }),
        ...(from === undefined ? {} : { fromMs: parseInstant(from) }),
        ...(to === undefined ? {} : { toMs: parseInstant(to) }),
      }
      const page = await core.read.audit(callerOf(request), {
        filter,
        ...pageWish(request.query, cursorsFor(list, request)),
      })
      return pageOut(page, cursorsFor(list, request), auditOut)
    },
  )

  app.get(
    '/audit/checkpoints',
    {
      schema: {
        tags: ['audit'],
        summary: 'Signed statements of how far the trail reached, oldest first',
        description:
          'Keep one elsewhere: `mintmark audit verify --checkpoints FILE` shows later that nothing before it was cut off or replaced. The signature is Ed25519 over the JSON array ["mintmark-audit-checkpoint", sequence, hash, atMs].',
        response: { 200: Checkpoints, ...problems },
      },
    },
    async (request) => {
      const { checkpoints, publicKeyPem } = await core.read.auditCheckpoints(callerOf(request))
      return { items: checkpoints, publicKeyPem }
    },
  )
}
