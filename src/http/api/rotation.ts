import { Type } from 'typebox'
import type { Core } from '../../core/core.ts'
import type { TokenId } from '../../core/id.ts'
import { MAX_OVERLAP_SECONDS } from '../../core/tokens/overlap.ts'
import { type CallerUse, OTHERS } from '../../core/tokens/use.ts'
import { callerOf } from '../auth.ts'
import { Nullable } from '../nullable.ts'
import type { ApiParts } from '../parts.ts'
import type { Scope } from '../scope.ts'
import { instant, namesFor, tokenOut } from './format.ts'
import { Id, Instant, problems, Token } from './schemas.ts'

const tags = ['tokens']
const params = Type.Object({ id: Id })

/** How long the old secret of a rotated token goes on, from now. */
export const OverlapSeconds = Type.Integer({
  minimum: 0,
  maximum: MAX_OVERLAP_SECONDS,
  description: 'How long the old secret goes on, from now; no longer than the old token would live',
})

const counted = { uses: Type.Integer(), firstUsedAt: Instant, lastUsedAt: Instant }

const Callers = Type.Object(
  {
    items: Type.Array(
      Type.Object({
        ip: Nullable(Type.String({ description: 'Null: the service that asked did not tell' })),
        userAgent: Nullable(Type.String({ description: 'The same' })),
        via: Type.String({
          description: 'An API, or verify, introspect or validate: a service asked about it',
        }),
        ...counted,
      }),
    ),
    others: Nullable(Type.Object(counted, { description: 'All that are too many to be listed' })),
  },
  { description: 'Since the rotation, the latest first' },
)

export const Rotation = Type.Object({
  old: Token,
  successor: Token,
  endsAt: Type.String({ format: 'date-time', description: 'When the old secret stops or stopped' }),
  oldCallers: Callers,
  newCallers: Callers,
  silentForSeconds: Type.Integer({ description: 'Since anybody used the old secret' }),
  safeToFinish: Type.Boolean(),
  reason: Type.String({ description: 'Why it is safe to finish, or what speaks against it' }),
})

function callersOut(callers: readonly CallerUse[]) {
  const countedOut = ({ uses, firstUsedAtMs, lastUsedAtMs }: CallerUse) => ({
    uses,
    firstUsedAt: instant(firstUsedAtMs),
    lastUsedAt: instant(lastUsedAtMs),
  })
  const others = callers.find(({ via }) => via === OTHERS.via)
  return {
    items: callers
      .filter((caller) => caller !== others)
      .map((caller) => ({
        ip: caller.ip === '' ? null : caller.ip,
        userAgent: caller.agent === '' ? null : caller.agent,
        via: caller.via,
        ...countedOut(caller),
      })),
    others: others === undefined ? null : countedOut(others),
  }
}

export function rotationRoutes(app: Scope, { core }: ApiParts): void {
  app.get(
    '/tokens/:id/rotation',
    {
      schema: {
        tags,
        summary: 'Who still uses the old secret of a rotated token, and whether it can go',
        description: 'The id is that of the old token or of its successor.',
        params,
        response: { 200: Rotation, ...problems },
      },
    },
    async (request) => rotationOut(core, request),
  )

  app.post(
    '/tokens/:id/rotation::finish',
    {
      config: { weight: 'vital' },
      schema: {
        tags,
        summary: 'End an overlap now; the old secret is dead when this answers',
        params,
        response: { 200: Rotation, ...problems },
      },
    },
    async (request) => {
      const caller = callerOf(request)
      const id = request.params.id as TokenId
      await core.write((w) => w.finishRotation({ caller, id }))
      return rotationOut(core, request)
    },
  )

  app.post(
    '/tokens/:id/rotation::extend',
    {
      schema: {
        tags,
        summary: 'Let an overlap last so many seconds from now',
        params,
        body: Type.Object({ overlapSeconds: OverlapSeconds }, { additionalProperties: false }),
        response: { 200: Rotation, ...problems },
      },
    },
    async (request) => {
      const caller = callerOf(request)
      const id = request.params.id as TokenId
      const { overlapSeconds } = request.body
      await core.write((w) => w.extendRotation({ caller, id, overlapSeconds }))
      return rotationOut(core, request)
    },
  )
}

async function rotationOut(
  core: Core,
  request: Parameters<typeof callerOf>[0] & { params: { id: string } },
) {
  const rotation = await core.read.rotation(callerOf(request), request.params.id as TokenId)
  const { old, successor, safeToFinish, reason, silentForSeconds } = rotation
  const names = await namesFor(core, [old, successor])
  return {
    old: tokenOut(old, names),
    successor: tokenOut(successor, names),
    endsAt: instant(rotation.endsAtMs),
    oldCallers: callersOut(rotation.oldCallers),
    newCallers: callersOut(rotation.newCallers),
    silentForSeconds,
    safeToFinish,
    reason,
  }
}
