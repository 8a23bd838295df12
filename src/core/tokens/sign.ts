import { mustBeAllowed } from '../access.ts'
import type { Caller } from '../caller.ts'
import type { Deps } from '../deps.ts'
import { CoreError } from '../errors.ts'
import type { TokenId } from '../id.ts'
import { narrowRights, type Principal, type Rights } from '../rights.ts'
import { openWhereSilent } from './children.ts'
import { boundLimits } from './issue.ts'
import { stillHolds } from './still-holds.ts'
import type { Limits } from './token.ts'
import type { Verifier } from './verify.ts'

/** What is left out is the token's own. */
export interface SignWish {
  /** Who it is for; nobody else takes it. */
  audience: string
  ttlSeconds?: number
  limits: Partial<Limits>
}

/** What a signed token says of the token that it stands for. */
export interface SignedRights {
  id: string
  subject: Principal['user']
  audience: string
  /** The token and those that it comes from, the nearest first. */
  chain: readonly TokenId[]
  /** The change up to which its rights are true. */
  position: number
  rights: Rights
  allowedIps: readonly string[] | null
  issuedAtMs: number
  expiresAtMs: number
}

/** Longest life of a signed token: how long the revocation feed has to remember. */
export const MAX_SIGNED_SECONDS = 900
const DEFAULT_SIGNED_SECONDS = 300

/**
 * What is to be signed for the holder of a token: its rights now, narrowed. Nothing is stored.
 * Throws `forbidden`, `beyond_rights` (names what), `invalid_input`, `token_not_active`.
 */
export async function signedRights(
  deps: Deps & { verifier: Verifier },
  caller: Caller,
  wish: SignWish,
): Promise<SignedRights> {
  mustBeAllowed(caller.principal, 'token.sign', { what: undefined, policy: deps.policy() })
  // Read before the verdict, so that every change up to here is in it.
  const position = deps.store.changes.position()
  const principal = await stillHolds(deps, caller)
  if (principal === undefined) {
    throw new CoreError('token_not_active', 'The token has ended. Nothing is signed for it.')
  }
  const { user, token, rights, ancestorIds = [] } = principal
  const limits = boundLimits(openWhereSilent(wish.limits, token.limits), {
    creator: token.limits,
    owner: rights,
  })
  const nowMs = deps.clock.now()
  const expiresAtMs = endOfSigned(wish.ttlSeconds, principal, nowMs)
  return {
    id: deps.newId(),
    subject: user,
    audience: checkAudience(wish.audience),
    chain: [token.id, ...ancestorIds],
    position,
    rights: narrowRights(rights, limits),
    allowedIps: limits.allowedIps,
    issuedAtMs: nowMs,
    expiresAtMs,
  }
}

/** As long as asked for, but no longer than the token lives unused. Throws `invalid_input`. */
function endOfSigned(ttlSeconds: number | undefined, { token }: Principal, nowMs: number): number {
  if (ttlSeconds !== undefined && (ttlSeconds < 1 || ttlSeconds > MAX_SIGNED_SECONDS)) {
    throw new CoreError(
      'invalid_input',
      `A signed token lives for 1 to ${MAX_SIGNED_SECONDS} seconds. Ask for a new one before it ends.`,
    )
  }
  const ends = [
    nowMs + (ttlSeconds ?? DEFAULT_SIGNED_SECONDS) * 1000,
    token.expiresAtMs,
    token.supersededAtMs,
    token.idleSeconds === undefined ? undefined : nowMs + token.idleSeconds * 1000,
  ].filter((end) => end !== undefined)
  // Whole seconds, as it is written.
  const endMs = Math.floor(Math.min(...ends) / 1000) * 1000
  if (endMs > nowMs) return endMs
  throw new CoreError('token_not_active', 'The token is about to end. Nothing is signed for it.')
}

/** RFC 7519, section 4.1.3: text, and a URI where it has a colon. Throws `invalid_input`. */
function checkAudience(audience: string): string {
  const isText = /^[\x21-\x7e]{1,500}$/.test(audience)
  if (isText && (!audience.includes(':') || URL.canParse(audience))) return audience
  throw new CoreError(
    'invalid_input',
    'The audience names the one service that the signed token is for, such as https://deploy.example.com.',
  )
}
