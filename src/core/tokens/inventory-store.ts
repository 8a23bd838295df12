import type { TokenId } from '../id.ts'
import type { Position } from '../page.ts'
import type { TokenOrder, TokenQuery } from './filter.ts'
import type { Token } from './token.ts'

/** A token with the value that it is put in order by. */
export interface FoundToken {
  token: Token
  at: Position['at']
}

/** What counts of a token that something would reach. */
export type ReachedToken = Pick<
  Token,
  | 'id'
  | 'kind'
  | 'ownerId'
  | 'via'
  | 'createdAtMs'
  | 'updatedAtMs'
  | 'expiresAtMs'
  | 'revokedAtMs'
  | 'supersededAtMs'
  | 'quarantinedAtMs'
  | 'lastUsedAtMs'
  | 'lastUsedIp'
>

/** Tokens that die, each with what is derived from it: `trees` with their families as well. */
export interface Roots {
  trees: readonly TokenId[]
  alone: readonly TokenId[]
}

/** What figures can be grouped by. */
export const FIGURES_BY = [
  'kind',
  'state',
  'owner',
  'group',
  'client',
  'role',
  'scope',
  'via',
  'month',
  'expires',
] as const
export type FiguresBy = (typeof FIGURES_BY)[number]

/**
 * So many tokens have this value: an id for owners, groups and clients, `2026-01` for `month` (of creation)
 * and `expires`.
 */
export interface Figure {
  /** Undefined: no client, no end; for roles, scopes and groups: not limited. */
  value: string | undefined
  count: number
}

export interface FindWish {
  order: TokenOrder
  from: Position | undefined
  /** How many at most. */
  size: number
  /** Decides what is expired. */
  nowMs: number
}

/**
 * Questions about any number of tokens. None of them holds up others for long: what takes many rows
 * is done in steps, so that an answer may mix what was true at its beginning and at its end.
 */
export interface InventoryStore {
  find(query: TokenQuery, wish: FindWish): Promise<FoundToken[]>
  /** Oldest first, beyond `after`; `size` at most. */
  reach(
    query: TokenQuery,
    wish: { after: Pick<Position, 'at' | 'id'> | undefined; size: number; nowMs: number },
  ): Promise<ReachedToken[]>
  /** What dies with these tokens, is not dead yet, and is not meant by `query` itself. */
  reachFrom(roots: Roots, query: TokenQuery, nowMs: number): Promise<ReachedToken[]>
  countTokens(query: TokenQuery, nowMs: number): Promise<number>
  /** In no order. A token counts for each of its roles, scopes and groups. */
  figures(query: TokenQuery, by: FiguresBy, nowMs: number): Promise<Figure[]>
}
