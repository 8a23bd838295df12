import type { TokenState } from './token.ts'

/** Fields that hold words, one of which must be meant exactly. */
export type WordField =
  | 'id'
  | 'name'
  | 'owner'
  | 'creator'
  | 'client'
  | 'kind'
  | 'via'
  | 'access'
  | 'family'
  | 'parent'
  | 'role'
  | 'scope'
  | 'group'

export type TimeField = 'created' | 'used' | 'expires' | 'revoked' | 'superseded'

/** Fields that are looked for in parts; `text` is name and description. */
export type PartField = 'name' | 'text' | 'agent'

/** From one instant on, and until before another; absent: without that bound. */
export interface Period {
  fromMs?: number
  untilMs?: number
}

/** A question about one field of a token. Owners, creators, clients and groups are ids, names are keys. */
export type TokenTest =
  | { field: WordField; oneOf: readonly string[] }
  | { field: 'state'; oneOf: readonly TokenState[] }
  | { field: PartField; contains: string }
  /** Of groups: not limited to any. */
  | { field: TimeField | 'group'; never: true }
  | { field: TimeField; during: Period }
  /** Address keys, both included (see `rangeKeys`). */
  | { field: 'ip'; fromKey: string; toKey: string }

/**
 * Which tokens are meant: a plain tree, free of names and of durations, that the store turns into a
 * query. A test about what a token does not have (never used, no client) is false, and its `not` true.
 */
export type TokenQuery =
  | { all: readonly TokenQuery[] }
  | { any: readonly TokenQuery[] }
  | { not: TokenQuery }
  | TokenTest

export const SORT_FIELDS = ['created', 'used', 'expires', 'name'] as const

/**
 * What the tokens are put in order by, then by id. What was never used comes before everything that
 * was, what never expires after everything that does, and what has no name before all names.
 */
export interface TokenOrder {
  by: (typeof SORT_FIELDS)[number]
  descending: boolean
}

export const NEWEST_FIRST: TokenOrder = { by: 'created', descending: true }
