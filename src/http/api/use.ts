import { type Static, Type } from 'typebox'
import type { Core } from '../../core/core.ts'
import type { GroupId, TokenId, UserId } from '../../core/id.ts'
import { USE_STEPS } from '../../core/tokens/use.ts'
import type { UseSeries as Series, UseFigure, UseSpan } from '../../core/tokens/use-read.ts'
import { USE_BY, type UseBy } from '../../core/tokens/use-store.ts'
import { callerOf } from '../auth.ts'
import { Nullable } from '../nullable.ts'
import type { ApiParts } from '../parts.ts'
import type { Scope } from '../scope.ts'
import { instant, parseInstant } from './format.ts'
import { InventoryQuery, inventoryWish } from './inventory.ts'
import { Id, Instant, problems } from './schemas.ts'

const tags = ['tokens']

const SpanQuery = {
  from: Type.Optional(
    Type.String({
      format: 'date-time',
      description:
        'Taken back to the start of its step; without it an hour, a day or thirty days, by the step',
    }),
  ),
  to: Type.Optional(Type.String({ format: 'date-time', description: 'Without it: now' })),
  step: Type.Optional(Type.Enum([...USE_STEPS], { description: 'Default: hour' })),
}
const Span = Type.Object(SpanQuery, { additionalProperties: false })

const seriesMembers = {
  from: Instant,
  to: Instant,
  step: Type.Enum([...USE_STEPS]),
  uses: Type.Integer(),
  refused: Type.Integer(),
  refusals: Type.Array(Type.Object({ reason: Type.String(), count: Type.Integer() }), {
    description: 'The most frequent first',
  }),
  points: Type.Array(Type.Object({ at: Instant, uses: Type.Integer(), refused: Type.Integer() }), {
    description: 'One for each step',
  }),
}

export const UseSeries = Type.Object(seriesMembers)

export const UseFigures = Type.Object({
  by: Type.Enum([...USE_BY]),
  figures: Type.Array(
    Type.Object({
      value: Type.String({ description: 'Id of a token, name of an owner or group, or kind' }),
      id: Nullable(Type.String({ description: 'Of the token, owner or group' })),
      uses: Type.Integer(),
      refused: Type.Integer(),
    }),
    { description: 'The most used first' },
  ),
  others: Type.Integer({ description: 'Values that are left out because there are too many' }),
  ...seriesMembers,
})

const MAX_FIGURES = 1000

function spanOf({ from, to, step = 'hour' }: Static<typeof Span>): UseSpan {
  return {
    fromMs: from === undefined ? undefined : parseInstant(from),
    toMs: to === undefined ? undefined : parseInstant(to),
    step,
  }
}

function seriesOut({ fromMs, toMs, points, ...rest }: Series) {
  return {
    ...rest,
    from: instant(fromMs),
    to: instant(toMs),
    points: points.map(({ atMs, ...counts }) => ({ at: instant(atMs), ...counts })),
  }
}

export function useRoutes(app: Scope, { core }: ApiParts): void {
  app.get(
    '/tokens/:id/use',
    {
      schema: {
        tags,
        summary: 'How often a token was used and refused, over time',
        description:
          'As of the last ten seconds. What lies back further than the policy keeps minutes or hours counts where its hour or day starts.',
        params: Type.Object({ id: Id }),
        querystring: Span,
        response: { 200: UseSeries, ...problems },
      },
    },
    async (request) => {
      const id = request.params.id as TokenId
      return seriesOut(await core.read.use(callerOf(request), { id, span: spanOf(request.query) }))
    },
  )

  app.get(
    '/use',
    {
      schema: {
        tags,
        summary: 'The same of all tokens that a query means, by token, owner, group or kind',
        description:
          'By group, a token that is limited to several counts for each; one that is not limited counts in the sums alone.',
        querystring: Type.Object(
          { ...InventoryQuery, ...SpanQuery, by: Type.Enum([...USE_BY]) },
          { additionalProperties: false },
        ),
        response: { 200: UseFigures, ...problems },
      },
    },
    async (request) => {
      const caller = callerOf(request)
      const { by, from, to, step, ...query } = request.query
      const wish = await inventoryWish(core, caller, query)
      const span = spanOf({
        ...(from === undefined ? {} : { from }),
        ...(to === undefined ? {} : { to }),
        ...(step === undefined ? {} : { step }),
      })
      const { series, figures } = await core.read.useFigures(caller, { ...wish, by, span })
      const shown = figures.slice(0, MAX_FIGURES)
      return {
        by,
        figures: await figuresOut(core, by, shown),
        others: figures.length - shown.length,
        ...seriesOut(series),
      }
    },
  )
}

async function figuresOut(core: Core, by: UseBy, figures: readonly UseFigure[]) {
  const names = await namesBy(
    core,
    by,
    figures.map(({ value }) => value),
  )
  return figures.map(({ value, uses, refused }) => ({
    value: names.get(value) ?? value,
    id: by === 'kind' ? null : value,
    uses,
    refused,
  }))
}

async function namesBy(core: Core, by: UseBy, ids: string[]): Promise<ReadonlyMap<string, string>> {
  if (by === 'owner') return core.usernames(ids as UserId[])
  if (by === 'group') return (await core.groupNames()) as ReadonlyMap<GroupId, string>
  return new Map()
}
