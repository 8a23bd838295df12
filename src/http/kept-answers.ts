import type { Kept, Yes } from '../core/tokens/verdict.ts'
import type { LaneAnswer } from './lane.ts'

/** Remembers what one route answers to each verdict for as long as that is cached. */
export interface KeptAnswers {
  /** `from`: what else the answer follows from; one that was made from another object is too old. */
  of(verdict: Yes, from?: object): LaneAnswer | undefined
  /** Returns `answer`. */
  keep(verdict: Yes, answer: LaneAnswer, from?: object): LaneAnswer
}

interface KeptAnswer extends Kept {
  answer: LaneAnswer
  from: object | undefined
}

/**
 * Answers hang on the verdicts themselves: a map beside a hundred thousand of them would take 80 bytes
 * for each, and a look-up in memory that nothing else has touched.
 */
export function keptAnswers(): KeptAnswers {
  const by = {}

  function find({ kept }: Yes): KeptAnswer | undefined {
    while (kept !== undefined && kept.by !== by) kept = kept.next
    return kept as KeptAnswer | undefined
  }

  return {
    of(verdict, from) {
      const known = find(verdict)
      return known?.from === from ? known?.answer : undefined
    },
    keep(verdict, answer, from) {
      const known = find(verdict)
      if (known === undefined) {
        const kept: KeptAnswer = { answer, from, by, next: verdict.kept }
        verdict.kept = kept
      } else {
        known.answer = answer
        known.from = from
      }
      return answer
    },
  }
}
