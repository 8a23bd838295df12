import type { GroupGrant } from './people-types.ts'
import type { AccessLevel, Mode, PageQuery, TokenKind, TokenState } from './types.ts'

/** A user that a token names; `username` is null once the user is deleted. */
export interface Person {
  id: string
  username: string | null
}

export interface Token {
  id: string
  kind: TokenKind
  state: TokenState
  name: string | null
  description: string
  owner: Person
  creator: Person
  /** The API through which it was made. */
  via: string
  /** Enough of the secret to recognise it. */
  preview: string
  accessLevel: AccessLevel
  /** Null here and below: all that the owner has, now and later. */
  roles: string[] | null
  groups: { id: string; name: string | null; mode: Mode }[] | null
  scopes: string[] | null
  /** Null: from anywhere. */
  allowedIps: string[] | null
  metadata: Record<string, unknown>
  /** The OAuth client that was given it. */
  client: { id: string; clientId: string | null; name: string | null } | null
  /** The one resource that it is for; null: Mintmark itself. */
  audience: string | null
  /** Shared by a token and all its successors. */
  familyId: string
  /** The token that this one stands for, if any. */
  parentId: string | null
  createdAt: string
  updatedAt: string
  /** Null: never. */
  expiresAt: string | null
  /** The same, or earlier where the policy says so. */
  effectiveExpiresAt: string | null
  lastUsedAt: string | null
  lastUsedIp: string | null
  /** Through which API; `verify`, `introspect` or `validate`: a service asked about it. */
  lastUsedVia: string | null
  /** User agent of the client. */
  lastUsedAgent: string | null
  useCount: number
  revokedAt: string | null
  revokedBy: string | null
  revokeReason: string | null
  /** When the old secret stops or stopped; until then the token is active. */
  supersededAt: string | null
  supersededBy: string | null
  /** Of a successor: until when its predecessor's secret works, too. */
  overlapEndsAt: string | null
  /** Refused until it is released. */
  quarantinedAt: string | null
  quarantinedBy: string | null
  quarantineReason: string | null
}

/** A token with its secret, which is shown this once. */
export interface IssuedToken extends Token {
  secret: string
}

/**
 * What is left out is narrow: READ_ONLY, no roles, no groups, no scopes. Null for roles, groups or
 * scopes means all that the owner has, now and later; for `expiresAt` never, if the policy allows.
 */
export interface NewToken {
  /** Absent: the caller. */
  ownerId?: string
  /** Absent: `api`. */
  kind?: 'api' | 'service'
  name: string
  description?: string
  accessLevel?: AccessLevel
  roles?: string[] | null
  /** Each group by name or id. */
  groups?: { group: string; mode: Mode }[] | null
  scopes?: string[] | null
  /** Addresses or CIDR ranges. */
  allowedIps?: string[] | null
  /** Absent: as the policy says. */
  expiresAt?: string | null
  metadata?: Record<string, unknown>
}

/** What is left out, or null, is what the parent has. */
export interface NewChild {
  /** Absent: made from the parent's. */
  name?: string
  description?: string
  accessLevel?: AccessLevel
  roles?: string[] | null
  /** Each group by name or id. */
  groups?: { group: string; mode: Mode }[] | null
  scopes?: string[] | null
  /** Addresses or CIDR ranges. */
  allowedIps?: string[] | null
  expiresAt?: string
  metadata?: Record<string, unknown>
}

/** A token between those it comes from and those that come from it. */
export interface TokenTree {
  /** Where it all begins, first. */
  ancestors: Token[]
  token: Token
  /** Parents before their children. */
  descendants: Token[]
  /** Whether there are more descendants than these. */
  more: boolean
}

/** What is left out, or null, is what the token has. */
export interface NewSignedToken {
  /** The one service that it is for; nobody else takes it. */
  audience: string
  /** 1 to 900; absent: 300. */
  ttlSeconds?: number
  accessLevel?: AccessLevel
  roles?: string[] | null
  groups?: { group: string; mode: Mode }[] | null
  scopes?: string[] | null
  allowedIps?: string[] | null
}

/** A JWT for `offlineVerifier`. */
export interface SignedToken {
  jwt: string
  /** Its `jti`. */
  id: string
  audience: string
  expiresAt: string
}

/** Rights are fixed at creation. */
export interface TokenEdit {
  name?: string
  description?: string
  metadata?: Record<string, unknown>
}

/** Which tokens; all of these narrow. */
export interface TokenFilter {
  /** In the query language, such as `owner:alice state:active used:>90d sort:expires`. */
  q?: string
  ownerId?: string
  creatorId?: string
  kind?: TokenKind
  state?: TokenState
  /** Id of an OAuth client. */
  clientId?: string
  /** Name or id of a group in its limits. */
  group?: string
  text?: string
}

export interface TokenQuery extends TokenFilter, PageQuery {}

export interface TokenCount {
  count: number
}

export type TokenStatsBy =
  | 'kind'
  | 'state'
  | 'owner'
  | 'group'
  | 'client'
  | 'role'
  | 'scope'
  | 'via'
  | 'month'
  | 'expires'

export interface TokenStats {
  by: TokenStatsBy
  /** Tokens in all; one may count for several values. */
  total: number
  /** The most frequent first; months in their order. */
  figures: {
    /** As a query says it. Null: no client, no end; for roles, scopes and groups: not limited. */
    value: string | null
    /** Of the owner, group or client. */
    id: string | null
    count: number
  }[]
  /** Values that are left out because there are too many. */
  others: number
}

