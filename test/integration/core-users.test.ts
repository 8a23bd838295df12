import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Caller } from '../../src/core/caller.ts'
import type { PolicyEdit } from '../../src/core/policy/manage.ts'
import { Secret } from '../../src/core/secret.ts'
import { UNLIMITED } from '../../src/core/tokens/token.ts'
import type { User } from '../../src/core/users/user.ts'
import {
  ADMIN_PASSWORD,
  ORIGIN,
  openTestCore,
  outcomes,
  SECOND_MS,
  type TestCore,
} from '../support/core.ts'

const code = (value: string) => expect.objectContaining({ code: value })

let t: TestCore
let names = 0
beforeAll(async () => {
  t = await openTestCore()
})
afterAll(() => t.close())

async function aCaller(wish: Partial<Parameters<TestCore['makeUser']>[0]> = {}) {
  const user = await t.makeUser({ username: `user ${++names}`, ...wish })
  const { secret } = await t.issue(user)
  return { user, secret, caller: await t.callerOf(secret) }
}

const activeAdmins = async () =>
  (
    await t.query(
      `select id from "user" where global_role = 'ADMIN' and active = 1 and deleted_at_ms is null`,
    )
  ).length

describe('the last active admin', () => {
  const root = () => t.admin.principal.user

  it('cannot be demoted, disabled or deleted, not even by himself', async () => {
    const caller = t.admin
    const { id } = root()
    const attempts = [
      t.write((w) => w.updateUser({ caller, id, edit: { globalRole: 'USER' } })),
      t.write((w) => w.updateUser({ caller, id, edit: { active: false } })),
      t.write((w) => w.updateUser({ caller, id, edit: { globalRole: 'USER', active: false } })),
      t.write((w) => w.deleteUser({ caller, id })),
    ]
    expect(new Set(await outcomes(attempts))).toEqual(new Set(['last_admin']))
    expect(await t.state(t.adminSecret, { role: 'admin' })).toBe('active')
  })

  it('is not made up for by an admin who is disabled or deleted', async () => {
    const disabled = await t.makeUser({
      username: `user ${++names}`,
      globalRole: 'ADMIN',
      active: false,
    })
    const demote = () =>
      t.write((w) => w.updateUser({ caller: t.admin, id: root().id, edit: { globalRole: 'USER' } }))
    await expect(demote()).rejects.toThrow(code('last_admin'))
    await t.write((w) => w.deleteUser({ caller: t.admin, id: disabled.id }))
    await expect(demote()).rejects.toThrow(code('last_admin'))
  })

  it('is not made up for by an admin who cannot log in', async () => {
    const { caller } = await aCaller({ globalRole: 'ADMIN' })
    const { id } = root()
    await expect(t.write((w) => w.deleteUser({ caller, id }))).rejects.toThrow(code('last_admin'))
    await t.write((w) => w.deleteUser({ caller: t.admin, id: caller.principal.user.id }))
  })

  it('remains when two admins turn on each other, fifty times', async () => {
    for (let round = 0; round < 50; round++) {
      const [one, two] = [
        await aCaller({ globalRole: 'ADMIN' }),
        await aCaller({ globalRole: 'ADMIN' }),
      ]
      await t.tamper(`update "user" set password_hash = 'any'
        where id in ('${one.user.id}', '${two.user.id}')`)
      const { id } = root()
      await t.write((w) => w.updateUser({ caller: one.caller, id, edit: { globalRole: 'USER' } }))
      expect(await activeAdmins()).toBe(2)

      const strike = (caller: Caller, victim: User['id']) =>
        t.write<unknown>((w) => {
          if (round % 3 === 0) return w.deleteUser({ caller, id: victim })
          const edit = round % 3 === 1 ? { active: false } : { globalRole: 'USER' as const }
          return w.updateUser({ caller, id: victim, edit })
        })
      const results = await Promise.allSettled([
        strike(one.caller, two.user.id),
        strike(two.caller, one.user.id),
      ])
      expect(await activeAdmins()).toBe(1)
      const [lost, ...more] = results.filter((result) => result.status === 'rejected')
      expect(lost?.reason).toMatchObject({ code: 'last_admin' })
      expect(more).toEqual([])

      const winner = results[0].status === 'fulfilled' ? one : two
      const { caller } = winner
      await t.write((w) => w.updateUser({ caller, id, edit: { globalRole: 'ADMIN' } }))
      await t.write((w) => w.deleteUser({ caller: t.admin, id: winner.user.id }))
      expect(await activeAdmins()).toBe(1)
    }
  })
})

