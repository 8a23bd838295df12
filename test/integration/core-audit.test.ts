import { createHash, randomBytes } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { AUDIT_ACTIONS, type AuditAction } from '../../src/core/audit/event.ts'
import type { GrantId, TokenId, WebhookId } from '../../src/core/id.ts'
import type { RowWish } from '../../src/core/imports/import.ts'
import type { EngineToken } from '../../src/core/oauth/tokens.ts'
import { makeSecret, Secret } from '../../src/core/secret.ts'
import { UNLIMITED } from '../../src/core/tokens/token.ts'
import type { Writes } from '../../src/core/writes.ts'
import {
  ADMIN_PASSWORD,
  HOUR_MS,
  ORIGIN,
  openTestCore,
  outcomes,
  type TestCore,
} from '../support/core.ts'
import { DATABASE } from '../support/database.ts'
import { seedGrant } from '../support/grant-seed.ts'

let t: TestCore
let names = 0
beforeAll(async () => {
  t = await openTestCore()
})
afterAll(() => t.close())

const seen = new Set<AuditAction>()

/** What a piece of work wrote into the trail. */
async function recordsOf(work: () => Promise<unknown>) {
  const before = (await t.trail()).length
  await work()
  const records = (await t.trail()).slice(before)
  for (const { action } of records) seen.add(action)
  return records
}

/** A client and a grant from beginning to end: the actions that each step wrote. */
async function clientActions(
  writing: (work: (w: Writes) => Promise<unknown>) => Promise<AuditAction[]>,
): Promise<AuditAction[][]> {
  const caller = t.admin
  const user = await t.makeUser({ username: 'granting' })
  const wish = { name: 'audited', clientId: 'audited', grants: ['client_credentials'] as const }
  const id = 'audited'
  const steps: AuditAction[][] = []
  const step = async (work: (w: Writes) => Promise<unknown>) => {
    steps.push(await writing(work))
  }
  await step((w) => w.createClient({ caller, wish }))
  await step((w) => w.updateClient({ caller, id, edit: {} }))
  await step((w) => w.replaceClientSecret({ caller, id }))
  const client = await t.core.read.client(caller, id)
  const first = await seedGrant(t, { user, client })
  await step((w) => w.withdrawGrant({ caller, id: first, reason: 'x' }))
  await step((w) => w.withdrawGrant({ caller, id: first, reason: 'x' }))
  await seedGrant(t, { user, client })
  await step((w) => w.updateClient({ caller, id, edit: { active: false } }))
  await step((w) => w.deleteClient({ caller, id }))
  return steps
}

/** What the OAuth2 engine does: a grant, its first token, a refresh, and the old token once more. */
async function engineActions(
  actions: (work: () => Promise<unknown>) => Promise<AuditAction[]>,
): Promise<AuditAction[][]> {
  const { oauth } = t.core
  const user = await t.makeUser({ username: 'refreshing' })
  const wish = { name: 'engine', clientId: 'engine', grants: [] }
  const { client } = await t.write((w) => w.createClient({ caller: t.admin, wish }))
  const grantId = oauth.newId() as GrantId
  const expiresAtMs = t.clock.now() + HOUR_MS
  const grant = { id: grantId, userId: user.id, clientId: client.id, sessionId: undefined }
  const coverage = { scopes: ['openid'], resources: [], expiresAtMs }
  const aToken = (): EngineToken => ({
    id: oauth.newId() as TokenId,
    kind: 'oauth_refresh',
    secret: new Secret(makeSecret('mintmark', 'oauth_refresh', t.core.random)),
    clientId: client.id,
    ownerId: user.id,
    grantId,
    parentId: undefined,
    scopes: ['openid'],
    audience: undefined,
    boundKey: undefined,
    expiresAtMs,
    record: {},
  })
  const first = aToken()
  const given = { ...grant, ...coverage }
  const steps = [
    await actions(() => oauth.saveGrant({ origin: ORIGIN, grant: given, record: {} })),
    await actions(() => oauth.saveToken({ origin: ORIGIN, token: first })),
  ]
  const spends = await oauth.tokenById(first.id)
  if (spends === undefined) throw new Error('The token was not saved.')
  const refresh = { spends, consumes: undefined, saves: [aToken()], retry: undefined }
  steps.push(await actions(() => oauth.exchange({ origin: ORIGIN, ...refresh })))
  steps.push(await actions(() => oauth.punishReuse({ origin: ORIGIN, token: spends })))
  return steps
}

