import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import type { Caller } from '../../src/core/caller.ts'
import { isId, type TokenId } from '../../src/core/id.ts'
import { asSigned } from '../../src/core/tokens/presented.ts'
import { UNLIMITED } from '../../src/core/tokens/token.ts'
import type { UserEdit } from '../../src/core/users/manage.ts'
import type { User } from '../../src/core/users/user.ts'
import { DAY_MS, HOUR_MS, ORIGIN, openTestCore, SECOND_MS, type TestCore } from '../support/core.ts'

const code = (value: string) => expect.objectContaining({ code: value })

let t: TestCore
let names = 0
beforeAll(async () => {
  t = await openTestCore()
})
afterAll(() => t.close())

const aUser = (wish: Partial<Parameters<TestCore['makeUser']>[0]> = {}) =>
  t.makeUser({ username: `user ${++names}`, ...wish })

/** A token whose verdict is in the cache when the test goes on. */
async function warm(owner: User | undefined, wish?: Parameters<TestCore['issue']>[1]) {
  const issued = await t.issue(owner, wish)
  // What is read while an earlier change comes in, as late as on a busy machine, is not remembered.
  await vi.waitFor(async () => {
    expect(await t.state(issued.secret)).toBe('active')
    const cached = t.core.verifier.cachedEntries()
    expect(await t.state(issued.secret)).toBe('active')
    expect(t.core.verifier.cachedEntries()).toBe(cached)
  })
  return issued
}

const rightsOf = async (secret: Parameters<TestCore['callerOf']>[0]) =>
  (await t.callerOf(secret)).principal.rights

const revoke = (id: TokenId, caller: Caller = t.admin) =>
  t.write((w) => w.revokeToken({ caller, id, reason: 'test' }))
const rotate = (id: TokenId, caller: Caller = t.admin) =>
  t.write((w) => w.rotateToken({ caller, wish: { id, overlapSeconds: 0 }, via: 'api' }))
const edit = (user: User, changes: UserEdit) =>
  t.write((w) => w.updateUser({ caller: t.admin, id: user.id, edit: changes }))

