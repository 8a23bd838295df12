import fc from 'fast-check'
import { Value } from 'typebox/value'
import { describe, expect, it } from 'vitest'
import { CoreError } from '../../core/errors.ts'
import type { TokenId, UserId } from '../../core/id.ts'
import { cursorsFor, type Position } from '../../core/page.ts'
import type { Token as CoreToken } from '../../core/tokens/token.ts'
import { filterOf, idOf, pageOut, pageSizeOf, positionOf, tokenOut } from './map.ts'
import { PaginatedTokensList, Token } from './wire.ts'

const cursors = cursorsFor(Buffer.alloc(32, 1), 'opal')
const instants = fc.integer({ min: 0, max: Date.UTC(2200, 0, 1) })
const perhaps = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined })

const tokens: fc.Arbitrary<CoreToken> = fc
  .record({
    id: fc.uuid(),
    ownerId: fc.uuid(),
    creatorId: fc.uuid(),
    name: perhaps(fc.string()),
    createdAtMs: instants,
    lastUsedAtMs: perhaps(instants),
    expiresAtMs: perhaps(instants),
    accessLevel: fc.constantFrom('READ_ONLY' as const, 'FULL_ACCESS' as const),
  })
  .map(({ id, ownerId, creatorId, accessLevel, ...fields }) => ({
    ...fields,
    id: id as TokenId,
    familyId: id as TokenId,
    ownerId: ownerId as UserId,
    creatorId: creatorId as UserId,
    serial: 1,
    kind: 'api',
    description: 'hidden',
    via: 'xms',
    format: 'hex',
    preview: '…hidden',
    limits: { accessLevel, roles: null, groups: null, scopes: null, allowedIps: null },
    metadata: { hidden: true },
    parentId: undefined,
    updatedAtMs: 0,
    idleSeconds: undefined,
    revokedAtMs: undefined,
    revokedBy: undefined,
    revokeReason: undefined,
    supersededAtMs: undefined,
    supersededBy: undefined,
    overlapEndsAtMs: undefined,
    lastUsedVia: undefined,
    lastUsedAgent: undefined,
    quarantinedAtMs: undefined,
    quarantinedBy: undefined,
    quarantineReason: undefined,
    lastUsedIp: undefined,
    useCount: 0,
    oauth: undefined,
  }))

const positions: fc.Arbitrary<Position> = fc.record({
  at: instants,
  id: fc.uuid(),
  direction: fc.constantFrom('after' as const, 'before' as const),
})

const refused = (read: () => unknown) =>
  expect(read).toThrow(expect.objectContaining({ code: 'invalid_input' }))

it('a token comes out whole, in the shape of the wire, and without anything else', () => {
  const msOf = (text: string | null) => (text === null ? undefined : Date.parse(text))
  fc.assert(
    fc.property(tokens, (token) => {
      const out = tokenOut(token)
      expect(Value.Check(Token, out)).toBe(true)
      expect(Object.keys(out).sort()).toEqual(Object.keys(Token.properties).sort())
      expect({
        id: out.token_id,
        ownerId: out.user_id,
        creatorId: out.creator_user_id,
        name: out.token_label,
        accessLevel: out.access_level,
        createdAtMs: msOf(out.created_at),
        lastUsedAtMs: msOf(out.last_used_at),
        expiresAtMs: msOf(out.expires_at),
      }).toEqual({
        id: token.id,
        ownerId: token.ownerId,
        creatorId: token.creatorId,
        name: token.name ?? '',
        accessLevel: token.limits.accessLevel,
        createdAtMs: token.createdAtMs,
        lastUsedAtMs: token.lastUsedAtMs,
        expiresAtMs: token.expiresAtMs,
      })
    }),
  )
})

describe('a page', () => {
  it('has both cursors, and there and back is the same', () => {
    fc.assert(
      fc.property(perhaps(positions), perhaps(positions), (next, previous) => {
        const out = pageOut({ items: [], next, previous }, cursors)
        expect(Value.Check(PaginatedTokensList, out)).toBe(true)
        const read = (cursor: string | null) =>
          cursor === null ? undefined : positionOf({ cursor }, cursors)
        expect(read(out.next)).toEqual(next)
        expect(read(out.previous)).toEqual(previous)
      }),
    )
  })

  it('has cursors that survive a URL as they are', () => {
    fc.assert(
      fc.property(positions, (position) => {
        const cursor = cursors.encode(position)
        expect(encodeURIComponent(cursor)).toBe(cursor)
      }),
    )
  })

  it('takes no cursor that this list did not give out', () => {
    const other = cursorsFor(Buffer.alloc(32, 1), 'tokens')
    fc.assert(
      fc.property(
        fc.oneof(fc.string({ minLength: 1 }), fc.base64String({ minLength: 4 })),
        (cursor) => {
          refused(() => positionOf({ cursor }, cursors))
        },
      ),
    )
    fc.assert(
      fc.property(positions, (position) => {
        refused(() => positionOf({ cursor: other.encode(position) }, cursors))
      }),
    )
    expect(positionOf({ cursor: '' }, cursors)).toBeUndefined()
  })
})

describe('the filter', () => {
  it('takes ids with commas, repeated, or both', () => {
    fc.assert(
      fc.property(fc.array(fc.array(fc.uuid(), { minLength: 1 })), (groups) => {
        const { ids } = filterOf({ token_ids: groups.map((group) => group.join(',')) })
        expect(ids ?? []).toEqual(groups.flat())
      }),
    )
    expect(filterOf({ token_ids: '' }).ids).toBeUndefined()
    expect(filterOf({ token_ids: ['', ''] }).ids).toBeUndefined()
  })

  it('refuses every text that is no UUID', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        refused(() => idOf(text, 'user_id'))
        refused(() => filterOf({ user_id: text }))
      }),
    )
    refused(() => filterOf({ token_ids: ',' }))
    refused(() => filterOf({ token_ids: '29827fb8f2dd4e80957628e31e9934ac' }))
  })

  it('takes a UUID in any case', () => {
    fc.assert(
      fc.property(fc.uuid(), (id) => {
        expect(idOf(id.toUpperCase(), 'id')).toBe(id)
      }),
    )
  })
})

it('a page has 1 to 1000 rows', () => {
  expect(pageSizeOf({})).toBe(200)
  fc.assert(
    fc.property(fc.integer({ min: -10, max: 100_000 }), (size) => {
      const read = () => pageSizeOf({ page_size: String(size) })
      if (size >= 1 && size <= 1000) expect(read()).toBe(size)
      else expect(read).toThrow(CoreError)
    }),
  )
  for (const page_size of ['', 'x', '1.5', ' 1', '0x10', '1e2']) {
    refused(() => pageSizeOf({ page_size }))
  }
})
