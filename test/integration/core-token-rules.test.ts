import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { PolicyEdit } from '../../src/core/policy/manage.ts'
import { LAX, type TokenRule } from '../../src/core/policy/rule.ts'
import type { PolicyTest } from '../../src/core/policy/test-policy.ts'
import { UNLIMITED } from '../../src/core/tokens/token.ts'
import type { User } from '../../src/core/users/user.ts'
import { DAY_MS, HOUR_MS, openTestCore, SECOND_MS, type TestCore } from '../support/core.ts'

let t: TestCore
let alice: User
let bob: User
let crew: Awaited<ReturnType<TestCore['makeGroup']>>

beforeAll(async () => {
  t = await openTestCore()
  alice = await t.makeUser({ username: 'alice' })
  bob = await t.makeUser({ username: 'bob' })
  crew = await t.makeGroup('crew')
  await member(alice, 'ADMIN')
})
afterAll(() => t.close())
beforeEach(() => policy({ tokenRules: [], maxTokenTtlSeconds: null, usersMayCreateTokens: true }))

const policy = (edit: PolicyEdit) => t.write((w) => w.updatePolicy({ caller: t.admin, edit }))
const rules = (...parts: (Partial<TokenRule> & { name: string })[]) =>
  policy({ tokenRules: parts.map((part) => ({ ...LAX, ...part })) })
const member = (user: User, mode: 'READ' | 'ADMIN') =>
  t.write((w) =>
    w.setMembership({ caller: t.admin, wish: { groupId: crew.id, userId: user.id, mode } }),
  )
const crewRule = (part: Partial<TokenRule>) => ({ name: 'crew rule', groups: [crew.id], ...part })
const code = (code: string) => expect.objectContaining({ code })

describe('a rule binds the tokens that exist, in the call that makes it', () => {
  it('by their age, to the millisecond, and only those of its groups', async () => {
    const mine = await t.issue(alice)
    const others = await t.issue(bob)
    t.clock.advance(10 * SECOND_MS)
    expect(await t.state(mine.secret)).toBe('active')
    await rules(crewRule({ maxTtlSeconds: 11 }))
    t.clock.advance(SECOND_MS - 1)
    expect(await t.state(mine.secret)).toBe('active')
    t.clock.advance(1)
    expect(await t.state(mine.secret)).toBe('expired')
    expect(await t.state(others.secret)).toBe('active')
    await rules(crewRule({ maxTtlSeconds: 12 }))
    expect(await t.state(mine.secret)).toBe('active')
    await rules(crewRule({ maxTtlSeconds: 11 }))
    expect(await t.state(mine.secret)).toBe('expired')
  })

  it('by membership, which comes and goes', async () => {
    const { secret } = await t.issue(bob)
    t.clock.advance(HOUR_MS)
    await rules(crewRule({ maxTtlSeconds: 60 }))
    expect(await t.state(secret)).toBe('active')
    await member(bob, 'READ')
    expect(await t.state(secret)).toBe('expired')
    await t.write((w) => w.removeMembership({ caller: t.admin, groupId: crew.id, userId: bob.id }))
    expect(await t.state(secret)).toBe('active')
  })

  it('by standing idle', async () => {
    const { secret } = await t.issue(alice)
    expect(await t.state(secret)).toBe('active')
    await rules({ name: 'idle', idleSeconds: 60 })
    t.clock.advance(59_999)
    expect(await t.state(secret)).toBe('active')
    t.clock.advance(60_000)
    expect(await t.state(secret)).toBe('idle')
  })

  it('by where they come from, IPv4 in IPv6 too', async () => {
    const { secret } = await t.issue(alice)
    const bound = await t.issue(alice, { limits: { allowedIps: ['10.1.0.0/16', '2001:db8::/32'] } })
    await rules(crewRule({ allowedIps: ['10.0.0.0/8', '::ffff:172.16.0.0/108'] }))
    const from = (ip: string) => t.state(secret, { ip })
    expect(await from('10.9.9.9')).toBe('active')
    expect(await from('::ffff:10.9.9.9')).toBe('active')
    expect(await from('172.16.0.9')).toBe('active')
    expect(await from('11.0.0.1')).toBe('ip_not_allowed')
    expect(await from('2001:db8::1')).toBe('ip_not_allowed')
    expect(await t.state(secret)).toBe('ip_not_allowed')
    expect(await t.state(bound.secret, { ip: '10.1.0.1' })).toBe('active')
    expect(await t.state(bound.secret, { ip: '10.2.0.1' })).toBe('ip_not_allowed')
    expect(await t.state(bound.secret, { ip: '2001:db8::1' })).toBe('ip_not_allowed')
  })

  it('by roles and scopes at most', async () => {
    const root = t.admin.principal.user
    const { secret } = await t.issue(root)
    await rules({ name: 'few', kinds: ['api'], roles: ['admin'], scopes: ['read'] })
    expect(await t.state(secret, { scope: 'read' })).toBe('active')
    expect(await t.state(secret, { scope: 'write' })).toBe('scope_missing')
    const made = t.issue(root, { limits: { scopes: ['write'] } })
    await expect(made).rejects.toThrow(code('beyond_policy'))
    await expect(made).rejects.toThrow('"few"')
  })
})

