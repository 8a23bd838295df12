import type { Kept, Yes } from '../core/tokens/verdict.ts'
import type { LaneAnswer } from './lane.ts'

/** Remembers what one route answers to each verdict for as long as that is cached. */
export interface KeptAnswers {
  of(verdict: Yes): LaneAnswer | undefined
  /** Returns the one that is kept now. */
  keep(verdict: Yes, answer: LaneAnswer): LaneAnswer
}

type KeptAnswer = Kept & LaneAnswer

/**
 * Answers hang on the verdicts themselves: a map beside a hundred thousand of them would take 80 bytes
 * for each, and a look-up in memory that nothing else has touched.
 */
export function keptAnswers(): KeptAnswers {
  const by = {}

  function of({ kept }: Yes): KeptAnswer | undefined {
    while (kept !== undefined && kept.by !== by) kept = kept.next
    return kept as KeptAnswer | undefined
  }

  return {
    of,
    keep(verdict, { status, json, bytes }) {
      const known = of(verdict)
      if (known !== undefined) return known
      const answer: KeptAnswer = { status, json, bytes, by, next: verdict.kept }
      verdict.kept = answer
      return answer
    },
  }
}
