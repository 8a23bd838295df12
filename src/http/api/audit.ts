import { Type } from 'typebox'
import { AUDIT_ACTIONS } from '../../core/audit/event.ts'
import type { AuditFilter } from '../../core/audit/store.ts'
import type { UserId } from '../../core/id.ts'
import { callerOf } from '../auth.ts'
import type { ApiParts } from '../parts.ts'
import { auditOut, pageOut, pageWish, parseInstant } from './format.ts'
import { Id, Instant, JsonObject, Nullable, PageQuery, pageOf, problems } from './schemas.ts'
import type { Scope } from './scope.ts'

const Facts = Nullable(JsonObject)
const Text = Nullable(Type.String())
const SubjectType = Type.Enum(['token', 'user', 'group', 'role', 'policy', 'key', 'server'])

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

export function auditRoutes(app: Scope, { core }: ApiParts): void {
  const cursors = core.cursors('audit')

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
        ...pageWish(request.query, cursors),
      })
      return pageOut(page, cursors, auditOut)
    },
  )
}
