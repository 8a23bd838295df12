import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Secret } from '../../src/core/secret.ts'
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
