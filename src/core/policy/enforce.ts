import { CoreError } from '../errors.ts'
import { commonRanges } from '../ip.ts'
import type { Principal } from '../rights.ts'
import type { Limits } from '../tokens/token.ts'
import { type Restraint, unclearText } from './restraint.ts'
import { namedBy, type Term, type Terms } from './terms.ts'

/** Whether somebody may create or rotate such tokens. Throws `beyond_policy`. */
export function mustBeCreator({ rights }: Principal, { creators }: Pick<Terms, 'creators'>): void {
  if (rights.admin) return
  for (const term of creators) {
    const { by, groups } = term.value
    const leads = groups.some((id) => rights.groups.get(id)?.mode === 'ADMIN')
    if (by === 'group_admins' && leads) continue
    const who = by === 'admins' ? 'administrators' : 'administrators and ADMINs of its groups'
    throw beyond(term, `lets only ${who} create and rotate such tokens. Ask one of them.`)
  }
}

/** A token that somebody wants, as far as rules look at it. */
export interface Draft {
  description: string
  limits: Limits
}

/**
 * Whether what somebody asks for is within the rules. "All that the owner has" always is: it is what the
 * rules leave of that. Throws `beyond_policy`.
 */
export function mustFitPolicy({ description, limits }: Draft, restraint: Restraint): void {
  mustBeDescribed(description, restraint)
  mustBeAmong(limits.roles, { terms: restraint.roles, what: 'role' })
  mustBeAmong(limits.scopes, { terms: restraint.scopes, what: 'scope' })
  const { allowedIps } = limits
  for (const term of restraint.allowedIps) {
    const outside = allowedIps?.find((range) => !commonRanges([range], term.value).includes(range))
    if (outside === undefined) continue
    throw beyond(
      term,
      `lets such tokens be presented from ${term.value.join(', ')} alone, not from ${outside}.`,
    )
  }
}

/** Throws `beyond_policy`. */
export function mustBeDescribed(
  text: string,
  { description }: Pick<Restraint, 'description'>,
): void {
  if (description === undefined || text.trim() !== '') return
  throw beyond(
    description,
    'wants every such token described. Say in the description what it is for.',
  )
}

const RETRY_AFTER_SECONDS = 5

/** Refuses to make a token that this release would refuse. Throws `unavailable`: a newer server can. */
export function mustBeClear({ unclear }: Pick<Restraint, 'unclear'>): void {
  if (unclear === undefined) return
  throw new CoreError(
    'unavailable',
    `This server cannot make such a token. ${unclearText(unclear)} Ask one of those, or upgrade this one.`,
    { retryAfterSeconds: RETRY_AFTER_SECONDS },
  )
}

function mustBeAmong(
  names: readonly string[] | null,
  { terms, what }: { terms: readonly Term<readonly string[]>[]; what: string },
): void {
  for (const term of terms) {
    const outside = names?.find((name) => !term.value.includes(name))
    if (outside === undefined) continue
    throw beyond(term, `does not let such a token have the ${what} "${outside}".`)
  }
}

/** A refusal that says which rule to look at. */
export function beyond(term: { rule: string | undefined }, sentence: string): CoreError {
  const name = namedBy(term)
  const { rule } = term
  return new CoreError(
    'beyond_policy',
    `${name.charAt(0).toUpperCase()}${name.slice(1)} ${sentence}`,
    {
      detail: { rule },
    },
  )
}
