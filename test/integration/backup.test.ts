import { randomBytes } from 'node:crypto'
import { appendFileSync, existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { places } from '../../src/app.ts'
import { checkBackup, makeBackup } from '../../src/backup/backup.ts'
import { openJournal } from '../../src/backup/journal.ts'
import { restoreBackup, type Since } from '../../src/backup/restore.ts'
import { type Config, readConfig } from '../../src/config.ts'
import type { Caller } from '../../src/core/caller.ts'
import type { Core } from '../../src/core/core.ts'
import type { TokenId, WebhookId } from '../../src/core/id.ts'
import { Secret } from '../../src/core/secret.ts'
import { ORIGIN } from '../support/core.ts'
import { newDatabase, type TestDatabase } from '../support/database.ts'
import { type Inhabited, inhabit, within } from '../support/installation.ts'
import { startReceiver, TO_LOOPBACK } from '../support/receiver.ts'
import { canLimitFiles, limitFiles } from '../support/small-disk.ts'
import { temporaryDirectory } from '../support/temporary.ts'

const masterKey = new Secret(randomBytes(32).toString('base64url'))
const base = readConfig({ env: {}, readFile: () => '' })
const configOf = ({ config: database }: TestDatabase): Config => ({ ...base, database })

async function database(): Promise<TestDatabase> {
  const made = await newDatabase(temporaryDirectory())
  // On PostgreSQL, so that our own look into it is no server's.
  if (made.config.kind === 'postgres') await made.tamper("set application_name = 'test'")
  onTestFinished(() => made.drop())
  return made
}

async function backedUp(): Promise<{ first: TestDatabase; lived: Inhabited; file: string }> {
  const first = await database()
  const lived = await inhabit(first, masterKey)
  const file = join(temporaryDirectory(), 'mintmark.backup')
  // While a server runs.
  await within(first.config, masterKey, () =>
    makeBackup(places, { config: configOf(first), masterKey, file, nowMs: Date.now() }),
  )
  return { first, lived, file }
}

const restore = (to: TestDatabase, file: string, since: Since, key = masterKey) =>
  restoreBackup(places, { config: configOf(to), masterKey: key, file, since, nowMs: Date.now() })

async function stateOf(at: TestDatabase, secret: string): Promise<string> {
  return within(at.config, masterKey, async ({ core }) => {
    const verdict = await core.verifier.verify(secret)
    return verdict.active ? 'active' : verdict.reason
  })
}

it('a backup is whole, for its owner alone, and opens with the master key only', async () => {
  const { lived, file } = await backedUp()
  expect(statSync(file).mode & 0o777).toBe(0o600)
  expect(existsSync(`${file}.part`)).toBe(false)
  const manifest = await checkBackup({ file, masterKey })
  expect(manifest.rows).toBeGreaterThan(100)
  expect(manifest.auditEnd?.sequence).toBeGreaterThan(30)
  const bytes = readFileSync(file)
  for (const text of ['alice', lived.adminSecret, masterKey.reveal()]) {
    expect(bytes.includes(text)).toBe(false)
  }
  const other = new Secret(randomBytes(32).toString('base64url'))
  await expect(checkBackup({ file, masterKey: other })).rejects.toThrow(/does not open/)

  const damaged = join(temporaryDirectory(), 'damaged.backup')
  const at = Math.floor(bytes.length * 0.6)
  const flipped = Buffer.from(bytes)
  flipped[at] = (flipped[at] ?? 0) ^ 1
  for (const wrong of [flipped, bytes.subarray(0, -40), bytes.subarray(0, 40), Buffer.from('no')]) {
    writeFileSync(damaged, wrong)
    await expect(checkBackup({ file: damaged, masterKey })).rejects.toMatchObject({
      code: 'not_configured',
    })
  }
})

it('is not made under a key that does not open the database, nor over a file', async () => {
  const { first, file } = await backedUp()
  const wish = { config: configOf(first), nowMs: 0 }
  const other = new Secret(randomBytes(32).toString('base64url'))
  const fresh = `${file}.2`
  await expect(makeBackup(places, { ...wish, masterKey: other, file: fresh })).rejects.toThrow(
    /does not open this database/,
  )
  expect(existsSync(fresh)).toBe(false)
  await expect(makeBackup(places, { ...wish, masterKey, file })).rejects.toThrow(/exists/)
})

it('restored, everything is as it was, and only into an empty place', async () => {
  const { first, lived, file } = await backedUp()
  const second = await database()
  const done = await restore(second, file, 'accept-revoked-alive')
  expect(done.ended).toMatchObject({ tokens: 0, users: 0 })
  for (const { secret } of lived.alive.slice(0, 3)) {
    expect(await stateOf(second, secret)).toBe('active')
  }
  expect(await stateOf(second, lived.revoked[0]?.secret ?? '')).toBe('revoked')
  const rows = (at: TestDatabase) => at.query('select * from token order by id')
  expect(JSON.stringify(await rows(second))).toBe(JSON.stringify(await rows(first)))
  const [event] = await second.query("select after from audit where action = 'server.restored'")
  expect(String(event?.after)).toContain('accept-revoked-alive')
  await expect(restore(second, file, 'accept-revoked-alive')).rejects.toMatchObject({
    code: 'not_configured',
  })
  const third = await database()
  const other = new Secret(randomBytes(32).toString('base64url'))
  await expect(restore(third, file, 'revoke-all', other)).rejects.toThrow(/does not open/)
})

it('restored, it tells no webhook anything until it is enabled again', async () => {
  const receiver = await startReceiver()
  onTestFinished(() => receiver.close())
  const loopback = readConfig({ env: TO_LOOPBACK, readFile: () => '' })
  const at = async (
    place: TestDatabase,
    work: (core: Core, caller: Caller) => Promise<void>,
  ): Promise<void> => {
    const config = { ...loopback, database: place.config }
    const { core, store } = await places.openCore(config, { masterKey })
    const verdict = await core.verifier.verify(lived.adminSecret)
    if (!verdict.active) throw new Error(verdict.reason)
    await work(core, { principal: verdict.principal, origin: ORIGIN })
    await core.deliverer.stop()
    await store.close()
  }
  const first = await database()
  const lived = await inhabit(first, masterKey)
  const [token, other] = lived.alive
  const ids: WebhookId[] = []
  await at(first, async (core, caller) => {
    for (let i = 0; i < 2; i++) {
      const wish = { url: receiver.url }
      ids.push((await core.write((w) => w.createWebhook({ caller, wish }))).webhook.id)
    }
    receiver.answerWith(500)
    await core.write((w) => w.revokeToken({ caller, id: token?.id as TokenId, reason: 'lost' }))
    await core.deliverer.run()
    // As good as due.
    await first.tamper('update delivery set next_at_ms = 1')
    await core.write((w) =>
      w.updateWebhook({ caller, id: ids[1] as WebhookId, edit: { state: 'disabled' } }),
    )
  })
  const file = join(temporaryDirectory(), 'mintmark.backup')
  await makeBackup(places, { config: configOf(first), masterKey, file, nowMs: Date.now() })
  const second = await database()
  expect(await restore(second, file, 'accept-revoked-alive')).toMatchObject({ webhooks: 2 })
  receiver.received.length = 0
  receiver.answerWith(204)
  await at(second, async (core, caller) => {
    await core.write((w) => w.revokeToken({ caller, id: other?.id as TokenId, reason: 'lost' }))
    await core.deliverer.run()
    expect(receiver.received).toEqual([])
    for (const webhook of await core.read.webhooks(caller)) {
      expect(webhook).toMatchObject({
        state: 'disabled',
        pausedBecause: expect.stringContaining('restored'),
      })
    }
    const [id] = ids as [WebhookId]
    const edit = { state: 'enabled' as const }
    const enabled = await core.write((w) => w.updateWebhook({ caller, id, edit }))
    expect(enabled.pausedBecause).toBeUndefined()
    await core.deliverer.run()
    expect(receiver.received).toEqual([])
    await core.write((w) =>
      w.revokeToken({ caller, id: lived.alive[2]?.id as TokenId, reason: '' }),
    )
    await core.deliverer.run()
    expect(receiver.received.map(({ json }) => json.type)).toEqual(['token.revoked'])
  })
})

it('knows nothing and takes no chances: --revoke-all ends every token', async () => {
  const { lived, file } = await backedUp()
  const second = await database()
  const done = await restore(second, file, 'revoke-all')
  expect(done.ended.tokens).toBeGreaterThan(25)
  for (const { secret } of lived.alive.slice(0, 3)) {
    expect(await stateOf(second, secret)).toBe('revoked')
  }
  expect(await stateOf(second, lived.adminSecret)).toBe('revoked')
})

it('restored, nothing that was signed before is taken any more, whatever was ended since', async () => {
  const { first, lived, file } = await backedUp()
  const feedOf = (at: TestDatabase) =>
    within(at.config, masterKey, ({ core }) => core.revocations.read(undefined))
  const signedAt = await within(first.config, masterKey, async ({ core, admin }) => {
    const caller = await admin(lived.adminSecret)
    const [killed] = lived.alive
    if (killed === undefined) throw new Error('few')
    await core.write((w) => w.revokeToken({ caller, id: killed.id, reason: 'lost' }))
    return Number.parseInt((await core.revocations.read(undefined)).next, 10)
  })
  const second = await database()
  await restore(second, file, { database: first.config })
  const { everything, next } = await feedOf(second)
  expect(everything).toBeGreaterThan(signedAt)
  expect(Number.parseInt(next, 10)).toBeGreaterThanOrEqual(everything)
})

it('what ended after the backup stays ended, by journal and by the old database', async () => {
  const { first, lived, file } = await backedUp()
  const journal = join(temporaryDirectory(), 'revocations.log')
  const [, killed, rotated, owned] = lived.alive
  const [short] = lived.alive.slice(-1)
  if (killed === undefined || rotated === undefined || owned === undefined) throw new Error('few')
  if (short === undefined) throw new Error('few')
  const soonMs = Date.now() + 3_600_000
  await within(first.config, masterKey, async ({ core, admin }) => {
    const caller = await admin(lived.adminSecret)
    await openJournal(journal, core).catchUp()
    await core.write((w) => w.revokeToken({ caller, id: killed.id, reason: 'lost' }))
    await core.write((w) => w.rotateToken({ caller, wish: { id: rotated.id }, via: 'api' }))
    const plan = await core.planBulk(caller, {
      action: 'set_expiry',
      query: `id:${short.id}`,
      reason: 'spring cleaning',
      expiresAtMs: soonMs,
    })
    await core.write((w) => w.createJob({ caller, plan }))
    const worker = core.worker({ stopwatch: () => 0 })
    while ((await worker.step()) !== undefined);
    await core.write((w) => w.updateUser({ caller, id: lived.bob, edit: { active: false } }))
    // Another run goes on where the first was, after a crash in the middle of a line.
    appendFileSync(journal, '{"sequence":')
    const second = openJournal(journal, core)
    await second.catchUp()
    await core.write((w) => w.updateUser({ caller, id: lived.alice, edit: { roles: [] } }))
    const group = await core.read.groupByName(caller, 'builders')
    await core.write((w) => w.removeMembership({ caller, groupId: group.id, userId: lived.alice }))
    await core.write((w) => w.updatePolicy({ caller, edit: { usersMayCreateTokens: false } }))
    await second.catchUp()
  })
  expect(statSync(journal).mode & 0o777).toBe(0o600)
  const lines = readFileSync(journal, 'utf8').trimEnd().split('\n')
  for (const line of lines) JSON.parse(line)
  expect(lines.map((line) => JSON.parse(line).action)).toContain('token.revoked')

  for (const since of [{ file: journal }, { database: first.config }]) {
    const second = await database()
    const done = await restore(second, file, since)
    expect(done).toMatchObject({ ended: { users: 2, memberships: 1 } })
    expect(done.knownUpTo).toBeGreaterThan(done.auditEnd?.sequence ?? 0)
    expect(await stateOf(second, killed.secret)).toBe('revoked')
    expect(await stateOf(second, rotated.secret)).toBe('revoked')
    const [{ expires_at_ms: endMs } = {}] = await second.query(
      `select expires_at_ms from token where id = '${short.id}'`,
    )
    expect(Number(endMs)).toBe(soonMs)
    const states = new Set<string>()
    for (const i of [0, 1, 4, 5]) {
      states.add(await stateOfRights(second, lived.alive[i]?.secret ?? ''))
    }
    // Alice's live on without the role and the group; Bob's are refused.
    expect(states).toEqual(new Set(['bare', 'owner_disabled']))
  }
})

async function stateOfRights(at: TestDatabase, secret: string): Promise<string> {
  return within(at.config, masterKey, async ({ core }) => {
    const verdict = await core.verifier.verify(secret)
    if (!verdict.active) return verdict.reason === 'revoked' ? 'bare' : verdict.reason
    const { roles, groups } = verdict.principal.rights
    return roles.size === 0 && groups.size === 0 ? 'bare' : 'full'
  })
}

// Where the kernel can say how long a file may grow, which writes all that fits.
it.runIf(canLimitFiles())(
  'the journal of a full disk has whole lines, and in the end all of them',
  async () => {
    const first = await database()
    const lived = await inhabit(first, masterKey)
    const file = join(temporaryDirectory(), 'revocations.log')
    await within(first.config, masterKey, async ({ core, admin }) => {
      const caller = await admin(lived.adminSecret)
      const journal = openJournal(file, core)
      await journal.catchUp()
      for (const { id } of lived.alive.slice(0, 3))
        await core.write((w) => w.revokeToken({ caller, id, reason: 'lost' }))
      limitFiles(process.pid, statSync(file).size + 150)
      const failed = await journal.catchUp().catch((error: Error) => error.message)
      limitFiles(process.pid, 'unlimited')
      expect(failed).toMatch(/EFBIG/)
      await journal.catchUp()
    })
    const lines = readFileSync(file, 'utf8').trimEnd().split('\n')
    const actions = lines.map((line) => JSON.parse(line).action)
    expect(actions.filter((action) => action === 'token.revoked')).toHaveLength(3)
  },
)

it('takes from nobody again what a deleted role gave, though there is one of that name by now', async () => {
  const { first, lived, file } = await backedUp()
  await within(first.config, masterKey, async ({ core, admin }) => {
    const caller = await admin(lived.adminSecret)
    const role = { name: 'deployer', description: '', scopes: ['deploy', 'read'] }
    await core.write((w) => w.deleteRole({ caller, name: role.name }))
    await core.write((w) => w.createRole({ caller, role }))
    await core.write((w) => w.updateRole({ caller, name: role.name, edit: { scopes: ['deploy'] } }))
  })
  const second = await database()
  await restore(second, file, { database: first.config })
  expect(await second.query('select * from user_role')).toEqual([])
})

it('takes no word from what was itself restored after the backup', async () => {
  const { first, lived, file } = await backedUp()
  const [killed] = lived.alive
  if (killed === undefined) throw new Error('few')
  await within(first.config, masterKey, async ({ core, admin }) => {
    const caller = await admin(lived.adminSecret)
    await core.write((w) => w.revokeToken({ caller, id: killed.id, reason: 'lost' }))
  })
  const second = await database()
  await restore(second, file, { database: first.config })
  expect(await stateOf(second, killed.secret)).toBe('revoked')
  // Its trail says that ends were restored, and not which.
  const third = await database()
  await expect(restore(third, file, { database: second.config })).rejects.toThrow(
    /was itself restored/,
  )
})

it('takes no word from the journal of another installation that happens to reach as far', async () => {
  const other = await database()
  const lived = await inhabit(other, masterKey)
  const journal = join(temporaryDirectory(), 'revocations.log')
  const addUsers = (core: Core, caller: Caller, count: number) =>
    core.write(async (w) => {
      for (let i = 0; i < count; i++)
        await w.createUser({ caller, wish: { username: `user ${count}-${i}` } })
    })
  await within(other.config, masterKey, async ({ core, admin }) => {
    const caller = await admin(lived.adminSecret)
    await openJournal(journal, core).catchUp()
    await addUsers(core, caller, 40)
    await openJournal(journal, core).catchUp()
  })
  const first = await database()
  const mine = await inhabit(first, masterKey)
  const file = join(temporaryDirectory(), 'mintmark.backup')
  await within(first.config, masterKey, async ({ core, admin }) =>
    addUsers(core, await admin(mine.adminSecret), 5),
  )
  await makeBackup(places, { config: configOf(first), masterKey, file, nowMs: Date.now() })
  const second = await database()
  await expect(restore(second, file, { file: journal })).rejects.toThrow(/another installation/)
  expect(await restore(second, file, 'revoke-all')).toMatchObject({ knownUpTo: null })
})

it('takes no word from what is older, has gaps or is of another installation', async () => {
  const { file } = await backedUp()
  const second = await database()
  const source = join(temporaryDirectory(), 'trail.jsonl')
  const record = (sequence: number, more = {}) =>
    `${JSON.stringify({ sequence, action: 'token.created', subjectType: 'token', subjectId: 'x', ...more })}\n`
  const { auditEnd } = await checkBackup({ file, masterKey })
  const end = auditEnd?.sequence ?? 0
  const refusals: [string, RegExp][] = [
    [record(1), /before the backup/],
    [record(end + 2), /not known/],
    [record(end) + record(end + 2), /missing before/],
    [record(end, { hash: 'another' }), /another installation/],
    ['not json\n', /does not tell/],
  ]
  for (const [text, message] of refusals) {
    writeFileSync(source, text)
    await expect(restore(second, file, { file: source })).rejects.toThrow(message)
  }
  writeFileSync(source, record(end + 1))
  expect(await restore(second, file, { file: source })).toMatchObject({ knownUpTo: end + 1 })
})