it('the strictest of all rules and the policy counts', async () => {
  // The bootstrap token, too, is as old as the clock has moved.
  const globalSeconds = 7 * 86_400
  await policy({ maxTokenTtlSeconds: globalSeconds })
  await rules(
    { name: 'long', maxTtlSeconds: 30 * 86_400 },
    crewRule({ maxTtlSeconds: 100, defaultTtlSeconds: 50 }),
  )
  const endOf = async (owner: User, expires: 'never' | 'default') => {
    const { token } = await t.issue(owner, { expires })
    return ((token.expiresAtMs ?? 0) - t.clock.now()) / 1000
  }
  expect(await endOf(alice, 'never')).toBe(100)
  expect(await endOf(alice, 'default')).toBe(50)
  expect(await endOf(bob, 'never')).toBe(globalSeconds)
  const late = { expires: t.clock.now() + 101_000 }
  await expect(t.issue(alice, late)).rejects.toThrow('The rule "crew rule" allows')
  await expect(t.issue(bob, { expires: t.clock.now() + 8 * DAY_MS })).rejects.toThrow(
    'The policy allows',
  )
})

it('descriptions are required of what is made and changed', async () => {
  const { token } = await t.issue(alice)
  await rules(crewRule({ requiresDescription: true }))
  await expect(t.issue(alice)).rejects.toThrow(code('beyond_policy'))
  await expect(t.issue(alice, { description: ' ' })).rejects.toThrow(code('beyond_policy'))
  await t.issue(alice, { description: 'nightly build' })
  const edit = (edit: object) =>
    t.write((w) => w.updateToken({ caller: t.admin, id: token.id, edit }))
  await edit({ name: 'another name' })
  await expect(edit({ description: '' })).rejects.toThrow(code('beyond_policy'))
})

it('tokens are made by those whom the rules name', async () => {
  await member(bob, 'READ')
  const callers = {
    alice: await t.callerOf((await t.issue(alice)).secret),
    bob: await t.callerOf((await t.issue(bob)).secret),
  }
  const make = (who: keyof typeof callers) =>
    t.write((w) =>
      w.issueToken({
        caller: callers[who],
        via: 'api',
        wish: { kind: 'api', name: `${who} ${Math.random()}`, limits: UNLIMITED, expires: 'never' },
      }),
    )
  await rules(crewRule({ createdBy: 'group_admins' }))
  await make('alice')
  await expect(make('bob')).rejects.toThrow(code('beyond_policy'))
  await rules(crewRule({ createdBy: 'admins' }))
  await expect(make('alice')).rejects.toThrow(code('beyond_policy'))
  await t.issue(alice)
  await t.write((w) => w.removeMembership({ caller: t.admin, groupId: crew.id, userId: bob.id }))
})

