import { type Static, Type } from 'typebox'
import { Nullable } from '../../http/nullable.ts'

/** The JSON of Opal Security's token API, as its clients know it. */

const Id = Type.String({ format: 'uuid' })
const Instant = Type.String({ format: 'date-time' })

const ErrorBody = Type.Object({ code: Type.Integer(), message: Type.String() })

/** What every route may answer besides its success. */
export const failures = { '4xx': ErrorBody, '5xx': ErrorBody }

/** Nothing at all: not even `null`, which is what an empty JSON answer would otherwise be. */
export const Empty = Type.Unsafe<undefined>({ type: 'null' })

export const Token = Type.Object({
  token_id: Id,
  created_at: Instant,
  token_label: Type.String(),
  creator_user_id: Id,
  user_id: Id,
  last_used_at: Nullable(Instant),
  access_level: Type.Enum(['READ_ONLY', 'FULL_ACCESS']),
  expires_at: Nullable(Instant),
})
export type Token = Static<typeof Token>

export const PaginatedTokensList = Type.Object({
  next: Nullable(Type.String()),
  previous: Nullable(Type.String()),
  results: Type.Array(Token),
})

const Text = Type.String()

/** Query values are text; map.ts reads them. Closed: a token in the query is refused, not ignored. */
export const ListQuery = Type.Object(
  {
    cursor: Type.Optional(Text),
    page_size: Type.Optional(Text),
    // One parameter with commas, or repeated.
    token_ids: Type.Optional(Type.Union([Text, Type.Array(Text)])),
    user_id: Type.Optional(Text),
  },
  { additionalProperties: false },
)
export type ListQuery = Static<typeof ListQuery>

export const NoQuery = Type.Object({}, { additionalProperties: false })
export const TokenPath = Type.Object({ token_id: Text })