describe('names and ids', () => {
  it('a deleted user’s name is free, and nothing of the old one is inherited', async () => {
    const username = `user ${++names}`
    const role = `role-${names}`
    await t.write((w) =>
      w.createRole({ caller: t.admin, role: { name: role, description: '', scopes: ['s'] } }),
    )
    const old = await t.makeUser({
      username,
      email: 'old@example.com',
      globalRole: 'ADMIN',
      roles: [role],
      attributes: { badge: 1 },
    })
    const group = await t.makeGroup(`group ${names}`)
    await t.write((w) =>
      w.setMembership({
        caller: t.admin,
        wish: { groupId: group.id, userId: old.id, mode: 'ADMIN' },
      }),
    )
    const oldToken = await t.issue(old, { name: 'deploy' })
    const password = await t.core.resetPassword({ caller: t.admin, id: old.id })
    await t.write((w) => w.deleteUser({ caller: t.admin, id: old.id }))

    const fresh = await t.makeUser({ username: username.toUpperCase(), email: 'OLD@example.com' })
    expect(fresh.id).not.toBe(old.id)
    expect(fresh.serial).toBeGreaterThan(old.serial)
    expect(fresh).toMatchObject({ globalRole: 'USER', attributes: {}, hasPassword: false })
    expect(await t.core.read.membershipsOfUser(t.admin, fresh.id)).toEqual([])
    expect(await t.core.read.rolesOfUser(t.admin, fresh.id)).toEqual([])
    expect(await t.core.read.members(t.admin, group.id)).toEqual([])
    expect(await t.state(oldToken.secret)).not.toBe('active')
    const issued = await t.issue(fresh, { name: 'deploy' })
    const { rights } = (await t.callerOf(issued.secret)).principal
    expect([rights.admin, rights.roles.size, rights.groups.size]).toEqual([false, 0, 0])
    await expect(
      t.core.login({ name: username, password: password.reveal(), origin: ORIGIN, via: 'api' }),
    ).rejects.toThrow(code('login_failed'))
    const { items } = await t.core.read.tokens(t.admin, {
      filter: { ownerId: fresh.id },
      from: undefined,
      size: 9,
    })
    expect(items.map(({ id }) => id)).toEqual([issued.token.id])
    expect(
      await t.query(`select active, password_hash from "user" where id = '${old.id}'`),
    ).toEqual([{ active: 0, password_hash: null }])
  })

  it('a deleted group’s name is free, and nothing of the old one is inherited', async () => {
    const { user, secret } = await aCaller()
    const group = await t.makeGroup('the team')
    await t.write((w) =>
      w.setMembership({
        caller: t.admin,
        wish: { groupId: group.id, userId: user.id, mode: 'ADMIN' },
      }),
    )
    await t.write((w) => w.deleteGroup({ caller: t.admin, id: group.id }))
    const fresh = await t.makeGroup('The Team')
    expect(fresh.id).not.toBe(group.id)
    expect(await t.core.read.members(t.admin, fresh.id)).toEqual([])
    expect(await t.state(secret, { group: fresh.id })).toBe('group_missing')
    expect(await t.state(secret, { group: 'The Team' })).toBe('group_missing')
  })

  it.each(['root', 'ROOT', 'ｒｏｏｔ', 'Ｒoot'])('a second "%s" is refused', async (username) => {
    await expect(t.makeUser({ username })).rejects.toThrow(code('name_taken'))
  })

  it.each([
    'ro\u200cot',
    'root\ufe0f',
    'root ',
    ' root',
    'root\0',
    'ro\u034fot',
    '0190b2a0-7c3e-7abc-8def-0123456789ab',
  ])('a user "%s" is refused', async (username) => {
    await expect(t.makeUser({ username })).rejects.toThrow(code('invalid_input'))
  })

  it.each(['*', '%', '_', '..', 'a/b', 'a,b', "' OR 1=1--"])(
    'a user and a group "%s" mean themselves',
    async (name) => {
      await t.makeUser({ username: name })
      const group = await t.makeGroup(name)
      expect((await t.core.read.userByName(t.admin, name)).username).toBe(name)
      expect((await t.core.read.groupByName(t.admin, name)).id).toBe(group.id)
      const { secret } = await aCaller()
      expect(await t.state(secret, { group: name })).toBe('group_missing')
    },
  )

  it('twenty of one name at once make one user', async () => {
    const results = await Promise.allSettled(
      Array.from({ length: 20 }, (_, i) => t.makeUser({ username: i % 2 ? 'Twin' : 'TWIN' })),
    )
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  })

  it('an email belongs to one user', async () => {
    const email = 'someone@example.com'
    await t.makeUser({ username: `user ${++names}`, email })
    const second = t.makeUser({ username: `user ${++names}`, email: 'SOMEONE@example.com' })
    await expect(second).rejects.toThrow(code('name_taken'))
    const { user } = await aCaller()
    const moved = t.write((w) => w.updateUser({ caller: t.admin, id: user.id, edit: { email } }))
    await expect(moved).rejects.toThrow(code('name_taken'))
    for (const wrong of ['', 'no at', 'a@b c', '@', 'a@', 'a@@b']) {
      const edit = { email: wrong }
      const wished = t.write((w) => w.updateUser({ caller: t.admin, id: user.id, edit }))
      await expect(wished, wrong).rejects.toThrow(code('invalid_input'))
    }
  })
})

