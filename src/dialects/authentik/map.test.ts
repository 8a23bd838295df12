import fc from 'fast-check'
import { Value } from 'typebox/value'
import { describe, expect, it } from 'vitest'
import { aToken, aUser } from '../../../test/support/fixtures.ts'
import type { Client } from '../../core/clients/client.ts'
import type { ClientId, GroupId, UserId } from '../../core/id.ts'
import type { ClientToken } from '../../core/tokens/oauth-read.ts'
import { ACCESS_TOKENS, AUTHORIZATION_CODES, REFRESH_TOKENS } from './families.ts'
import {
  grantOut,
  instant,
  lastOf,
  orderOf,
  paginationOut,
  serialOf,
  sheetOf,
  tokenOut,
} from './map.ts'
import { ExpiringBaseGrantModel, TokenModel } from './wire.ts'

const client: Client = {
  id: '01b8dac5-b400-7000-8000-000000000007' as ClientId,
  serial: 7,
  clientId: 'app',
  name: 'App',
  type: 'confidential',
  secretPreview: 'mm_client_…abcd',
  jwks: undefined,
  redirectUris: ['https://app.example.com/a', 'https://app.example.com/b'],
  postLogoutRedirectUris: [],
  grants: ['authorization_code'],
  scopes: ['openid'],
  resources: [],
  serves: [],
  codeTtl: 'minutes=1',
  accessTokenTtl: 'minutes=10',
  refreshTokenTtl: 'days=30',
  subjectMode: 'user_email',
  signingAlgorithm: 'RS256',
  requirePkce: true,
  applicationSlug: undefined,
  applicationName: undefined,
  serviceUserId: '01b8dac5-b400-7000-8000-000000000009' as UserId,
  active: true,
  createdAtMs: 0,
  updatedAtMs: 0,
}

const instants = fc.integer({ min: 0, max: Date.UTC(2200, 0, 1) })
const perhaps = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined })

const shown: fc.Arbitrary<ClientToken> = fc
  .record({
    serial: fc.integer({ min: 1, max: 2 ** 31 - 1 }),
    ownerId: fc.uuid(),
    email: perhaps(fc.emailAddress()),
    displayName: fc.string(),
    isAdmin: fc.boolean(),
    expiresAtMs: perhaps(instants),
    supersededAtMs: perhaps(instants),
    lastLoginAtMs: perhaps(instants),
    scopes: fc.option(fc.array(fc.string({ minLength: 1 }))),
    idClaims: fc.dictionary(fc.string(), fc.jsonValue()),
    attributes: fc.dictionary(fc.string(), fc.jsonValue()),
    groupIds: fc.array(fc.uuid()),
    parentName: perhaps(fc.string()),
  })
  .map((parts) => ({
    token: aToken({
      serial: parts.serial,
      kind: 'oauth_refresh',
      preview: '…hidden',
      metadata: { hidden: true },
      expiresAtMs: parts.expiresAtMs,
      supersededAtMs: parts.supersededAtMs,
      limits: {
        accessLevel: 'FULL_ACCESS',
        roles: null,
        groups: null,
        scopes: parts.scopes,
        allowedIps: null,
      },
    }),
    client,
    owner: aUser({
      id: parts.ownerId as UserId,
      displayName: parts.displayName,
      email: parts.email,
      globalRole: parts.isAdmin ? 'ADMIN' : 'USER',
      lastLoginAtMs: parts.lastLoginAtMs,
      attributes: parts.attributes,
    }),
    ownerHash: 'f'.repeat(64),
    groups: parts.groupIds.map((id, index) => ({
      userId: parts.ownerId as UserId,
      group: {
        id: id as GroupId,
        serial: index + 1,
        name: `group ${index}`,
        description: 'hidden',
        parentId: id as GroupId,
        createdAtMs: 0,
        updatedAtMs: 0,
      },
      parentName: parts.parentName,
    })),
    idClaims: parts.idClaims,
  }))

it('a token comes out whole, in the shape of the wire, and without anything else', () => {
  fc.assert(
    fc.property(shown, instants, (each, nowMs) => {
      const out = tokenOut(each, nowMs)
      expect(Value.Check(TokenModel, out)).toBe(true)
      expect(Object.keys(out).sort()).toEqual(Object.keys(TokenModel.properties).sort())
      expect(out.expires === null ? undefined : Date.parse(out.expires)).toBe(
        each.token.expiresAtMs,
      )
      expect(out.revoked).toBe(each.token.supersededAtMs !== undefined)
      expect(out.is_expired).toBe((each.token.expiresAtMs ?? Number.POSITIVE_INFINITY) <= nowMs)
      expect(out.scope).toEqual(each.token.limits.scopes ?? [])
      expect(out.user.groups).toEqual(out.user.groups_obj.map(({ pk }) => pk))
      expect(JSON.stringify(out)).not.toContain('hidden')
    }),
  )
})

it('a code is a token without id_token and revoked', () => {
  fc.assert(
    fc.property(shown, (each) => {
      const { id_token: _, revoked: __, ...rest } = tokenOut(each, 0)
      expect(grantOut(each, 0)).toEqual(rest)
      expect(Value.Check(ExpiringBaseGrantModel, rest)).toBe(true)
    }),
  )
})

