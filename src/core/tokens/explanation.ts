import type { Grant } from '../grants/grant.ts'
import type { Rights } from '../rights.ts'
import type { LostRight } from './lost-rights.ts'
import type { Token } from './token.ts'

/** In the order in which verify gets to them. */
export const EXPLAINED_CHECKS = [
  'format',
  'checksum',
  'signature',
  'issuer',
  'times',
  'known',
  'state',
  'expiry',
  'quarantine',
  'idle',
  'owner',
  'addresses',
  'policy',
  'audience',
  'proof',
  'role',
  'scope',
  'group',
  'rate',
  'claims',
  'kind',
] as const
export type ExplainedCheck = (typeof EXPLAINED_CHECKS)[number]

export type Outcome = 'passed' | 'failed' | 'skipped'

export interface Finding {
  check: ExplainedCheck
  outcome: Outcome
  /** What was found, and what to do about it. */
  detail: string
}

/** When a token ends, or ended, unless somebody revokes it before. */
export interface End {
  /** Undefined: never. */
  atMs: number | undefined
  because: 'revoked' | 'superseded' | 'expiry' | 'idle' | 'policy' | 'access_token' | undefined
}

export interface Explanation {
  checks: Finding[]
  /** What was asked about; undefined: nothing that is known. */
  token: Token | undefined
  /** What it could do if it were active; undefined without a token or owner. */
  rights: Rights | undefined
  lost: LostRight[]
  end: End | undefined
  /** Of a token that a client was given: what its user let the client do. */
  grant: Grant | undefined
}
