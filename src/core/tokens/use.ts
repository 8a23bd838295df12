import type { UseVia } from './token.ts'
import type { Refusal } from './verdict.ts'

/** Somebody who uses a token while it is being rotated; '' is what nobody told. */
export interface CallerUse {
  ip: string
  agent: string
  via: UseVia | '*'
  uses: number
  firstUsedAtMs: number
  lastUsedAtMs: number
}

/** All callers beyond those that are told apart. */
export const OTHERS = { ip: '*', agent: '*', via: '*' } as const

/** What came of the attempts to use a token in one minute. */
export interface MinuteUse {
  startMs: number
  uses: number
  refusals: Map<Refusal, number> | undefined
}

/** What became of an attempt. */
export type UseOutcome = 'used' | Refusal

/** Figures are kept by minute, later by hour, then by day. */
export const USE_STEPS = ['minute', 'hour', 'day'] as const
export type UseStep = (typeof USE_STEPS)[number]

export const STEP_MS: Readonly<Record<UseStep, number>> = {
  minute: 60_000,
  hour: 3_600_000,
  day: 86_400_000,
}

/** So many attempts with one outcome, from `startMs` to the end of the step. */
export interface UseCount {
  startMs: number
  outcome: UseOutcome
  count: number
}
