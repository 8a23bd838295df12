import fc from 'fast-check'
import { expect, it } from 'vitest'
import { aToken } from '../../../test/support/fixtures.ts'
import type { GroupId } from '../id.ts'
import { addressTest } from '../ip.ts'
import { TOKEN_KINDS, UNLIMITED } from '../tokens/token.ts'
import { DEFAULT_POLICY } from './policy.ts'
import { restrained } from './restraint.ts'
import { LAX, type TokenRule } from './rule.ts'
import { type Terms, termsFor } from './terms.ts'

const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: null })
const RANGES = ['10.0.0.0/8', '10.1.0.0/16', '10.1.2.0/24', '::/0', '::ffff:10.1.0.0/112']
const some = (values: readonly string[]) => fc.uniqueArray(fc.constantFrom(...values))

const rules: fc.Arbitrary<TokenRule> = fc
  .record({
    name: fc.uuid(),
    kinds: maybe(fc.uniqueArray(fc.constantFrom(...TOKEN_KINDS), { minLength: 1 })),
    groups: maybe(
      fc.constantFrom<string[]>(['a'], ['b'], ['a', 'c']).map((ids) => ids as GroupId[]),
    ),
    maxTtlSeconds: maybe(fc.integer({ min: 1, max: 9 })),
    defaultTtlSeconds: maybe(fc.integer({ min: 1, max: 9 })),
    idleSeconds: maybe(fc.integer({ min: 1, max: 9 })),
    requiresDescription: fc.boolean(),
    allowedIps: maybe(some(RANGES)),
    roles: maybe(some(['x', 'y', 'z'])),
    scopes: maybe(some(['r', 's'])),
    createdBy: fc.constantFrom('anyone' as const, 'group_admins' as const, 'admins' as const),
    rate: maybe(fc.record({ requests: fc.nat(9), windowSeconds: fc.nat(9) })),
  })
  .map((parts) => ({ ...LAX, ...parts }))

const subjects = fc.record({
  kind: fc.constantFrom(...TOKEN_KINDS),
  groups: fc.uniqueArray(fc.constantFrom('a', 'b', 'c')).map((ids) => new Set(ids as GroupId[])),
})

function tokenUnder(terms: Terms) {
  const { maxTtlSeconds, idleSeconds } = terms
  const token = aToken({
    expiresAtMs: 5000,
    idleSeconds: 5,
    limits: { ...UNLIMITED, roles: ['x', 'y'], allowedIps: ['10.1.0.0/16'] },
  })
  return restrained(token, {
    ...terms,
    endMs: maxTtlSeconds && { ...maxTtlSeconds, value: maxTtlSeconds.value * 1000 },
    idleSeconds,
    rates: [],
  })
}

const numberOf = (term: { value: number } | undefined) => term?.value ?? Number.POSITIVE_INFINITY
const ADDRESSES = ['10.0.0.1', '10.1.0.1', '10.1.2.1', '::ffff:10.1.2.1', '2001:db8::1']

it('no rule ever widens, wherever in the list it stands', () => {
  fc.assert(
    fc.property(
      fc.array(rules, { maxLength: 5 }),
      rules,
      fc.nat(5),
      subjects,
      (some, added, at, subject) => {
        const under = (tokenRules: TokenRule[]) =>
          termsFor({ ...DEFAULT_POLICY, maxTokenTtlSeconds: 6, tokenRules }, subject)
        const before = under(some)
        const after = under(some.toSpliced(at, 0, added))
        for (const name of ['maxTtlSeconds', 'defaultTtlSeconds', 'idleSeconds'] as const) {
          expect(numberOf(after[name])).toBeLessThanOrEqual(numberOf(before[name]))
        }
        for (const name of ['allowedIps', 'roles', 'scopes', 'creators', 'rates'] as const) {
          expect(after[name]).toEqual(expect.arrayContaining([...before[name]]))
        }
        if (before.description !== undefined) expect(after.description).toBeDefined()

        const [wide, narrow] = [tokenUnder(before), tokenUnder(after)]
        expect(narrow.expiresAtMs).toBeLessThanOrEqual(Number(wide.expiresAtMs))
        expect(narrow.idleSeconds).toBeLessThanOrEqual(Number(wide.idleSeconds))
        expect(wide.limits.roles).toEqual(expect.arrayContaining([...(narrow.limits.roles ?? [])]))
        if (wide.limits.scopes !== null) {
          expect(wide.limits.scopes).toEqual(
            expect.arrayContaining([...(narrow.limits.scopes ?? ['everything'])]),
          )
        }
        for (const address of ADDRESSES) {
          const passes = addressTest(narrow.limits.allowedIps ?? [])(address)
          if (!passes) continue
          expect(addressTest(wide.limits.allowedIps ?? [])(address)).toBe(true)
          for (const { value } of after.allowedIps) expect(addressTest(value)(address)).toBe(true)
        }
      },
    ),
    { numRuns: 2000 },
  )
})