it('the id_token is JSON in a text, four spaces deep, without the claims that are null', () => {
  fc.assert(
    fc.property(shown, (each) => {
      const given = Object.entries(each.idClaims).filter(([, value]) => value !== null)
      const claims = JSON.parse(JSON.stringify(Object.fromEntries(given)))
      expect(JSON.parse(tokenOut(each, 0).id_token)).toEqual(claims)
    }),
  )
  const [each] = fc.sample(shown, 1)
  if (each === undefined) throw new Error('No sample.')
  const idClaims = { iss: 'https://id.example.com', nonce: null, amr: ['pwd'] }
  expect(tokenOut({ ...each, idClaims }, 0).id_token).toBe(
    '{\n    "iss": "https://id.example.com",\n    "amr": [\n        "pwd"\n    ]\n}',
  )
  expect(tokenOut({ ...each, idClaims: {} }, 0).id_token).toBe('{}')
})

it('the provider never shows a secret, and joins its redirect addresses by lines', () => {
  const [each] = fc.sample(shown, 1)
  if (each === undefined) throw new Error('No sample.')
  const { provider } = tokenOut(each, 0)
  expect(provider).toMatchObject({
    client_secret: '',
    redirect_uris: 'https://app.example.com/a\nhttps://app.example.com/b',
    assigned_application_slug: '',
    access_code_validity: 'minutes=1',
    access_token_validity: 'minutes=10',
    refresh_token_validity: 'days=30',
    sub_mode: 'user_email',
  })
  expect(JSON.stringify(provider)).not.toContain('mm_client')
})

it('an instant is written the way Python does', () => {
  expect(instant(Date.UTC(2024, 8, 13, 14, 5, 42, 249))).toBe('2024-09-13T14:05:42.249000Z')
  expect(instant(Date.UTC(2024, 8, 13, 14, 5, 42))).toBe('2024-09-13T14:05:42Z')
})

describe('numbers', () => {
  it.each(['1', ' 1 ', '+1', '01', '1_0', '2147483647'])('"%s" identifies something', (text) => {
    expect(serialOf(text)).toBeGreaterThan(0)
  })

  it.each(
    [
      ['', 'x', '1.5', '1e3', '0x10', '-1', '0', '2147483648', '9'.repeat(400)],
      ['1__0', '_1', '1_', '+-1', '1 2', 'null', '١'],
    ].flat(),
  )('"%.20s" does not', (text) => {
    expect(serialOf(text)).toBeUndefined()
  })

  it('of repeated ones the last counts', () => {
    expect(lastOf(['1', '2'])).toBe('2')
    expect(lastOf('3')).toBe('3')
    expect(lastOf(undefined)).toBeUndefined()
  })
})

describe('a page', () => {
  it('covers every row exactly once, whatever its size', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 500 }),
        fc.integer({ min: 1, max: 120 }),
        (total, size) => {
          let seen = 0
          let page = 1
          for (let next = 1; next !== 0; ) {
            page = next
            const out = paginationOut(
              sheetOf({ page: String(page), page_size: String(size) }, total),
            )
            expect(out).toMatchObject({ current: page, count: total, previous: page - 1 })
            expect(out.start_index).toBe(total === 0 ? 0 : seen + 1)
            seen = out.end_index
            next = out.next
          }
          expect(seen).toBe(total)
          const last = paginationOut(sheetOf({ page: 'last', page_size: String(size) }, total))
          expect(last).toMatchObject({ current: page, total_pages: page, next: 0 })
        },
      ),
    )
  })

  it('of an empty list is there', () => {
    expect(paginationOut(sheetOf({}, 0))).toEqual({
      next: 0,
      previous: 0,
      count: 0,
      current: 1,
      total_pages: 1,
      start_index: 0,
      end_index: 0,
    })
  })

  it.each(['0', '-1', '3', 'x', '1.5', 'LAST', '9'.repeat(400)])('"%.20s" is not', (page) => {
    expect(() => sheetOf({ page, page_size: '10' }, 20)).toThrow(
      expect.objectContaining({ code: 'not_found', message: 'Invalid page.' }),
    )
  })

  it.each([
    [undefined, 100],
    ['', 100],
    ['0', 100],
    ['-5', 100],
    ['x', 100],
    ['1.5', 100],
    ['1', 1],
    ['1000', 1000],
    ['1001', 1000],
    ['9'.repeat(400), 1000],
  ])('of size "%.20s" has %d rows', (text, size) => {
    const query = text === undefined ? {} : { page_size: text }
    expect(sheetOf(query, 5000).size).toBe(size)
  })
})

describe('the order', () => {
  const asc = (by: string) => ({ by, descending: false })
  const desc = (by: string) => ({ by, descending: true })

  it.each([
    ['expires', [asc('expiry')]],
    ['-expires', [desc('expiry')]],
    ['-user, pk', [desc('owner'), asc('serial')]],
    ['id', [asc('serial')]],
    ['-pk,pk', [desc('serial')]],
    ['-revoked,provider', [desc('spent'), asc('client')]],
    ['scope,is_expired,-expires,nonsense', [desc('expiry')]],
  ])('"%s" is understood', (ordering, expected) => {
    expect(orderOf(REFRESH_TOKENS, ordering)).toEqual(expected)
  })

  it.each(
    [
      [undefined, '', ','],
      ['scope', 'id_token', 'is_expired', 'nonsense', '--pk', '- pk', 'pk;drop table token'],
      ['__proto__', 'constructor', 'owner__password', 'expires desc'],
    ].flat(),
  )('"%s" is none: then by provider and expires', (ordering) => {
    expect(orderOf(ACCESS_TOKENS, ordering)).toEqual([asc('client'), asc('expiry')])
  })

  it('of codes knows no revoked', () => {
    expect(orderOf(AUTHORIZATION_CODES, 'revoked,pk')).toEqual([asc('serial')])
  })
})