describe('a change binds in the very next verify, with a warm cache', () => {
  it('revoking a token', async () => {
    const { token, secret } = await warm(await aUser())
    await revoke(token.id)
    expect(await t.state(secret)).toBe('revoked')
  })

  it('revoking the token one presents, READ_ONLY or not', async () => {
    const { secret } = await warm(await aUser(), { limits: { accessLevel: 'READ_ONLY' } })
    const caller = await t.callerOf(secret)
    await t.write((w) => w.revokeSelf({ caller, reason: 'lost' }))
    expect(await t.state(secret)).toBe('revoked')
  })

  it('rotating a token', async () => {
    const { token, secret } = await warm(await aUser())
    const next = await rotate(token.id)
    expect(await t.state(secret)).toBe('superseded')
    expect(await t.state(next.secret)).toBe('active')
    expect(next.token).toMatchObject({ name: token.name, serial: token.serial })
  })

  it('revoking any member of a family', async () => {
    const { token, secret } = await warm(await aUser())
    const second = await rotate(token.id)
    const third = await rotate(second.token.id)
    expect(await t.state(third.secret)).toBe('active')
    await revoke(token.id)
    for (const each of [secret, second.secret, third.secret]) {
      expect(await t.state(each)).toBe('revoked')
    }
  })

  it('disabling, enabling and deleting the owner', async () => {
    const user = await aUser()
    const { secret } = await warm(user)
    await edit(user, { active: false })
    expect(await t.state(secret)).toBe('owner_disabled')
    await edit(user, { active: true })
    expect(await t.state(secret)).toBe('active')
    await t.write((w) => w.deleteUser({ caller: t.admin, id: user.id }))
    expect(await t.state(secret)).not.toBe('active')
  })

  it('enabling revives nothing that was revoked', async () => {
    const user = await aUser()
    const { token, secret } = await warm(user)
    await edit(user, { active: false })
    await revoke(token.id)
    await edit(user, { active: true })
    expect(await t.state(secret)).toBe('revoked')
  })

  it('promoting and demoting the owner', async () => {
    const user = await aUser()
    const { secret } = await warm(user)
    const limited = await warm(user, { limits: { roles: [] } })
    expect((await rightsOf(secret)).admin).toBe(false)
    await edit(user, { globalRole: 'ADMIN' })
    expect((await rightsOf(secret)).admin).toBe(true)
    expect((await rightsOf(limited.secret)).admin).toBe(false)
    await edit(user, { globalRole: 'USER' })
    expect((await rightsOf(secret)).admin).toBe(false)
    expect(await t.state(secret, { role: 'admin' })).toBe('role_missing')
  })

  it('giving and taking a role, its scopes, and the role itself', async () => {
    const role = `role-${++names}`
    await t.write((w) =>
      w.createRole({ caller: t.admin, role: { name: role, description: '', scopes: ['a', 'b'] } }),
    )
    const user = await aUser({ roles: [role] })
    const { secret } = await warm(user, { limits: { scopes: ['a'], roles: [role] } })
    const both = () => Promise.all([t.state(secret, { role }), t.state(secret, { scope: 'a' })])
    expect(await both()).toEqual(['active', 'active'])
    expect(await t.state(secret, { scope: 'b' })).toBe('scope_missing')

    const scopes = (list: string[]) =>
      t.write((w) => w.updateRole({ caller: t.admin, name: role, edit: { scopes: list } }))
    await scopes(['b'])
    expect(await both()).toEqual(['active', 'scope_missing'])
    await scopes(['a'])
    expect(await both()).toEqual(['active', 'active'])
    await edit(user, { roles: [] })
    expect(await both()).toEqual(['role_missing', 'scope_missing'])
    await edit(user, { roles: [role] })
    await t.write((w) => w.deleteRole({ caller: t.admin, name: role }))
    expect(await both()).toEqual(['role_missing', 'scope_missing'])
  })

  it('joining, ranking and leaving a group, renaming and deleting it', async () => {
    const user = await aUser()
    const group = await t.makeGroup(`group ${++names}`)
    const { secret } = await warm(user)
    const ask = (mode: 'READ' | 'ADMIN') => t.state(secret, { group: group.name, mode })
    const set = (mode: 'READ' | 'ADMIN') =>
      t.write((w) =>
        w.setMembership({ caller: t.admin, wish: { groupId: group.id, userId: user.id, mode } }),
      )
    expect(await ask('READ')).toBe('group_missing')
    await set('ADMIN')
    expect(await ask('ADMIN')).toBe('active')
    await set('READ')
    expect([await ask('READ'), await ask('ADMIN')]).toEqual(['active', 'group_missing'])
    await t.write((w) =>
      w.removeMembership({ caller: t.admin, groupId: group.id, userId: user.id }),
    )
    expect(await ask('READ')).toBe('group_missing')
    await set('READ')
    const name = `renamed ${++names}`
    await t.write((w) => w.updateGroup({ caller: t.admin, id: group.id, edit: { name } }))
    expect(await ask('READ')).toBe('group_missing')
    expect(await t.state(secret, { group: name })).toBe('active')
    await t.write((w) => w.deleteGroup({ caller: t.admin, id: group.id }))
    expect(await t.state(secret, { group: name })).toBe('group_missing')
    expect(await t.state(secret, { group: group.id })).toBe('group_missing')
  })

  it('the passing of time, to the millisecond', async () => {
    const end = t.clock.now() + 10 * SECOND_MS
    const { secret } = await warm(await aUser(), { expires: end })
    t.clock.advance(10 * SECOND_MS - 1)
    expect(await t.state(secret)).toBe('active')
    t.clock.advance(1)
    expect(await t.state(secret)).toBe('expired')
  })

  it('a write that fails changes no verdict', async () => {
    const { token, secret } = await warm(await aUser())
    const failing = t.write(async (w) => {
      await w.revokeToken({ caller: t.admin, id: token.id, reason: 'test' })
      throw new Error('no')
    })
    await expect(failing).rejects.toThrow('no')
    expect(await t.state(secret)).toBe('active')
    t.core.verifier.clear()
    expect(await t.state(secret)).toBe('active')
  })

  it('what was dead before a restart is dead after it', async () => {
    const [a, b, c] = [
      await warm(await aUser()),
      await warm(await aUser()),
      await warm(await aUser()),
    ]
    await revoke(a.token.id)
    const next = await rotate(b.token.id)
    await t.reopen()
    const states = [a.secret, b.secret, next.secret, c.secret].map((secret) => t.state(secret))
    expect(await Promise.all(states)).toEqual(['revoked', 'superseded', 'active', 'active'])
  })
})

