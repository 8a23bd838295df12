import { describe, expect, it } from 'vitest'
import { aGroupId, anOwner, aPrincipal, aUser } from '../../test/support/fixtures.ts'
import { type Action, can, mustBeAllowed, mustBeVisible } from './access.ts'
import type { Mode } from './groups/group.ts'
import type { TokenId, UserId } from './id.ts'
import { DEFAULT_POLICY } from './policy/policy.ts'
import type { Principal } from './rights.ts'
import { type TokenKind, UNLIMITED } from './tokens/token.ts'

const OWN = 'own' as UserId
const OTHER = 'other' as UserId
const TEAM = aGroupId('team')
const FOREIGN_TEAM = aGroupId('foreign team')

const member = (mode: Mode) => new Map([[TEAM, { id: TEAM, name: 'team', description: '', mode }]])
const admin = anOwner({ user: aUser({ id: OWN, globalRole: 'ADMIN' }) })
const user = anOwner({ user: aUser({ id: OWN }) })
const leader = anOwner({ user: aUser({ id: OWN }), groups: member('ADMIN') })
const writer = anOwner({ user: aUser({ id: OWN }), groups: member('WRITE') })
const verifier = anOwner({ user: aUser({ id: OWN }), roles: new Set(['verifier']) })
const READ_ONLY = { ...UNLIMITED, accessLevel: 'READ_ONLY' } as const

/** Everybody who may ask. One letter each, so that a row of the table reads as one word. */
const actors: Record<string, { who: Principal; usersMayCreateTokens?: boolean }> = {
  A: { who: aPrincipal(admin, UNLIMITED) },
  /** READ_ONLY token of an admin. */
  a: { who: aPrincipal(admin, READ_ONLY) },
  /** Token of an admin that does not carry the role. */
  N: { who: aPrincipal(admin, { ...UNLIMITED, roles: [] }) },
  U: { who: aPrincipal(user, UNLIMITED) },
  /** The same where the policy lets users create tokens. */
  P: { who: aPrincipal(user, UNLIMITED), usersMayCreateTokens: true },
  /** READ_ONLY token of a user, under that policy. */
  u: { who: aPrincipal(user, READ_ONLY), usersMayCreateTokens: true },
  /** Login of a user. */
  S: { who: aPrincipal(user, UNLIMITED, { kind: 'session' }) },
  /** ADMIN of the group "team". */
  G: { who: aPrincipal(leader, UNLIMITED) },
  g: { who: aPrincipal(leader, READ_ONLY) },
  /** ADMIN of the group by a token that carries WRITE only. */
  L: { who: aPrincipal(leader, { ...UNLIMITED, groups: [{ id: TEAM, mode: 'WRITE' }] }) },
  W: { who: aPrincipal(writer, UNLIMITED) },
  /** Holds the role that may be told why a token is refused. */
  V: { who: aPrincipal(verifier, UNLIMITED) },
}
const EVERYBODY = Object.keys(actors).join('')

const token = (ownerId: UserId, kind: TokenKind = 'api') => ({ ownerId, kind })
const membership = (groupId: typeof TEAM, globalRole: 'ADMIN' | 'USER', existing?: Mode) => ({
  groupId,
  user: aUser({ id: OTHER, globalRole }),
  existing,
})

type Subject<A extends Action> = Parameters<typeof can<A>>[2]['what']

