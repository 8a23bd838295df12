import { API_SCOPES } from '../../core/clients/client.ts'
import { durationInWords } from './duration-in-words.ts'

/** What allowing a scope means, for the person who is asked. */
export interface Explanation {
  scope: string
  /** Undefined for a scope that is not ours to explain. */
  means: string | undefined
  /** Opens this server itself to the client. */
  isDangerous: boolean
}

export interface Lifetimes {
  offlineTtlSeconds?: number | undefined
}

const OURS: Readonly<Record<string, string>> = {
  openid: 'Know that it is you, by an identifier that stays the same',
  profile: 'See your name and your username',
  email: 'See your email address',
  groups: 'See which groups you are in',
}

const EVERYTHING = 'Do everything on this server that you may do'

/** Each scope once, the dangerous ones first. */
export function explainScopes(scopes: readonly string[], lifetimes?: Lifetimes): Explanation[] {
  return [...new Set(scopes)]
    .map((scope) => explainScope(scope, lifetimes))
    .sort((a, b) => Number(b.isDangerous) - Number(a.isDangerous))
}

function explainScope(scope: string, { offlineTtlSeconds }: Lifetimes = {}): Explanation {
  if (opensThisServer(scope)) return { scope, means: EVERYTHING, isDangerous: true }
  if (scope !== 'offline_access') {
    return {
      scope,
      means: Object.hasOwn(OURS, scope) ? OURS[scope] : undefined,
      isDangerous: false,
    }
  }
  const end =
    offlineTtlSeconds === undefined
      ? 'until you withdraw it'
      : `for ${durationInWords(offlineTtlSeconds)} or until you withdraw it`
  return {
    scope,
    means: `Stay signed in and act for you while you are away, ${end}`,
    isDangerous: false,
  }
}

/** Whether the scope lets a client act on this server as the user. */
export function opensThisServer(scope: string): boolean {
  return API_SCOPES.some((each) => each === scope)
}
