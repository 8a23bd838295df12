import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Caller } from '../../src/core/caller.ts'
import { UNLIMITED } from '../../src/core/tokens/token.ts'
import { ADMIN_PASSWORD, ORIGIN, outcomes } from '../support/core.ts'
import { type Node, type Nodes, openNodes } from '../support/nodes.ts'

// Everything here happens on two nodes at once, so that only the database can keep them apart.

let t: Nodes
let one: Node
let two: Node
beforeAll(async () => {
  t = await openNodes(2)
  ;[one, two] = t.nodes
})
afterAll(() => t.close())

const PAIRS = 50
const code = (name: string) => expect.objectContaining({ code: name })

const revoke = (node: Node, id: string, caller: Caller = t.admin) =>
  node.core.write((w) => w.revokeToken({ caller, id: id as never, reason: '' }))
const rotate = (node: Node, id: string) =>
  node.core.write((w) =>
    w.rotateToken({ caller: t.admin, wish: { id: id as never, overlapSeconds: 0 }, via: 'api' }),
  )
const openSession = (node: Node, caller: Caller) =>
  node.core.openSessionFromToken({ caller, via: 'api', format: 'mintmark' })

/** Ids of what still lives of a token, its family, and what comes from them. */
const alive = (id: string) =>
  t.database.query(`with recursive tree(id, family_id) as (
    select id, family_id from token
    where family_id = (select family_id from token where id = '${id}')
    union select child.id, child.family_id from token child join tree
      on child.parent_id = tree.id or child.family_id = tree.family_id)
    select id from token where id in (select id from tree) and revoked_at_ms is null`)

/** Starts both in either order, a little apart or not at all. */
async function race(round: number, a: () => Promise<unknown>, b: () => Promise<unknown>) {
  const [first, second] = round % 2 === 0 ? [a, b] : [b, a]
  const started = first()
  const apart = (round % 5) * 2
  if (apart > 0) await new Promise((resolve) => setTimeout(resolve, apart))
  const ended = await outcomes([started, second()])
  return round % 2 === 0 ? ended : ended.reverse()
}

