import { type Static, type TSchema, Type } from 'typebox'
import { Nullable } from '../../http/nullable.ts'

/** The JSON of authentik 2024.8.1 about OAuth2 grants, as its clients know it. */

const Text = Type.String()
const Uuid = Type.String({ format: 'uuid' })
const Instant = Type.String({ format: 'date-time' })
/** Not `Type.Record`, whose pattern `^.*$` loses keys with a line break. */
const JsonObject = Type.Unsafe<Record<string, unknown>>({
  type: 'object',
  additionalProperties: true,
})

const GenericError = Type.Object({ detail: Text })

/** What every route may answer besides its success. */
export const failures = { '4xx': GenericError, '5xx': GenericError }

/** Parameters that name a row which there is not. */
export const ValidationError = Type.Object({
  user: Type.Optional(Type.Array(Text)),
  provider: Type.Optional(Type.Array(Text)),
})
export type ValidationError = Static<typeof ValidationError>

export const NoContent = Type.Null()

export const OAuth2Provider = Type.Object({
  pk: Type.Integer(),
  name: Text,
  authentication_flow: Nullable(Uuid),
  authorization_flow: Uuid,
  property_mappings: Type.Array(Uuid),
  component: Text,
  assigned_application_slug: Text,
  assigned_application_name: Text,
  assigned_backchannel_application_slug: Text,
  assigned_backchannel_application_name: Text,
  verbose_name: Text,
  verbose_name_plural: Text,
  meta_model_name: Text,
  client_type: Type.Enum(['confidential', 'public']),
  client_id: Text,
  client_secret: Text,
  access_code_validity: Text,
  access_token_validity: Text,
  refresh_token_validity: Text,
  include_claims_in_id_token: Type.Boolean(),
  signing_key: Nullable(Uuid),
  redirect_uris: Text,
  sub_mode: Type.Enum([
    'hashed_user_id',
    'user_id',
    'user_uuid',
    'user_username',
    'user_email',
    'user_upn',
  ]),
  issuer_mode: Type.Enum(['global', 'per_provider']),
  jwks_sources: Type.Array(Uuid),
})
export type OAuth2Provider = Static<typeof OAuth2Provider>

export const UserGroup = Type.Object({
  pk: Uuid,
  num_pk: Type.Integer(),
  name: Text,
  is_superuser: Type.Boolean(),
  parent: Nullable(Uuid),
  parent_name: Nullable(Text),
  attributes: JsonObject,
})
export type UserGroup = Static<typeof UserGroup>

export const User = Type.Object({
  pk: Type.Integer(),
  username: Text,
  name: Text,
  is_active: Type.Boolean(),
  last_login: Nullable(Instant),
  is_superuser: Type.Boolean(),
  groups: Type.Array(Uuid),
  groups_obj: Type.Array(UserGroup),
  email: Type.Optional(Text),
  avatar: Text,
  attributes: JsonObject,
  uid: Text,
  path: Text,
  type: Type.Enum(['internal', 'external', 'service_account', 'internal_service_account']),
  uuid: Uuid,
})
export type User = Static<typeof User>

const grantMembers = {
  pk: Type.Integer(),
  provider: OAuth2Provider,
  user: User,
  is_expired: Type.Boolean(),
  expires: Nullable(Instant),
  scope: Type.Array(Text),
}

export const ExpiringBaseGrantModel = Type.Object(grantMembers)
export type ExpiringBaseGrantModel = Static<typeof ExpiringBaseGrantModel>
/** `id_token` is JSON in a text, not a JWT and not an object. */
export const TokenModel = Type.Object({ ...grantMembers, id_token: Text, revoked: Type.Boolean() })
export type TokenModel = Static<typeof TokenModel>

/** Page numbers; 0 where there is no such page. */
export const Pagination = Type.Object({
  next: Type.Integer(),
  previous: Type.Integer(),
  count: Type.Integer(),
  current: Type.Integer(),
  total_pages: Type.Integer(),
  start_index: Type.Integer(),
  end_index: Type.Integer(),
})
export type Pagination = Static<typeof Pagination>

export const paginated = <T extends TSchema>(item: T) =>
  Type.Object({ pagination: Pagination, results: Type.Array(item) })

export const UsedByList = Type.Array(
  Type.Object({
    app: Text,
    model_name: Text,
    pk: Text,
    name: Text,
    action: Type.Enum(['cascade', 'cascade_many', 'set_null', 'set_default']),
  }),
)

/** Given once, or repeated: then the last counts, as in Django. */
const Parameter = Type.Optional(Type.Union([Text, Type.Array(Text)]))

/** Open: what is not known is ignored. `search` is known, and ignored like in the original. */
export const ListQuery = Type.Object({
  ordering: Parameter,
  page: Parameter,
  page_size: Parameter,
  provider: Parameter,
  search: Parameter,
  user: Parameter,
})
export type ListQuery = Static<typeof ListQuery>

export const NoQuery = Type.Object({})
export const IdPath = Type.Object({ id: Text })
