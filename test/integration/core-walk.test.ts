import fc from 'fast-check'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { Group, Mode } from '../../src/core/groups/group.ts'
import type { Secret } from '../../src/core/secret.ts'
import type { Token } from '../../src/core/tokens/token.ts'
import type { User } from '../../src/core/users/user.ts'
import { openTestCore, outcomes, SECOND_MS, type TestCore } from '../support/core.ts'

/**
 * Random histories of a few users, groups and tokens, next to a model that is small enough to be
 * seen to be right. After every step the model predicts what verify says of every secret.
 */

const USERS = 2
const GROUPS = 2
const RANK = { READ: 1, WRITE: 2, ADMIN: 3 }

interface ModelUser {
  active: boolean
  deleted: boolean
  isAdmin: boolean
  hasRole: boolean
  modes: (Mode | undefined)[]
}

interface ModelToken {
  owner: number
  /** `undefined`: no limit. */
  limits: { role: boolean | undefined; group: { index: number; mode: Mode } | undefined }
  state: 'active' | 'revoked' | 'superseded'
  family: number
  expiresAtMs: number | undefined
}

interface Model {
  users: ModelUser[]
  groupExists: boolean[]
  tokens: ModelToken[]
  nowMs: number
}

type Demand = 'none' | 'role' | 'admin' | { group: number; mode: Mode }

/** What verify must say. */
function predicted(model: Model, token: ModelToken, demand: Demand): 'active' | 'inactive' {
  const owner = model.users[token.owner]
  if (owner === undefined || owner.deleted || !owner.active) return 'inactive'
  if (token.state !== 'active') return 'inactive'
  if (token.expiresAtMs !== undefined && token.expiresAtMs <= model.nowMs) return 'inactive'
  const carriesAll = token.limits.role === undefined
  if (demand === 'admin') return owner.isAdmin && carriesAll ? 'active' : 'inactive'
  if (demand === 'role') {
    return owner.hasRole && (carriesAll || token.limits.role) ? 'active' : 'inactive'
  }
  if (demand === 'none') return 'active'
  const limit = token.limits.group
  const held = model.groupExists[demand.group] ? owner.modes[demand.group] : undefined
  if (held === undefined || RANK[held] < RANK[demand.mode]) return 'inactive'
  if (limit === undefined) return 'active'
  return limit.index === demand.group && RANK[limit.mode] >= RANK[demand.mode]
    ? 'active'
    : 'inactive'
}

const DEMANDS: Demand[] = [
  'none',
  'role',
  'admin',
  ...[0, 1].flatMap((group) =>
    (['READ', 'WRITE', 'ADMIN'] as const).map((mode) => ({ group, mode })),
  ),
]

const user = fc.nat({ max: USERS - 1 })
const group = fc.nat({ max: GROUPS - 1 })
const mode = fc.constantFrom<Mode>('READ', 'WRITE', 'ADMIN')
const which = fc.nat({ max: 9 })
const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('create' as const),
      user,
      role: fc.option(fc.boolean(), { nil: undefined }),
      group: fc.option(fc.record({ index: group, mode }), { nil: undefined }),
      ttlSeconds: fc.option(fc.integer({ min: 1, max: 5 }), { nil: undefined }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('revoke' as const), which }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('rotate' as const), which }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('active' as const), user, to: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('rank' as const), user, to: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('role' as const), user, to: fc.boolean() }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('grant' as const),
      user,
      group,
      mode: fc.option(mode, { nil: undefined }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('delete' as const), user }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('dissolve' as const), group }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('wait' as const), seconds: fc.nat(3) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('forget' as const) }) },
)
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never

let t: TestCore
let histories = 0
beforeAll(async () => {
  t = await openTestCore()
  const role = { name: 'walker', description: '', scopes: [] }
  await t.write((w) => w.createRole({ caller: t.admin, role }))
})
afterAll(() => t.close())

