import type { GroupId, TokenId, UserId } from '../../src/core/id.ts'
import { effectiveRights, type Owner, type Principal } from '../../src/core/rights.ts'
import { ADMIN_ROLE } from '../../src/core/roles/role.ts'
import { type Limits, type Token, UNLIMITED } from '../../src/core/tokens/token.ts'
import type { User } from '../../src/core/users/user.ts'

/** Domain objects for unit tests: complete, and ordinary but for what the test says. */
export function aUser(parts: Partial<User> = {}): User {
  return {
    id: 'user-1' as UserId,
    serial: 1,
    username: 'ursula',
    displayName: '',
    email: undefined,
    kind: 'person',
    globalRole: 'USER',
    active: true,
    attributes: {},
    hasPassword: false,
    passwordIsOneTime: false,
    passwordChangedAtMs: undefined,
    lastLoginAtMs: undefined,
    createdAtMs: 0,
    updatedAtMs: 0,
    ...parts,
  }
}

export function aToken(parts: Partial<Token> = {}): Token {
  const id = parts.id ?? ('token-1' as TokenId)
  return {
    id,
    serial: 1,
    kind: 'api',
    ownerId: 'user-1' as UserId,
    creatorId: 'user-1' as UserId,
    name: 'token',
    description: '',
    via: 'api',
    format: 'mintmark',
    preview: '',
    limits: UNLIMITED,
    metadata: {},
    familyId: id,
    parentId: undefined,
    createdAtMs: 0,
    updatedAtMs: 0,
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
    ...parts,
  }
}

export function anOwner(parts: Partial<Owner> & { user?: User } = {}): Owner {
  const user = parts.user ?? aUser()
  const isAdmin = user.globalRole === 'ADMIN'
  return {
    user,
    roles: new Set(isAdmin ? [ADMIN_ROLE] : []),
    groups: new Map(),
    scopes: isAdmin ? 'all' : new Set(),
    ...parts,
  }
}

export function aPrincipal(owner: Owner, limits: Limits, token: Partial<Token> = {}): Principal {
  return {
    user: owner.user,
    token: aToken({ ownerId: owner.user.id, limits, ...token }),
    rights: effectiveRights(owner, limits),
  }
}

export function aGroupId(name: string): GroupId {
  return name as GroupId
}
