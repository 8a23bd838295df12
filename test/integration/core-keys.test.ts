import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Core, createCore } from '../../src/core/core.ts'
import type { ClientId } from '../../src/core/id.ts'
import { rewrapKeys } from '../../src/core/keys/rewrap.ts'
import { digestOf, makeSecret, Secret } from '../../src/core/secret.ts'
import {
  ADMIN_PASSWORD,
  DAY_MS,
  HOUR_MS,
  MINUTE_MS,
  ORIGIN,
  openTestCore,
  outcomes,
  type TestCore,
} from '../support/core.ts'

const code = (value: string) => expect.objectContaining({ code: value })

let t: TestCore
beforeAll(async () => {
  t = await openTestCore()
})
afterAll(() => t.close())

type Purpose = Parameters<Core['rotateKeys']>[0]['purpose']
const rotate = (purpose: Purpose, at: TestCore = t) =>
  at.core.rotateKeys({ caller: at.admin, purpose })

/** A core of a test's own, which leaves the others' keys alone. */
async function withOwnCore<T>(work: (own: TestCore) => Promise<T>): Promise<T> {
  const own = await openTestCore()
  try {
    return await work(own)
  } finally {
    await own.close()
  }
}

const anotherCore = ({ store, clock, masterKey }: TestCore) =>
  createCore({ store, clock, random: randomBytes, masterKey })

const currentPurposes = async (own: TestCore) =>
  (await own.query('select purpose from key where retired_at_ms is null'))
    .map(({ purpose }) => String(purpose))
    .sort()
const ALL = ['jwt-es256', 'oauth-es256', 'oauth-rs256', 'pepper', 'root', 's7-jwt']

/** What cannot be told apart from outside, and must not be: the ids in order, current ones first. */
const idsOf = ({ keyring }: Core) => ({
  peppers: keyring.peppers().map(({ id }) => id),
  s7: keyring.s7Keys().map(({ id }) => id),
  oauth: keyring.oauthKeys().map(({ id }) => id),
})

describe('a database that an earlier release made', () => {
  const forget = (own: TestCore) => own.tamper("delete from key where purpose like 'oauth-%'")

  it('gets keys for the OpenID provider, and keeps all others', () =>
    withOwnCore(async (own) => {
      const others = "select * from key where purpose not like 'oauth-%' order by id"
      const before = await own.query(others)
      await forget(own)
      await own.reopen()
      expect(await currentPurposes(own)).toEqual(ALL)
      expect(await own.query(others)).toEqual(before)
      expect(own.core.keyring.oauthKeys().map(({ alg }) => alg)).toEqual(['RS256', 'ES256'])
      expect(await own.state(own.adminSecret)).toBe('active')
    }))

  it('gets none that only a wrong master key opens', () =>
    withOwnCore(async (own) => {
      await forget(own)
      const wrong = { ...own, store: own.store, masterKey: new Secret('x'.repeat(32)) }
      await expect(anotherCore(wrong)).rejects.toThrow(code('not_configured'))
      expect(await own.query("select * from key where purpose like 'oauth-%'")).toEqual([])
      await own.reopen()
      expect(await currentPurposes(own)).toEqual(ALL)
    }))

  it('gets one of each from any number of nodes that start at once', () =>
    withOwnCore(async (own) => {
      await forget(own)
      const cores = await Promise.all(Array.from({ length: 8 }, () => anotherCore(own)))
      expect(await currentPurposes(own)).toEqual(ALL)
      for (const core of cores) expect(idsOf(core)).toEqual(idsOf(cores[0] as Core))
    }))
})