describe('an admin of a group', () => {
  it('ranks its members, and touches neither outsiders nor instance admins nor other groups', async () => {
    const [lead, peer, outsider] = [await aCaller(), await aCaller(), await aCaller()]
    const boss = await aCaller({ globalRole: 'ADMIN' })
    const [team, other] = [
      await t.makeGroup(`group ${++names}`),
      await t.makeGroup(`group ${++names}`),
    ]
    for (const [user, mode] of [
      [lead.user, 'ADMIN'],
      [peer.user, 'READ'],
      [boss.user, 'READ'],
    ] as const) {
      const wish = { groupId: team.id, userId: user.id, mode }
      await t.write((w) => w.setMembership({ caller: t.admin, wish }))
    }
    const caller = await t.callerOf(lead.secret)
    const set = (user: User, groupId = team.id) =>
      t.write((w) => w.setMembership({ caller, wish: { groupId, userId: user.id, mode: 'ADMIN' } }))
    const remove = (user: User) =>
      t.write((w) => w.removeMembership({ caller, groupId: team.id, userId: user.id }))

    await set(peer.user)
    await expect(set(outsider.user)).rejects.toThrow(code('forbidden'))
    // Nobody is refused in the same words, so that nothing is learned of who exists.
    const nobody = { ...outsider.user, id: '01b8dac5-b400-7688-a9b8-d19dd697b70c' as User['id'] }
    const refusal = (user: User) => set(user).catch((error) => `${error.code}: ${error.message}`)
    expect(await refusal(nobody)).toBe(await refusal(outsider.user))
    await expect(set(boss.user)).rejects.toThrow(code('forbidden'))
    await expect(remove(boss.user)).rejects.toThrow(code('forbidden'))
    await expect(remove(outsider.user)).rejects.toThrow(code('not_found'))
    await expect(set(peer.user, other.id)).rejects.toThrow(code('not_found'))
    await remove(peer.user)

    const { id } = team
    await t.write((w) => w.updateGroup({ caller, id, edit: { description: 'ours' } }))
    const refused = [
      t.write((w) => w.updateGroup({ caller, id, edit: { name: 'mine' } })),
      t.write((w) => w.deleteGroup({ caller, id })),
      t.write((w) => w.createGroup({ caller, wish: { name: 'new' } })),
      t.write((w) => w.createUser({ caller, wish: { username: 'new' } })),
      t.write((w) => w.updatePolicy({ caller, edit: { usersMayCreateTokens: true } })),
      t.core.resetPassword({ caller, id: boss.user.id }),
    ]
    expect(new Set(await outcomes(refused))).toEqual(new Set(['forbidden']))
    const members = await t.core.read.members(t.admin, team.id)
    expect(members.map(({ userId, mode }) => [userId, mode])).toEqual([
      [lead.user.id, 'ADMIN'],
      [boss.user.id, 'READ'],
    ])
  })

  it('by a token that carries less in the group has less', async () => {
    const { user } = await aCaller()
    const peer = await aCaller()
    const team = await t.makeGroup(`group ${++names}`)
    for (const userId of [user.id, peer.user.id]) {
      const wish = { groupId: team.id, userId, mode: 'ADMIN' } as const
      await t.write((w) => w.setMembership({ caller: t.admin, wish }))
    }
    const { secret } = await t.issue(user, {
      limits: { groups: [{ id: team.id, mode: 'WRITE' }] },
    })
    const caller = await t.callerOf(secret)
    const wish = { groupId: team.id, userId: peer.user.id, mode: 'READ' } as const
    await expect(t.write((w) => w.setMembership({ caller, wish }))).rejects.toThrow(
      code('forbidden'),
    )
  })
})

