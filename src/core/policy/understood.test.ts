import { expect, it } from 'vitest'
import { DEFAULT_POLICY } from './policy.ts'
import { LAX } from './rule.ts'
import { understoodPolicy } from './understood.ts'

const rule = { ...LAX, name: 'ci', kinds: ['api'], rate: { requests: 1, windowSeconds: 1 } }
/** As the database has it. */
const stored = (policy: unknown) => JSON.parse(JSON.stringify(policy)) as Record<string, unknown>
const rulesOf = (policy: unknown) => understoodPolicy(stored(policy)).tokenRules ?? []

it('what this release writes it understands', () => {
  const policy = { ...DEFAULT_POLICY, maxTokenTtlSeconds: 60, tokenRules: [rule] }
  expect(understoodPolicy(stored(policy))).toEqual(
    Object.fromEntries(Object.entries(policy).filter(([, value]) => value !== undefined)),
  )
  expect(understoodPolicy({})).toEqual({})
  expect(understoodPolicy({ maxTokenTtlSeconds: null })).toEqual({ maxTokenTtlSeconds: undefined })
})

it('what it knows of and a rule of an older release does not say, says nothing', () => {
  const { noticeSeconds: _, ...older } = rule
  expect(rulesOf({ tokenRules: [older] })).toEqual([rule])
})

it('a newer release may add settings, and to rules what says nothing', () => {
  expect(
    rulesOf({ colour: 'red', mustKnow: [], tokenRules: [{ ...rule, weekdays: null }] }),
  ).toEqual([{ ...rule, weekdays: null }])
})

it.each([
  ['an addition', { weekdays: ['mon'] }],
  ['an addition that is false', { mayBeShared: false }],
  ['a word', { mustKnow: ['weekdays'] }],
  ['an addition to a rate', { rate: { requests: 1, windowSeconds: 1, burst: 5 } }],
  ['another shape of a number', { maxTtlSeconds: { api: 60 } }],
  ['addresses of another kind', { allowedIps: ['asn:64496'] }],
  ['creators without a name here', { createdBy: 'owners' }],
  ['another shape of scopes', { scopes: { not: ['admin'] } }],
  ['something that is no more there', { requiresDescription: null }],
])('%s makes a rule unclear, which keeps its name and what it applies to', (_, more) => {
  expect(rulesOf({ tokenRules: [{ ...rule, ...more }] })).toMatchObject([
    { name: 'ci', kinds: ['api'], groups: null, isUnclear: true },
  ])
})

it('an unclear rule of which it is not clear to what it applies applies to everything', () => {
  expect(rulesOf({ tokenRules: [{ ...rule, kinds: { not: ['session'] } }] })).toMatchObject([
    { name: 'ci', kinds: null, groups: null, isUnclear: true },
  ])
})

it.each([
  ['a word for the whole policy', { mustKnow: ['two-persons'] }],
  ['words of another shape', { mustKnow: 'two-persons' }],
  ['another shape of a setting', { maxTokenTtlSeconds: { api: 60 } }],
  ['another shape of the rules', { tokenRules: { ci: rule } }],
  ['another shape of a rule', { tokenRules: ['ci'] }],
])('%s counts as a rule for every token that is unclear', (_, policy) => {
  expect(rulesOf(policy)).toMatchObject([{ kinds: null, groups: null, isUnclear: true }])
})

it('what else might be done with a leaked token is the default here', () => {
  expect(understoodPolicy({ leakAction: 'rotate' })).toEqual({})
})