/** What events bring with them: webhooks, quarantine, leaks and notices. */
async function eventActions(
  actions: (work: () => Promise<unknown>) => Promise<string[]>,
): Promise<string[][]> {
  const caller = t.admin
  const steps: string[][] = []
  const step = async (work: () => Promise<unknown>) => steps.push(await actions(work))
  const write = (work: (w: Writes) => Promise<unknown>) => step(() => t.write(work))
  const url = 'https://hooks.example.com/'
  let id = '' as WebhookId
  await write(async (w) => {
    id = (await w.createWebhook({ caller, wish: { url } })).webhook.id
  })
  await write((w) => w.updateWebhook({ caller, id, edit: {} }))
  await write((w) => w.rotateWebhookSecret({ caller, id }))
  await step(() => t.core.testWebhook({ caller, id }))
  await step(() => t.issue(undefined))
  await t.core.deliverer.run()
  t.clock.advance(4 * 24 * HOUR_MS)
  await step(() => t.core.deliverer.run())
  await t.tamper("update delivery set state = 'dead'")
  const [delivery] = await t.store.webhooks.deliveries({}, undefined, 1)
  if (delivery === undefined) throw new Error('Nothing was handed out.')
  await write((w) => w.redeliver({ caller, id: delivery.id }))
  await write((w) => w.deleteWebhook({ caller, id }))
  const { token, secret } = await t.issue(undefined)
  await write((w) => w.quarantineToken({ caller, id: token.id, reason: '' }))
  await t.state(secret)
  await step(() => t.core.flushUsage())
  await write((w) => w.releaseToken({ caller, id: token.id, reason: '' }))
  const found = [{ secret: secret.reveal(), source: 'test', url: '' }]
  await step(() => t.core.reportLeaks({ caller, found }))
  await t.write((w) => w.updatePolicy({ caller, edit: { maxTokenTtlSeconds: 35 * 86_400 } }))
  const expires = t.clock.now() + 40 * 24 * HOUR_MS
  await step(() => outcomes([t.issue(undefined, { expires })]))
  await t.write((w) => w.updatePolicy({ caller, edit: { maxTokenTtlSeconds: null } }))
  await t.core.giveNotices()
  await t.issue(undefined, { expires })
  t.clock.advance(11 * 24 * HOUR_MS)
  await step(() => t.core.giveNotices())
  await t.core.giveNotices()
  t.clock.advance(30 * 24 * HOUR_MS)
  await step(() => t.core.giveNotices())
  return steps
}

