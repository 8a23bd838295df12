import { type Static, Type } from 'typebox'

/**
 * The JSON of XSKY XMS, as its clients know it. Requests are open (the original ignores unknown
 * members), known members are strict; answers hold exactly what is declared here.
 */

const Instant = Type.String({ format: 'date-time' })
const Int64 = Type.Integer()
const Text = Type.String()

const ErrorBody = Type.Object({ code: Text, message: Text, details: Text })

/** What every route may answer besides its success. */
export const failures = { '4xx': ErrorBody, '5xx': ErrorBody }

export const NoContent = Type.Null()

const accessTokenMembers = {
  create: Instant,
  description: Text,
  id: Int64,
  name: Text,
  roles: Type.Array(Text),
  update: Instant,
  used: Type.Boolean(),
  user: Type.Object({ id: Int64, name: Text }),
}

export const AccessToken = Type.Object(accessTokenMembers)
export type AccessToken = Static<typeof AccessToken>
export const AccessTokenResp = Type.Object({ access_token: AccessToken })
export const AccessTokensResp = Type.Object({ access_tokens: Type.Array(AccessToken) })
export const AccessTokenCreateResp = Type.Object({
  access_token: Type.Object({ ...accessTokenMembers, uuid: Text }),
})

export const AccessTokenCreateReq = Type.Object({
  access_token: Type.Object({
    name: Text,
    roles: Type.Array(Text, { minItems: 1, maxItems: 200 }),
    description: Type.Optional(Text),
  }),
})
export const AccessTokenUpdateReq = Type.Object({ access_token: Type.Object({ name: Text }) })

/** Query values are text; map.ts reads them the way Go's parsers do. */
export const ListQuery = Type.Object({
  limit: Type.Optional(Text),
  offset: Type.Optional(Text),
  user_id: Type.Optional(Text),
  role: Type.Optional(Text),
  all: Type.Optional(Text),
})
export type ListQuery = Static<typeof ListQuery>

/** The credential's `token` may stand beside anything, so no query is closed. */
export const NoQuery = Type.Object({})
export const ValidateQuery = Type.Object({ subject_access_token: Type.String({ minLength: 1 }) })
export const AccessTokenId = Type.Object({ id: Text })

const PasswordUser = Type.Object({
  name: Type.Optional(Text),
  email: Type.Optional(Text),
  id: Type.Optional(Int64),
  password: Text,
})
export type PasswordUser = Static<typeof PasswordUser>

const Identity = Type.Object({
  password: Type.Optional(Type.Object({ user: PasswordUser })),
  token: Type.Optional(Type.Object({ uuid: Text })),
})
export type Identity = Static<typeof Identity>
export const TokenCreateReq = Type.Object({ auth: Type.Object({ identity: Identity }) })

const LoginForm = Type.Object({
  name: Type.Optional(Text),
  password: Type.Optional(Text),
  encrypted_password: Type.Optional(Text),
  rsa_key_id: Type.Optional(Text),
})
export type LoginForm = Static<typeof LoginForm>
export const AuthLoginReq = Type.Object({ auth: LoginForm })

const SessionToken = Type.Object({
  create: Instant,
  expires: Instant,
  roles: Type.Array(Text),
  user: Type.Object({
    id: Int64,
    name: Text,
    email: Text,
    external_id: Text,
    enabled: Type.Boolean(),
    create: Instant,
    password_last_update: Instant,
    roles: Type.Array(Text),
  }),
  uuid: Text,
  valid: Type.Boolean(),
})
export type SessionToken = Static<typeof SessionToken>
export const TokenResp = Type.Object({ token: SessionToken })

export const AuthRSAKeyResp = Type.Object({
  rsa_key: Type.Object({ id: Text, public_key: Text, expiration: Instant }),
})

export const AuthSecurityPolicy = Type.Object({
  enabled: Type.Boolean(),
  expiration_time: Int64,
  freeze_duration: Int64,
  max_attempts: Int64,
  password_expiration_warning: Type.Boolean(),
  password_lifetime: Type.Integer({ minimum: 0 }),
})
export type AuthSecurityPolicy = Static<typeof AuthSecurityPolicy>
export const AuthSecurityPolicyResp = Type.Object({ auth_security_policy: AuthSecurityPolicy })
export const AuthSecurityPolicyUpdateReq = Type.Object({
  auth_security_policy: Type.Partial(AuthSecurityPolicy),
})