describe('once a revocation is acknowledged, nothing of the tree is alive', () => {
  it(`though a session is opened from the token meanwhile, ${PAIRS} times`, async () => {
    let opened = 0
    for (let round = 0; round < PAIRS; round++) {
      const { token, secret } = await t.issue()
      const caller = await two.callerOf(secret)
      const [revoked, session] = await race(
        round,
        () => revoke(one, token.id),
        () => openSession(two, caller),
      )
      expect(revoked).toBe('ok')
      expect(['ok', 'unauthenticated', 'conflict']).toContain(session)
      if (session === 'ok') opened++
      expect(await alive(token.id)).toEqual([])
    }
    // Else the two never met.
    expect(opened).toBeGreaterThan(0)
    expect(opened).toBeLessThan(PAIRS)
  })

  it(`though the token is rotated meanwhile, ${PAIRS} times`, async () => {
    for (let round = 0; round < PAIRS; round++) {
      const { token } = await t.issue()
      const [revoked, rotated] = await race(
        round,
        () => revoke(one, token.id),
        () => rotate(two, token.id),
      )
      expect(revoked).toBe('ok')
      expect(['ok', 'token_not_active', 'conflict']).toContain(rotated)
      expect(await alive(token.id)).toEqual([])
    }
  })

  it(`nor of a child that is rotated while its parent is, ${PAIRS} times`, async () => {
    let refused = 0
    for (let round = 0; round < PAIRS; round++) {
      const parent = await t.issue()
      await t.caughtUp()
      const caller = await two.callerOf(parent.secret)
      const { token: child } = await two.core.write((w) =>
        w.issueChild({ caller, via: 'api', wish: { limits: {} } }),
      )
      const [rotated, ofChild] = await race(
        round,
        () => rotate(one, parent.token.id),
        () => rotate(two, child.id),
      )
      expect(rotated).toBe('ok')
      expect(['ok', 'token_not_active', 'conflict']).toContain(ofChild)
      if (ofChild !== 'ok') refused++
      const shown = await t.database.query(`select id from token
        where family_id = '${child.familyId}' and revoked_at_ms is null and superseded_at_ms is null`)
      expect(shown).toEqual([])
    }
    // Else the two never met.
    expect(refused).toBeGreaterThan(0)
    expect(refused).toBeLessThan(PAIRS)
  })

  it(`though its successor is rotated, or a session of that opened, ${PAIRS} times`, async () => {
    for (let round = 0; round < PAIRS; round++) {
      const { token } = await t.issue()
      const successor = await rotate(one, token.id)
      await t.caughtUp()
      const caller = await two.callerOf(successor.secret)
      // The revocation names the spent ancestor, which the others need not touch.
      const [revoked] = await race(
        round,
        () => revoke(one, token.id),
        () => (round % 3 === 0 ? openSession(two, caller) : rotate(two, successor.token.id)),
      )
      expect(revoked).toBe('ok')
      expect(await alive(token.id)).toEqual([])
    }
  })

  it(`though a session is opened from a session of it, ${PAIRS} times`, async () => {
    for (let round = 0; round < PAIRS; round++) {
      const { token, secret } = await t.issue()
      const session = await openSession(two, await two.callerOf(secret))
      const caller = await two.callerOf(session.secret)
      const [revoked] = await race(
        round,
        () => revoke(one, token.id),
        () => openSession(two, caller),
      )
      expect(revoked).toBe('ok')
      expect(await alive(token.id)).toEqual([])
    }
  })

  it('and a deleted user owns nothing, though a token was being made', async () => {
    for (let round = 0; round < PAIRS / 2; round++) {
      const user = await t.makeUser({})
      const [deleted, issued] = await race(
        round,
        () => one.core.write((w) => w.deleteUser({ caller: t.admin, id: user.id })),
        () =>
          two.core.write((w) =>
            w.issueToken({
              caller: t.admin,
              via: 'api',
              wish: {
                ownerId: user.id,
                kind: 'api',
                name: 'x',
                expires: 'never',
                limits: UNLIMITED,
              },
            }),
          ),
      )
      expect(deleted).toBe('ok')
      expect(['ok', 'not_found', 'conflict']).toContain(issued)
      expect(
        await t.database.query(
          `select id from token where owner_id = '${user.id}' and revoked_at_ms is null`,
        ),
      ).toEqual([])
    }
  })

  it('and a disabled user is not logged in, though the password was right', async () => {
    for (let round = 0; round < 6; round++) {
      const user = await t.makeUser({})
      const password = await one.core.resetPassword({ caller: t.admin, id: user.id })
      const [disabled] = await race(
        round,
        async () => {
          await new Promise((resolve) => setTimeout(resolve, 100 + round * 20))
          return one.core.write((w) =>
            w.updateUser({ caller: t.admin, id: user.id, edit: { active: false } }),
          )
        },
        () =>
          two.core.login({
            name: user.username,
            password: password.reveal(),
            newPassword: `${ADMIN_PASSWORD} ${round}`,
            origin: ORIGIN,
            via: 'api',
          }),
      )
      expect(disabled).toBe('ok')
      expect(
        await t.database.query(
          `select id from token where owner_id = '${user.id}' and revoked_at_ms is null`,
        ),
      ).toEqual([])
    }
  })
})

