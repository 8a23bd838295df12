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
})

it('keeps no answer beyond what else it was made from', () => {
  const verdict: Yes = { active: true, principal: {} as Principal }
  const kept = keptAnswers()
  const [client, edited] = [{ name: 'portal' }, { name: 'portal' }]
  const first = kept.keep(verdict, laneAnswer(200, { client_id: 'portal' }), client)
  expect(kept.of(verdict, client)).toBe(first)
  expect(kept.of(verdict, edited)).toBeUndefined()
  const second = kept.keep(verdict, laneAnswer(200, { client_id: 'portal' }), edited)
  expect(kept.of(verdict, edited)).toBe(second)
  expect(kept.of(verdict, client)).toBeUndefined()
})
