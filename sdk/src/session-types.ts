import type { User } from './people-types.ts'
import type { Rights, Token } from './token-types.ts'

export interface Credentials {
  /** Or the email. */
  username: string
  password: string
  /** Replaces a one-time or outdated password in the same step. */
  newPassword?: string
}

export interface Session {
  /** The session's secret: a token like any other. */
  token: string
  expiresAt: string
  user: User
}

/** Who am I, with which token, and what may it do. */
export interface Me {
  user: User
  token: Token
  rights: Rights
}