describe('rotating the pepper', () => {
  it('leaves every live secret working, and digests new ones under the new key', async () => {
    const user = await t.makeUser({ username: 'holder' })
    const before = [t.adminSecret]
    for (const format of ['mintmark', 'hex', 'uuid'] as const) {
      before.push((await t.issue(user, { format })).secret.reveal())
    }
    before.push((await t.issue(user, { kind: 'service' })).secret.reveal())
    const login = { name: 'root', password: ADMIN_PASSWORD, origin: ORIGIN, via: 'api' } as const
    before.push((await t.core.login(login)).secret.reveal())
    const [old] = idsOf(t.core).peppers
    for (const round of [1, 2]) {
      await rotate('pepper')
      // Warm and cold alike, and the same after a restart.
      for (const secret of before) expect(await t.state(secret), `round ${round}`).toBe('active')
      t.core.verifier.clear()
      for (const secret of before) expect(await t.state(secret), `round ${round}`).toBe('active')
    }
    await t.reopen()
    for (const secret of before) expect(await t.state(secret)).toBe('active')

    const { token, secret } = await t.issue(user)
    expect(await t.state(secret)).toBe('active')
    const { peppers } = idsOf(t.core)
    expect(peppers).toHaveLength(3)
    expect(peppers.slice(1)).toContain(old)
    expect(await t.query(`select pepper_id from token where id = '${token.id}'`)).toEqual([
      { pepper_id: peppers[0] },
    ])
  })

  it('lets a revoked secret stay revoked, and a foreign one unknown', async () => {
    const { token, secret } = await t.issue(undefined)
    expect(await t.state(secret)).toBe('active')
    await t.write((w) => w.revokeToken({ caller: t.admin, id: token.id, reason: 'x' }))
    await rotate('pepper')
    expect(await t.state(secret)).toBe('revoked')
    expect(await t.state(makeSecret('mintmark', 'api', randomBytes))).toBe('unknown')
  })

  it('forgets neither a repeated request nor a lockout, of a user or of nobody', async () => {
    const once = { caller: t.admin, key: 'key-over-rotation', request: {} }
    const first = await t.core.writeOnce(once, async () => 'answer')
    await t.makeUser({ username: 'guessed' })
    const guess = (name: string) =>
      outcomes([t.core.login({ name, password: 'wrong', origin: ORIGIN, via: 'api' })])
    const { lockoutAttempts } = t.core.policy()
    for (const name of ['guessed', 'nobody at all']) {
      for (let i = 0; i < lockoutAttempts; i++) expect(await guess(name)).toEqual(['login_failed'])
      expect(await guess(name)).toEqual(['too_many_requests'])
    }
    await rotate('pepper')
    for (const name of ['guessed', 'nobody at all']) {
      expect(await guess(name)).toEqual(['too_many_requests'])
    }
    expect(await t.core.writeOnce(once, async () => 'another')).toEqual({
      value: first.value,
      replayed: true,
    })
    expect(await t.query("select account from lockout where account like '%nobody%'")).toEqual([])
  })

  it('under load refuses nobody', async () => {
    const secrets = await Promise.all(Array.from({ length: 20 }, () => t.issue(undefined)))
    let rotating = true
    const refused: string[] = []
    const asking = Promise.all(
      secrets.map(async ({ secret }) => {
        while (rotating) {
          const state = await t.state(secret)
          if (state !== 'active') refused.push(state)
          const fresh = await t.issue(undefined)
          const newState = await t.state(fresh.secret)
          if (newState !== 'active') refused.push(`new: ${newState}`)
        }
      }),
    )
    for (let i = 0; i < 3; i++) await rotate('pepper')
    rotating = false
    await asking
    expect(refused).toEqual([])
  })
})

describe('rotating signing keys', () => {
  it('puts new ones first, keeps the old ones, and tells whoever holds them', async () => {
    const version = t.core.keyring.version()
    const before = idsOf(t.core)
    const facts = await rotate('oauth')
    const after = idsOf(t.core)
    expect(after.oauth).toHaveLength(4)
    expect(after.oauth.slice(2).sort()).toEqual(before.oauth.toSorted())
    expect(t.core.keyring.oauthKeys().map(({ alg }) => alg)).toEqual([
      'RS256',
      'ES256',
      'RS256',
      'ES256',
    ])
    expect(t.core.keyring.version()).toBeGreaterThan(version)
    expect(after.s7).toEqual(before.s7)
    expect(facts.map(({ id }) => id)).toEqual(after.oauth)
    expect(facts.map(({ retiredAtMs }) => retiredAtMs)).toEqual([
      undefined,
      undefined,
      t.clock.now(),
      t.clock.now(),
    ])
    await rotate('s7')
    expect(idsOf(t.core).s7.slice(1)).toEqual(before.s7)
  })

  it('touches no derived key: the audit chain goes on', async () => {
    const derived = (['audit', 'cursor', 'subject', 'oauth'] as const).map((purpose) =>
      t.core.keyring.derived(purpose).toString('hex'),
    )
    for (const purpose of ['oauth', 's7', 'pepper'] as const) await rotate(purpose)
    expect(
      (['audit', 'cursor', 'subject', 'oauth'] as const).map((purpose) =>
        t.core.keyring.derived(purpose).toString('hex'),
      ),
    ).toEqual(derived)
    expect(await t.verifyChain()).toMatchObject({ intact: true })
  })
})