describe('what verify answers', () => {
  it('about strings that were never a secret', async () => {
    const { secret } = await warm(await aUser())
    const text = secret.reveal()
    for (const wrong of ['', ' ', `${text} `, text.slice(0, -1), text.toUpperCase(), `${text}\0`]) {
      expect(['malformed', 'unknown']).toContain(await t.state(wrong))
    }
    expect(await t.state('0123456789abcdef0123456789abcdef')).toBe('unknown')
  })

  it('about a client address, also when it is not known', async () => {
    const { secret } = await warm(await aUser())
    expect(await t.state(secret, { ip: 'anything' })).toBe('active')
    const limited = await t.issue(await aUser(), { limits: { allowedIps: ['10.0.0.0/8'] } })
    expect(await t.state(limited.secret, { ip: '10.1.2.3' })).toBe('active')
    expect(await t.state(limited.secret, { ip: '::ffff:10.1.2.3' })).toBe('active')
    expect(await t.state(limited.secret, { ip: '11.1.2.3' })).toBe('ip_not_allowed')
    expect(await t.state(limited.secret, { ip: '' })).toBe('ip_not_allowed')
    expect(await t.state(limited.secret)).toBe('ip_not_allowed')
  })

  it('about a kind, and by id as by secret', async () => {
    const { token, secret } = await warm(await aUser(), { kind: 'service' })
    expect(secret.reveal()).toMatch(/^[0-9a-f-]{36}$/)
    expect(await t.state(secret, { kinds: ['api', 'session'] })).toBe('wrong_kind')
    expect((await t.core.verifier.verifyById(token.id)).active).toBe(true)
    await revoke(token.id)
    expect(await t.core.verifier.verifyById(token.id)).toMatchObject({ reason: 'revoked' })
    const nobody = '00000000-0000-7000-8000-000000000000' as TokenId
    expect(await t.core.verifier.verifyById(nobody)).toMatchObject({ reason: 'unknown' })
  })

  it('a hundred first questions at once have one answer each', async () => {
    const { secret, token } = await t.issue(await aUser())
    const asked = Array.from({ length: 100 }, () => t.state(secret))
    expect(new Set(await Promise.all(asked))).toEqual(new Set(['active']))
    const racing = Array.from({ length: 50 }, () => t.state(secret))
    await revoke(token.id)
    await Promise.all(racing)
    expect(await t.state(secret)).toBe('revoked')
  })

  it('an answer that was being loaded while the token was revoked is not remembered', async () => {
    for (let round = 0; round < 30; round++) {
      const { secret, token } = await t.issue(undefined)
      const [, ...asked] = await Promise.all([
        revoke(token.id),
        ...Array.from({ length: 5 }, () => t.state(secret)),
      ])
      expect(asked).toHaveLength(5)
      expect(await t.state(secret)).toBe('revoked')
    }
  })
})

