import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MODES, type NamedMembership } from '../../core/groups/group.ts'
import type { GroupId, TokenId, UserId } from '../../core/id.ts'
import type { HeldGroup, Rights } from '../../core/rights.ts'
import { UNLIMITED } from '../../core/tokens/token.ts'
import { userInfoClaim } from './access-token.ts'
import {
  groupFull,
  groupWish,
  memberWish,
  principalInfo,
  refreshTokenInfo,
  serviceWish,
  tokenResponse,
  userInfo,
} from './map.ts'

const name = fc.string({ minLength: 1, unit: 'grapheme' })
const mode = fc.constantFrom(...MODES)
const instant = fc.integer({ min: 0, max: Date.UTC(2100, 0, 1) })
const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined })

const memberships: fc.Arbitrary<NamedMembership[]> = fc.array(
  fc.record({
    userId: fc.uuid() as fc.Arbitrary<string> as fc.Arbitrary<UserId>,
    groupId: fc.uuid() as fc.Arbitrary<string> as fc.Arbitrary<GroupId>,
    username: name,
    groupName: name,
    groupDescription: fc.string(),
    mode,
  }),
  { maxLength: 5 },
)

/** What the generated clients refuse: nulls, and members that are there without a value. */
function mustBeClean(value: unknown): void {
  expect(value).not.toBeNull()
  expect(value).not.toBeUndefined()
  if (typeof value === 'object' && value !== null) Object.values(value).forEach(mustBeClean)
}

describe('users', () => {
  it('come back as the wishes that made them', () => {
    const user = fc.record({ username: name, globalRole: fc.constantFrom('ADMIN', 'USER') })
    fc.assert(
      fc.property(user, memberships, (user, held) => {
        const wire = userInfo(user, held)
        mustBeClean(wire)
        expect([wire.userId, wire.globalRole]).toEqual([user.username, user.globalRole])
        expect(wire.groups.map(groupWish)).toEqual(
          held.map(({ groupName, groupDescription, mode }) => ({
            name: groupName,
            description: groupDescription || undefined,
            mode,
          })),
        )
      }),
    )
  })
})

describe('groups', () => {
  it('come back as the wishes that made them', () => {
    const group = fc.record({ name, description: fc.string() })
    fc.assert(
      fc.property(group, memberships, (group, members) => {
        const wire = groupFull(group, members)
        mustBeClean(wire)
        expect([wire.groupId, wire.description ?? '']).toEqual([group.name, group.description])
        expect(wire.users.map(memberWish)).toEqual(
          members.map(({ username, mode }) => ({ username, mode })),
        )
      }),
    )
  })

  it('count a mode that is left out as READ', () => {
    expect(groupWish({ groupId: 'g' }).mode).toBe('READ')
    expect(memberWish({ userId: 'u' }).mode).toBe('READ')
  })
})

const heldGroups: fc.Arbitrary<HeldGroup[]> = memberships.map((held) =>
  held.map(({ groupId: id, groupName, groupDescription: description, mode }) => ({
    id,
    name: groupName,
    description,
    mode,
  })),
)

describe('refresh tokens', () => {
  it('come back as the wishes that made them', () => {
    const token = fc.record({
      id: fc.uuid() as fc.Arbitrary<string> as fc.Arbitrary<TokenId>,
      name: optional(name),
      expiresAtMs: optional(instant),
      limits: fc.constant(UNLIMITED),
    })
    fc.assert(
      fc.property(token, heldGroups, (token, groups) => {
        const wire = refreshTokenInfo({ token, groups })
        mustBeClean(wire)
        expect(wire.tokenId).toBe(token.id)
        const { tokenId: _, ...rest } = wire
        expect(serviceWish({ tokenName: '', ...rest })).toEqual({
          name: token.name ?? '',
          expires: token.expiresAtMs ?? 'default',
          groups: groups.map(({ name, mode }) => ({ name, mode })),
        })
      }),
    )
  })

  it('say when they end, or nothing when they do not', () => {
    expect(tokenResponse('t', 0)).toEqual({ token: 't', expiresAt: '1970-01-01T00:00:00.000Z' })
    expect(tokenResponse('t', undefined)).toEqual({ token: 't' })
  })
})

describe('a principal', () => {
  const info = (change: Partial<Rights>, groups: HeldGroup[] = []) =>
    principalInfo({
      user: { username: 'alice' },
      rights: {
        accessLevel: 'FULL_ACCESS',
        admin: false,
        roles: new Set(),
        scopes: new Set(),
        groups: new Map(groups.map((group) => [group.id, group])),
        ...change,
      },
    })

  it('is ADMIN only with the right and with FULL_ACCESS', () => {
    expect(info({ admin: true }).globalRole).toBe('ADMIN')
    expect(info({ admin: false }).globalRole).toBe('USER')
    expect(info({ admin: true, accessLevel: 'READ_ONLY' }).globalRole).toBe('USER')
  })

  it('reaches its groups, and with READ_ONLY no further than READ', () => {
    fc.assert(
      fc.property(heldGroups, (groups) => {
        const full = info({}, groups).groups
        expect(full.map(({ mode }) => mode)).toEqual(groups.map(({ mode }) => mode))
        const readOnly = info({ accessLevel: 'READ_ONLY' }, groups).groups
        expect(readOnly).toEqual(full.map((group) => ({ ...group, mode: 'READ' })))
      }),
    )
  })

  it('comes back out of the claim of its access token', () => {
    fc.assert(
      fc.property(heldGroups, (groups) => {
        const wire = info({}, groups)
        const decoded = JSON.parse(userInfoClaim(wire))
        expect(decoded).toEqual(wire)
        expect(decoded.groups).toBeInstanceOf(Array)
      }),
    )
  })
})
