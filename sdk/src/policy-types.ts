import type { TokenKind } from './types.ts'

export interface Policy {
  /** Whether non-admins may create, change, rotate and revoke tokens of their own. */
  usersMayCreateTokens: boolean
  /** Whether a token may mint narrower ones, which die with it, without any further right. */
  tokensMayMintChildren: boolean
  sessionTtlSeconds: number
  sessionIdleSeconds: number
  defaultTokenTtlSeconds: number | null
  /** Longest lifetime of api and service tokens; binds existing ones, too. */
  maxTokenTtlSeconds: number | null
  /** What tokens of some kinds, or of members of some groups, must keep to besides. */
  tokenRules: TokenRule[]
  /** How long the old secret of a rotated token goes on when nobody says otherwise. */
  rotationOverlapSeconds: number
  lockoutEnabled: boolean
  lockoutAttempts: number
  lockoutSeconds: number
  passwordTtlSeconds: number | null
  passwordExpirationWarning: boolean
  /** How long ended tokens stay visible. */
  retentionSeconds: number
  /** How long figures of use are kept by minute, by hour and by day. */
  useMinutesSeconds: number
  useHoursSeconds: number
  useDaysSeconds: number
  /** How long before its end a `token.expiring` event tells of a token. */
  noticeSeconds: number[]
  /** What becomes of a token whose secret is reported as leaked. */
  leakAction: 'notify' | 'quarantine' | 'revoke'
}

/** What is named is changed; null takes an optional limit away, and `tokenRules` replaces all rules. */
export interface PolicyEdit extends Partial<Omit<Policy, 'tokenRules'>> {
  tokenRules?: NewTokenRule[]
}

/** Null: the rule says nothing about it. Of all rules that apply to a token, the strictest counts. */
export interface TokenRule {
  name: string
  description: string
  /** Null: all. */
  kinds: TokenKind[] | null
  /** Names (or ids): tokens whose owner is a member of one. Null: of everybody. */
  groups: string[] | null
  /** Counted from creation; binds existing tokens, too. */
  maxTtlSeconds: number | null
  defaultTtlSeconds: number | null
  idleSeconds: number | null
  requiresDescription: boolean
  /** Client addresses (CIDR) that may present them. */
  allowedIps: string[] | null
  /** Roles and scopes that they can have at most. */
  roles: string[] | null
  scopes: string[] | null
  /** Who may create and rotate api and service tokens. */
  createdBy: 'anyone' | 'group_admins' | 'admins'
  /** Uses of each token: so many at once, and as many again over each window. */
  rate: { requests: number; windowSeconds: number } | null
  /** How long before the end people want to hear of it. */
  noticeSeconds: number[]
}

/** What is left out, the rule says nothing about. */
export type TokenRuleSettings = Partial<Omit<TokenRule, 'name'>>

export interface NewTokenRule extends TokenRuleSettings {
  name: string
}

/**
 * What a policy does to a token: it has ended by its age; it ends before its own end; it stood idle for
 * too long; its list of roles or scopes is cut; it was last used from an address that is not allowed; it
 * has no description and needs one; its uses are limited; or it works again, which the policy in force
 * forbids.
 */
export type PolicyEffect =
  | 'ended'
  | 'ends_earlier'
  | 'idle'
  | 'loses_roles'
  | 'loses_scopes'
  | 'refused_address'
  | 'lacks_description'
  | 'rate_limited'
  | 'revived'

/** What a policy does to the tokens there are. */
export interface PolicyTest {
  /** Active tokens that were looked at. */
  total: number
  effects: {
    effect: PolicyEffect
    count: number
    /** How many of them the policy in force spares. */
    newCount: number
    /** The first 100, newest first. */
    tokens: {
      id: string
      kind: TokenKind
      name: string | null
      preview: string
      owner: { id: string; username: string | null }
      /** Null: a setting of the policy itself. */
      rule: string | null
      at: string | null
      /** The roles, scopes or address concerned. */
      values: string[]
      /** The policy in force does not do this. */
      isNew: boolean
    }[]
  }[]
}