/** What a quarantine, or its end, reached: the token and what was derived from it. */
export interface Quarantine {
  tokens: string[]
}

export interface Revocation {
  /** The token, its family and what was derived from it. */
  revoked: string[]
  /** Nodes that say yes no more. */
  acknowledged: number
  /** Nodes that may answer; with fewer acknowledged, the others follow or stop answering by themselves. */
  nodes: number
}

/** Callers of a token since it was rotated, the latest first. */
export interface RotationCallers {
  items: {
    /** Null here and for `userAgent`: the service that asked did not tell. */
    ip: string | null
    userAgent: string | null
    /** An API, or verify, introspect or validate: a service asked about it. */
    via: string
    uses: number
    firstUsedAt: string
    lastUsedAt: string
  }[]
  /** All that are too many to be listed. */
  others: { uses: number; firstUsedAt: string; lastUsedAt: string } | null
}

/** A token, the one that takes its place, and who uses which. */
export interface Rotation {
  old: Token
  successor: Token
  /** When the old secret stops or stopped. */
  endsAt: string
  oldCallers: RotationCallers
  newCallers: RotationCallers
  /** Since anybody used the old secret. */
  silentForSeconds: number
  safeToFinish: boolean
  /** Why it is safe to finish, or what speaks against it. */
  reason: string
}

export type UseStep = 'minute' | 'hour' | 'day'

/** A span of time in steps; by default the last hour, day or thirty days, by the step. */
export interface UseSpan {
  from?: string
  to?: string
  /** Default: hour. */
  step?: UseStep
}

/** How often tokens were used and refused. */
export interface UseSeries {
  from: string
  to: string
  step: UseStep
  uses: number
  refused: number
  /** The most frequent first. */
  refusals: { reason: string; count: number }[]
  /** One for each step. */
  points: { at: string; uses: number; refused: number }[]
}

export type UseBy = 'token' | 'owner' | 'group' | 'kind'

export interface UseFigures extends UseSeries {
  by: UseBy
  /** The most used first. */
  figures: {
    /** Id of a token, name of an owner or group, or kind. */
    value: string
    /** Of the token, owner or group. */
    id: string | null
    uses: number
    refused: number
  }[]
  /** Values that are left out because there are too many. */
  others: number
}

/** Is this secret good, and for this? */
export interface Question {
  token: string
  role?: string
  scope?: string
  /** Name or id. */
  group?: string
  /** Default: READ. */
  mode?: Mode
  /** Address of the client that presented the token. */
  ip?: string
  /** What that client calls itself; for the figures of use and rotation alone. */
  userAgent?: string
  /** The resource that you are; a token for a resource is good there alone. */
  audience?: string
  /** Thumbprint of the key whose DPoP proof you have checked (RFC 9449). */
  boundKey?: string
}

/** What remains of the owner's rights after the token's limits. */
export interface Rights {
  accessLevel: AccessLevel
  admin: boolean
  roles: string[]
  groups: GroupGrant[]
  /** Null: every scope. */
  scopes: string[] | null
}

export interface ActiveVerdict extends Rights {
  active: true
  tokenId: string
  kind: TokenKind
  name: string | null
  owner: { id: string; username: string }
  expiresAt: string | null
  metadata: Record<string, unknown>
  /** The one resource that it is for. */
  audience: string | null
  /** The tokens that it comes from, the nearest first; absent: from none. */
  ancestors?: string[]
}

export interface InactiveVerdict {
  active: false
  /** Only for admins, the token's owner and holders of the role `verifier`. */
  reason?: string
  /** With the reason `rate_limited`: when one more use is allowed. */
  retryAfterSeconds?: number
}

export type Verdict = ActiveVerdict | InactiveVerdict

/** As `Question`; `tokenId` in place of the secret for those who may read the token. */
export interface ExplainQuestion extends Omit<Question, 'token'> {
  token?: string
  tokenId?: string
}

export type ExplainedCheck =
  | 'format'
  | 'checksum'
  | 'signature'
  | 'issuer'
  | 'times'
  | 'known'
  | 'state'
  | 'expiry'
  | 'quarantine'
  | 'idle'
  | 'owner'
  | 'addresses'
  | 'policy'
  | 'audience'
  | 'proof'
  | 'role'
  | 'scope'
  | 'group'
  | 'rate'
  | 'claims'
  | 'kind'

/** Why a token is good or not, and what it could do. */
export interface Explanation {
  /** In the order of verify, whose reason is the first that failed. */
  checks: { check: ExplainedCheck; outcome: 'passed' | 'failed' | 'skipped'; detail: string }[]
  /** Null: nothing that is known. */
  token: Token | null
  /** What it could do if it were active; null without a token or an owner. */
  rights: Rights | null
  /** What the token allows and its owner may not do now. */
  lost: { what: 'role' | 'scope' | 'group'; name: string; detail: string }[]
  /** When it ends, or ended, unless somebody revokes it before; null `at`: never. */
  end: {
    at: string | null
    because: 'revoked' | 'superseded' | 'expiry' | 'idle' | 'policy' | 'access_token' | null
  } | null
  /** What its user let the client do that was given it. */
  grant: {
    id: string
    scopes: string[]
    resources: string[]
    createdAt: string
    expiresAt: string
    revokedAt: string | null
  } | null
}

/** What verify says; the explanation is for admins and the owner of the token. */
export type ExplainedVerdict = Verdict & { explanation?: Explanation }
