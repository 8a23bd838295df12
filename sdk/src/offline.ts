import { isWithin } from './address-range.ts'
import { holdsGroup, holdsRole, holdsScope, MODES } from './held-rights.ts'
import type { Claims } from './jws.ts'
import type { GroupGrant } from './people-types.ts'
import { type FeedOptions, nameOf, type RevocationFeed, revocationFeed } from './revocation-feed.ts'
import type { Question, Rights } from './token-types.ts'
import type { AccessLevel, Mode } from './types.ts'

export interface OfflineOptions extends FeedOptions {
  /** Who you are: the one audience that you take tokens for. */
  audience: string
}

export interface OfflineActive extends Rights {
  active: true
  /** Its `jti`. */
  id: string
  tokenId: string
  owner: { id: string; username: string }
  /** The tokens that it comes from, the nearest first. */
  ancestors: string[]
  expiresAt: string
}

export type OfflineReason =
  | 'malformed'
  | 'wrong_audience'
  | 'expired'
  | 'revoked'
  | 'ip_not_allowed'
  | 'role_missing'
  | 'scope_missing'
  | 'group_missing'
  /** What has been revoked lately is not known: nobody can be let in. */
  | 'stale'

export type OfflineVerdict = OfflineActive | { active: false; reason: OfflineReason }

export interface OfflineVerifier {
  /**
   * Is this signed token good, and for this? Asks nobody; never throws. Without `ip` one that is limited to
   * addresses is refused.
   */
  verify(question: Question): Promise<OfflineVerdict>
  /** Stops following what is revoked; from then on nothing is good. */
  close(): void
}

const TYPE = 'mm+jwt'

/**
 * Checks the signed tokens of `tokens.sign` without asking the server about each: with its public keys,
 * and the feed of what was revoked, which is followed in the background. When the feed has not been heard
 * for `maxStaleSeconds`, every token is refused.
 */
export function offlineVerifier(options: OfflineOptions): OfflineVerifier {
  const feed = revocationFeed(options)
  const toleranceMs = (options.clockToleranceSeconds ?? 5) * 1000
  const { audience } = options
  return {
    async verify(question) {
      try {
        const claims = claimsFrom(await feed.jws.read(question.token, TYPE), feed.issuer)
        if (claims === undefined) return refused('malformed')
        return await verdictOn(claims, { feed, audience, question, toleranceMs })
      } catch {
        return refused('stale')
      }
    },
    close: feed.close,
  }
}

async function verdictOn(
  claims: TokenClaims,
  context: {
    feed: RevocationFeed
    audience: string
    question: Question
    toleranceMs: number
  },
): Promise<OfflineVerdict> {
  const { feed, audience, question, toleranceMs } = context
  if (claims.aud !== audience || (question.audience ?? audience) !== audience)
    return refused('wrong_audience')
  const groupNames = claims.groups.map(({ id }) => id)
  const names = await Promise.all([...claims.chain, claims.sub, ...groupNames].map(nameOf))
  if (!(await feed.isFresh())) return refused('stale')
  // Only now: getting fresh may have taken seconds.
  const nowMs = Date.now()
  // An end is an end; only a beginning may be a little off.
  if (claims.exp * 1000 <= nowMs) return refused('expired')
  if (Math.max(claims.iat, claims.nbf ?? 0) * 1000 > nowMs + toleranceMs)
    return refused('malformed')
  if (feed.hasEnded(names, claims.pos)) return refused('revoked')
  const reason = whyNot(claims, question)
  return reason === undefined ? activeFrom(claims) : refused(reason)
}

function refused(reason: OfflineReason): OfflineVerdict {
  return { active: false, reason }
}

function whyNot(claims: TokenClaims, question: Question): OfflineReason | undefined {
  const { role, scope, group, mode, ip } = question
  if (claims.ips !== undefined && !isWithin(ip ?? '', claims.ips)) return 'ip_not_allowed'
  if (role !== undefined && !holdsRole(claims, role)) return 'role_missing'
  if (scope !== undefined && !holdsScope(claims, scope)) return 'scope_missing'
  if (group !== undefined && !holdsGroup(claims, group, mode)) return 'group_missing'
  return undefined
}

function activeFrom(claims: TokenClaims): OfflineActive {
  const [tokenId = '', ...ancestors] = claims.chain
  return {
    active: true,
    id: claims.jti,
    tokenId,
    owner: { id: claims.sub, username: claims.username },
    ancestors,
    accessLevel: claims.access,
    admin: claims.admin,
    roles: claims.roles,
    groups: claims.groups,
    scopes: claims.scopes,
    expiresAt: new Date(claims.exp * 1000).toISOString(),
  }
}

interface TokenClaims {
  sub: string
  aud: string
  exp: number
  iat: number
  nbf: number | undefined
  jti: string
  username: string
  chain: string[]
  pos: number
  access: AccessLevel
  admin: boolean
  roles: string[]
  groups: GroupGrant[]
  /** Null: every scope. */
  scopes: string[] | null
  ips: string[] | undefined
}

/** Undefined unless everything is there, and as the server writes it. */
function claimsFrom(claims: Claims | undefined, issuer: string): TokenClaims | undefined {
  if (claims === undefined || claims.iss !== issuer) return undefined
  const { sub, aud, exp, iat, nbf, jti, username, chain, pos, access, admin } = claims
  const { roles, groups, scope, ips } = claims
  if (!isText(sub) || !isText(aud) || !isText(jti) || !isText(username)) return undefined
  if (!isNumber(exp) || !isNumber(iat) || !isNumber(pos)) return undefined
  if (nbf !== undefined && !isNumber(nbf)) return undefined
  if (!isTexts(chain) || chain.length === 0 || !isTexts(roles)) return undefined
  if (access !== 'READ_ONLY' && access !== 'FULL_ACCESS') return undefined
  if (!Array.isArray(groups) || !groups.every(isGroup)) return undefined
  if (scope !== undefined && !isText(scope)) return undefined
  if (ips !== undefined && !isTexts(ips)) return undefined
  const scopes = scope === undefined ? null : scope.split(' ').filter((each) => each !== '')
  return {
    sub,
    aud,
    exp,
    iat,
    nbf,
    jti,
    username,
    chain,
    pos,
    access,
    admin: admin === true,
    roles,
    groups,
    scopes,
    ips,
  }
}

const isText = (value: unknown): value is string => typeof value === 'string'
const isNumber = (value: unknown): value is number => Number.isFinite(value)
const isTexts = (value: unknown): value is string[] => Array.isArray(value) && value.every(isText)

function isGroup(value: unknown): value is GroupGrant {
  const { id, name, mode } = (value ?? {}) as Record<string, unknown>
  return isText(id) && isText(name) && MODES.includes(mode as Mode)
}
