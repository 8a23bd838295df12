/** A named right. Holding it lets a user's tokens carry it and the scopes it grants. */
export interface Role {
  name: string
  description: string
  /** Scopes that holders of the role may put on their tokens. */
  scopes: string[]
}

/** Comes with the global role ADMIN; cannot be defined, given or taken otherwise. */
export const ADMIN_ROLE = 'admin'