describe('two cores over one store', () => {
  it('follow each other’s rotations before the rotating call returns', async () => {
    const other = await anotherCore(t)
    for (const purpose of ['oauth', 's7', 'pepper'] as const) {
      const version = other.keyring.version()
      await rotate(purpose)
      expect(other.keyring.version()).toBeGreaterThan(version)
      expect(idsOf(other)).toEqual(idsOf(t.core))
    }
    const { secret } = await t.issue(undefined)
    expect(await other.verifier.verify(secret.reveal())).toMatchObject({ active: true })
    t.clock.advance(26 * HOUR_MS)
    await other.purge()
    expect(idsOf(t.core)).toEqual(idsOf(other))
    expect(idsOf(t.core).oauth).toHaveLength(2)
  })

  it('that rotate at once replace each key once, and one key is current', async () => {
    const other = await anotherCore(t)
    for (const purpose of ['pepper', 'oauth', 's7'] as const) {
      const retired =
        "select id from key where retired_at_ms is not null and purpose <> 'xms-login'"
      const before = (await t.query(retired)).length
      const ended = await outcomes(
        [t.core, other, t.core, other].map((core) => core.rotateKeys({ caller: t.admin, purpose })),
      )
      const wins = ended.filter((outcome) => outcome === 'ok').length
      // Who begins when another has ended makes a rotation of their own.
      expect(wins).toBeGreaterThan(0)
      expect(ended.filter((outcome) => outcome === 'conflict')).toHaveLength(4 - wins)
      expect(await currentPurposes(t)).toEqual(ALL)
      expect((await t.query(retired)).length - before).toBe(wins * (purpose === 'oauth' ? 2 : 1))
    }
    expect(await t.verifyChain()).toMatchObject({ intact: true })
  })
})