describe('rotation', () => {
  it('of one token by many at once has one winner', async () => {
    for (let round = 0; round < 10; round++) {
      const { token, secret } = await t.issue(await aUser())
      const results = await Promise.allSettled(Array.from({ length: 5 }, () => rotate(token.id)))
      const won = results.filter((result) => result.status === 'fulfilled')
      expect(won).toHaveLength(1)
      for (const result of results) {
        if (result.status === 'rejected') {
          expect(['conflict', 'token_not_active']).toContain(result.reason.code)
        }
      }
      expect(await t.state(secret)).toBe('superseded')
      expect(await t.state(won[0]?.value.secret ?? '')).toBe('active')
      const family = await t.query(`select id from token where family_id = '${token.familyId}'`)
      expect(family).toHaveLength(2)
    }
  })

  it('is one conditional statement: what is not active is not superseded, nor again', async () => {
    const [{ token: one }, { token: two }] = [await t.issue(undefined), await t.issue(undefined)]
    await revoke(two.id)
    const supersede = (id: TokenId) =>
      t.store.transaction((tx) =>
        tx.tokens.supersede(id, { by: id, atMs: t.clock.now(), endsAtMs: t.clock.now() }),
      )
    expect([await supersede(one.id), await supersede(one.id)]).toEqual([true, false])
    expect(await supersede(two.id)).toBe(false)
  })

  it('racing with a revocation leaves nothing alive, whoever came first', async () => {
    for (let round = 0; round < 25; round++) {
      const { token, secret } = await t.issue(undefined)
      const race = [rotate(token.id), revoke(token.id)]
      const [rotated] = await Promise.allSettled(round % 2 ? race : race.reverse())
      expect(await t.state(secret)).toBe('revoked')
      const alive = await t.query(
        `select id from token where family_id = '${token.familyId}' and revoked_at_ms is null`,
      )
      expect(alive, rotated?.status).toEqual([])
    }
  })

  it('of what is expired, revoked, rotated or a login is refused', async () => {
    const user = await aUser()
    const { token: revoked } = await t.issue(user)
    await revoke(revoked.id)
    const { token: rotated } = await t.issue(user)
    await rotate(rotated.id)
    const { token: expired } = await t.issue(user, { expires: t.clock.now() + SECOND_MS })
    t.clock.advance(SECOND_MS)
    for (const { id } of [revoked, rotated, expired]) {
      await expect(rotate(id)).rejects.toThrow(code('token_not_active'))
    }
    const session = await t.core.openSessionFromToken({
      caller: t.admin,
      via: 'api',
      format: 'mintmark',
    })
    await expect(rotate(session.token.id)).rejects.toThrow(code('invalid_input'))
  })

  it('keeps rights, end and data, and never gives the rotating token more than it has', async () => {
    const user = await aUser({ globalRole: 'ADMIN' })
    const end = t.clock.now() + DAY_MS
    const { token } = await t.issue(user, {
      limits: { scopes: ['a'] },
      expires: end,
      metadata: { team: 'x' },
      description: 'd',
    })
    const { token: next } = await rotate(token.id)
    expect(next).toMatchObject({
      limits: token.limits,
      expiresAtMs: end,
      metadata: { team: 'x' },
      description: 'd',
      familyId: token.familyId,
    })

    const narrow = await t.issue(user, { limits: { scopes: ['b'] } })
    const caller = await t.callerOf(narrow.secret)
    await expect(rotate(next.id, caller)).rejects.toThrow(code('beyond_rights'))

    const short = await t.issue(user, { expires: t.clock.now() + HOUR_MS })
    const inherited = await rotate(next.id, await t.callerOf(short.secret))
    expect(inherited.token.expiresAtMs).toBe(short.token.expiresAtMs)
  })

  it('of a secret that the operator chose gives a random one', async () => {
    const [bootstrap] = (
      await t.core.read.tokens(t.admin, {
        filter: { via: ['bootstrap'] },
        from: undefined,
        size: 5,
      })
    ).items
    expect(bootstrap?.format).toBe('chosen')
  })
})