describe('READ_ONLY', () => {
  it('of an admin changes nothing at all', async () => {
    const { user } = await aCaller()
    const group = await t.makeGroup(`group ${++names}`)
    const { token, secret } = await t.issue(undefined, { limits: { accessLevel: 'READ_ONLY' } })
    const caller = await t.callerOf(secret)
    const fingerprint = async () =>
      JSON.stringify(
        await Promise.all(
          ['user', 'group', 'membership', 'token', 'role', 'policy', 'audit', 'lockout'].map(
            (table) => t.query(`select * from "${table}"`),
          ),
        ),
      )
    const before = await fingerprint()
    const role = { name: 'x', description: '', scopes: [] }
    const groupId = group.id
    const limits = UNLIMITED
    const attempts = [
      t.write((w) =>
        w.issueToken({
          caller,
          via: 'api',
          wish: { kind: 'api', name: 'x', limits, expires: 'never' },
        }),
      ),
      t.write((w) =>
        w.issueServiceToken({
          caller,
          via: 's7',
          wish: { name: 'x', groups: [], expires: 'default' },
        }),
      ),
      t.write((w) => w.updateToken({ caller, id: token.id, edit: { name: 'x' } })),
      t.write((w) =>
        w.rotateToken({ caller, wish: { id: token.id, overlapSeconds: 0 }, via: 'api' }),
      ),
      t.write((w) => w.revokeToken({ caller, id: token.id, reason: '' })),
      t.write((w) => w.createUser({ caller, wish: { username: 'x' } })),
      t.write((w) => w.updateUser({ caller, id: user.id, edit: { active: false } })),
      t.write((w) => w.deleteUser({ caller, id: user.id })),
      t.write((w) => w.createGroup({ caller, wish: { name: 'x' } })),
      t.write((w) => w.updateGroup({ caller, id: groupId, edit: { description: 'x' } })),
      t.write((w) => w.deleteGroup({ caller, id: groupId })),
      t.write((w) => w.setMembership({ caller, wish: { groupId, userId: user.id, mode: 'READ' } })),
      t.write((w) => w.createRole({ caller, role })),
      t.write((w) => w.updateRole({ caller, name: 'verifier', edit: {} })),
      t.write((w) => w.deleteRole({ caller, name: 'verifier' })),
      t.write((w) => w.updatePolicy({ caller, edit: {} })),
      t.core.openSessionFromToken({ caller, via: 'xms', format: 'hex' }),
      t.core.resetPassword({ caller, id: user.id }),
      t.core.changePassword({ caller, current: ADMIN_PASSWORD, next: 'lamps under the bridge' }),
    ]
    expect(new Set(await outcomes(attempts))).toEqual(new Set(['forbidden']))
    expect(await fingerprint()).toBe(before)
  })
})