/** What is acted on → who may. Whoever changes a rule changes a line here. */
const table: { [A in Action]: [what: string, subject: Subject<A>, may: string][] } = {
  'token.list': [
    ['everybody’s', { ownerId: undefined }, 'Aa'],
    ['own', { ownerId: OWN }, EVERYBODY],
    ['somebody’s', { ownerId: OTHER }, 'Aa'],
  ],
  'token.read': [
    ['own', token(OWN), EVERYBODY],
    ['somebody’s', token(OTHER), 'Aa'],
  ],
  'token.create': [
    ['own api', token(OWN, 'api'), 'AP'],
    ['own service', token(OWN, 'service'), 'A'],
    ['own session', token(OWN, 'session'), 'A'],
    ['somebody’s', token(OTHER, 'api'), 'A'],
  ],
  'token.update': [
    ['own', token(OWN), 'AP'],
    ['somebody’s', token(OTHER), 'A'],
  ],
  'token.rotate': [
    ['own', token(OWN), 'AP'],
    ['somebody’s', token(OTHER), 'A'],
  ],
  'token.revoke': [
    ['own', token(OWN), 'AP'],
    ['what a client got for one', token(OWN, 'oauth_refresh'), 'ANUPSGLWV'],
    ['what a client got for somebody', token(OTHER, 'oauth_refresh'), 'A'],
    ['somebody’s', token(OTHER), 'A'],
  ],
  'token.revoke-self': [['the one in hand', undefined, EVERYBODY]],
  'token.delegate': [['the one in hand', undefined, 'ANUPGLWV']],
  'token.sign': [['the one in hand', undefined, EVERYBODY.replace('S', '')]],
  'token.quarantine': [
    ['own', token(OWN), 'ANUPSGLWV'],
    ['somebody’s', token(OTHER), 'A'],
  ],
  'token.release': [
    ['one’s own, quarantined by oneself', { ownerId: OWN, quarantinedBy: OWN }, 'ANUPSGLWV'],
    ['one’s own, quarantined by somebody', { ownerId: OWN, quarantinedBy: OTHER }, 'A'],
    ['one’s own, after a leak', { ownerId: OWN, quarantinedBy: undefined }, 'A'],
    ['somebody’s', { ownerId: OTHER, quarantinedBy: OTHER }, 'A'],
  ],
  'event.list': [
    ['everybody’s', { ownerId: undefined }, 'Aa'],
    ['one’s own', { ownerId: OWN }, EVERYBODY],
    ['somebody’s', { ownerId: OTHER }, 'Aa'],
  ],
  'webhook.read': [['all', undefined, 'Aa']],
  'webhook.manage': [['any', undefined, 'A']],
  'leak.report': [['any', undefined, 'A']],
  'verdict.reason': [
    ['of one’s own token', token(OWN), EVERYBODY],
    ['of somebody’s token', token(OTHER), 'AaV'],
    ['of an unknown token', undefined, 'AaV'],
  ],
  'verdict.explain': [
    ['of one’s own token', token(OWN), EVERYBODY],
    ['of somebody’s token', token(OTHER), 'Aa'],
    ['of an unknown token', undefined, 'Aa'],
  ],
  'user.list': [['all', undefined, 'Aa']],
  'user.read': [
    ['oneself', { id: OWN }, EVERYBODY],
    ['somebody', { id: OTHER }, 'Aa'],
  ],
  'user.manage': [['any', undefined, 'A']],
  'password.change': [
    ['one’s own', { id: OWN }, 'S'],
    ['somebody’s', { id: OTHER }, ''],
  ],
  'password.reset': [['any', undefined, 'A']],
  'admin.appoint': [['any', undefined, 'A']],
  'session.open': [['from one’s token', undefined, 'ANUPSGLWV']],
  'group.list': [['all', undefined, 'Aa']],
  'group.read': [
    ['one’s own', { id: TEAM }, 'AaGgLW'],
    ['another', { id: FOREIGN_TEAM }, 'Aa'],
  ],
  'group.manage': [['any', undefined, 'A']],
  'group.describe': [
    ['one’s own', { id: TEAM }, 'AG'],
    ['another', { id: FOREIGN_TEAM }, 'A'],
  ],
  'membership.set': [
    ['of a member', membership(TEAM, 'USER', 'READ'), 'AG'],
    ['of another ADMIN of the group', membership(TEAM, 'USER', 'ADMIN'), 'AG'],
    ['of an outsider', membership(TEAM, 'USER'), 'A'],
    ['of a member who is an instance admin', membership(TEAM, 'ADMIN', 'READ'), 'A'],
    ['in another group', membership(FOREIGN_TEAM, 'USER', 'READ'), 'A'],
  ],
  'membership.remove': [
    ['of a member', membership(TEAM, 'USER', 'READ'), 'AG'],
    ['of a member who is an instance admin', membership(TEAM, 'ADMIN', 'READ'), 'A'],
    ['in another group', membership(FOREIGN_TEAM, 'USER', 'READ'), 'A'],
  ],
  'role.list': [['all', undefined, EVERYBODY]],
  'role.manage': [['any', undefined, 'A']],
  'client.read': [['all', undefined, 'Aa']],
  'client.manage': [['any', undefined, 'A']],
  'grant.list': [
    ['everybody’s', { userId: undefined }, 'Aa'],
    ['one’s own', { userId: OWN }, EVERYBODY],
    ['somebody’s', { userId: OTHER }, 'Aa'],
  ],
  'grant.withdraw': [
    ['one’s own', { userId: OWN }, 'ANUPSGLWV'],
    ['somebody’s', { userId: OTHER }, 'A'],
  ],
  'job.create': [['any', undefined, 'ANUPSGLWV']],
  'job.list': [
    ['everybody’s', { ownerId: undefined }, 'Aa'],
    ['own', { ownerId: OWN }, EVERYBODY],
    ['somebody’s', { ownerId: OTHER }, 'Aa'],
  ],
  'job.read': [
    ['own', { ownerId: OWN }, EVERYBODY],
    ['somebody’s', { ownerId: OTHER }, 'Aa'],
  ],
  'job.cancel': [
    ['own', { ownerId: OWN }, 'ANUPSGLWV'],
    ['somebody’s', { ownerId: OTHER }, 'A'],
  ],
  'key.read': [['all', undefined, 'Aa']],
  'key.rotate': [['any', undefined, 'A']],
  'node.read': [['all', undefined, 'Aa']],
  'policy.read': [['all', undefined, EVERYBODY]],
  'token.import': [['all', undefined, 'A']],
  'policy.manage': [['all', undefined, 'A']],
  'policy.test': [['all', undefined, 'Aa']],
  'audit.read': [['all', undefined, 'Aa']],
  'administration.read': [['all', undefined, 'Aa']],
}