describe('every change leaves exactly one record of its kind', () => {
  it('and together they use every action there is', async () => {
    const { admin } = t
    const caller = admin
    const actions = async (work: () => Promise<unknown>) =>
      (await recordsOf(work)).map(({ action }) => action)
    const writing = (work: (w: Writes) => Promise<unknown>) => actions(() => t.write(work))

    const user = await t.makeUser({ username: 'audited' })
    const { id } = user
    const group = await t.makeGroup('audited')
    const groupId = group.id
    const { token, secret } = await t.issue(user)
    const wish = { groupId, userId: id, mode: 'READ' as const }
    const role = { name: 'audited', description: '', scopes: [] }
    const limits = UNLIMITED
    const make = { kind: 'api' as const, name: 'x', limits, expires: 'never' as const }

    expect(await writing((w) => w.issueToken({ caller, via: 'api', wish: make }))).toEqual([
      'token.created',
    ])
    expect(await writing((w) => w.updateToken({ caller, id: token.id, edit: {} }))).toEqual([
      'token.updated',
    ])
    const overlapping = (await t.issue(undefined)).token.id
    const overlap = { id: overlapping, overlapSeconds: 60 }
    expect(await writing((w) => w.rotateToken({ caller, wish: overlap, via: 'api' }))).toEqual([
      'token.rotated',
    ])
    const extension = { caller, id: overlapping, overlapSeconds: 120 }
    expect(await writing((w) => w.extendRotation(extension))).toEqual(['token.rotation_extended'])
    expect(await writing((w) => w.finishRotation({ caller, id: overlapping }))).toEqual([
      'token.rotation_finished',
    ])
    const rotation = { id: token.id, overlapSeconds: 0 }
    expect(await writing((w) => w.rotateToken({ caller, wish: rotation, via: 'api' }))).toEqual([
      'token.rotated',
    ])
    expect(await t.state(secret)).toBe('superseded')
    // A family of two: a record for each.
    expect(await writing((w) => w.revokeToken({ caller, id: token.id, reason: 'x' }))).toEqual([
      'token.revoked',
      'token.revoked',
    ])
    expect(await writing((w) => w.revokeToken({ caller, id: token.id, reason: 'x' }))).toEqual([])
    expect(await writing((w) => w.createGroup({ caller, wish: { name: 'y' } }))).toEqual([
      'group.created',
    ])
    expect(await writing((w) => w.updateGroup({ caller, id: groupId, edit: {} }))).toEqual([
      'group.updated',
    ])
    expect(await writing((w) => w.setMembership({ caller, wish }))).toEqual(['membership.set'])
    expect(await writing((w) => w.setMembership({ caller, wish }))).toEqual([])
    expect(await writing((w) => w.removeMembership({ caller, groupId, userId: id }))).toEqual([
      'membership.removed',
    ])
    expect(await writing((w) => w.deleteGroup({ caller, id: groupId }))).toEqual(['group.deleted'])
    expect(await writing((w) => w.createRole({ caller, role }))).toEqual(['role.created'])
    expect(await writing((w) => w.updateRole({ caller, name: 'audited', edit: {} }))).toEqual([
      'role.updated',
    ])
    expect(await writing((w) => w.deleteRole({ caller, name: 'audited' }))).toEqual([
      'role.deleted',
    ])
    expect(await writing((w) => w.updatePolicy({ caller, edit: {} }))).toEqual(['policy.updated'])
    expect(await clientActions(writing)).toEqual([
      ['user.created', 'client.created'],
      ['client.updated'],
      ['client.secret_replaced'],
      ['token.revoked', 'grant.withdrawn'],
      [],
      ['user.updated', 'token.revoked', 'grant.withdrawn', 'client.updated'],
      ['user.deleted', 'client.deleted'],
    ])
    expect(await writing((w) => w.createUser({ caller, wish: { username: 'z' } }))).toEqual([
      'user.created',
    ])
    expect(await writing((w) => w.updateUser({ caller, id, edit: {} }))).toEqual(['user.updated'])
    expect(await actions(() => t.core.resetPassword({ caller, id }))).toEqual([
      'user.password_reset',
    ])
    const holder = await t.callerOf((await t.issue(user)).secret)
    await t.core.openSessionFromToken({ caller: holder, via: 'xms', format: 'hex' })
    expect((await writing((w) => w.deleteUser({ caller, id }))).sort()).toEqual([
      'session.closed',
      'token.revoked',
      'user.deleted',
    ])

    const session = await t.core.login({
      name: 'root',
      password: ADMIN_PASSWORD,
      origin: ORIGIN,
      via: 'api',
    })
    const person = await t.callerOf(session.secret)
    const reason = 'logged out'
    const next = 'lamps under the bridge'
    expect(
      await actions(() => t.core.changePassword({ caller: person, current: ADMIN_PASSWORD, next })),
    ).toEqual(['user.password_changed'])
    expect(await writing((w) => w.revokeSelf({ caller: person, reason }))).toEqual([
      'session.closed',
    ])
    const taken = { query: 'kind:api', filter: {}, format: 'csv' } as const
    expect(await actions(() => t.core.beginExport(caller, taken))).toEqual(['token.exported'])
    const credentials = { name: 'root', origin: ORIGIN, via: 'api' } as const
    expect(await actions(() => t.core.login({ ...credentials, password: next }))).toEqual([
      'session.opened',
    ])
    const edit = { lockoutAttempts: 2 }
    await t.write((w) => w.updatePolicy({ caller, edit }))
    const wrong = () => outcomes([t.core.login({ ...credentials, password: 'x' })])
    expect(await actions(wrong)).toEqual(['login.failed'])
    expect(await actions(wrong)).toEqual(['login.locked'])
    expect(await actions(wrong)).toEqual([])
    const identity = {
      issuer: 'https://id.example',
      subject: 's',
      username: 'someone',
      displayName: undefined,
    }
    expect(await actions(() => t.core.signInFromUpstream({ identity, origin: ORIGIN }))).toEqual([
      'user.created',
      'user.identity_linked',
      'session.opened',
    ])
    expect(await engineActions(actions)).toEqual([
      ['grant.given'],
      ['token.created'],
      ['token.spent', 'token.created'],
      ['token.reused', 'token.revoked', 'token.revoked', 'grant.withdrawn'],
    ])
    // The signing keys of both algorithms: a record for each.
    expect(await actions(() => t.core.rotateKeys({ caller, purpose: 'oauth' }))).toEqual([
      'key.rotated',
      'key.rotated',
    ])
    expect(await actions(() => t.core.rotateKeys({ caller, purpose: 'pepper' }))).toEqual([
      'key.rotated',
    ])
    const plan = await t.core.planBulk(caller, { action: 'revoke', query: 'name:none', reason: '' })
    const begin = () => t.write((w) => w.createJob({ caller, plan }))
    expect(await actions(begin)).toEqual(['job.created'])
    const worker = t.core.worker({ stopwatch: () => 0 })
    const work = async () => {
      while ((await worker.step()) !== undefined);
    }
    expect(await actions(work)).toEqual(['job.finished'])
    const job = await begin()
    const cancel = () => t.write((w) => w.cancelJob({ caller, id: job.id }))
    expect(await actions(cancel)).toEqual(['job.cancelled'])
    const foreign = randomBytes(24).toString('hex')
    const hash = createHash('sha256').update(foreign).digest('hex')
    const row = { row: 1, name: 'from elsewhere', owner: 'root', hash, algorithm: 'sha256-hex' }
    const file = { importId: 'a', dryRun: false, createOwners: undefined, createGroups: false }
    expect(
      await actions(() =>
        t.core.importTokens({ caller, wish: { ...file, rows: [row as RowWish] } }),
      ),
    ).toEqual(['token.created'])
    expect(await actions(() => t.verify(foreign))).toEqual(['token.rekeyed'])
    for (const action of ['server.moved', 'server.restored'] as const) {
      expect(await actions(() => t.core.recordTransfer({ action, after: {} }))).toEqual([action])
    }
    await t.write((w) => w.updatePolicy({ caller, edit: { retentionSeconds: 0 } }))
    t.clock.advance(1)
    expect(await actions(() => t.core.purge())).toEqual(['token.purged'])
    t.clock.advance(25 * HOUR_MS)
    expect((await actions(() => t.core.purge())).filter((each) => each !== 'token.purged')).toEqual(
      ['key.purged', 'key.purged'],
    )

    expect(await eventActions(actions)).toEqual([
      ['webhook.created'],
      ['webhook.updated'],
      ['webhook.secret_rotated'],
      ['webhook.tested'],
      ['token.created'],
      ['webhook.paused'],
      ['webhook.redelivered'],
      ['webhook.deleted'],
      ['token.quarantined'],
      ['token.quarantine_used'],
      ['token.released'],
      ['token.leaked', 'token.quarantined'],
      ['token.policy_violated'],
      ['token.expiring'],
      ['token.expired'],
    ])
    for (const { action } of await t.trail()) seen.add(action)
    const unused = AUDIT_ACTIONS.filter((action) => !seen.has(action))
    expect(unused).toEqual([])
  })

  it('that says who, with which token, what, when, from where and by which request', async () => {
    const [record] = await recordsOf(() => t.makeUser({ username: 'noted' }))
    expect(record).toMatchObject({
      action: 'user.created',
      subjectType: 'user',
      subjectId: expect.any(String),
      atMs: t.clock.now(),
      actorId: t.admin.principal.user.id,
      actorName: 'root',
      actorTokenId: t.admin.principal.token.id,
      ip: ORIGIN.ip,
      requestId: ORIGIN.requestId,
      via: ORIGIN.via,
      after: { username: 'noted', globalRole: 'USER', active: true },
    })
  })

  it('and a refused or failed change leaves none', async () => {
    const records = await recordsOf(() =>
      outcomes([
        t.makeUser({ username: 'root' }),
        t.makeUser({ username: '' }),
        t.write(async (w) => {
          await w.createUser({ caller: t.admin, wish: { username: 'half way' } })
          throw new Error('no')
        }),
      ]),
    )
    expect(records).toEqual([])
    await expect(t.core.read.userByName(t.admin, 'half way')).rejects.toMatchObject({
      code: 'not_found',
    })
  })
})

