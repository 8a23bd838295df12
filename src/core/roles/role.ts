import { CoreError } from '../errors.ts'

/** A named right. Holding it lets a user's tokens carry it and the scopes it grants. */
export interface Role {
  name: string
  description: string
  /** Scopes that holders of the role may put on their tokens. */
  scopes: string[]
}

/** Comes with the global role ADMIN; cannot be defined, given or taken otherwise. */
export const ADMIN_ROLE = 'admin'

/** RFC 6749's scope characters without the ones that need escaping in a URL or a shell. */
const SCOPE = /^[A-Za-z0-9][A-Za-z0-9:._/*-]{0,127}$/

/** Throws `invalid_input`. */
export function checkScope(scope: string): string {
  if (SCOPE.test(scope)) return scope
  throw new CoreError(
    'invalid_input',
    `"${scope}" is not a scope: 1 to 128 characters of A-Z a-z 0-9 : . _ / * -.`,
  )
}
