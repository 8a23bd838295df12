import { afterAll, beforeAll, describe, expect, inject, it, onTestFinished } from 'vitest'
import { Secret } from '../../src/core/secret.ts'
import type { Issued } from '../../src/core/tokens/issue.ts'
import { openStore } from '../../src/store/database.ts'
import { newPostgresDatabase, type TestDatabase } from '../support/database.ts'
import { type Nodes, openNodes } from '../support/nodes.ts'
import { migrateTo, STEPS } from '../support/older-database.ts'
import { hasPooler, type Pooler, startPooler } from '../support/pooler.ts'

const POLL_MS = 200
const CONNECTIONS = 5

describe.skipIf(!hasPooler)('behind PgBouncer in transaction mode', () => {
  describe.each([false, true])('with notices: %s', (notices) => {
    let pooler: Pooler
    let t: Nodes
    beforeAll(async () => {
      pooler = await startPooler(inject('postgresUrl'), { connections: CONNECTIONS })
      t = await openNodes(2, { pollMs: POLL_MS, notices, through: pooler.through })
    })
    afterAll(async () => {
      await t?.close()
      await pooler?.close()
    })

    it('what one node revokes the other refuses before the call returns', async () => {
      const [one, other] = t.nodes
      const tookMs: number[] = []
      for (let round = 0; round < 7; round++) {
        const { token, secret } = await t.issue()
        for (const node of t.nodes) expect(await node.state(secret)).toBe('active')
        await one.core.write((w) => w.revokeToken({ caller: t.admin, id: token.id, reason: '' }))
        const sinceMs = performance.now()
        const found = await one.store.nodes.acknowledged(one.committed(), 5000)
        tookMs.push(performance.now() - sinceMs)
        expect(await other.state(secret)).toBe('revoked')
        expect(found).toEqual({ acknowledged: 2, nodes: 2 })
      }
      // The median: a busy machine holds some of them up.
      expect(tookMs.toSorted((a, b) => a - b)[3]).toBeLessThan(2 * POLL_MS)
    })

    it('changes by many at once all happen, each whole', async () => {
      const made: Issued[] = []
      for (let round = 0; round < 10; round++) {
        const some = await Promise.all(Array.from({ length: 20 }, () => t.issue()))
        await Promise.all(
          some
            .slice(0, 10)
            .map(({ token: { id } }) =>
              t.next().core.write((w) => w.revokeToken({ caller: t.admin, id, reason: '' })),
            ),
        )
        made.push(...some)
      }
      await t.caughtUp()
      const states = await Promise.all(made.map(({ secret }) => t.nodes[1].state(secret)))
      expect(states).toEqual(made.map((_, i) => (i % 20 < 10 ? 'revoked' : 'active')))
      const numbers = await t.database.query('select sequence from audit order by sequence')
      expect(numbers.map(({ sequence }) => Number(sequence))).toEqual(numbers.map((_, i) => i + 1))
    })

    it('no transaction is left open, and no session is bound to a node', async () => {
      const rows = await t.database.query(
        `select count(*) filter (where state like 'idle in transaction%') as open, count(*) as all
         from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`,
      )
      expect(Number(rows[0]?.open)).toBe(0)
      expect(Number(rows[0]?.all)).toBeLessThanOrEqual(CONNECTIONS)
    })
  })

  describe('tables', () => {
    let pooler: Pooler
    beforeAll(async () => {
      pooler = await startPooler(inject('postgresUrl'), { connections: CONNECTIONS })
    })
    afterAll(() => pooler?.close())

    async function empty(): Promise<TestDatabase> {
      const database = await newPostgresDatabase('', 'template0')
      onTestFinished(() => database.drop())
      return database
    }

    async function open({ config }: TestDatabase, isDirect = false): Promise<void> {
      if (config.kind !== 'postgres') throw new Error('Not PostgreSQL.')
      const url = isDirect ? config.url : new Secret(pooler.through(config.url.reveal()))
      const database = { ...config, url, notices: false }
      await (await openStore(database, { now: () => Date.now() })).close()
    }

    it('are made through it', async () => {
      const database = await empty()
      await open(database)
      expect(await database.query('select name from migration')).toHaveLength(STEPS.length)
    })

    it('that have rows get their indexes over a direct connection, which it says', async () => {
      const database = await empty()
      await migrateTo(database, '0013-leaks')
      await database.tamper(`insert into "user" (id, serial, username, username_key, display_name, kind,
          global_role, active, attributes, password_is_one_time, created_at_ms, updated_at_ms)
          values ('owner', 1, 'alice', 'alice', '', 'person', 'USER', 1, '{}', 0, 0, 0);
        insert into token (id, kind, owner_id, creator_id, description, via, format, digest, pepper_id,
          preview, access_level, metadata, family_id, created_at_ms, updated_at_ms, use_count)
          values ('token', 'api', 'owner', 'owner', '', 'api', 'mintmark', 'digest', 'p', '',
            'READ_ONLY', '{}', 'token', 0, 0, 0)`)
      await expect(open(database)).rejects.toMatchObject({
        code: 'not_configured',
        message: expect.stringContaining('leads directly to PostgreSQL'),
      })
      expect(await database.query('select name from migration')).toHaveLength(13)
      await open(database, true)
      expect(await database.query('select name from migration')).toHaveLength(STEPS.length)
      await open(database)
    })
  })
})