describe('retired keys', () => {
  it.each([
    { purpose: 'oauth', overlapMs: 25 * HOUR_MS, current: 2 },
    { purpose: 's7', overlapMs: HOUR_MS, current: 1 },
  ] as const)('of $purpose end on time, and are deleted then', ({ purpose, overlapMs, current }) =>
    withOwnCore(async (own) => {
      const rows = async () =>
        (await own.query('select id from key where retired_at_ms is not null')).map(({ id }) =>
          String(id),
        )
      await rotate(purpose, own)
      own.clock.advance(overlapMs - 1)
      await own.core.purge()
      expect(await rows()).toHaveLength(current)
      expect(idsOf(own.core)[purpose]).toHaveLength(2 * current)
      own.clock.advance(1)
      // By the clock, whether or not anybody purges.
      expect(idsOf(own.core)[purpose]).toHaveLength(current)
      expect(await rows()).toHaveLength(current)
      const purged = await rows()
      const version = own.core.keyring.version()
      await own.core.purge()
      expect(await rows()).toEqual([])
      expect(own.core.keyring.version()).toBeGreaterThan(version)
      const records = (await own.trail()).filter(({ action }) => action === 'key.purged')
      expect(records.map(({ subjectId }) => subjectId).sort()).toEqual(purged.sort())
      expect(await own.verifyChain()).toMatchObject({ intact: true })
    }),
  )

  /** Retires the present pepper, with nothing but `refer` digested under it that could be presented. */
  async function retired(own: TestCore) {
    const { id } = own.core.keyring.pepper()
    await rotate('pepper', own)
    // The admin's own token moves to the new pepper.
    const admin = own.admin.principal.token.id
    const digest = digestOf(own.adminSecret, own.core.keyring.pepper())
    const now = own.core.keyring.pepper().id
    await own.tamper(
      `update token set digest = '${digest}', pepper_id = '${now}' where id = '${admin}'`,
    )
    own.core.verifier.clear()
    return {
      isThere: async () => {
        await own.core.purge()
        return (await own.query(`select id from key where id = '${id}'`)).length === 1
      },
    }
  }

  it('of secrets stay for as long as a token needs them, and an hour at least', () =>
    withOwnCore(async (own) => {
      const { token: revoked } = await own.issue(undefined)
      const { secret } = await own.issue(undefined, { expires: own.clock.now() + DAY_MS })
      const { token: rotated } = await own.issue(undefined, { expires: own.clock.now() + DAY_MS })
      const { isThere } = await retired(own)
      await own.write((w) =>
        w.rotateToken({ caller: own.admin, wish: { id: rotated.id }, via: 'api' }),
      )
      own.clock.advance(HOUR_MS)
      expect(await isThere()).toBe(true)
      await own.write((w) => w.revokeToken({ caller: own.admin, id: revoked.id, reason: '' }))
      expect(await isThere()).toBe(true)
      own.clock.advance(DAY_MS - HOUR_MS - 1)
      expect(await own.state(secret)).toBe('active')
      expect(await isThere()).toBe(true)
      own.clock.advance(1)
      expect(await own.state(secret)).toBe('expired')
      expect(await isThere()).toBe(false)
      expect(idsOf(own.core).peppers).toHaveLength(1)
      expect(await own.state(own.adminSecret)).toBe('active')
    }))

  it('of secrets that nothing needs go after an hour', () =>
    withOwnCore(async (own) => {
      const { isThere } = await retired(own)
      own.clock.advance(HOUR_MS - 1)
      expect(await isThere()).toBe(true)
      own.clock.advance(1)
      expect(await isThere()).toBe(false)
    }))

  it('of secrets stay for as long as a client needs them', () =>
    withOwnCore(async (own) => {
      const id = 'client-1' as ClientId
      const user = await own.makeUser({ username: 'client:one', kind: 'service' })
      const pepper = own.core.keyring.pepper()
      await own.store.transaction((tx) =>
        tx.clients.insert({
          id,
          clientId: 'one',
          name: 'one',
          type: 'confidential',
          secret: { digest: digestOf('its secret', pepper), pepperId: pepper.id },
          secretPreview: '…cret',
          jwks: undefined,
          redirectUris: [],
          postLogoutRedirectUris: [],
          grants: [],
          scopes: [],
          resources: [],
          serves: [],
          codeTtl: 'minutes=1',
          accessTokenTtl: 'minutes=10',
          refreshTokenTtl: 'days=30',
          subjectMode: 'hashed_user_id',
          signingAlgorithm: 'RS256',
          requirePkce: true,
          applicationSlug: undefined,
          applicationName: undefined,
          serviceUserId: user.id,
          active: true,
          createdAtMs: own.clock.now(),
          updatedAtMs: own.clock.now(),
        }),
      )
      const { isThere } = await retired(own)
      own.clock.advance(2 * HOUR_MS)
      expect(await isThere()).toBe(true)
      const atMs = own.clock.now()
      await own.store.transaction((tx) => tx.clients.remove(id, atMs))
      expect(await isThere()).toBe(false)
    }))

  it('are not piled up without end', () =>
    withOwnCore(async (own) => {
      for (let i = 0; i < 20; i++) await rotate('pepper', own)
      await expect(rotate('pepper', own)).rejects.toThrow(code('conflict'))
      expect(await own.state(own.adminSecret)).toBe('active')
    }))
})