describe('two nodes', () => {
  it('never leave the installation without an administrator', async () => {
    for (let round = 0; round < 10; round++) {
      const [a, b] = [
        await t.makeUser({ globalRole: 'ADMIN' }),
        await t.makeUser({ globalRole: 'ADMIN' }),
      ]
      const tokens = [await t.issue(a), await t.issue(b)]
      await t.database.tamper(`update "user" set password_hash = 'any' where id in ('${a.id}', '${b.id}');
        update "user" set global_role = 'USER' where username = 'root'`)
      const callers = [
        await one.callerOf(tokens[0]?.secret ?? ''),
        await two.callerOf(tokens[1]?.secret ?? ''),
      ]
      const demote = (node: Node, caller: Caller | undefined, id: typeof a.id) =>
        node.core.write((w) =>
          w.updateUser({ caller: caller ?? t.admin, id, edit: { globalRole: 'USER' } }),
        )
      const ended = await race(
        round,
        () => demote(one, callers[0], b.id),
        () => demote(two, callers[1], a.id),
      )
      expect(ended.toSorted()).toEqual(['last_admin', 'ok'])
      await t.database.tamper(`update "user" set global_role = 'ADMIN' where username = 'root';
        update "user" set global_role = 'USER' where id in ('${a.id}', '${b.id}')`)
    }
  })

  it('count wrong passwords towards one limit', async () => {
    const user = await t.makeUser({})
    await one.core.resetPassword({ caller: t.admin, id: user.id })
    const guess = (node: Node) =>
      node.core.login({ name: user.username, password: 'wrong', origin: ORIGIN, via: 'api' })
    const ended = await outcomes(Array.from({ length: 24 }, (_, i) => guess(i % 2 ? one : two)))
    expect(ended.filter((end) => end === 'login_failed').length).toBeLessThanOrEqual(10)
    expect(new Set(ended)).toEqual(new Set(['login_failed', 'too_many_requests']))
  })

  it('do the work of one idempotency key once', async () => {
    for (let round = 0; round < 5; round++) {
      const key = `key-of-round-${round}`
      const once = (node: Node) =>
        node.core.writeOnce({ caller: t.admin, key, request: {} }, async (w) => {
          const user = await w.createUser({
            caller: t.admin,
            wish: { username: `once ${round}` },
          })
          return user.id
        })
      const all = await Promise.all([one, two, one, two, one, two].map(once))
      expect(new Set(all.map(({ value }) => value)).size).toBe(1)
      expect(all.filter(({ replayed }) => !replayed)).toHaveLength(1)
    }
  })

  it('give a name to one user, be it as username or as email', async () => {
    for (let round = 0; round < 10; round++) {
      const name = `both${round}@example.com`
      const make = (node: Node, wish: { username: string; email?: string }) =>
        node.core.write((w) => w.createUser({ caller: t.admin, wish }))
      const ended = await race(
        round,
        () => make(one, { username: name }),
        () => make(two, { username: `other ${round}`, email: name }),
      )
      expect(ended.toSorted()).toEqual(['name_taken', 'ok'])
    }
  })

  it('lose no edit of the policy', async () => {
    for (let round = 1; round <= 10; round++) {
      const edit = (node: Node, edit: object) =>
        node.core.write((w) => w.updatePolicy({ caller: t.admin, edit }))
      await Promise.all([
        edit(one, { lockoutAttempts: 10 + round }),
        edit(two, { lockoutSeconds: 100 + round }),
      ])
      await t.caughtUp()
      for (const { core } of [one, two]) {
        expect(core.policy()).toMatchObject({
          lockoutAttempts: 10 + round,
          lockoutSeconds: 100 + round,
        })
      }
    }
  })

  it('take a role from everyone, or give it, but nothing in between', async () => {
    for (let round = 0; round < 10; round++) {
      const name = `role-${round}`
      await one.core.write((w) =>
        w.createRole({ caller: t.admin, role: { name, description: '', scopes: [] } }),
      )
      const user = await t.makeUser({})
      const [deleted, given] = await race(
        round,
        () => one.core.write((w) => w.deleteRole({ caller: t.admin, name })),
        () =>
          two.core.write((w) =>
            w.updateUser({ caller: t.admin, id: user.id, edit: { roles: [name] } }),
          ),
      )
      expect(deleted).toBe('ok')
      expect(['ok', 'invalid_input']).toContain(given)
      expect(await t.database.query(`select * from user_role where role = '${name}'`)).toEqual([])
    }
  })

  it('make one administrator of an empty installation, and one set of keys', async () => {
    const fresh = await openNodes(2)
    const rows = await fresh.database.query('select purpose from key order by purpose')
    expect(rows.map(({ purpose }) => purpose)).toEqual([
      'jwt-es256',
      'oauth-es256',
      'oauth-rs256',
      'pepper',
      'root',
      's7-jwt',
    ])
    await fresh.close()
  })

  it('write one audit chain without gap or fork, and one change log in the order of commits', async () => {
    const seen: number[] = []
    let last = 0
    const stop = { now: false }
    const reader = (async () => {
      while (!stop.now) {
        const rows = await t.database.query(
          `select sequence from change where sequence > ${last} order by sequence`,
        )
        for (const { sequence } of rows) seen.push(Number(sequence))
        last = seen.at(-1) ?? 0
      }
    })()
    await Promise.all(Array.from({ length: 60 }, () => t.makeUser({})))
    await t.caughtUp()
    stop.now = true
    await reader
    const all = await t.database.query('select sequence from change order by sequence')
    // A reader that only ever looks beyond the last number it saw has seen every one, without gaps.
    expect(seen.slice(0, all.length)).toEqual(all.map(({ sequence }) => Number(sequence)))
    expect(all.at(-1)?.sequence).toBe(all.length)
    expect(await one.core.verifyAudit()).toMatchObject({ intact: true })
  })

  it('refuse a node whose master key is another', async () => {
    const { createCore } = await import('../../src/core/core.ts')
    const { Secret } = await import('../../src/core/secret.ts')
    const options = { store: one.store, clock: one.core.clock, random: one.core.random }
    await expect(
      createCore({ ...options, masterKey: new Secret('another'.repeat(8)) }),
    ).rejects.toThrow(code('not_configured'))
  })
})
