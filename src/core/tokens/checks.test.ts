import fc from 'fast-check'
import { expect, it } from 'vitest'
import { aGroupId, anOwner, aPrincipal, aUser } from '../../../test/support/fixtures.ts'
import type { ClientId } from '../id.ts'
import { addressTest } from '../ip.ts'
import type { Budget } from '../policy/rate.ts'
import type { SecretKey } from '../secret.ts'
import type { CacheEntry, PolicyHold } from './cache.ts'
import { CHECKS, firstRefusal } from './checks.ts'
import { UNLIMITED } from './token.ts'

const maybe = <T>(value: T) => fc.constantFrom(undefined, value)
const CREW = aGroupId('crew')

const aTerm = <T>(value: T) => ({ value, rule: 'rule' })

function aHold(parts: {
  endMs: number | undefined
  idleSeconds: number | undefined
  ranges: readonly string[] | undefined
}): PolicyHold {
  const { endMs, idleSeconds, ranges } = parts
  return {
    endMs: endMs === undefined ? undefined : aTerm(endMs),
    idleSeconds: idleSeconds === undefined ? undefined : aTerm(idleSeconds),
    addresses: ranges && addressTest(ranges),
    description: undefined,
    allowedIps: [],
    roles: [],
    scopes: [],
    rates: [],
    noticeSeconds: [],
    unclear: undefined,
  }
}

const spentBudget: Budget = {
  rates: [],
  refusal: () => ({ rate: aTerm({ requests: 1, windowSeconds: 1 }), waitMs: 1 }),
  take: () => false,
  refill: async () => undefined,
}

/** Rare enough that the last checks are reached, too. */
const rarely = <T>(value: T) => fc.constantFrom(undefined, undefined, undefined, undefined, value)

const entries = fc
  .record({
    active: rarely(false).map((active) => active ?? true),
    revokedAtMs: rarely(5),
    supersededAtMs: rarely(5),
    quarantinedAtMs: rarely(5),
    expiresAtMs: fc.constantFrom(undefined, 9, 10, 11),
    idleSeconds: fc.constantFrom(undefined, 0, 1),
    allowedIps: fc.constantFrom(null, ['10.0.0.0/8']),
    oauth: maybe({}),
    audience: maybe('https://a.example.com'),
    boundKey: maybe('key'),
    roles: fc.constantFrom(null, []),
    scopes: fc.constantFrom(null, []),
    groups: fc.constantFrom(null, []),
    policyEnds: fc.option(
      fc.record({
        endMs: fc.constantFrom(undefined, 10, 11),
        idleSeconds: fc.constantFrom(undefined, 0, 1),
        ranges: fc.constantFrom(undefined, ['10.0.0.0/9']),
      }),
      { nil: undefined },
    ),
    isSpent: fc.boolean(),
  })
  .map(({ active, oauth, audience, boundKey, policyEnds, isSpent, ...parts }): CacheEntry => {
    const owner = anOwner({
      user: aUser({ active }),
      roles: new Set(['deployer']),
      scopes: new Set(['deploy']),
      groups: new Map([[CREW, { id: CREW, name: 'crew', description: '', mode: 'WRITE' }]]),
    })
    const { allowedIps, roles, scopes, groups, ...token } = parts
    const principal = aPrincipal(
      owner,
      { ...UNLIMITED, allowedIps, roles, scopes, groups },
      { ...token, oauth: oauth && { clientId: 'client' as ClientId, audience, boundKey } },
    )
    return {
      key: 'key' as SecretKey,
      principal,
      saved: principal.token,
      addresses: allowedIps === null ? undefined : addressTest(allowedIps),
      policy: policyEnds === undefined ? undefined : aHold(policyEnds),
      budget: isSpent ? spentBudget : undefined,
      plainUntilMs: 0,
      use: undefined,
      active: { active: true, principal },
      lastUsedAtMs: 10,
    }
  })

const demands = fc.record(
  {
    role: fc.constantFrom('deployer', 'other'),
    scope: fc.constantFrom('deploy', 'other'),
    group: fc.constantFrom('crew', 'other'),
    mode: fc.constantFrom('READ' as const, 'ADMIN' as const),
    ip: fc.constantFrom('10.0.0.1', '192.0.2.1'),
    audience: fc.constantFrom('https://a.example.com', 'https://b.example.com'),
    boundKey: fc.constantFrom('key', 'other'),
    ignoresBinding: fc.boolean(),
  },
  { requiredKeys: [] },
)

it('the verdict is the first refusal of the list of checks', () => {
  const heard = new Set<unknown>()
  fc.assert(
    fc.property(entries, demands, (entry, demand) => {
      const each = CHECKS.map(([, refusalOf]) => refusalOf(entry, demand, 10))
      const first = each.find((refusal) => refusal !== undefined)
      heard.add(first)
      expect(firstRefusal(entry, demand, 10)).toBe(first)
    }),
    { numRuns: 20_000 },
  )
  // Or the property would be held by whoever refuses everything early.
  expect(heard.size).toBe(CHECKS.length + 1)
})