const policyOf = (actor: string) => ({
  ...DEFAULT_POLICY,
  usersMayCreateTokens: actors[actor]?.usersMayCreateTokens ?? false,
})

// One row per subject; the compiler has checked that every subject fits its action.
const rows = Object.entries(table).flatMap(([action, lines]) =>
  lines.map(([what, subject, may]) => ({
    action: action as 'token.list',
    what,
    subject: subject as Subject<'token.list'>,
    may,
  })),
)

it('an access token starts no job, which would have all the rights of the token behind it', () => {
  const who = { ...aPrincipal(admin, UNLIMITED), derivedUntilMs: 1000 }
  expect(can(who, 'job.create', { what: undefined, policy: DEFAULT_POLICY })).toBe(false)
})

describe('who may do what', () => {
  it.each(rows)('$action, $what: $may', ({ action, subject, may }) => {
    const allowed = Object.entries(actors)
      .filter(([actor, { who }]) => can(who, action, { what: subject, policy: policyOf(actor) }))
      .map(([actor]) => actor)
    expect(allowed.join('')).toBe([...EVERYBODY].filter((actor) => may.includes(actor)).join(''))
  })

  it('a READ_ONLY token may change nothing, whoever owns it', () => {
    const changes = rows.filter(
      ({ action }) => !/\.(list|read|reason|explain|test|sign|revoke-self)$/.test(action),
    )
    for (const { action, what, may } of changes) {
      expect(may, `${action}, ${what}`).not.toMatch(/[aug]/)
    }
  })

  it('under the default policy nobody but an admin creates tokens', () => {
    expect(DEFAULT_POLICY.usersMayCreateTokens).toBe(false)
  })
})