/** A model and the real thing, walking side by side. */
async function walk(steps: Step[]): Promise<void> {
  const n = ++histories
  const users: User[] = []
  const groups: Group[] = []
  const issued: { token: Token; secret: Secret }[] = []
  for (let i = 0; i < USERS; i++) users.push(await t.makeUser({ username: `walker ${n} ${i}` }))
  for (let i = 0; i < GROUPS; i++) groups.push(await t.makeGroup(`walkers ${n} ${i}`))
  const model: Model = {
    users: users.map(() => ({
      active: true,
      deleted: false,
      isAdmin: false,
      hasRole: false,
      modes: [],
    })),
    groupExists: groups.map(() => true),
    tokens: [],
    nowMs: t.clock.now(),
  }
  const caller = t.admin

  /** Whether the model allows the step; it is then done in the model too. */
  async function take(each: Step): Promise<void> {
    const at = <T>(list: T[], index: number): T => {
      const item = list[index]
      if (item === undefined) throw new Error('No such thing.')
      return item
    }
    const ends = async (work: Promise<unknown>, allowed: boolean) => {
      expect((await outcomes([work]))[0] === 'ok', JSON.stringify(each)).toBe(allowed)
    }
    switch (each.do) {
      case 'create': {
        const owner = at(model.users, each.user)
        const limit = each.group
        const held = limit && model.groupExists[limit.index] && owner.modes[limit.index]
        const holds =
          (each.role !== true || owner.hasRole) &&
          (limit === undefined ||
            (held !== undefined && held !== false && RANK[held] >= RANK[limit.mode]))
        const expiresAtMs =
          each.ttlSeconds === undefined ? undefined : model.nowMs + each.ttlSeconds * SECOND_MS
        const making = t.issue(at(users, each.user), {
          name: `token ${issued.length}`,
          expires: expiresAtMs ?? 'never',
          limits: {
            roles: each.role === undefined ? null : each.role ? ['walker'] : [],
            groups:
              limit === undefined ? null : [{ id: at(groups, limit.index).id, mode: limit.mode }],
          },
        })
        await ends(making, owner.active && !owner.deleted && holds)
        if (!(owner.active && !owner.deleted && holds)) return
        issued.push(await making)
        model.tokens.push({
          owner: each.user,
          limits: { role: each.role, group: limit },
          state: 'active',
          family: model.tokens.length,
          expiresAtMs,
        })
        return
      }
      case 'revoke': {
        if (issued.length === 0) return
        const index = each.which % issued.length
        const { token } = at(issued, index)
        await ends(
          t.write((w) => w.revokeToken({ caller, id: token.id, reason: '' })),
          true,
        )
        const { family } = at(model.tokens, index)
        for (const other of model.tokens) if (other.family === family) other.state = 'revoked'
        return
      }
      case 'rotate': {
        if (issued.length === 0) return
        const index = each.which % issued.length
        const old = at(model.tokens, index)
        const alive =
          old.state === 'active' && (old.expiresAtMs === undefined || old.expiresAtMs > model.nowMs)
        const { id } = at(issued, index).token
        const rotating = t.write((w) =>
          w.rotateToken({ caller, wish: { id, overlapSeconds: 0 }, via: 'api' }),
        )
        await ends(rotating, alive)
        if (!alive) return
        issued.push(await rotating)
        model.tokens.push({ ...old })
        old.state = 'superseded'
        return
      }
      case 'active':
      case 'rank':
      case 'role': {
        const owner = at(model.users, each.user)
        const { id } = at(users, each.user)
        const edit =
          each.do === 'active'
            ? { active: each.to }
            : each.do === 'rank'
              ? { globalRole: each.to ? ('ADMIN' as const) : ('USER' as const) }
              : { roles: each.to ? ['walker'] : [] }
        await ends(
          t.write((w) => w.updateUser({ caller, id, edit })),
          !owner.deleted,
        )
        if (owner.deleted) return
        if (each.do === 'active') owner.active = each.to
        else if (each.do === 'rank') owner.isAdmin = each.to
        else owner.hasRole = each.to
        return
      }
      case 'grant': {
        const owner = at(model.users, each.user)
        const userId = at(users, each.user).id
        const groupId = at(groups, each.group).id
        const exists = at(model.groupExists, each.group) && !owner.deleted
        const { mode: to } = each
        const isMember = owner.modes[each.group] !== undefined
        await ends(
          t.write((w) =>
            to === undefined
              ? w.removeMembership({ caller, groupId, userId })
              : w.setMembership({ caller, wish: { groupId, userId, mode: to } }),
          ),
          exists && (to !== undefined || isMember),
        )
        if (exists) owner.modes[each.group] = to
        return
      }
      case 'delete': {
        const owner = at(model.users, each.user)
        const { id } = at(users, each.user)
        await ends(
          t.write((w) => w.deleteUser({ caller, id })),
          !owner.deleted,
        )
        owner.deleted = true
        for (const token of model.tokens) if (token.owner === each.user) token.state = 'revoked'
        return
      }
      case 'dissolve': {
        const { id } = at(groups, each.group)
        await ends(
          t.write((w) => w.deleteGroup({ caller, id })),
          at(model.groupExists, each.group),
        )
        model.groupExists[each.group] = false
        for (const owner of model.users) owner.modes[each.group] = undefined
        return
      }
      case 'wait':
        t.clock.advance(each.seconds * SECOND_MS)
        model.nowMs = t.clock.now()
        return
      case 'forget':
        t.core.verifier.clear()
    }
  }

  for (const [i, each] of steps.entries()) {
    await take(each)
    for (const [index, token] of model.tokens.entries()) {
      const secret = issued[index]?.secret.reveal() ?? ''
      for (const demand of DEMANDS) {
        const asked =
          demand === 'none'
            ? {}
            : demand === 'role'
              ? { role: 'walker' }
              : demand === 'admin'
                ? { role: 'admin' }
                : { group: groups[demand.group]?.id ?? '', mode: demand.mode }
        const verdict = await t.core.verifier.verify(secret, asked)
        expect(
          verdict.active ? 'active' : 'inactive',
          `step ${i} ${JSON.stringify(each)}, token ${index}, ${JSON.stringify(demand)}`,
        ).toBe(predicted(model, token, demand))
      }
    }
  }
}

it('three hundred random histories end as the model says, step by step', async () => {
  await fc.assert(fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 18 }), walk), {
    numRuns: 300,
  })
  expect(await t.verifyChain()).toMatchObject({ intact: true })
}, 60_000)
