import { isAddress } from './address-range.ts'
import { bearerOf, type Presented } from './bearer.ts'
import { MintmarkError } from './error.ts'
import { holdsGroup, holdsRole, holdsScope, MODES } from './held-rights.ts'
import type { OfflineActive, OfflineVerdict } from './offline.ts'
import { challenge, later, type Refusal } from './refusal.ts'
import type { ActiveVerdict, Question, Verdict } from './token-types.ts'
import type { AccessLevel, Mode } from './types.ts'

/** Who says whether a token is good: `client.tokens`, a `cachedVerifier` or an `offlineVerifier`. */
export interface Verifier {
  verify(question: Question): Promise<Verdict | OfflineVerdict>
}

/** What a verifier says of a good token. */
export type GoodVerdict = ActiveVerdict | OfflineActive

/** What is asked of the token that comes with a request. `Args` is what the framework gives a handler. */
export interface GuardOptions<Args extends unknown[]> {
  /** All of these. */
  scopes?: readonly string[]
  /** All of these. */
  roles?: readonly string[]
  /** Name or id, or a function that reads it from the request. */
  group?: string | ((...args: Args) => string | undefined)
  /** How deep into the group. Default: READ. */
  mode?: Mode
  /**
   * Default: FULL_ACCESS, but READ_ONLY for GET, HEAD and OPTIONS. Say READ_ONLY where a POST changes
   * nothing.
   */
  accessLevel?: AccessLevel
  /** The resource that you are, for tokens that are good at one resource alone. */
  audience?: string
  /**
   * Address of the client, which tokens limited to addresses need. Default: what the framework says, if it
   * says any; it must know which proxies to believe.
   */
  ip?: (...args: Args) => string | undefined
  /** Names what is protected in `WWW-Authenticate`. Default: `api`. */
  realm?: string
  /** Is told why it could not be known whether a token is good. No token is in there. */
  onUnavailable?: (error: unknown) => void
}

/** What is read of every request. */
export interface Facts extends Presented {
  method: string
  ip?: string | undefined
}

export type Outcome = { verdict: GoodVerdict } | { refusal: Refusal }

/** Decides who passes; never throws what the verifier throws. */
export type Decide<Args extends unknown[]> = (facts: Facts, ...args: Args) => Promise<Outcome>

const OPTION_NAMES: readonly string[] = [
  'scopes',
  'roles',
  'group',
  'mode',
  'accessLevel',
  'audience',
  'ip',
  'realm',
  'onUnavailable',
] satisfies (keyof GuardOptions<[]>)[]
const ACCESS_LEVELS: readonly AccessLevel[] = ['READ_ONLY', 'FULL_ACCESS']
const READING = ['GET', 'HEAD', 'OPTIONS']
/** RFC 6749, section 3.3. */
const NAME = /^[\x21\x23-\x5b\x5d-\x7e]+$/
const REALM = /^[\x20\x21\x23-\x5b\x5d-\x7e]+$/
const RETRY_SECONDS = 1

/**
 * What all middleware shares. Whatever cannot be known lets nobody in: 503 when the verifier cannot tell.
 * Throws `invalid_input` for options that say less than was meant.
 */
export function guardWith<Args extends unknown[]>(
  verifier: Verifier,
  options: GuardOptions<Args>,
): Decide<Args> {
  check(options)
  const { realm = 'api', onUnavailable = () => {} } = options

  return async (facts, ...args) => {
    const bearer = bearerOf(facts)
    if ('problem' in bearer) return { refusal: withoutToken(bearer.problem, realm) }
    const ip = options.ip === undefined ? facts.ip : options.ip(...args)
    // A request that names no group reaches into none.
    const group =
      typeof options.group === 'function' ? (options.group(...args) ?? '') : options.group
    let verdict: Verdict | OfflineVerdict
    try {
      verdict = await verifier.verify(questionOn(bearer.token, { ip, audience: options.audience }))
    } catch (error) {
      onUnavailable(error)
      return { refusal: unavailable(error) }
    }
    if (!verdict.active) {
      if (verdict.reason === 'stale') onUnavailable(silentFeed())
      return { refusal: inactive(verdict, realm) }
    }
    const isLacking = lacks(verdict, { ...options, group, method: facts.method })
    return isLacking ? { refusal: insufficient(options, realm) } : { verdict }
  }
}

/** The verdict that let a request in. Throws `unguarded` when there is none: the route lacks its guard. */
export function verdictOf(request: object): GoodVerdict {
  const { mintmark } = request as { mintmark?: GoodVerdict }
  if (mintmark !== undefined) return mintmark
  throw new MintmarkError({
    status: 0,
    code: 'unguarded',
    detail: 'No guard has let this request in. Put one before the handler.',
  })
}

/**
 * The token alone, without what is asked of it: so it is told apart what is missing (403) from a token
 * that is not good (401), and one answer serves all routes.
 */