describe('how a refusal reads', () => {
  const message = (actor: string, act: (who: Principal) => void) => {
    const who = actors[actor]?.who
    if (who === undefined) throw new Error('No such actor.')
    try {
      act(who)
    } catch (error) {
      return error
    }
    return undefined
  }
  const context = <T>(what: T) => ({ what, policy: DEFAULT_POLICY })

  it('says forbidden, and the way out', () => {
    const cases = [
      message('a', (who) => mustBeAllowed(who, 'user.manage', context(undefined))),
      message('U', (who) => mustBeAllowed(who, 'password.change', context({ id: OWN }))),
      message('U', (who) => mustBeAllowed(who, 'token.revoke', context(token(OTHER)))),
      message('U', (who) => mustBeAllowed(who, 'audit.read', context(undefined))),
    ]
    expect(cases).toEqual([
      expect.objectContaining({ code: 'forbidden', message: expect.stringContaining('READ_ONLY') }),
      expect.objectContaining({ code: 'forbidden', message: expect.stringContaining('Log in') }),
      expect.objectContaining({ code: 'forbidden', message: expect.stringContaining('your own') }),
      expect.objectContaining({ code: 'forbidden', message: expect.stringContaining('admin') }),
    ])
    expect(message('A', (who) => mustBeAllowed(who, 'user.manage', context(undefined)))).toBe(
      undefined,
    )
  })

  it('says of what may not be seen that it does not exist', () => {
    const hidden = [
      message('U', (who) => mustBeVisible(who, 'token.read', context(token(OTHER)))),
      message('U', (who) => mustBeVisible(who, 'user.read', context({ id: OTHER }))),
      message('G', (who) => mustBeVisible(who, 'group.read', context({ id: FOREIGN_TEAM }))),
    ]
    for (const error of hidden) expect(error).toMatchObject({ code: 'not_found' })
  })
})

describe('an admin’s token with limits or an end', () => {
  const limited: [string, Principal][] = [
    ['roles', aPrincipal(admin, { ...UNLIMITED, roles: ['admin'] })],
    ['groups', aPrincipal(admin, { ...UNLIMITED, groups: [] })],
    ['scopes', aPrincipal(admin, { ...UNLIMITED, scopes: [] })],
    ['addresses', aPrincipal(admin, { ...UNLIMITED, allowedIps: ['10.0.0.0/8'] })],
    ['an end', aPrincipal(admin, UNLIMITED, { expiresAtMs: 1 })],
    [
      'a token behind the session',
      aPrincipal(admin, UNLIMITED, { kind: 'session', parentId: 'other' as TokenId }),
    ],
  ]

  it.each(limited)('opens no unlimited login: %s', (_, who) => {
    const context = { what: undefined, policy: DEFAULT_POLICY }
    expect(can(who, 'user.manage', context)).toBe(true)
    expect(() => mustBeAllowed(who, 'password.reset', context)).toThrow('without limits')
    expect(() => mustBeAllowed(who, 'admin.appoint', context)).toThrow('without limits')
  })
})

describe('an access token that stands for another for minutes', () => {
  const who: Principal = {
    ...aPrincipal(admin, UNLIMITED, { kind: 'session' }),
    derivedUntilMs: 1,
  }
  const context = <T>(what: T) => ({ what, policy: DEFAULT_POLICY })

  it('becomes nothing that lasts', () => {
    const message = 'stands for another token'
    const asks = [
      () => mustBeAllowed(who, 'session.open', context(undefined)),
      () => mustBeAllowed(who, 'password.reset', context(undefined)),
      () => mustBeAllowed(who, 'password.change', context({ id: OWN })),
      () => mustBeAllowed(who, 'token.create', context(token(OWN))),
      () => mustBeAllowed(who, 'token.rotate', context(token(OTHER))),
      () => mustBeAllowed(who, 'token.revoke-self', context(undefined)),
      () => mustBeAllowed(who, 'token.delegate', context(undefined)),
      () => mustBeAllowed(who, 'token.sign', context(undefined)),
    ]
    for (const ask of asks) expect(ask).toThrow(message)
  })

  it('administrates, because the wire that it was made for knows no other way', () => {
    expect(can(who, 'user.manage', context(undefined))).toBe(true)
    expect(can(who, 'token.create', context(token(OTHER, 'service')))).toBe(true)
    expect(can(who, 'token.revoke', context(token(OTHER)))).toBe(true)
  })
})
