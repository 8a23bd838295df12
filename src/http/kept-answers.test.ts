import { expect, it } from 'vitest'
import type { Principal } from '../core/rights.ts'
import type { Yes } from '../core/tokens/verdict.ts'
import { keptAnswers } from './kept-answers.ts'
import { laneAnswer } from './lane.ts'

it('keeps one answer of each route with a verdict', () => {
  const verdict: Yes = { active: true, principal: {} as Principal }
  const [verify, introspect] = [keptAnswers(), keptAnswers()]
  expect(verify.of(verdict)).toBeUndefined()
  const first = verify.keep(verdict, laneAnswer(200, { active: true }))
  expect(introspect.of(verdict)).toBeUndefined()
  introspect.keep(verdict, laneAnswer(200, { sub: 'alice' }))
  expect(verify.of(verdict)).toBe(first)
  expect(introspect.of(verdict)?.json).toBe('{"sub":"alice"}')
  // Of two who asked at once, the first decides.
  expect(verify.keep(verdict, laneAnswer(200, {}))).toBe(first)
})