function questionOn(
  token: string,
  { ip, audience }: { ip: string | undefined; audience: string | undefined },
): Question {
  return {
    token,
    // What is no address shows nothing, and is worth no error.
    ...(ip !== undefined && isAddress(ip) ? { ip } : {}),
    ...(audience === undefined ? {} : { audience }),
  }
}

function lacks(
  verdict: GoodVerdict,
  demand: Omit<GuardOptions<never>, 'group'> & { group: string | undefined; method: string },
): boolean {
  const { scopes = [], roles = [], group, mode, method } = demand
  const { accessLevel = READING.includes(method) ? 'READ_ONLY' : 'FULL_ACCESS' } = demand
  if (accessLevel === 'FULL_ACCESS' && verdict.accessLevel !== 'FULL_ACCESS') return true
  if (!scopes.every((scope) => holdsScope(verdict, scope))) return true
  if (!roles.every((role) => holdsRole(verdict, role))) return true
  return group !== undefined && !holdsGroup(verdict, group, mode)
}

function withoutToken(problem: 'none' | 'malformed' | 'several', realm: string): Refusal {
  if (problem === 'malformed') return invalidToken(realm)
  if (problem === 'none') {
    const detail = 'Send a token in the header Authorization, as "Bearer <token>".'
    return challenge({ status: 401, code: 'unauthenticated', detail }, { realm })
  }
  const detail = 'The request carries more than one credential. Send exactly one.'
  return challenge({ status: 400, code: 'invalid_request', detail }, { realm })
}

/** Not which check failed: whoever holds a token that is not his own learns nothing. */
function invalidToken(realm: string): Refusal {
  const detail = 'The token is not good here. Get a new one.'
  return challenge({ status: 401, code: 'invalid_token', detail }, { realm })
}

interface Inactive {
  active: false
  reason?: string
  retryAfterSeconds?: number
}

function inactive(verdict: Inactive, realm: string): Refusal {
  const { reason, retryAfterSeconds = RETRY_SECONDS } = verdict
  if (reason === 'stale') return unavailable(undefined)
  if (reason !== 'rate_limited') return invalidToken(realm)
  const detail = 'The token is used too often. Wait as Retry-After says.'
  return later({ status: 429, code: 'too_many_requests', detail }, retryAfterSeconds)
}

function insufficient(
  { scopes = [], roles = [], group, mode = 'READ' }: GuardOptions<never>,
  realm: string,
): Refusal {
  const asked = [
    ...scopes.map((scope) => `the scope ${scope}`),
    ...roles.map((role) => `the role ${role}`),
    ...(group === undefined ? [] : [`${mode} in the group`]),
  ]
  const detail =
    asked.length === 0
      ? 'The token may only read.'
      : `The token may not do this. It takes ${asked.join(', ')}, and FULL_ACCESS to change things.`
  return challenge({ status: 403, code: 'insufficient_scope', detail }, { realm, scopes })
}

function silentFeed(): MintmarkError {
  const detail = 'The feed of revocations has not been heard lately. Is the server to be reached?'
  return new MintmarkError({ status: 0, code: 'stale', detail })
}

function unavailable(error: unknown): Refusal {
  const wanted = error instanceof MintmarkError ? error.retryAfterSeconds : undefined
  const detail = 'Whether the token is good cannot be known at the moment. Try again.'
  return later({ status: 503, code: 'unavailable', detail }, wanted ?? RETRY_SECONDS)
}

function check<Args extends unknown[]>(options: GuardOptions<Args>): void {
  const { scopes = [], roles = [], group, mode, accessLevel, realm = 'api' } = options
  // A demand that is not understood must not be passed over: `scope` for `scopes` would open the door.
  for (const [name, value] of Object.entries(options)) {
    if (!OPTION_NAMES.includes(name)) throw invalid(`A guard has no option "${name}".`)
    if (value === undefined || value === '') throw invalid(`${name} has no value. Leave it out?`)
  }
  if (!Array.isArray(scopes) || !Array.isArray(roles)) throw invalid('scopes and roles are lists.')
  const odd = [...scopes, ...roles].find((name) => !NAME.test(name))
  if (odd !== undefined) throw invalid(`"${odd}" cannot be a scope or a role.`)
  if (mode !== undefined && !MODES.includes(mode)) throw invalid(`There is no mode "${mode}".`)
  if (mode !== undefined && group === undefined) {
    throw invalid('mode says how deep into a group; name the group, too.')
  }
  if (accessLevel !== undefined && !ACCESS_LEVELS.includes(accessLevel)) {
    throw invalid(`There is no access level "${accessLevel}".`)
  }
  if (!REALM.test(realm)) throw invalid('The realm is printable ASCII without quotes.')
}

function invalid(detail: string): MintmarkError {
  return new MintmarkError({ status: 0, code: 'invalid_input', detail })
}
