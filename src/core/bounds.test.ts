import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { aGroupId, anOwner, aPrincipal, aToken, aUser } from '../../test/support/fixtures.ts'
import {
  boundExpiry,
  checkAddressRanges,
  inheritLimits,
  mustBeHeldBy,
  mustBeWithin,
} from './bounds.ts'
import { CoreError } from './errors.ts'
import { MODES, type Mode, modeCovers } from './groups/group.ts'
import type { GroupId, TokenId } from './id.ts'
import { addressTest } from './ip.ts'
import {
  effectiveRights,
  type HeldGroup,
  hasGroup,
  hasScope,
  type Owner,
  type Rights,
} from './rights.ts'
import { ADMIN_ROLE } from './roles/role.ts'
import { type Limits, UNLIMITED } from './tokens/token.ts'

const ROLES = ['deployer', 'auditor', 'verifier']
const SCOPES = ['a', 'b', 'b:read', '*']
const GROUPS = ['g1', 'g2', 'g3'].map(aGroupId)
const RANGES = ['0.0.0.0/0', '10.0.0.0/8', '10.1.0.0/16', '10.1.2.3/32', '::/0', '2001:db8::/32']
const ADDRESSES = ['10.1.2.3', '10.1.9.9', '10.9.9.9', '11.1.1.1', '2001:db8::1', '::1', '']

const mode = fc.constantFrom<Mode>(...MODES)
const subset = <T>(all: readonly T[]) => fc.subarray([...all])
const orNull = <T>(list: fc.Arbitrary<T[]>) => fc.option(list, { freq: 3, nil: null })

const groupLimits = (ids: readonly GroupId[]) =>
  subset(ids).chain((chosen) =>
    fc.tuple(...chosen.map((id) => mode.map((m) => ({ id, mode: m })))).map((list) => [...list]),
  )

const limits: fc.Arbitrary<Limits> = fc.record({
  accessLevel: fc.constantFrom('READ_ONLY', 'FULL_ACCESS'),
  roles: orNull(subset([...ROLES, ADMIN_ROLE, 'unknown'])),
  groups: orNull(groupLimits([...GROUPS, aGroupId('unknown')])),
  scopes: orNull(subset([...SCOPES, 'unknown'])),
  allowedIps: orNull(subset(RANGES)),
})

const owner: fc.Arbitrary<Owner> = fc
  .record({
    isAdmin: fc.boolean(),
    roles: subset(ROLES),
    groups: groupLimits(GROUPS),
    scopes: subset(SCOPES),
  })
  .map(({ isAdmin, roles, groups, scopes }) =>
    anOwner({
      user: aUser({ globalRole: isAdmin ? 'ADMIN' : 'USER' }),
      roles: new Set(isAdmin ? [...roles, ADMIN_ROLE] : roles),
      groups: new Map(groups.map((group): [GroupId, HeldGroup] => [group.id, held(group)])),
      scopes: isAdmin ? 'all' : new Set(scopes),
    }),
  )

function held(group: { id: GroupId; mode: Mode }): HeldGroup {
  return { ...group, name: `name of ${group.id}`, description: '' }
}

/** Limits that are often within `creator`, so that the property is not about refusals only. */
function childOf(creator: Limits): fc.Arbitrary<Limits> {
  const narrower = fc.record<Limits>({
    accessLevel:
      creator.accessLevel === 'READ_ONLY'
        ? fc.constant('READ_ONLY')
        : fc.constantFrom('READ_ONLY', 'FULL_ACCESS'),
    roles: orNull(subset(creator.roles ?? ROLES)),
    groups: orNull(
      creator.groups === null
        ? groupLimits(GROUPS)
        : subset(creator.groups).map((list) => list.map((group) => ({ ...group, mode: 'READ' }))),
    ),
    scopes: orNull(subset(creator.scopes ?? SCOPES)),
    allowedIps: orNull(subset(creator.allowedIps ?? RANGES)),
  })
  return fc.oneof({ weight: 3, arbitrary: narrower }, { weight: 1, arbitrary: limits })
}

