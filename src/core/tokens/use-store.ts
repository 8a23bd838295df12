import type { TokenId } from '../id.ts'
import type { TokenQuery } from './filter.ts'
import type { Use } from './usage.ts'
import type { CallerUse, UseCount, UseStep } from './use.ts'

/** What tokens can have in common. */
export const USE_BY = ['token', 'owner', 'group', 'kind'] as const
export type UseBy = (typeof USE_BY)[number]

/** From `fromMs` to before `toMs`. */
export interface Span {
  fromMs: number
  toMs: number
}

/** Counts that a roll-up takes away or adds. */
export interface UseRow extends UseCount {
  tokenId: TokenId
}

/** What the domain needs saved about the use of tokens. */
export interface UseStore {
  /** Adds what was collected to what other nodes have written of the same minutes and callers. */
  add(uses: readonly Use[]): Promise<void>
  /** At most so many as are told apart, and all others as one. The latest first. */
  callersOf(id: TokenId): Promise<CallerUse[]>
  /**
   * By the start of its step, of everything that is kept of a span. What is no longer kept as finely is
   * counted where its own step starts.
   */
  series(id: TokenId, span: Span & { stepMs: number }): Promise<UseCount[]>
  /**
   * The same of all tokens that fit, for each value that they have in common; a token may have several,
   * and null is for what has none. In parts, so that others get their turn.
   */
  figures(
    wish: Span & { stepMs: number; by: UseBy; tokens: TokenQuery; nowMs: number },
  ): AsyncIterable<UseCount & { value: string | null }>
  /** Counts of a step that began before `beforeMs`, the oldest first; nobody else changes them now. */
  oldest(step: UseStep, beforeMs: number, limit: number): Promise<UseRow[]>
  remove(step: UseStep, rows: readonly UseRow[]): Promise<void>
  put(step: UseStep, rows: readonly UseRow[]): Promise<void>
  /** Deletes callers that were seen last before `beforeMs`. */
  forgetCallers(beforeMs: number): Promise<void>
}
