import { mustBeVisible } from '../access.ts'
import type { Caller } from '../caller.ts'
import type { Deps } from '../deps.ts'
import { notFound } from '../errors.ts'
import type { Token } from './token.ts'

/** A token as it was found. Throws `not_found` for none, and alike for one that the caller may not see. */
export function visible(
  deps: Pick<Deps, 'policy'>,
  caller: Caller,
  found: Token | undefined,
): Token {
  if (found === undefined) throw notFound('token')
  mustBeVisible(caller.principal, 'token.read', { what: found, policy: deps.policy() })
  return found
}