describe('when the record cannot be written', () => {
  it('the change does not happen', async () => {
    const user = await t.makeUser({ username: 'steadfast' })
    const { token, secret } = await t.issue(user)
    const group = await t.makeGroup('steadfast')
    const role = { name: 'steadfast', description: '', scopes: [] }
    const session = await t.issue(undefined)
    const caller = t.admin
    const machine = { name: 'steadfast', grants: ['client_credentials'] as const }
    const { client } = await t.write((w) => w.createClient({ caller, wish: machine }))
    const grant = await seedGrant(t, { user, client })
    const opener = await t.callerOf(session.secret)
    const unblock = await t.database.block('insert', 'audit')
    const tables = [
      'user',
      'client',
      'grant',
      'group',
      'membership',
      'token',
      'role',
      'policy',
      'key',
      'change',
      'idempotency',
    ]
    const fingerprint = async () =>
      JSON.stringify(await Promise.all(tables.map((table) => t.query(`select * from "${table}"`))))
    const before = await fingerprint()
    const ended = await outcomes([
      t.makeUser({ username: 'unaudited' }),
      t.makeGroup('unaudited'),
      t.issue(user),
      t.write((w) => w.updateUser({ caller, id: user.id, edit: { active: false } })),
      t.write((w) => w.deleteUser({ caller, id: user.id })),
      t.write((w) => w.revokeToken({ caller, id: token.id, reason: '' })),
      t.write((w) =>
        w.rotateToken({ caller, wish: { id: token.id, overlapSeconds: 0 }, via: 'api' }),
      ),
      t.write((w) => w.updateToken({ caller, id: token.id, edit: { name: 'x' } })),
      t.write((w) => w.deleteGroup({ caller, id: group.id })),
      t.write((w) => w.createRole({ caller, role })),
      t.write((w) => w.createClient({ caller, wish: { ...machine, name: 'unaudited' } })),
      t.write((w) => w.updateClient({ caller, id: client.id, edit: { active: false } })),
      t.write((w) => w.replaceClientSecret({ caller, id: client.id })),
      t.write((w) => w.deleteClient({ caller, id: client.id })),
      t.write((w) => w.withdrawGrant({ caller, id: grant, reason: '' })),
      t.write((w) => w.updatePolicy({ caller, edit: { usersMayCreateTokens: true } })),
      t.core.rotateKeys({ caller, purpose: 's7' }),
      t.core.openSessionFromToken({
        caller: opener,
        via: 'xms',
        format: 'hex',
      }),
      t.core.writeOnce({ caller, key: 'unaudited-1', request: {} }, (w) =>
        w.createUser({ caller, wish: { username: 'unaudited too' } }),
      ),
    ])
    expect(ended).not.toContain('ok')
    expect(await fingerprint()).toBe(before)
    await unblock()
    expect(await t.state(secret)).toBe('active')
    expect(t.core.policy().usersMayCreateTokens).toBe(false)
    await t.makeUser({ username: 'audited again' })
    expect(await t.verifyChain()).toMatchObject({ intact: true })
  })
})