describe('sessions opened with a token', () => {
  const openSession = (caller: Caller) =>
    t.core.openSessionFromToken({ caller, via: 'xms', format: 'hex' })

  it('die with it, rotated or revoked, and carry its limits', async () => {
    for (const kill of [revoke, rotate]) {
      const { token, secret } = await t.issue(await aUser(), { limits: { scopes: [], roles: [] } })
      const session = await openSession(await t.callerOf(secret))
      expect(session.token.limits).toEqual(token.limits)
      const second = await openSession(await t.callerOf(session.secret))
      expect(await t.state(second.secret)).toBe('active')
      await kill(token.id)
      expect(await t.state(session.secret)).toBe('revoked')
      expect(await t.state(second.secret)).toBe('revoked')
    }
  })

  it('are dead also when the token was rotated and its row has been purged since', async () => {
    const { token, secret } = await t.issue(await aUser())
    const session = await openSession(await t.callerOf(secret))
    const next = await rotate(token.id)
    const retain = (retentionSeconds: number) =>
      t.write((w) => w.updatePolicy({ caller: t.admin, edit: { retentionSeconds } }))
    await retain(0)
    t.clock.advance(1)
    expect(await t.core.purge()).toBeGreaterThan(0)
    await retain(7_776_000)
    await revoke(next.token.id)
    expect(await t.state(session.secret)).not.toBe('active')
  })

  it('are not opened by a token that was revoked a moment ago', async () => {
    const { token, secret } = await t.issue(await aUser())
    const caller = await t.callerOf(secret)
    await revoke(token.id)
    await expect(openSession(caller)).rejects.toThrow(code('unauthenticated'))

    for (let round = 0; round < 20; round++) {
      const issued = await t.issue(undefined)
      const presented = await t.callerOf(issued.secret)
      const [session] = await Promise.allSettled([openSession(presented), revoke(issued.token.id)])
      if (session?.status === 'fulfilled') {
        expect(await t.state(session.value.secret)).toBe('revoked')
      }
    }
  })

  it('do not let what they make outlive the token', async () => {
    const user = await aUser({ globalRole: 'ADMIN' })
    const end = t.clock.now() + 2 * DAY_MS
    const { secret } = await t.issue(user, { expires: end })
    const session = await openSession(await t.callerOf(secret))
    const nested = await openSession(await t.callerOf(session.secret))
    for (const each of [session, nested]) {
      const caller = await t.callerOf(each.secret)
      const mint = (expires: number | 'never') =>
        t.write((w) =>
          w.issueToken({
            caller,
            via: 'api',
            wish: { kind: 'api', name: `child ${++names}`, limits: UNLIMITED, expires },
          }),
        )
      expect((await mint('never')).token.expiresAtMs).toBe(end)
      expect((await mint(end - 1)).token.expiresAtMs).toBe(end - 1)
      await expect(mint(end + 1)).rejects.toThrow(code('beyond_rights'))

      const { token: endless } = await t.issue(user)
      expect((await rotate(endless.id, caller)).token.expiresAtMs).toBe(end)
    }
  })

  it('are not opened by READ_ONLY', async () => {
    const { secret } = await t.issue(undefined, { limits: { accessLevel: 'READ_ONLY' } })
    await expect(openSession(await t.callerOf(secret))).rejects.toThrow(code('forbidden'))
  })

  it('never live longer than the token', async () => {
    const { secret } = await t.issue(undefined, { expires: t.clock.now() + SECOND_MS })
    const session = await openSession(await t.callerOf(secret))
    expect(session.token.expiresAtMs).toBe(t.clock.now() + SECOND_MS)
  })
})

