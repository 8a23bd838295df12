import { Readable } from 'node:stream'
import { type Static, Type } from 'typebox'
import type { Caller } from '../../core/caller.ts'
import type { Core } from '../../core/core.ts'
import { CoreError } from '../../core/errors.ts'
import { type ClientId, type GroupId, isId, type UserId } from '../../core/id.ts'
import type { Position } from '../../core/page.ts'
import type { CompiledQuery, InventoryWish } from '../../core/tokens/inventory.ts'
import { FIGURES_BY, type Figure, type FiguresBy } from '../../core/tokens/inventory-store.ts'
import { MAX_QUERY_LENGTH } from '../../core/tokens/query.ts'
import { callerOf } from '../auth.ts'
import { Nullable } from '../nullable.ts'
import type { ApiParts } from '../parts.ts'
import type { Scope } from '../scope.ts'
import { csvLine } from './csv.ts'
import { namesFor, tokenOut } from './format.ts'
import { Id, problems, TokenKind, TokenState } from './schemas.ts'

const tags = ['tokens']

/** Which tokens; all of these narrow. */
export const InventoryQuery = {
  q: Type.Optional(
    Type.String({
      maxLength: MAX_QUERY_LENGTH,
      description:
        'Such as `owner:alice state:active (used:>90d or used:never) sort:expires`; see docs/guide/inventory.md',
    }),
  ),
  ownerId: Type.Optional(Id),
  creatorId: Type.Optional(Id),
  kind: Type.Optional(TokenKind),
  state: Type.Optional(TokenState),
  group: Type.Optional(
    Type.String({ maxLength: 150, description: 'Name or id of a group in its limits' }),
  ),
  clientId: Type.Optional(Id),
  text: Type.Optional(Type.String({ maxLength: 200 })),
}

const Wish = Type.Object(InventoryQuery, { additionalProperties: false })

/** What the parameters ask for. Throws `not_found` for a group that the caller cannot see. */
export async function inventoryWish(
  core: Core,
  caller: Caller,
  { q, ownerId, creatorId, kind, state, group, clientId, text }: Static<typeof Wish>,
): Promise<InventoryWish> {
  const groupId = group === undefined ? undefined : await groupIdOf(core, caller, group)
  return {
    query: q,
    filter: {
      ...(ownerId === undefined ? {} : { ownerId: ownerId as UserId }),
      ...(creatorId === undefined ? {} : { creatorId: creatorId as UserId }),
      ...(kind === undefined ? {} : { kinds: [kind] }),
      ...(state === undefined ? {} : { states: [state] }),
      ...(groupId === undefined ? {} : { groupId }),
      ...(clientId === undefined ? {} : { clientId: clientId as ClientId }),
      ...(text === undefined ? {} : { text }),
    },
  }
}

async function groupIdOf(core: Core, caller: Caller, group: string): Promise<GroupId> {
  return isId(group) ? (group as GroupId) : (await core.read.groupByName(caller, group)).id
}

export const TokenCount = Type.Object({ count: Type.Integer() })

export const TokenStats = Type.Object({
  by: Type.Enum([...FIGURES_BY]),
  total: Type.Integer({ description: 'Tokens in all; one may count for several values' }),
  figures: Type.Array(
    Type.Object({
      value: Nullable(
        Type.String({
          description:
            'As a query says it. Null: no client, no end; for roles, scopes and groups: not limited',
        }),
      ),
      id: Nullable(Type.String({ description: 'Of the owner, group or client' })),
      count: Type.Integer(),
    }),
    { description: 'The most frequent first; months in their order' },
  ),
  others: Type.Integer({ description: 'Values that are left out because there are too many' }),
})

const MAX_FIGURES = 1000
/** Tokens in memory at a time. */
const EXPORT_BATCH = 500

