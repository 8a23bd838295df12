import type { TokenRule } from './rule.ts'

/** What the organisation decided. Changed through `/api/v1/policy` by admins, audited. */
export interface Policy {
  /** Whether non-admins may create, change, rotate and revoke tokens of their own. */
  usersMayCreateTokens: boolean
  /** Whether a token may mint narrower ones, which die with it, without any further right. */
  tokensMayMintChildren: boolean
  /** How long a login lasts, and how long it may stand idle. */
  sessionTtlSeconds: number
  sessionIdleSeconds: number
  /** Lifetime of a token when its creator names none; absent: it does not expire. */
  defaultTokenTtlSeconds: number | undefined
  /** Longest lifetime of api and service tokens, counted from creation; absent: no limit. */
  maxTokenTtlSeconds: number | undefined
  /** What tokens of some kinds, or of members of some groups, must keep to besides. */
  tokenRules: readonly TokenRule[]
  /** How long the old secret of a rotated token goes on when nobody says otherwise. */
  rotationOverlapSeconds: number
  /** After so many wrong passwords in a row the account refuses logins for a while. */
  lockoutEnabled: boolean
  lockoutAttempts: number
  lockoutSeconds: number
  /** A password older than this must be changed; absent: never. */
  passwordTtlSeconds: number | undefined
  /** Whether clients should remind people before that. */
  passwordExpirationWarning: boolean
  /** How long expired and revoked tokens stay visible. */
  retentionSeconds: number
  /** How long figures of use are kept by minute, by hour and by day. */
  useMinutesSeconds: number
  useHoursSeconds: number
  useDaysSeconds: number
  /** How long before its end those who follow events hear of a token: each time once. */
  noticeSeconds: readonly number[]
  /** What becomes of a token whose secret is reported as leaked; see leaks/report.ts. */
  leakAction: LeakAction
}

export const LEAK_ACTIONS = ['notify', 'quarantine', 'revoke'] as const
export type LeakAction = (typeof LEAK_ACTIONS)[number]

export const DEFAULT_POLICY: Policy = {
  usersMayCreateTokens: false,
  tokensMayMintChildren: true,
  sessionTtlSeconds: 12 * 3600,
  sessionIdleSeconds: 3600,
  defaultTokenTtlSeconds: 90 * 86_400,
  maxTokenTtlSeconds: undefined,
  tokenRules: [],
  rotationOverlapSeconds: 86_400,
  lockoutEnabled: true,
  lockoutAttempts: 10,
  lockoutSeconds: 900,
  passwordTtlSeconds: undefined,
  passwordExpirationWarning: false,
  retentionSeconds: 90 * 86_400,
  useMinutesSeconds: 48 * 3600,
  useHoursSeconds: 60 * 86_400,
  useDaysSeconds: 730 * 86_400,
  noticeSeconds: [30 * 86_400, 7 * 86_400, 86_400],
  // Stops the thief as surely as revoking does, and can be taken back when it stopped the business, too.
  leakAction: 'quarantine',
}

export interface PolicyStore {
  /** Only what was ever changed from the defaults, as far as it is understood. */
  load(): Promise<Partial<Policy>>
  save(policy: Policy, atMs: number): Promise<void>
}