describe('no way around a rule', () => {
  it('a session opened from a token keeps to what the token must', async () => {
    const { secret } = await t.issue(alice)
    const caller = await t.callerOf(secret)
    const session = await t.core.openSessionFromToken({ caller, via: 'xms', format: 'hex' })
    const login = session.secret
    expect(await t.state(login)).toBe('active')
    await rules(crewRule({ kinds: ['api'], allowedIps: ['10.0.0.0/8'] }))
    expect(await t.state(login, { ip: '10.0.0.1' })).toBe('active')
    expect(await t.state(login, { ip: '192.0.2.1' })).toBe('ip_not_allowed')
    t.clock.advance(60_000)
    await rules(crewRule({ kinds: ['api'], maxTtlSeconds: 60 }))
    expect(await t.state(login)).toBe('expired')
  })

  it('a child keeps to the rules for tokens, and ends with what it comes from', async () => {
    const { secret, token } = await t.issue(alice)
    await rules(crewRule({ maxTtlSeconds: 100 }))
    t.clock.advance(60_000)
    const caller = await t.callerOf(secret)
    const child = (wish: object) =>
      t.write((w) => w.issueChild({ caller, via: 'api', wish: { limits: {}, ...wish } }))
    const made = await child({})
    expect(made.token.expiresAtMs).toBe(token.createdAtMs + 100_000)
    const late = child({ expiresAtMs: t.clock.now() + 41_000 })
    await expect(late).rejects.toThrow(code('beyond_rights'))
    await rules(crewRule({ maxTtlSeconds: 60 }))
    expect(await t.state(made.secret)).toBe('expired')
    await rules(crewRule({ createdBy: 'admins' }))
    await t.write((w) =>
      w.setMembership({
        caller: t.admin,
        wish: { groupId: crew.id, userId: alice.id, mode: 'READ' },
      }),
    )
    await expect(child({})).rejects.toThrow(code('beyond_policy'))
    await member(alice, 'ADMIN')
  })

  it('what the policy has ended is not rotated, and a successor gets no more than the policy gives', async () => {
    const { token } = await t.issue(alice)
    const rotate = () =>
      t.write((w) => w.rotateToken({ caller: t.admin, wish: { id: token.id }, via: 'api' }))
    t.clock.advance(60_000)
    await rules(crewRule({ maxTtlSeconds: 60 }))
    await expect(rotate()).rejects.toThrow(code('token_not_active'))
    await rules(crewRule({ maxTtlSeconds: 61 }))
    const after = await rotate()
    expect(after.token.expiresAtMs).toBe(t.clock.now() + 61_000)
  })

  it('nobody gives more than a rule leaves him', async () => {
    const root = t.admin.principal.user
    const { secret } = await t.issue(root)
    await rules({ name: 'few', kinds: ['api'], roles: ['admin'], scopes: ['read'] })
    const caller = await t.callerOf(secret)
    const issue = (scopes: string[] | null) =>
      t.write((w) =>
        w.issueToken({
          caller,
          via: 'api',
          wish: {
            kind: 'service',
            name: `service ${Math.random()}`,
            limits: { ...UNLIMITED, scopes },
            expires: 'never',
          },
        }),
      )
    expect((await issue(null)).token.limits).toMatchObject({ roles: ['admin'], scopes: ['read'] })
    await expect(issue(['write'])).rejects.toThrow(code('beyond_rights'))
  })
})

describe('rules are refused', () => {
  it('that would shut out their maker', async () => {
    for (const part of [
      { maxTtlSeconds: 1 },
      { allowedIps: ['10.0.0.0/8'] },
      { roles: ['verifier'] },
    ]) {
      await expect(rules({ name: 'mine', ...part })).rejects.toThrow(code('conflict'))
    }
  })

  it('while a group that is deleted is named by one', async () => {
    const group = await t.makeGroup('brief')
    await rules({ name: 'about it', groups: [group.id], maxTtlSeconds: 60 })
    const remove = () => t.write((w) => w.deleteGroup({ caller: t.admin, id: group.id }))
    await expect(remove()).rejects.toThrow('"about it"')
    await rules()
    await remove()
    await expect(rules({ name: 'too late', groups: [group.id] })).rejects.toThrow(
      code('invalid_input'),
    )
  })

  it.each<[string, Partial<TokenRule>]>([
    ['no kind', { kinds: [] }],
    ['no address', { allowedIps: [] }],
    ['no range', { allowedIps: ['10.0.0.0/33'] }],
    ['no time', { maxTtlSeconds: 0 }],
    ['half a second', { idleSeconds: 0.5 }],
    ['no request', { rate: { requests: 0, windowSeconds: 1 } }],
    ['ADMINs of no group', { createdBy: 'group_admins' }],
    ['roles of logins', { kinds: ['session'], roles: [] }],
    ['descriptions of logins', { kinds: ['session'], requiresDescription: true }],
  ])('that make no sense: %s', async (_, part) => {
    await expect(rules({ name: 'odd', ...part })).rejects.toThrow(code('invalid_input'))
  })

  it('of one name', async () => {
    await expect(rules({ name: 'One' }, { name: 'one' })).rejects.toThrow(code('invalid_input'))
  })
})