describe('the chain', () => {
  let path: TestCore
  let count = 0
  beforeAll(async () => {
    path = await openTestCore()
    for (let i = 0; i < 12; i++) await path.makeUser({ username: `user ${++names}` })
    count = (await path.trail()).length
  })
  afterAll(() => path.close())
  // Each test alters the log in its own way; what it did is undone before the next.
  beforeEach(async () => {
    await path.tamper(`drop table if exists kept; create table kept as select * from audit`)
    return () =>
      path.tamper(`delete from audit; insert into audit select * from kept;
        delete from audit_checkpoint`)
  })

  const firstBad = async () => {
    const verdict = await path.verifyChain()
    return verdict.intact ? undefined : verdict.firstBadSequence
  }

  it('is intact as it was written', async () => {
    expect(await path.verifyChain()).toMatchObject({ intact: true, records: count })
    expect((await path.trail()).map(({ sequence }) => sequence)).toEqual(
      Array.from({ length: count }, (_, i) => i + 1),
    )
  })

  it.each([
    ['at_ms', 'at_ms + 1'],
    ['action', "'user.deleted'"],
    ['subject_type', "'token'"],
    ['subject_id', "'x'"],
    ['actor_id', 'null'],
    ['actor_name', "'somebody'"],
    ['actor_token_id', "'x'"],
    ['ip', "'203.0.113.9'"],
    ['request_id', 'null'],
    ['via', "'cli'"],
    ['before', `'{"username":"x"}'`],
    ['after', `replace(after, 'USER', 'ADMIN')`],
    ['after', 'null'],
    ['after', `'not json'`],
    ['after', `'{}'`],
    ['hash', "'x'"],
  ])('shows that %s was set to %s, and where', async (column, value) => {
    await path.tamper(`update audit set "${column}" = ${value} where sequence = 7`)
    expect(await firstBad()).toBe(7)
  })

  it.each([1, 2, 7])('shows that record %i was deleted', async (sequence) => {
    await path.tamper(`delete from audit where sequence = ${sequence}`)
    expect(await firstBad()).toBe(sequence)
  })

  it('shows that several were deleted and the rest moved up', async () => {
    await path.tamper(`delete from audit where sequence in (5, 6);
      update audit set sequence = sequence - 2 where sequence > 6`)
    expect(await firstBad()).toBe(5)
  })

  it('shows that two changed places', async () => {
    await path.tamper(`update audit set sequence = -1 where sequence = 5;
      update audit set sequence = 5 where sequence = 6;
      update audit set sequence = 6 where sequence = -1`)
    expect(await firstBad()).toBe(5)
  })

  // PostgreSQL's integers have no place between two others.
  const betweens = DATABASE === 'sqlite' ? [7.5] : []
  it.each([0, -3, ...betweens, 1000])('shows that one was put in at %d', async (sequence) => {
    await path.tamper(`insert into audit select ${sequence}, at_ms, action, subject_type, subject_id,
      actor_id, actor_name, actor_token_id, ip, request_id, via, before, after, hash
      from audit where sequence = 7`)
    expect(await path.verifyChain()).toMatchObject({ intact: false })
  })

  it('cannot be mended by somebody who lacks the key', async () => {
    await path.tamper(`update audit set after = '{}', hash = (select hash from audit where sequence = 6)
      where sequence = 7`)
    expect(await firstBad()).toBe(7)
  })

  it('shows that records were cut off the end, by a checkpoint', async () => {
    const checkpoint = await path.core.checkpoint()
    expect(checkpoint?.sequence).toBe(count)
    expect(await path.core.checkpoint()).toBeUndefined()
    expect(await path.verifyChain()).toMatchObject({ intact: true, checkpoints: 1 })
    await path.tamper(`delete from audit where sequence > ${count - 2}`)
    expect(await firstBad()).toBe(count - 1)
  })

  it('shows the same when the stored checkpoints are gone but one was kept elsewhere', async () => {
    const kept = await path.core.checkpoint()
    if (kept === undefined) throw new Error('no checkpoint')
    await path.tamper(
      `delete from audit where sequence > ${count - 2}; delete from audit_checkpoint`,
    )
    expect(await path.core.verifyAudit()).toMatchObject({ intact: true, records: count - 2 })
    expect(await path.core.verifyAudit({ checkpoints: [kept] })).toMatchObject({
      intact: false,
      firstBadSequence: count - 1,
    })
  })

  it('shows that the end was replaced, by a kept checkpoint beside one of the new end', async () => {
    const kept = await path.core.checkpoint()
    if (kept === undefined) throw new Error('no checkpoint')
    await path.tamper(`delete from audit where sequence = ${count}; delete from audit_checkpoint`)
    await path.reopen()
    await path.makeUser({ username: 'in the place of another' })
    const later = await path.core.checkpoint()
    if (later === undefined) throw new Error('no checkpoint')
    expect(later.sequence).toBe(kept.sequence)
    for (const checkpoints of [[kept], [kept, later], [later, kept]]) {
      expect(await path.core.verifyAudit({ checkpoints })).toMatchObject({
        intact: false,
        firstBadSequence: count,
        problem: expect.stringContaining('replaced'),
      })
    }
  })

  it('shows that a checkpoint was forged', async () => {
    const kept = await path.core.checkpoint()
    if (kept === undefined) throw new Error('no checkpoint')
    const forged = { ...kept, hash: kept.hash.replace(/^./, (c) => (c === 'A' ? 'B' : 'A')) }
    expect(await path.core.verifyAudit({ checkpoints: [forged] })).toMatchObject({ intact: false })
    const elsewhere = { ...kept, sequence: kept.sequence - 1 }
    expect(await path.core.verifyAudit({ checkpoints: [elsewhere] })).toMatchObject({
      intact: false,
    })
  })

  it('an unreadable record does not hide the others from a reader', async () => {
    await path.tamper(`update audit set after = 'not json' where sequence = 7`)
    const wish = { filter: {}, from: undefined, size: 100 }
    expect((await path.core.read.audit(path.admin, wish)).items).toHaveLength(count)
  })

  it('has no gap and no fork after many writers at once', async () => {
    await Promise.all(
      Array.from({ length: 40 }, (_, i) => path.makeUser({ username: `many ${i}` })),
    )
    expect(await path.verifyChain()).toMatchObject({ intact: true, records: count + 40 })
    await path.reopen()
    await path.makeUser({ username: 'after a restart' })
    expect(await path.verifyChain()).toMatchObject({ intact: true, records: count + 41 })
  })
})

describe('reading the trail', () => {
  it('is for admins, newest first, by filter and by page', async () => {
    const { secret } = await t.issue(await t.makeUser({ username: `user ${++names}` }))
    const nosy = await t.callerOf(secret)
    const wish = { filter: {}, from: undefined, size: 5 }
    await expect(t.core.read.audit(nosy, wish)).rejects.toMatchObject({ code: 'forbidden' })
    const first = await t.core.read.audit(t.admin, wish)
    const second = await t.core.read.audit(t.admin, { ...wish, from: first.next })
    const sequences = [...first.items, ...second.items].map(({ sequence }) => sequence)
    const all = (await t.trail()).map(({ sequence }) => sequence)
    expect(sequences).toEqual(all.slice(-10).reverse())
    const back = await t.core.read.audit(t.admin, { ...wish, from: second.previous })
    expect(back.items).toEqual(first.items)
    const groups = await t.core.read.audit(t.admin, {
      ...wish,
      filter: { action: 'group.created', actorId: t.admin.principal.user.id },
    })
    expect(new Set(groups.items.map(({ action }) => action))).toEqual(new Set(['group.created']))
  })
})