function isWithin(inner: Rights, outer: Rights): boolean {
  const groups = [...inner.groups.values()].every(({ id, mode: m }) => hasGroup(outer, id, m))
  const scopes =
    inner.scopes === 'all'
      ? outer.scopes === 'all'
      : [...inner.scopes].every((scope) => hasScope(outer, scope))
  return (
    (inner.accessLevel === 'READ_ONLY' || outer.accessLevel === 'FULL_ACCESS') &&
    (!inner.admin || outer.admin) &&
    [...inner.roles].every((role) => outer.roles.has(role)) &&
    groups &&
    scopes
  )
}

/** As issuing does it: the limits that the child gets, or undefined when it is refused. */
function accepted(wanted: Limits, creator: Limits, of: Owner): Limits | undefined {
  try {
    const child = inheritLimits(wanted, creator)
    mustBeWithin(child, creator)
    mustBeHeldBy(of, wanted)
    return child
  } catch (error) {
    if (error instanceof CoreError && error.code === 'beyond_rights') return undefined
    throw error
  }
}

describe('effective rights', () => {
  it('are never more than the owner’s', () => {
    fc.assert(
      fc.property(owner, limits, (of, its) => {
        expect(isWithin(effectiveRights(of, its), effectiveRights(of, UNLIMITED))).toBe(true)
      }),
      { numRuns: 2000 },
    )
  })

  it('are never more than the token’s limits', () => {
    fc.assert(
      fc.property(owner, limits, (of, its) => {
        const rights = effectiveRights(of, its)
        expect(rights.accessLevel).toBe(its.accessLevel)
        if (its.roles !== null) expect(its.roles).toEqual(expect.arrayContaining([...rights.roles]))
        if (its.roles !== null && !its.roles.includes(ADMIN_ROLE)) expect(rights.admin).toBe(false)
        if (its.scopes !== null) expect(rights.scopes).not.toBe('all')
        for (const scope of rights.scopes === 'all' ? [] : rights.scopes) {
          expect(its.scopes?.includes(scope) ?? true).toBe(true)
        }
        for (const group of rights.groups.values()) {
          const limit = its.groups?.find(({ id }) => id === group.id)
          if (its.groups !== null) expect(limit && modeCovers(limit.mode, group.mode)).toBe(true)
        }
      }),
      { numRuns: 2000 },
    )
  })

  it('of an unlimited token are the owner’s own', () => {
    fc.assert(
      fc.property(owner, (of) => {
        const rights = effectiveRights(of, UNLIMITED)
        expect([rights.roles, rights.groups, rights.scopes]).toEqual([
          of.roles,
          of.groups,
          of.scopes,
        ])
      }),
    )
  })

  it('make an admin only of a role and a rank together', () => {
    const admin = anOwner({ user: aUser({ globalRole: 'ADMIN' }) })
    const limited = (roles: string[] | null) => ({ ...UNLIMITED, roles })
    expect(effectiveRights(admin, limited(null)).admin).toBe(true)
    expect(effectiveRights(admin, limited(['admin'])).admin).toBe(true)
    expect(effectiveRights(admin, limited([])).admin).toBe(false)
    expect(effectiveRights(admin, limited(['ADMIN', '*', 'admin '])).admin).toBe(false)
    // A role named admin that somebody wrote into the database makes nobody one.
    const forged = anOwner({ roles: new Set(['admin']) })
    expect(effectiveRights(forged, limited(null)).admin).toBe(false)
  })

  it('reach a group by its id or its exact name', () => {
    const group = held({ id: aGroupId('g1'), mode: 'WRITE' })
    const rights = effectiveRights(anOwner({ groups: new Map([[group.id, group]]) }), UNLIMITED)
    expect(hasGroup(rights, 'g1', 'READ')).toBe(true)
    expect(hasGroup(rights, 'name of g1', 'WRITE')).toBe(true)
    expect(hasGroup(rights, 'g1', 'ADMIN')).toBe(false)
    for (const other of ['G1', 'Name of g1', 'name of g', '*', '%', '']) {
      expect(hasGroup(rights, other, 'READ'), other).toBe(false)
    }
  })
})

