import fc from 'fast-check'
import { expect, it } from 'vitest'
import { aGroupId, anOwner, aPrincipal, aUser } from '../../../test/support/fixtures.ts'
import type { ClientId } from '../id.ts'
import { addressTest } from '../ip.ts'
import type { SecretKey } from '../secret.ts'
import type { CacheEntry } from './cache.ts'
import { CHECKS, firstRefusal } from './checks.ts'
import { UNLIMITED } from './token.ts'

const maybe = <T>(value: T) => fc.constantFrom(undefined, value)
const CREW = aGroupId('crew')

const entries = fc
  .record({
    active: fc.boolean(),
    revokedAtMs: maybe(5),
    supersededAtMs: maybe(5),
    expiresAtMs: fc.constantFrom(undefined, 9, 10, 11),
    idleSeconds: fc.constantFrom(undefined, 0, 1),
    allowedIps: fc.constantFrom(null, ['10.0.0.0/8']),
    oauth: maybe({}),
    audience: maybe('https://a.example.com'),
    boundKey: maybe('key'),
    roles: fc.constantFrom(null, []),
    scopes: fc.constantFrom(null, []),
    groups: fc.constantFrom(null, []),
  })
  .map(({ active, oauth, audience, boundKey, ...parts }): CacheEntry => {
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
      addresses: allowedIps === null ? undefined : addressTest(allowedIps),
      plainUntilMs: 0,
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
  expect(heard.size).toBe(CHECKS.length + 2)
})
