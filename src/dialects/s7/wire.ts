import { type Static, Type } from 'typebox'

/** The JSON of the S7 clients. Their generated code refuses `null` and members it does not know. */

const closed = { additionalProperties: false }
const Text = Type.String({ maxLength: 2000 })
const DateTime = Type.String({ format: 'date-time' })
/** Read by us (date-time.ts): the clients also send instants without a zone. */
const SentDateTime = Type.String({ maxLength: 64 })
const Mode = Type.Enum(['READ', 'WRITE', 'ADMIN'])
const GlobalRole = Type.Enum(['ADMIN', 'USER'])

/** A membership seen from the user or token. */
export const GroupInfo = Type.Object(
  { groupId: Text, description: Type.Optional(Text), mode: Type.Optional(Mode) },
  closed,
)
export type GroupInfo = Static<typeof GroupInfo>

const groups = Type.Array(GroupInfo, { maxItems: 1000 })

export const UserInfo = Type.Object(
  { userId: Text, globalRole: GlobalRole, groups: Type.Array(GroupInfo) },
  closed,
)
export type UserInfo = Static<typeof UserInfo>

export const UserInfoList = Type.Object({ users: Type.Array(UserInfo) }, closed)

export const UserPost = Type.Object(
  { userId: Text, globalRole: Type.Optional(GlobalRole), groups: Type.Optional(groups) },
  closed,
)

/** The path names the user; the body may repeat it. */
export const UserPut = Type.Object(
  {
    userId: Type.Optional(Text),
    globalRole: Type.Optional(GlobalRole),
    groups: Type.Optional(groups),
  },
  closed,
)

/** A membership seen from the group. */
export const UserInGroup = Type.Object({ userId: Text, mode: Type.Optional(Mode) }, closed)
export type UserInGroup = Static<typeof UserInGroup>

export const GroupFull = Type.Object(
  { groupId: Text, description: Type.Optional(Text), users: Type.Array(UserInGroup) },
  closed,
)
export type GroupFull = Static<typeof GroupFull>

export const GroupList = Type.Object({ groups: Type.Array(GroupFull) }, closed)

export const GroupPost = Type.Object({ groupId: Text, description: Type.Optional(Text) }, closed)

export const GroupPut = Type.Object(
  {
    groupId: Text,
    description: Type.Optional(Text),
    users: Type.Optional(Type.Array(UserInGroup, { maxItems: 1000 })),
  },
  closed,
)

export const TokenResponse = Type.Object(
  { token: Type.String(), expiresAt: Type.Optional(DateTime) },
  closed,
)
export type TokenResponse = Static<typeof TokenResponse>

export const Tokens = Type.Object(
  { refreshToken: TokenResponse, accessToken: TokenResponse },
  closed,
)
export type Tokens = Static<typeof Tokens>

export const RefreshTokenPost = Type.Object(
  {
    tokenName: Text,
    expirationDateTime: Type.Optional(SentDateTime),
    groups: Type.Optional(groups),
  },
  closed,
)
export type RefreshTokenPost = Static<typeof RefreshTokenPost>

export const RefreshTokenInfo = Type.Object(
  {
    tokenId: Type.String(),
    tokenName: Type.Optional(Text),
    expirationDateTime: Type.Optional(DateTime),
    groups: Type.Array(GroupInfo),
  },
  closed,
)
export type RefreshTokenInfo = Static<typeof RefreshTokenInfo>

export const RefreshTokenList = Type.Object(
  { refreshTokenInfo: Type.Array(RefreshTokenInfo) },
  closed,
)

export const PublicKey = Type.Object({ publicKey: Type.String() }, closed)

export const LoginUrl = Type.Object({ url: Type.String() }, closed)

const Credential = Type.String({ minLength: 1, maxLength: 4096 })

export const LoginCredentials = Type.Object(
  { code: Credential, codeVerifier: Credential, nonce: Credential, redirectUri: Credential },
  closed,
)

/** Providers add parameters of their own; those are not looked at. */
export const CallbackQuery = Type.Object({
  state: Type.Optional(Credential),
  code: Type.Optional(Credential),
  scope: Type.Optional(Type.String()),
  iss: Type.Optional(Credential),
  error: Type.Optional(Type.String()),
})
export type CallbackQuery = Static<typeof CallbackQuery>

export const ApiError = Type.Object({ code: Type.Integer(), message: Type.String() }, closed)
export type ApiError = Static<typeof ApiError>

/** Answers that every route may give. */
export const failures = { '4xx': ApiError, '5xx': ApiError }

/** Status and headers only; a handler sends `undefined`, because `null` would be four bytes of JSON. */
export const NoBody = Type.Unsafe<undefined>({ type: 'null' })