describe('nobody mints beyond himself', () => {
  it('a child has no right that its creator lacks, whatever the owner gains or loses later', () => {
    let children = 0
    fc.assert(
      fc.property(
        limits.chain((creator) => fc.tuple(fc.constant(creator), childOf(creator))),
        owner,
        owner,
        ([creator, wanted], now, later) => {
          const child = accepted(wanted, creator, now)
          if (child === undefined) return
          children++
          for (const of of [now, later]) {
            expect(isWithin(effectiveRights(of, child), effectiveRights(of, creator))).toBe(true)
          }
        },
      ),
      { numRuns: 10_000 },
    )
    expect(children).toBeGreaterThan(1500)
  })

  it('nor may it be used from where its creator may not', () => {
    fc.assert(
      fc.property(
        limits.chain((creator) => fc.tuple(fc.constant(creator), childOf(creator))),
        owner,
        ([creator, wanted], of) => {
          const child = accepted(wanted, creator, of)
          if (child === undefined || creator.allowedIps === null) return
          expect(child.allowedIps).not.toBeNull()
          for (const address of ADDRESSES) {
            if (addressTest(child.allowedIps ?? [])(address)) {
              expect(addressTest(creator.allowedIps)(address), address).toBe(true)
            }
          }
        },
      ),
      { numRuns: 3000 },
    )
  })

  it('nor does a child of a child', () => {
    const lineage = limits.chain((first) =>
      childOf(first).chain((second) =>
        fc.tuple(fc.constant(first), fc.constant(second), childOf(inheritLimits(second, first))),
      ),
    )
    fc.assert(
      fc.property(lineage, owner, owner, ([first, second, third], now, later) => {
        const child = accepted(second, first, now)
        const grandchild = child && accepted(third, child, now)
        if (grandchild === undefined) return
        expect(isWithin(effectiveRights(later, grandchild), effectiveRights(later, first))).toBe(
          true,
        )
      }),
      { numRuns: 5000 },
    )
  })

  it('not even for somebody else: a limit that the creator has, the child has', () => {
    fc.assert(
      fc.property(
        limits.chain((creator) => fc.tuple(fc.constant(creator), childOf(creator))),
        owner,
        ([creator, wanted], other) => {
          const child = accepted(wanted, creator, other)
          if (child === undefined) return
          const rights = effectiveRights(other, child)
          if (creator.roles !== null) {
            expect([...rights.roles].every((role) => creator.roles?.includes(role))).toBe(true)
          }
          if (creator.scopes !== null) expect(rights.scopes).not.toBe('all')
          for (const group of rights.groups.values()) {
            const limit = creator.groups?.find(({ id }) => id === group.id)
            if (creator.groups !== null) {
              expect(limit && modeCovers(limit.mode, group.mode)).toBe(true)
            }
          }
        },
      ),
      { numRuns: 3000 },
    )
  })

  it.each<[string, Partial<Limits>, Partial<Limits>]>([
    ['FULL_ACCESS from READ_ONLY', { accessLevel: 'FULL_ACCESS' }, { accessLevel: 'READ_ONLY' }],
    ['another role', { roles: ['a', 'b'] }, { roles: ['a'] }],
    ['the role admin', { roles: ['admin'] }, { roles: [] }],
    ['another scope', { scopes: ['b'] }, { scopes: ['a'] }],
    ['a wildcard', { scopes: ['*'] }, { scopes: ['a'] }],
    ['every role', { roles: null }, { roles: ['a'] }],
    ['every scope', { scopes: null }, { scopes: [] }],
    ['every group', { groups: null }, { groups: [] }],
    [
      'a higher mode',
      { groups: [{ id: aGroupId('g1'), mode: 'WRITE' }] },
      { groups: [{ id: aGroupId('g1'), mode: 'READ' }] },
    ],
    ['any address', { allowedIps: null }, { allowedIps: ['10.0.0.0/8'] }],
    ['a wider range', { allowedIps: ['10.0.0.0/7'] }, { allowedIps: ['10.0.0.0/8'] }],
    [
      'two ranges of which one is wider',
      { allowedIps: ['10.1.0.0/16', '::/0'] },
      { allowedIps: ['10.0.0.0/8'] },
    ],
  ])('refuses %s', (_, wanted, creator) => {
    expect(() => mustBeWithin({ ...UNLIMITED, ...wanted }, { ...UNLIMITED, ...creator })).toThrow(
      expect.objectContaining({ code: 'beyond_rights' }),
    )
  })

  it('takes what was not asked for from the creating token', () => {
    const creator: Limits = {
      accessLevel: 'FULL_ACCESS',
      roles: ['a'],
      groups: [],
      scopes: ['s'],
      allowedIps: ['10.0.0.0/8'],
    }
    expect(inheritLimits(UNLIMITED, creator)).toEqual(creator)
    expect(inheritLimits({ ...UNLIMITED, accessLevel: 'READ_ONLY' }, creator).accessLevel).toBe(
      'READ_ONLY',
    )
  })
})