it('a test tells what a policy would do, and changes nothing', async () => {
  const old = await t.issue(bob, { name: 'old one' })
  t.clock.advance(2 * DAY_MS)
  await t.issue(bob, { name: 'young one', limits: { scopes: [] } })
  const edit = {
    tokenRules: [
      {
        ...LAX,
        name: 'tried',
        kinds: ['api' as const],
        maxTtlSeconds: 86_400,
        requiresDescription: true,
      },
    ],
  }
  let found: PolicyTest | undefined
  for await (const step of await t.core.testPolicy(t.admin, edit)) {
    if ('effects' in step) found = step
  }
  const namesOf = (effect: 'ended' | 'ends_earlier' | 'revived') =>
    found?.effects.get(effect)?.tokens.map(({ token }) => token.name)
  expect(namesOf('ended')).toContain('old one')
  expect(namesOf('ended')).not.toContain('young one')
  expect(namesOf('ends_earlier')).toContain('young one')
  expect(found?.effects.get('lacks_description')?.newCount).toBeGreaterThan(0)
  expect(await t.state(old.secret)).toBe('active')
  await expect(
    t.core.testPolicy(await t.callerOf((await t.issue(alice)).secret), edit),
  ).rejects.toThrow(code('forbidden'))
})

it.each([{ globalRole: 'USER' }, { active: false }] as const)(
  'a test of a policy shows nothing more to one who is %o meanwhile',
  async (edit) => {
    const wish = { username: `auditor ${Object.keys(edit)}`, globalRole: 'ADMIN' } as const
    const auditor = await t.makeUser(wish)
    const caller = await t.callerOf((await t.issue(auditor)).secret)
    const steps = await t.core.testPolicy(caller, {})
    expect((await steps.next()).value).toHaveProperty('done')
    await t.write((w) => w.updateUser({ caller: t.admin, id: auditor.id, edit }))
    await expect(steps.next()).rejects.toThrow(code('unauthenticated'))
  },
)

describe('a rate', () => {
  const fair = { name: 'fair', kinds: ['api' as const], groups: null }

  it('allows exactly so many uses, and the next when it is due', async () => {
    await rules({ ...fair, groups: [crew.id], rate: { requests: 5, windowSeconds: 10 } })
    const { secret } = await t.issue(alice)
    const states = async (count: number) => {
      const heard: string[] = []
      for (let i = 0; i < count; i++) heard.push(await t.state(secret))
      return heard.filter((state) => state === 'active').length
    }
    expect(await states(20)).toBe(5)
    const verdict = await t.verify(secret)
    expect(verdict).toMatchObject({ reason: 'rate_limited', retryAfterSeconds: 2 })
    t.clock.advance(1999)
    expect(await states(3)).toBe(0)
    t.clock.advance(1)
    expect(await states(3)).toBe(1)
    t.clock.advance(60_000)
    expect(await states(20)).toBe(5)
  })

  it('is not begun anew by a rotation, nor by a change of the token', async () => {
    await rules({ ...fair, groups: [crew.id], rate: { requests: 2, windowSeconds: 100 } })
    const { secret, token } = await t.issue(alice)
    expect(await t.state(secret)).toBe('active')
    await t.write((w) =>
      w.updateToken({ caller: t.admin, id: token.id, edit: { description: 'changed' } }),
    )
    expect(await t.state(secret)).toBe('active')
    const next = await t.write((w) =>
      w.rotateToken({ caller: t.admin, wish: { id: token.id }, via: 'api' }),
    )
    expect(await t.state(next.secret)).toBe('rate_limited')
  })

  it('costs nobody else, and nothing to explain', async () => {
    await rules({ ...fair, groups: [crew.id], rate: { requests: 1, windowSeconds: 100 } })
    const { secret } = await t.issue(alice)
    const explain = () =>
      t.core.explain(t.admin, { presented: { secret: secret.reveal() }, demand: {} })
    await explain()
    await explain()
    expect(await t.state(secret)).toBe('active')
    const { verdict, explanation } = await explain()
    expect(verdict).toMatchObject({ reason: 'rate_limited', retryAfterSeconds: 100 })
    const rate = explanation?.checks.find(({ check }) => check === 'rate')
    expect(rate).toMatchObject({ outcome: 'failed', detail: expect.stringContaining('"fair"') })
    expect(await t.state((await t.issue(alice)).secret)).toBe('active')
  })
})

it('an explanation names the rule', async () => {
  const { secret } = await t.issue(alice)
  await rules(crewRule({ allowedIps: ['10.0.0.0/8'], maxTtlSeconds: 3600 }))
  const explained = await t.core.explain(t.admin, {
    presented: { secret: secret.reveal() },
    demand: { ip: '192.0.2.1' },
  })
  expect(explained.verdict).toMatchObject({ active: false, reason: 'ip_not_allowed' })
  const check = explained.explanation?.checks.find(({ check }) => check === 'policy')
  expect(check?.detail).toContain('The rule "crew rule" lets such tokens be presented from')
  expect(explained.explanation?.end).toMatchObject({ because: 'policy' })
})
