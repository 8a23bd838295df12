import { describe, expect, it } from 'vitest'
import { aGroupId, aToken } from '../../../test/support/fixtures.ts'
import type { TokenId } from '../id.ts'
import { narrowed, underAncestors } from './lineage.ts'
import { type Limits, stateOf, UNLIMITED } from './token.ts'

const CREW = aGroupId('crew')
const limits = (parts: Partial<Limits>): Limits => ({ ...UNLIMITED, ...parts })
const root = aToken({ id: 'root' as TokenId })
const parent = aToken({ id: 'parent' as TokenId, parentId: root.id })
const child = aToken({ id: 'child' as TokenId, parentId: parent.id })

describe('what two limits allow', () => {
  it.each<[string, Partial<Limits>, Partial<Limits>, Partial<Limits>]>([
    [
      'the level',
      { accessLevel: 'FULL_ACCESS' },
      { accessLevel: 'READ_ONLY' },
      { accessLevel: 'READ_ONLY' },
    ],
    ['roles', { roles: ['a', 'b'] }, { roles: ['b', 'c'] }, { roles: ['b'] }],
    ['roles of an open one', { roles: null }, { roles: ['b'] }, { roles: ['b'] }],
    ['scopes', { scopes: ['a'] }, { scopes: [] }, { scopes: [] }],
    [
      'the lesser mode',
      { groups: [{ id: CREW, mode: 'ADMIN' }] },
      { groups: [{ id: CREW, mode: 'READ' }] },
      { groups: [{ id: CREW, mode: 'READ' }] },
    ],
    ['no other group', { groups: [{ id: CREW, mode: 'READ' }] }, { groups: [] }, { groups: [] }],
    [
      'the narrower range',
      { allowedIps: ['10.0.0.0/8', '192.0.2.7/32'] },
      { allowedIps: ['10.1.0.0/16', '192.0.2.0/24'] },
      { allowedIps: ['10.1.0.0/16', '192.0.2.7/32'] },
    ],
    [
      'no address at all, rather than any',
      { allowedIps: ['10.0.0.0/8'] },
      { allowedIps: ['192.0.2.0/24'] },
      { allowedIps: [] },
    ],
  ])('%s', (_, own, outer, both) => {
    expect(narrowed(limits(own), limits(outer))).toEqual(limits(both))
    expect(narrowed(limits(outer), limits(own))).toEqual(limits(both))
  })
})

describe('a token under its ancestors', () => {
  it('is as it was made while they allow it', () => {
    expect(underAncestors(child, [parent, root])).toEqual(child)
  })

  it('ends with the first of them', () => {
    const ended = underAncestors({ ...child, expiresAtMs: 30 }, [
      { ...parent, expiresAtMs: 20 },
      { ...root, supersededAtMs: 10 },
    ])
    expect(ended.expiresAtMs).toBe(10)
  })

  it('is dead where one is revoked, or cannot be found', () => {
    const state = (ancestors: Parameters<typeof underAncestors>[1]) =>
      stateOf(underAncestors(child, ancestors), 1)
    expect(state([parent, root])).toBe('active')
    expect(state([parent, { ...root, revokedAtMs: 1 }])).toBe('revoked')
    expect(state([parent])).toBe('revoked')
    expect(state([])).toBe('revoked')
  })
})