describe('issuing', () => {
  it('refuses what makes no sense, and stores nothing', async () => {
    const before = await t.query('select count(*) as n from token')
    const group = await t.makeGroup(`group ${++names}`)
    const wishes: Parameters<TestCore['issue']>[1][] = [
      { name: '' },
      { name: 'a\0b' },
      { name: 'x'.repeat(256) },
      { expires: t.clock.now() },
      { expires: Number.NaN },
      { expires: Number.POSITIVE_INFINITY },
      { expires: t.clock.now() + 1500.5 },
      { expires: t.clock.now() + 200 * 365 * DAY_MS },
      { metadata: { a: '\0' } },
      { limits: { allowedIps: ['10.0.0.0/99'] } },
      { limits: { scopes: ['with space'] } },
      { limits: { scopes: ['a\0'] } },
      { limits: { scopes: ['\ud800'] } },
      {
        limits: {
          groups: [
            { id: group.id, mode: 'READ' },
            { id: group.id, mode: 'ADMIN' },
          ],
        },
      },
    ]
    for (const wish of wishes) {
      await expect(t.issue(undefined, wish), JSON.stringify(wish)).rejects.toThrow(
        code('invalid_input'),
      )
    }
    expect(await t.query('select count(*) as n from token')).toEqual(before)
  })

  it('refuses what the owner does not hold, or an owner who is disabled or nobody', async () => {
    const user = await aUser()
    for (const limits of [{ roles: ['admin'] }, { scopes: ['a'] }]) {
      await expect(t.issue(user, { limits })).rejects.toThrow(code('beyond_rights'))
    }
    const disabled = await aUser({ active: false })
    await expect(t.issue(disabled)).rejects.toThrow(code('conflict'))
    await t.write((w) => w.deleteUser({ caller: t.admin, id: disabled.id }))
    await expect(t.issue(disabled)).rejects.toThrow(code('not_found'))
  })

  it('gives a name again once its token is revoked or rotated, an id never', async () => {
    const user = await aUser()
    const first = await t.issue(user, { name: 'Deploy' })
    for (const name of ['Deploy', 'deploy', 'ｄｅｐｌｏｙ']) {
      await expect(t.issue(user, { name })).rejects.toThrow(code('name_taken'))
    }
    await t.issue(await aUser(), { name: 'Deploy' })
    await revoke(first.token.id)
    const second = await t.issue(user, { name: 'Deploy' })
    expect(second.token.id).not.toBe(first.token.id)
    expect(second.token.serial).not.toBe(first.token.serial)
    expect(isId(second.token.id)).toBe(true)
    const third = await rotate(second.token.id)
    await expect(t.issue(user, { name: 'Deploy' })).rejects.toThrow(code('name_taken'))
    await revoke(third.token.id)
    await t.issue(user, { name: 'Deploy' })
    expect(await t.state(first.secret)).toBe('revoked')
  })

  it('twenty of one name at once makes one', async () => {
    const user = await aUser()
    const results = await Promise.allSettled(
      Array.from({ length: 20 }, () => t.issue(user, { name: 'only one' })),
    )
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    for (const result of results) {
      if (result.status === 'rejected') expect(result.reason).toMatchObject({ code: 'name_taken' })
    }
  })
})

describe('lists', () => {
  it('count what they page through, also after rotations', async () => {
    const user = await aUser()
    for (let i = 0; i < 5; i++) {
      const { token } = await t.issue(user)
      if (i % 2) await rotate(token.id)
    }
    const filter = { ownerId: user.id }
    const page = (offset: number) =>
      t.core.read.tokensBySerial(t.admin, { filter, span: { offset, limit: 2 } })
    const pages = [await page(0), await page(2), await page(4)]
    expect(pages.map(({ total }) => total)).toEqual([5, 5, 5])
    expect(new Set(pages.flatMap(({ items }) => items.map(({ id }) => id))).size).toBe(5)
  })

  it('walk by cursor over every token once, there and back', async () => {
    const user = await aUser()
    const made = []
    for (let i = 0; i < 9; i++) {
      made.unshift((await t.issue(user)).token.id)
      // Two in three share their millisecond with another.
      if (i % 3 === 0) t.clock.advance(1)
    }
    const cursors = t.core.cursors('tokens')
    const list = (cursor: string | undefined) =>
      t.core.read.tokens(t.admin, {
        filter: { ownerId: user.id },
        from: cursor === undefined ? undefined : cursors.decode(cursor),
        size: 2,
      })
    const seen: string[] = []
    let page = await list(undefined)
    for (;;) {
      seen.push(...page.items.map(({ id }) => id))
      if (page.next === undefined) break
      page = await list(cursors.encode(page.next))
    }
    expect([...seen].sort()).toEqual([...made].sort())
    const back = page.items.map(({ id }) => id)
    while (page.previous !== undefined) {
      page = await list(cursors.encode(page.previous))
      back.unshift(...page.items.map(({ id }) => id))
    }
    expect(back).toEqual(seen)
  })

  it('find text in every script and treat % and _ as themselves', async () => {
    const user = await aUser({ username: `Jürgen Ärger ${++names}`, email: 'JÜRGEN@example.com' })
    await t.issue(user, { name: 'ÄPFEL 100%', description: 'Größe_XL' })
    const find = async (text: string) =>
      (
        await t.core.read.tokens(t.admin, {
          filter: { ownerId: user.id, text },
          from: undefined,
          size: 5,
        })
      ).items.length
    for (const text of ['ÄPFEL', 'äpfel', 'A\u0308pfel', '100%', 'GrößE_x', 'e_X']) {
      expect(await find(text), text).toBe(1)
    }
    for (const text of ['1%0', '1_0%', 'Birnen', '\\', "'"]) expect(await find(text), text).toBe(0)
    const people = await t.core.read.users(t.admin, {
      filter: { text: 'jürgen är' },
      from: undefined,
      size: 5,
    })
    expect(people.items.map(({ id }) => id)).toEqual([user.id])
  })

  it('show a user who is no admin nothing but their own', async () => {
    const [mine, theirs] = [await aUser(), await aUser()]
    const { secret } = await t.issue(mine)
    await t.issue(theirs)
    const caller = await t.callerOf(secret)
    const list = (filter: object) =>
      t.core.read.tokens(caller, { filter, from: undefined, size: 99 })
    const { items } = await list({})
    expect(items.map(({ ownerId }) => ownerId)).toEqual([mine.id])
    await expect(list({ ownerId: theirs.id })).rejects.toThrow(code('forbidden'))
    expect((await list({ creatorId: t.admin.principal.user.id })).items).toHaveLength(1)
  })
})

