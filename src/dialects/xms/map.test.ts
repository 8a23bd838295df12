import fc from 'fast-check'
import { Value } from 'typebox/value'
import { describe, expect, it } from 'vitest'
import { CoreError } from '../../core/errors.ts'
import { idMaker, type TokenId, type UserId } from '../../core/id.ts'
import { DEFAULT_POLICY, type Policy } from '../../core/policy/policy.ts'
import { Secret } from '../../core/secret.ts'
import type { Token } from '../../core/tokens/token.ts'
import type { User } from '../../core/users/user.ts'
import {
  accessTokenOut,
  allRoles,
  booleanOf,
  policyEdit,
  policyOut,
  serialOf,
  sessionOut,
  spanOf,
} from './map.ts'
import { AccessToken, AuthSecurityPolicy, TokenResp } from './wire.ts'

const NOW_MS = Date.UTC(2030, 0, 1)
const instants = fc.integer({ min: 0, max: Date.UTC(2200, 0, 1) })
const names = fc.string({ minLength: 1, maxLength: 255, unit: 'grapheme' })
const roleLists = fc.array(fc.stringMatching(/^[a-z0-9]{1,8}$/))
const idAt = (ms: number) => idMaker({ now: () => ms }, (size) => Buffer.alloc(size, 7))()

const base: Token = {
  id: idAt(NOW_MS) as TokenId,
  serial: 5,
  kind: 'api',
  ownerId: idAt(NOW_MS) as UserId,
  creatorId: idAt(NOW_MS) as UserId,
  name: 'ci',
  description: '',
  via: 'xms',
  format: 'hex',
  preview: '…beef',
  limits: { accessLevel: 'FULL_ACCESS', roles: [], groups: null, scopes: [], allowedIps: null },
  metadata: { hidden: 'metadata' },
  familyId: idAt(NOW_MS) as TokenId,
  parentId: undefined,
  createdAtMs: NOW_MS,
  updatedAtMs: NOW_MS,
  expiresAtMs: undefined,
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
  lastUsedAtMs: undefined,
  lastUsedIp: undefined,
  useCount: 0,
  oauth: undefined,
}

const tokens: fc.Arbitrary<Token> = fc
  .record({
    serial: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
    name: fc.option(names, { nil: undefined }),
    description: fc.string(),
    createdAtMs: instants,
    updatedAtMs: instants,
    lastUsedAtMs: fc.option(instants, { nil: undefined }),
    roles: fc.option(roleLists),
  })
  .map(({ roles, ...fields }) => ({ ...base, ...fields, limits: { ...base.limits, roles } }))

const user: User = {
  id: base.ownerId,
  serial: 3,
  username: 'alice',
  displayName: 'Alice',
  email: undefined,
  kind: 'person',
  globalRole: 'USER',
  active: true,
  attributes: { hidden: 'attribute' },
  hasPassword: false,
  passwordIsOneTime: false,
  passwordChangedAtMs: undefined,
  lastLoginAtMs: undefined,
  createdAtMs: NOW_MS,
  updatedAtMs: NOW_MS,
}

describe('an access token', () => {
  it('comes out whole, in the shape of the wire, and without anything else', () => {
    fc.assert(
      fc.property(tokens, (token) => {
        const out = accessTokenOut(token, user)
        expect(Value.Check(AccessToken, out)).toBe(true)
        expect(Object.keys(out).sort()).toEqual(Object.keys(AccessToken.properties).sort())
        expect({
          serial: out.id,
          name: out.name,
          description: out.description,
          roles: out.roles,
          createdAtMs: Date.parse(out.create),
          updatedAtMs: Date.parse(out.update),
          used: out.used,
          owner: out.user,
        }).toEqual({
          serial: token.serial,
          name: token.name ?? '',
          description: token.description,
          roles: token.limits.roles ?? [],
          createdAtMs: token.createdAtMs,
          updatedAtMs: token.updatedAtMs,
          used: token.lastUsedAtMs !== undefined,
          owner: { id: 3, name: 'alice' },
        })
      }),
    )
  })

  it('keeps the time of its birth when it is regenerated', () => {
    fc.assert(
      fc.property(instants, instants, (bornMs, laterMs) => {
        const familyId = idAt(bornMs) as TokenId
        const id = 'another' as TokenId
        const successor = { ...base, id, familyId, createdAtMs: laterMs }
        expect(Date.parse(accessTokenOut(successor, user).create)).toBe(bornMs)
      }),
    )
  })
})

