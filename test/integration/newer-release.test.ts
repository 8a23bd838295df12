import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { ClientId, GrantId, TokenId, UserId } from '../../src/core/id.ts'
import { LAX } from '../../src/core/policy/rule.ts'
import { makeSecret, Secret } from '../../src/core/secret.ts'
import { UNLIMITED } from '../../src/core/tokens/token.ts'
import { ADMIN_PASSWORD, ORIGIN } from '../support/core.ts'
import { newDatabase, type TestDatabase } from '../support/database.ts'
import { type Inhabited, inhabit, within } from '../support/installation.ts'

const masterKey = new Secret(randomBytes(32).toString('base64url'))

const dir = mkdtempSync(join(tmpdir(), 'mintmark-newer-'))

let database: TestDatabase
let lived: Inhabited
beforeAll(async () => {
  database = await newDatabase(dir)
  lived = await inhabit(database, masterKey)
})
afterAll(async () => {
  await database.drop()
  rmSync(dir, { recursive: true, force: true })
})

/** One that no test before has touched. */
function nextToken() {
  const token = lived.alive.pop()
  if (token === undefined) throw new Error('No token is left.')
  return token
}

const stateOf = (secret: string) =>
  within(database.config, masterKey, async ({ core }) => {
    const verdict = await core.verifier.verify(secret)
    return verdict.active ? 'active' : verdict.reason
  })

/** What a later release may write into what this one reads. */
const UNHEARD_OF: [string, string][] = [
  ['a restriction', "must_know = 'not-before'"],
  ['several', "must_know = 'not-before two-persons'"],
  ['a restriction without a word', "must_know = ''"],
  ['a kind', "kind = 'certificate'"],
  ['an access level', "access_level = 'WRITE_ONLY'"],
  ['an access level beside limits', `access_level = 'WRITE_ONLY', scopes = '["read"]'`],
]

describe('what only a newer release knows of is never active:', () => {
  it.each(UNHEARD_OF)('%s of a token', async (_, change) => {
    const [token, other] = [nextToken(), nextToken()]
    expect(await stateOf(token.secret)).toBe('active')
    await database.tamper(`update token set ${change} where id = '${token.id}'`)
    expect(await stateOf(token.secret)).toBe('quarantined')
    expect(await stateOf(other.secret)).toBe('active')
    await within(database.config, masterKey, async ({ core, admin }) => {
      const caller = await admin(lived.adminSecret)
      // Its successor, which this release would make, would not know of it either.
      await expect(
        core.write((w) => w.rotateToken({ caller, wish: { id: token.id }, via: 'api' })),
      ).rejects.toMatchObject({ code: 'token_not_active' })
      // To end it takes no understanding.
      await core.write((w) => w.revokeToken({ caller, id: token.id, reason: 'unclear' }))
      expect(await core.verifier.verify(token.secret)).toMatchObject({ reason: 'revoked' })
    })
  })

  it('what comes from such a token', async () => {
    const [child, parent] = [nextToken(), nextToken()]
    await database.tamper(`update token set parent_id = '${parent.id}' where id = '${child.id}'`)
    expect(await stateOf(child.secret)).toBe('active')
    await database.tamper(`update token set must_know = 'not-before' where id = '${parent.id}'`)
    expect(await stateOf(child.secret)).toBe('quarantined')
  })

  it.each([
    ['kind', 'allowed_ips = \'["asn:64496"]\''],
    ['shape', 'allowed_ips = \'{"countries":["CH"]}\''],
  ])('addresses of another %s', async (_, change) => {
    const token = nextToken()
    await database.tamper(`update token set ${change} where id = '${token.id}'`)
    const said = await stateOf(token.secret).catch(() => 'refused')
    expect(said).not.toBe('active')
  })

  it('a change of a subject without a name here, which ends all that was signed before', async () => {
    const isSqlite = database.config.kind === 'sqlite'
    await within(database.config, masterKey, async ({ core }) => {
      const before = await core.revocations.read(undefined)
      const nowMs = Date.now()
      await database.tamper(
        isSqlite
          ? `insert into change (subject, subject_id, at_ms) values ('tenant', 't-1', ${nowMs})`
          : `update counter set value = value + 1 where name = 'change';
            insert into change (sequence, subject, subject_id, at_ms)
              select value, 'tenant', 't-1', ${nowMs} from counter where name = 'change'`,
      )
      const after = await core.revocations.read(before.next)
      expect(after.everything).toBeGreaterThan(before.everything)
    })
  })
})