describe('the policy', () => {
  const update = (edit: PolicyEdit) => t.write((w) => w.updatePolicy({ caller: t.admin, edit }))

  it('lets users create tokens, for themselves, no wider than they are', async () => {
    const { user, caller } = await aCaller()
    const issue = (wish: object = {}) =>
      t.write((w) =>
        w.issueToken({
          caller,
          via: 'api',
          wish: { kind: 'api', name: `t${++names}`, limits: UNLIMITED, expires: 'never', ...wish },
        }),
      )
    await expect(issue()).rejects.toThrow(code('forbidden'))
    await update({ usersMayCreateTokens: true })
    expect((await issue()).token.ownerId).toBe(user.id)
    await expect(issue({ ownerId: t.admin.principal.user.id })).rejects.toThrow(code('forbidden'))
    await expect(issue({ kind: 'service' })).rejects.toThrow(code('forbidden'))
    await expect(issue({ limits: { ...UNLIMITED, roles: ['admin'] } })).rejects.toThrow(
      code('beyond_rights'),
    )
    await update({ usersMayCreateTokens: false })
    await expect(issue()).rejects.toThrow(code('forbidden'))
  })

  it('bounds lifetimes, those that nobody asked for too', async () => {
    await update({ maxTokenTtlSeconds: 3600, defaultTokenTtlSeconds: 7200 })
    const now = t.clock.now()
    const end = now + 3600 * SECOND_MS
    expect((await t.issue(undefined, { expires: 'never' })).token.expiresAtMs).toBe(end)
    expect((await t.issue(undefined, { expires: 'default' })).token.expiresAtMs).toBe(end)
    expect((await t.issue(undefined, { expires: end })).token.expiresAtMs).toBe(end)
    await expect(t.issue(undefined, { expires: end + 1 })).rejects.toThrow(code('beyond_policy'))
    await update({ maxTokenTtlSeconds: null, defaultTokenTtlSeconds: null })
    expect((await t.issue(undefined, { expires: 'default' })).token.expiresAtMs).toBeUndefined()
    await t.reopen()
    expect(t.core.policy().defaultTokenTtlSeconds).toBeUndefined()
  })

  it('keeps every edit of one transaction', async () => {
    const caller = t.admin
    await t.write(async (w) => {
      await w.updatePolicy({ caller, edit: { passwordExpirationWarning: true } })
      await w.updatePolicy({ caller, edit: { lockoutSeconds: 77 } })
    })
    expect(t.core.policy()).toMatchObject({ passwordExpirationWarning: true, lockoutSeconds: 77 })
  })

  it('keeps every one of many edits at once', async () => {
    for (let round = 1; round <= 10; round++) {
      await Promise.all([
        update({ usersMayCreateTokens: round % 2 === 0 }),
        update({ lockoutSeconds: 100 + round }),
        update({ sessionIdleSeconds: 200 + round }),
        update({ retentionSeconds: 300 + round }),
      ])
      expect(t.core.policy()).toMatchObject({
        usersMayCreateTokens: round % 2 === 0,
        lockoutSeconds: 100 + round,
        sessionIdleSeconds: 200 + round,
        retentionSeconds: 300 + round,
      })
    }
  })

  it.each([
    { sessionTtlSeconds: 0 },
    { sessionTtlSeconds: null },
    { sessionIdleSeconds: null },
    { lockoutAttempts: 0 },
    { lockoutAttempts: null },
    { lockoutAttempts: 1.5 },
    { lockoutEnabled: null },
    { retentionSeconds: -1 },
    { retentionSeconds: null },
    { usersMayCreateTokens: null },
    { maxTokenTtlSeconds: Number.NaN },
    { defaultTokenTtlSeconds: 1e18 },
  ])('refuses %o', async (edit) => {
    const before = t.core.policy()
    await expect(update(edit)).rejects.toThrow(code('invalid_input'))
    expect(t.core.policy()).toEqual(before)
  })
})