export function inventoryRoutes(app: Scope, { core }: ApiParts): void {
  app.get(
    '/tokens/count',
    {
      schema: {
        tags,
        summary: 'How many tokens a query means',
        querystring: Wish,
        response: { 200: TokenCount, ...problems },
      },
    },
    async (request) => {
      const caller = callerOf(request)
      const wish = await inventoryWish(core, caller, request.query)
      return { count: await core.read.inventoryCount(caller, wish) }
    },
  )

  app.get(
    '/tokens/stats',
    {
      schema: {
        tags,
        summary: 'How many of the tokens that a query means have each value',
        querystring: Type.Object(
          { ...InventoryQuery, by: Type.Enum([...FIGURES_BY]) },
          { additionalProperties: false },
        ),
        response: { 200: TokenStats, ...problems },
      },
    },
    async (request) => {
      const caller = callerOf(request)
      const { by, ...query } = request.query
      const wish = await inventoryWish(core, caller, query)
      const { total, figures } = await core.read.inventoryFigures(caller, { ...wish, by })
      const shown = figures.slice(0, MAX_FIGURES)
      return {
        by,
        total,
        figures: await figuresOut(core, by, shown),
        others: figures.length - shown.length,
      }
    },
  )

  app.get(
    '/tokens/export',
    {
      // A HEAD request would read all of it for nothing.
      exposeHeadRoute: false,
      schema: {
        tags,
        summary: 'All tokens that a query means, as a file',
        description:
          'Streamed in the order of the query. In CSV, lists are separated by spaces and `*` stands for "all that the owner has"; a cell that a spreadsheet would calculate begins with a quote. Leaves a record in the audit trail.',
        querystring: Type.Object(
          { ...InventoryQuery, format: Type.Optional(Type.Enum(['csv', 'jsonl'])) },
          { additionalProperties: false },
        ),
        response: {
          200: {
            description: 'The file',
            content: {
              'text/csv': { schema: Type.String() },
              'application/jsonl': { schema: Type.String() },
            },
          },
          ...problems,
        },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      const { format = 'csv', ...query } = request.query
      const wish = await inventoryWish(core, caller, query)
      const compiled = await core.beginExport(caller, { ...wish, format })
      reply
        .type(format === 'csv' ? 'text/csv; charset=utf-8; header=present' : 'application/jsonl')
        .header('content-disposition', `attachment; filename="tokens.${format}"`)
      const file = Readable.from(exported(core, { caller, compiled, format }), {
        highWaterMark: 1,
      })
      // What is sent is text, for the document; Fastify takes it from a stream.
      return reply.send(file as unknown as string)
    },
  )
}

async function figuresOut(core: Core, by: FiguresBy, figures: readonly Figure[]) {
  const ids = figures.flatMap(({ value }) => (value === undefined ? [] : [value]))
  const names = await namesBy(core, by, ids)
  return figures.map(({ value, count }) => ({
    value: (value === undefined ? undefined : (names?.get(value) ?? value)) ?? null,
    id: names === undefined ? null : (value ?? null),
    count,
  }))
}

/** What the values are called, where they are ids; undefined: they are what they are. */
async function namesBy(
  core: Core,
  by: FiguresBy,
  ids: string[],
): Promise<ReadonlyMap<string, string> | undefined> {
  if (by === 'owner') return core.usernames(ids as UserId[])
  if (by === 'group') return core.groupNames()
  if (by !== 'client') return undefined
  const labels = await core.clientLabels(ids as ClientId[])
  return new Map([...labels].map(([id, { clientId }]) => [id, clientId]))
}

type Row = ReturnType<typeof tokenOut>

/** Columns of the CSV file, in order. */
const COLUMNS: [title: string, cellOf: (row: Row) => string | null][] = [
  ['id', (row) => row.id],
  ['kind', (row) => row.kind],
  ['state', (row) => row.state],
  ['name', (row) => row.name],
  ['description', (row) => row.description],
  ['owner', (row) => row.owner.username],
  ['ownerId', (row) => row.owner.id],
  ['creator', (row) => row.creator.username],
  ['creatorId', (row) => row.creator.id],
  ['via', (row) => row.via],
  ['preview', (row) => row.preview],
  ['accessLevel', (row) => row.accessLevel],
  ['roles', (row) => listCell(row.roles)],
  ['groups', (row) => listCell(row.groups?.map(({ id, name, mode }) => `${name ?? id}:${mode}`))],
  ['scopes', (row) => listCell(row.scopes)],
  ['allowedIps', (row) => listCell(row.allowedIps)],
  ['client', (row) => row.client?.clientId ?? row.client?.id ?? null],
  ['audience', (row) => row.audience],
  ['familyId', (row) => row.familyId],
  ['parentId', (row) => row.parentId],
  ['createdAt', (row) => row.createdAt],
  ['updatedAt', (row) => row.updatedAt],
  ['expiresAt', (row) => row.expiresAt],
  ['effectiveExpiresAt', (row) => row.effectiveExpiresAt],
  ['lastUsedAt', (row) => row.lastUsedAt],
  ['lastUsedIp', (row) => row.lastUsedIp],
  ['lastUsedVia', (row) => row.lastUsedVia],
  ['lastUsedAgent', (row) => row.lastUsedAgent],
  ['useCount', (row) => String(row.useCount)],
  ['revokedAt', (row) => row.revokedAt],
  ['revokedBy', (row) => row.revokedBy],
  ['revokeReason', (row) => row.revokeReason],
  ['supersededAt', (row) => row.supersededAt],
  ['supersededBy', (row) => row.supersededBy],
  ['overlapEndsAt', (row) => row.overlapEndsAt],
  ['quarantinedAt', (row) => row.quarantinedAt],
  ['quarantinedBy', (row) => row.quarantinedBy],
  ['quarantineReason', (row) => row.quarantineReason],
  ['metadata', (row) => JSON.stringify(row.metadata)],
]

/** Not limited is a star, nothing at all is empty. */
function listCell(values: readonly string[] | null | undefined): string {
  return values?.join(' ') ?? '*'
}

interface Export {
  caller: Caller
  compiled: CompiledQuery
  format: 'csv' | 'jsonl'
}

/** The file in pieces of one batch each; the next is read when the last has been taken. */
async function* exported(core: Core, { caller, compiled, format }: Export): AsyncGenerator<string> {
  if (format === 'csv') yield csvLine(COLUMNS.map(([title]) => title))
  const lineOf = (row: Row) =>
    format === 'csv'
      ? csvLine(COLUMNS.map(([, cellOf]) => cellOf(row) ?? ''))
      : `${JSON.stringify(row)}\n`
  let from: Position | undefined
  do {
    await mustStillBeAllowed(core, caller)
    const page = await core.read.exportPage(compiled, { from, size: EXPORT_BATCH })
    const names = await namesFor(core, page.items)
    const text = page.items.map((token) => lineOf(tokenOut(token, names))).join('')
    if (text !== '') yield text
    from = page.next
  } while (from !== undefined)
}

/**
 * A large export takes minutes: it ends, cut off so that nobody takes it for whole, when its token has
 * ended or its caller is no administrator any more.
 */
async function mustStillBeAllowed(core: Core, caller: Caller): Promise<void> {
  const now = await core.stillHolds(caller)
  if (now?.rights.admin === caller.principal.rights.admin) return
  throw new CoreError('unauthenticated', 'The credential is no longer valid.')
}