describe('a rule of the policy that only a newer release understands', () => {
  const groupOf = async () => (await database.query('select id from "group"'))[0]?.id
  /** What a newer release writes for one of its rules. */
  async function rule(more: object): Promise<void> {
    const written = {
      ...LAX,
      name: 'weekdays only',
      kinds: ['api'],
      groups: [await groupOf()],
      ...more,
    }
    await write({ tokenRules: [written] })
  }
  async function write(settings: object): Promise<void> {
    for (const [name, value] of Object.entries(settings)) {
      await database.tamper(`insert into policy (name, value, updated_at_ms)
        values ('${name}', '${JSON.stringify(value)}', 1)
        on conflict (name) do update set value = excluded.value`)
    }
  }
  afterEach(() => write({ tokenRules: [], mustKnow: [] }))

  it('ends what it applies to for as long as it is there, and nothing else', async () => {
    const token = nextToken()
    await rule({ weekdays: null })
    expect(await stateOf(token.secret)).toBe('active')
    await rule({ weekdays: ['mon'] })
    expect(await stateOf(token.secret)).toBe('quarantined')
    expect(await stateOf(lived.adminSecret)).toBe('active')
    await rule({ weekdays: ['mon'], kinds: ['session'] })
    expect(await stateOf(token.secret)).toBe('active')
    await rule({ mustKnow: ['weekdays'] })
    expect(await stateOf(token.secret)).toBe('quarantined')
    await write({ tokenRules: [] })
    expect(await stateOf(token.secret)).toBe('active')
  })

  it('lets nobody make such tokens or change the policy, and says why; to end them works', async () => {
    const token = nextToken()
    await rule({ weekdays: ['mon'] })
    await within(database.config, masterKey, async ({ core, admin }) => {
      const caller = await admin(lived.adminSecret)
      const issue = (ownerId?: UserId) =>
        core.write((w) =>
          w.issueToken({
            caller,
            via: 'api',
            wish: {
              kind: 'api',
              name: `weekdays ${ownerId}`,
              ...(ownerId === undefined ? {} : { ownerId }),
              expires: 'default',
              limits: UNLIMITED,
            },
          }),
        )
      const refusal = expect.stringMatching(/newer release.*rule "weekdays only"/)
      await expect(issue(lived.alice)).rejects.toMatchObject({
        code: 'unavailable',
        message: refusal,
      })
      expect((await issue()).token.name).toBe('weekdays undefined')
      await expect(
        core.write((w) => w.rotateToken({ caller, wish: { id: token.id }, via: 'api' })),
      ).rejects.toMatchObject({ code: 'token_not_active' })
      const { explanation } = await core.explain(caller, {
        presented: { secret: token.secret },
        demand: {},
      })
      const failed = explanation?.checks.filter(({ outcome }) => outcome === 'failed')
      expect(failed).toMatchObject([{ check: 'quarantine', detail: refusal }])
      // No alarm: nobody suspects it.
      await core.verifier.verify(token.secret)
      await core.flushUsage()
      const uses = await database.query(`select 1 from audit
        where action = 'token.quarantine_used' and subject_id = '${token.id}'`)
      expect(uses).toEqual([])
      const conflict = { code: 'conflict', message: expect.stringContaining('newer release') }
      for (const change of [
        () => core.write((w) => w.updatePolicy({ caller, edit: { lockoutAttempts: 5 } })),
        () =>
          core.write((w) => w.setTokenRule({ caller, rule: { ...LAX, name: 'Weekdays only' } })),
        () => core.write((w) => w.removeTokenRule({ caller, name: 'weekdays only' })),
      ]) {
        await expect(change()).rejects.toMatchObject(conflict)
      }
      await core.write((w) => w.revokeToken({ caller, id: token.id, reason: 'unclear' }))
      expect(await core.verifier.verify(token.secret)).toMatchObject({ reason: 'revoked' })
    })
    const [row] = await database.query("select value from policy where name = 'tokenRules'")
    expect(JSON.parse(String(row?.value))).toMatchObject([{ weekdays: ['mon'] }])
  })

  it('binds what comes from such a token, whatever kind it is of', async () => {
    const [child, parent] = [nextToken(), nextToken()]
    await database.tamper(`update token set parent_id = '${parent.id}', kind = 'service'
      where id = '${child.id}'`)
    expect(await stateOf(child.secret)).toBe('active')
    await rule({ weekdays: ['mon'] })
    expect(await stateOf(child.secret)).toBe('quarantined')
  })

  it('lets no client redeem what it applies to, nor throw it away; giving it back works', async () => {
    const secret = new Secret(makeSecret('mintmark', 'ort', randomBytes))
    const find = () =>
      within(database.config, masterKey, ({ core }) =>
        core.oauth.findUsableToken(secret.reveal(), 'oauth_refresh'),
      )
    const id = await within(database.config, masterKey, async ({ core }) => {
      const { id } = await core.oauth.saveToken({
        origin: ORIGIN,
        token: {
          id: core.oauth.newId() as TokenId,
          kind: 'oauth_refresh',
          secret,
          clientId: 'c-1' as ClientId,
          ownerId: lived.alice,
          grantId: 'g-1' as GrantId,
          parentId: undefined,
          scopes: [],
          audience: undefined,
          boundKey: undefined,
          expiresAtMs: Date.now() + 3_600_000,
          record: {},
        },
      })
      return id
    })
    expect(await find()).toMatchObject({ token: { id } })
    await rule({ weekdays: ['mon'], kinds: ['oauth_refresh'] })
    await expect(find()).rejects.toMatchObject({ code: 'unavailable' })
    await within(database.config, masterKey, async ({ core }) => {
      const found = await core.oauth.findToken(secret.reveal(), 'oauth_refresh')
      if (found === undefined) throw new Error('It is not found.')
      await core.oauth.revokeForClient({ origin: ORIGIN, token: found.token })
    })
    await write({ tokenRules: [] })
    expect(await find()).toBeUndefined()
  })

  it('or all of the policy that is not, ends everything and lets nobody in', async () => {
    const token = nextToken()
    await write({ mustKnow: ['two-persons'] })
    expect(await stateOf(token.secret)).toBe('quarantined')
    expect(await stateOf(lived.adminSecret)).toBe('quarantined')
    await within(database.config, masterKey, async ({ core }) => {
      await expect(
        core.login({ name: 'root', password: ADMIN_PASSWORD, via: 'api', origin: ORIGIN }),
      ).rejects.toMatchObject({ code: 'unavailable' })
    })
    await write({ mustKnow: [] })
    expect(await stateOf(lived.adminSecret)).toBe('active')
  })
})

it('a list shows what a newer release made, as nothing that works', async () => {
  const token = nextToken()
  await database.tamper(`update token set must_know = 'not-before' where id = '${token.id}'`)
  await within(database.config, masterKey, async ({ core, admin }) => {
    const caller = await admin(lived.adminSecret)
    const found = await core.read.token(caller, token.id)
    expect(found).toMatchObject({ quarantineReason: expect.stringContaining('newer release') })
  })
})

it('a role for the whole installation that has no name here gives no rights', async () => {
  await database.tamper(`update "user" set global_role = 'AUDITOR' where username = 'root'`)
  await within(database.config, masterKey, async ({ core }) => {
    const verdict = await core.verifier.verify(lived.adminSecret)
    expect(verdict.principal?.rights).toMatchObject({ admin: false })
    expect(verdict.principal?.rights.scopes).not.toBe('all')
  })
})