describe('what an owner does not hold', () => {
  it('cannot be put on a token', () => {
    fc.assert(
      fc.property(owner, limits, (of, wanted) => {
        const holds =
          (wanted.roles ?? []).every((role) => of.roles.has(role)) &&
          (wanted.scopes ?? []).every((s) => of.scopes === 'all' || of.scopes.has(s)) &&
          (wanted.groups ?? []).every(({ id, mode: m }) => {
            const group = of.groups.get(id)
            return group !== undefined && modeCovers(group.mode, m)
          })
        const check = () => mustBeHeldBy(of, wanted)
        if (holds) expect(check).not.toThrow()
        else expect(check).toThrow(expect.objectContaining({ code: 'beyond_rights' }))
      }),
      { numRuns: 2000 },
    )
  })
})

describe('the end of life', () => {
  const refused = expect.objectContaining({ code: 'beyond_rights' })
  const token = aToken({ expiresAtMs: 1000 })
  const login = aToken({ kind: 'session', expiresAtMs: 1000 })
  const fromToken = aToken({ kind: 'session', expiresAtMs: 1000, parentId: 'token-9' as TokenId })

  it('is never later than that of the creating token', () => {
    for (const creator of [token, fromToken]) {
      expect(boundExpiry(999, { creator, explicit: true })).toBe(999)
      expect(boundExpiry(1000, { creator, explicit: true })).toBe(1000)
      expect(boundExpiry(1001, { creator, explicit: false })).toBe(1000)
      expect(boundExpiry(undefined, { creator, explicit: false })).toBe(1000)
      expect(() => boundExpiry(1001, { creator, explicit: true })).toThrow(refused)
    }
  })

  it('is that of the overlap while the creating token is being rotated', () => {
    const creator = aToken({ expiresAtMs: 1000, supersededAtMs: 500 })
    expect(boundExpiry(undefined, { creator, explicit: false })).toBe(500)
    expect(() => boundExpiry(501, { creator, explicit: true })).toThrow(refused)
  })

  it('is free where the creating token has none or is a login of the person', () => {
    for (const creator of [aToken(), login]) {
      expect(boundExpiry(5000, { creator, explicit: true })).toBe(5000)
      expect(boundExpiry(undefined, { creator, explicit: false })).toBeUndefined()
    }
  })
})

describe('address ranges', () => {
  it('are given a length when they are one address', () => {
    expect(checkAddressRanges(['10.0.0.1', '::1', '10.0.0.0/8'])).toEqual([
      '10.0.0.1/32',
      '::1/128',
      '10.0.0.0/8',
    ])
  })

  it.each(['', 'localhost', '10.0.0.0/33', '10.0.0.1-10.0.0.9', 'fe80::1%eth0', '*'])(
    'refuse "%s"',
    (range) => {
      expect(() => checkAddressRanges([range])).toThrow(
        expect.objectContaining({ code: 'invalid_input' }),
      )
    },
  )
})

it('a principal made for tests has the rights of its owner and limits', () => {
  const admin = anOwner({ user: aUser({ globalRole: 'ADMIN' }) })
  expect(aPrincipal(admin, UNLIMITED).rights.admin).toBe(true)
})