describe('roles', () => {
  it.each(['admin', 'Admin', '', 'a b', 'ａdmin', '*', 'x'.repeat(64)])(
    'cannot be called "%s"',
    async (name) => {
      const role = { name, description: '', scopes: [] }
      await expect(t.write((w) => w.createRole({ caller: t.admin, role }))).rejects.toThrow(
        code('invalid_input'),
      )
    },
  )

  it('admin cannot be given as a role, nor one that nobody has defined', async () => {
    for (const roles of [['admin'], ['nonsense'], ['Verifier'], ['%']]) {
      await expect(t.makeUser({ username: `user ${++names}`, roles })).rejects.toThrow(
        code('invalid_input'),
      )
    }
  })
})

describe('a service account', () => {
  it('is made for a service token, and can neither log in nor be signed in as', async () => {
    const group = await t.makeGroup(`group ${++names}`)
    const { user, secret } = await t.write((w) =>
      w.issueServiceToken({
        caller: t.admin,
        via: 's7',
        wish: { name: 'ingest', groups: [{ name: group.name, mode: 'WRITE' }], expires: 'never' },
      }),
    )
    expect(user.kind).toBe('service')
    expect(await t.state(secret, { group: group.name, mode: 'WRITE' })).toBe('active')
    expect(await t.state(secret, { group: group.name, mode: 'ADMIN' })).toBe('group_missing')
    await expect(t.core.resetPassword({ caller: t.admin, id: user.id })).rejects.toThrow(
      code('invalid_input'),
    )
    const identity = {
      issuer: 'https://id.example',
      subject: 'x',
      username: user.username,
      displayName: undefined,
    }
    await expect(t.core.signInFromUpstream({ identity, origin: ORIGIN })).rejects.toThrow(
      code('login_failed'),
    )
    await expect(t.core.breakGlass(user.username)).rejects.toThrow(code('invalid_input'))
    expect((await t.core.read.user(t.admin, user.id)).globalRole).toBe('USER')
  })

  it('is not left behind when its token cannot be made', async () => {
    const before = await t.query('select count(*) as n from "user"')
    const wish = {
      name: 'x',
      groups: [{ name: 'no such group', mode: 'READ' as const }],
      expires: 'never' as const,
    }
    await expect(
      t.write((w) => w.issueServiceToken({ caller: t.admin, via: 's7', wish })),
    ).rejects.toThrow(code('not_found'))
    expect(await t.query('select count(*) as n from "user"')).toEqual(before)
  })
})

describe('what is not one’s own', () => {
  it('does not exist for a user: tokens, users, groups', async () => {
    const [one, two] = [await aCaller(), await aCaller()]
    const theirs = await t.issue(two.user)
    const group = await t.makeGroup(`group ${++names}`)
    const { caller } = one
    const { id } = theirs.token
    const hidden = [
      t.core.read.token(caller, id),
      t.core.read.user(caller, two.user.id),
      t.core.read.userByName(caller, two.user.username),
      t.core.read.group(caller, group.id),
      t.core.read.members(caller, group.id),
      t.write((w) => w.revokeToken({ caller, id, reason: '' })),
      t.write((w) => w.rotateToken({ caller, wish: { id, overlapSeconds: 0 }, via: 'api' })),
      t.write((w) => w.updateToken({ caller, id, edit: {} })),
      t.write((w) => w.updateUser({ caller, id: two.user.id, edit: {} })),
      t.write((w) => w.deleteUser({ caller, id: two.user.id })),
      t.write((w) => w.deleteGroup({ caller, id: group.id })),
    ]
    expect(new Set(await outcomes(hidden))).toEqual(new Set(['not_found']))
    expect(await t.state(theirs.secret)).toBe('active')
  })
})

describe('bootstrap', () => {
  it('happens once, whatever is asked later', async () => {
    const again = await t.core.bootstrap({
      username: 'second',
      password: new Secret('lamps under the bridge'),
      token: new Secret(randomBytes(32).toString('hex')),
    })
    expect(again).toBeUndefined()
    expect(await t.query(`select id from "user" where username = 'second'`)).toEqual([])
  })
})