describe('uses', () => {
  it('are collected without a write, shown at once and stored by the flush', async () => {
    const { token, secret } = await t.issue(await aUser())
    await t.core.flushUsage()
    const before = await t.database.footprint()
    for (let i = 0; i < 500; i++) {
      t.clock.advance(1)
      await t.verify(secret, { ip: '192.0.2.1' })
    }
    expect(await t.database.footprint()).toEqual(before)
    expect(await useOf(token.id)).toEqual({
      use_count: 0,
      last_used_at_ms: null,
      last_used_ip: null,
    })

    const seen = await t.core.read.token(t.admin, token.id)
    const used = { useCount: 500, lastUsedAtMs: t.clock.now(), lastUsedIp: '192.0.2.1' }
    expect(seen).toMatchObject(used)
    await t.core.flushUsage()
    expect(await t.database.footprint()).not.toEqual(before)
    expect(await useOf(token.id)).toEqual({
      use_count: 500,
      last_used_at_ms: used.lastUsedAtMs,
      last_used_ip: used.lastUsedIp,
    })
    expect(await t.core.read.token(t.admin, token.id)).toMatchObject(used)
    await t.verify(secret)
    expect(await t.core.read.token(t.admin, token.id)).toMatchObject({ useCount: 501 })
  })

  it('that could not be stored are kept for the next flush', async () => {
    const { token, secret } = await t.issue(await aUser())
    await t.core.flushUsage()
    await t.verify(secret)
    const unblock = await t.database.block('update', 'token')
    await expect(t.core.flushUsage()).rejects.toThrow('full')
    await t.verify(secret)
    expect(await t.core.read.token(t.admin, token.id)).toMatchObject({ useCount: 2 })
    await unblock()
    await Promise.all([t.core.flushUsage(), t.core.flushUsage()])
    expect(await useOf(token.id)).toMatchObject({ use_count: 2 })
  })

  it('that are refused do not count', async () => {
    const { token, secret } = await t.issue(await aUser())
    await t.verify(secret, { role: 'admin' })
    await t.verify(secret, { kinds: ['session'] })
    expect(await t.core.read.token(t.admin, token.id)).toMatchObject({ useCount: 0 })
  })

  async function useOf(id: TokenId) {
    const [use] = await t.query(
      `select use_count, last_used_at_ms, last_used_ip from token where id = '${id}'`,
    )
    return use
  }
})