describe('a rotation', () => {
  it('is for administrators who may write, with the token itself', async () => {
    const user = await t.makeUser({ username: 'nosy' })
    const nosy = await t.callerOf((await t.issue(user)).secret)
    const reader = await t.callerOf(
      (await t.issue(undefined, { limits: { accessLevel: 'READ_ONLY' } })).secret,
    )
    const derivedUntilMs = t.clock.now() + MINUTE_MS
    const derived = { ...t.admin, principal: { ...t.admin.principal, derivedUntilMs } }
    const before = await t.query('select * from key order by id')
    for (const caller of [nosy, reader, derived]) {
      await expect(t.core.rotateKeys({ caller, purpose: 's7' })).rejects.toThrow(code('forbidden'))
    }
    await expect(t.core.read.keys(nosy)).rejects.toThrow(code('forbidden'))
    expect(await t.core.read.keys(reader)).not.toEqual([])
    expect(await t.query('select * from key order by id')).toEqual(before)
  })

  it('whose record cannot be written does not happen', async () => {
    const fingerprint = async () => [
      await t.query('select * from key order by id'),
      await t.query('select * from change order by sequence'),
      idsOf(t.core),
    ]
    const before = await fingerprint()
    const unblock = await t.database.block('insert', 'audit')
    const ended = await outcomes((['oauth', 's7', 'pepper'] as const).map((each) => rotate(each)))
    await unblock()
    expect(ended).not.toContain('ok')
    expect(await fingerprint()).toEqual(before)
  })

  it('is told in the trail by ids alone', async () => {
    const [old] = idsOf(t.core).s7
    const [made] = await rotate('s7')
    const trail = await t.trail()
    expect(trail.at(-1)).toMatchObject({
      action: 'key.rotated',
      subjectType: 'key',
      subjectId: made?.id,
      actorName: 'root',
      before: { keyId: old },
      after: { purpose: 's7-jwt' },
    })
    const text = JSON.stringify(trail)
    expect(text).not.toContain('PRIVATE')
    for (const { sealed } of await t.query('select sealed from key')) {
      expect(text).not.toContain(String(sealed))
    }
  })
})

describe('another master key', () => {
  it('opens the same keys, and the old one opens nothing', () =>
    withOwnCore(async (own) => {
      const { secret } = await own.issue(undefined)
      await rotate('pepper', own)
      await own.core.keyring.saveKey('xms-login', 'login-1', 'a pem')
      const ids = idsOf(own.core)
      const next = new Secret(randomBytes(32).toString('base64url'))
      const sealed = (await own.query('select sealed from key')).map((row) => row.sealed)
      expect(await own.core.rewrapKeys(next)).toBe(sealed.length)
      const after = (await own.query('select sealed from key')).map((row) => row.sealed)
      expect(after.filter((text) => sealed.includes(text))).toEqual([])

      await expect(anotherCore(own)).rejects.toThrow(code('not_configured'))
      const core = await anotherCore({ ...own, store: own.store, masterKey: next })
      expect(idsOf(core)).toEqual(ids)
      expect(await core.verifier.verify(secret.reveal())).toMatchObject({ active: true })
      expect(await core.keyring.openKey('xms-login', 'login-1')).toMatchObject({ pem: 'a pem' })
      expect(await core.verifyAudit()).toMatchObject({ intact: true })
      expect((await own.trail()).at(-1)).toMatchObject({ subjectId: 'master', via: 'system' })
    }))

  it('is not taken when the present one does not fit', () =>
    withOwnCore(async (own) => {
      const before = await own.query('select * from key order by id')
      const wrong = { from: new Secret('w'.repeat(32)), to: new Secret('n'.repeat(32)) }
      const audit = async () => {}
      const deps = { store: own.store, random: randomBytes, audit }
      await expect(rewrapKeys(deps, wrong)).rejects.toThrow(code('not_configured'))
      expect(await own.query('select * from key order by id')).toEqual(before)
    }))

  it('is not taken while somebody rotates', () =>
    withOwnCore(async (own) => {
      const next = new Secret('n'.repeat(32))
      const [rewrapped, rotated] = await outcomes([own.core.rewrapKeys(next), rotate('s7', own)])
      // Whoever is first wins; never are there keys of both.
      expect([rewrapped, rotated]).toContain('ok')
      const masterKey = rewrapped === 'ok' ? next : own.masterKey
      const core = await anotherCore({ ...own, store: own.store, masterKey })
      expect(await core.verifier.verify(own.adminSecret)).toMatchObject({ active: true })
      if (rewrapped === 'ok') expect(await outcomes([rotate('s7', own)])).toEqual(['conflict'])
    }))
})