it('a session has the shape of the wire, whatever is not known of its user', () => {
  const token = { ...base, kind: 'session' as const, expiresAtMs: NOW_MS + 1000 }
  const secret = new Secret('0'.repeat(32))
  const roles = new Set(['b', 'a'])
  const out = sessionOut({ token, secret, user, roles, userRoles: [] })
  expect(Value.Check(TokenResp, { token: out })).toBe(true)
  expect(out).toMatchObject({ roles: ['a', 'b'], uuid: '0'.repeat(32), user: { email: '' } })
  expect(JSON.stringify(out)).not.toContain('hidden')
})

it('the role admin comes with the global role', () => {
  expect(allRoles(user, ['builder'])).toEqual(['builder'])
  expect(allRoles({ ...user, globalRole: 'ADMIN' }, ['builder'])).toEqual(['admin', 'builder'])
})

describe('the security policy', () => {
  const policies: fc.Arbitrary<Policy> = fc
    .record({
      lockoutEnabled: fc.boolean(),
      lockoutAttempts: fc.nat(),
      lockoutSeconds: fc.nat(),
      sessionTtlSeconds: fc.nat(),
      passwordTtlSeconds: fc.option(fc.integer({ min: 1 }), { nil: undefined }),
      passwordExpirationWarning: fc.boolean(),
    })
    .map((fields) => ({ ...DEFAULT_POLICY, ...fields }))

  it('there and back is the same', () => {
    fc.assert(
      fc.property(policies, (policy) => {
        const out = policyOut(policy)
        expect(Value.Check(AuthSecurityPolicy, out)).toBe(true)
        const { passwordTtlSeconds, ...edit } = policyEdit(out)
        const back = { ...policy, ...edit, passwordTtlSeconds: passwordTtlSeconds ?? undefined }
        expect(back).toEqual(policy)
      }),
    )
  })

  it('leaves alone what is not mentioned', () => {
    expect(policyEdit({})).toEqual({})
    expect(policyEdit({ enabled: false })).toEqual({ lockoutEnabled: false })
  })
})

describe('query values', () => {
  const refused = (read: () => unknown) =>
    expect(read).toThrow(expect.objectContaining({ code: 'invalid_input' }))

  it('there and back is the same for numbers', () => {
    fc.assert(
      fc.property(fc.maxSafeInteger(), (number) => {
        expect(serialOf(String(number), 'id')).toBe(number > 0 ? number : undefined)
        const read = () => spanOf({ offset: String(number) }).offset
        if (number < 0) refused(read)
        else expect(read()).toBe(number)
      }),
    )
  })

  it('booleans are those of Go, in any case', () => {
    const spellings = fc.constantFrom('1', 't', 'true', '0', 'f', 'false')
    fc.assert(
      fc.property(fc.mixedCase(spellings), (text) => {
        expect(booleanOf(text, 'all')).toBe(/^[1t]/i.test(text))
      }),
    )
    for (const text of ['', 'yes', 'truee', ' true', 'null']) refused(() => booleanOf(text, 'all'))
  })

  it('any other text is refused, and never anything but a refusal', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        fc.pre(!/^-?\d+$/.test(text))
        for (const read of [
          () => serialOf(text, 'id'),
          () => spanOf({ limit: text }),
          () => spanOf({ offset: text }),
        ]) {
          expect(read).toThrow(CoreError)
        }
      }),
    )
  })

  it('a limit has a cap', () => {
    expect(spanOf({})).toEqual({ limit: 1000, offset: 0 })
    expect(spanOf({ limit: '1001' }).limit).toBe(1000)
    refused(() => spanOf({ limit: '0' }))
  })
})