describe('purging', () => {
  it('keeps what ended as long as retention says, and what is alive for good', async () => {
    const retention = t.core.policy().retentionSeconds * SECOND_MS
    const user = await aUser()
    const alive = await t.issue(user)
    const revoked = await t.issue(user)
    const expired = await t.issue(user, { expires: t.clock.now() + SECOND_MS })
    const rotated = await t.issue(user)
    await revoke(revoked.token.id)
    const successor = await rotate(rotated.token.id)
    const ids = async () =>
      (await t.query(`select id from token where owner_id = '${user.id}'`))
        .map(({ id }) => id)
        .sort()
    const all = [alive, revoked, expired, rotated, successor].map(({ token }) => token.id).sort()
    t.clock.advance(retention)
    await t.core.purge()
    expect(await ids()).toEqual(all)
    t.clock.advance(SECOND_MS + 1)
    await t.core.purge()
    expect(await ids()).toEqual([alive.token.id, successor.token.id].sort())
    expect(await t.state(alive.secret)).toBe('active')
    expect(await t.state(successor.secret)).toBe('active')
    t.core.verifier.clear()
    expect(await t.state(revoked.secret)).toBe('unknown')
    const next = await t.issue(user)
    expect(next.token.serial).toBeGreaterThan(successor.token.serial ?? 0)
    const record = (await t.trail()).findLast(({ action }) => action === 'token.purged')
    expect(record).toMatchObject({ via: 'system', after: { count: expect.any(Number) } })
  })

  it('goes on until nothing is left, batch by batch', async () => {
    const user = await aUser()
    await t.write(async (w) => {
      for (let i = 0; i < 450; i++) {
        await w.issueToken({
          caller: t.admin,
          via: 'api',
          wish: {
            ownerId: user.id,
            kind: 'api',
            name: `n${i}`,
            limits: UNLIMITED,
            expires: t.clock.now() + SECOND_MS,
          },
        })
      }
    })
    t.clock.advance(t.core.policy().retentionSeconds * SECOND_MS + 2 * SECOND_MS)
    expect(await t.core.purge()).toBeGreaterThanOrEqual(450)
    expect(await t.query(`select id from token where owner_id = '${user.id}'`)).toEqual([])
    expect(
      await t.query('select * from token_label where token_id not in (select id from token)'),
    ).toEqual([])
    expect(await t.core.purge()).toBe(0)
  })
})

describe('editing', () => {
  it('changes what people call a token and nothing else', async () => {
    const user = await aUser()
    const { token, secret } = await t.issue(user, { name: 'old' })
    const caller = t.admin
    const edited = await t.write((w) =>
      w.updateToken({ caller, id: token.id, edit: { name: 'new', metadata: { a: 1 } } }),
    )
    expect(edited).toEqual({ ...token, name: 'new', metadata: { a: 1 } })
    expect(await t.core.read.token(t.admin, token.id)).toEqual(edited)
    expect(await t.state(secret)).toBe('active')
    await t.issue(user, { name: 'old' })
    const clash = t.write((w) => w.updateToken({ caller, id: token.id, edit: { name: 'OLD' } }))
    await expect(clash).rejects.toThrow(code('name_taken'))
    await revoke(token.id)
    const late = t.write((w) => w.updateToken({ caller, id: token.id, edit: { name: 'x' } }))
    await expect(late).rejects.toThrow(code('token_not_active'))
  })
})

it('a signed token stays within what was signed of it, however long an answer goes on', async () => {
  const { principal, origin } = t.admin
  const expiresAtMs = t.clock.now() + SECOND_MS
  const limits = { ...UNLIMITED, accessLevel: 'READ_ONLY', roles: [] } as const
  const signed = asSigned(principal, { limits, expiresAtMs, audience: undefined })
  const caller = { origin, principal: signed }
  const now = await t.core.stillHolds(caller)
  expect(now).toMatchObject({ derivedUntilMs: expiresAtMs })
  expect(now?.rights).toMatchObject({ accessLevel: 'READ_ONLY', admin: false })
  expect((await t.core.stillHolds(t.admin))?.rights.admin).toBe(true)
  t.clock.advance(SECOND_MS)
  expect(await t.core.stillHolds(caller)).toBeUndefined()
})

it('the origin of every record is that of the request', async () => {
  const { token } = await t.issue(await aUser())
  const record = (await t.trail()).findLast(({ subjectId }) => subjectId === token.id)
  expect(record).toMatchObject({ ip: ORIGIN.ip, requestId: ORIGIN.requestId, actorName: 'root' })
})
