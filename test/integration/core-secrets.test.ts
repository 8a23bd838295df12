import { createHash, randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createCore } from '../../src/core/core.ts'
import { deriveKey, unseal } from '../../src/core/seal.ts'
import { Secret } from '../../src/core/secret.ts'
import { UNLIMITED } from '../../src/core/tokens/token.ts'
import { openStore } from '../../src/store/database.ts'
import { DAY_MS, openTestCore, outcomes, type TestCore } from '../support/core.ts'

const code = (value: string) => expect.objectContaining({ code: value })

let t: TestCore
let names = 0
beforeAll(async () => {
  t = await openTestCore()
})
afterAll(() => t.close())

/** What a route does: the answer is plain JSON, secret included. */
function createOnce(wish: {
  key: string | undefined
  name?: string
  caller?: TestCore['admin']
  request?: unknown
}) {
  const { caller = t.admin, name = `once ${++names}` } = wish
  return t.core.writeOnce(
    { caller, key: wish.key, request: wish.request ?? { route: 'create', name } },
    async (w) => {
      const { token, secret } = await w.issueToken({
        caller,
        via: 'api',
        wish: { kind: 'api', name, limits: UNLIMITED, expires: 'never' },
      })
      return { id: token.id, secret: secret.reveal() }
    },
  )
}

describe('an idempotency key', () => {
  it('gives the same answer again, the secret included, and makes nothing twice', async () => {
    const name = `once ${++names}`
    const first = await createOnce({ key: 'key-12345', name })
    const second = await createOnce({ key: 'key-12345', name })
    expect(first.replayed).toBe(false)
    expect(second).toEqual({ value: first.value, replayed: true })
    expect(await t.query(`select id from token where name = '${name}'`)).toHaveLength(1)
    expect(await t.state(first.value.secret)).toBe('active')
  })

  it('used many times at once does its work once', async () => {
    const name = `once ${++names}`
    const all = await Promise.all(
      Array.from({ length: 20 }, () => createOnce({ key: 'key-at-once', name })),
    )
    expect(new Set(all.map(({ value }) => value.secret)).size).toBe(1)
    expect(all.filter(({ replayed }) => !replayed)).toHaveLength(1)
  })

  it('outlasts a restart, but not a day', async () => {
    const name = `once ${++names}`
    const first = await createOnce({ key: 'key-for-a-day', name })
    await t.reopen()
    t.clock.advance(DAY_MS - 1)
    await t.core.purge()
    expect((await createOnce({ key: 'key-for-a-day', name })).value).toEqual(first.value)
    t.clock.advance(1)
    await expect(createOnce({ key: 'key-for-a-day', name })).rejects.toThrow(code('name_taken'))
    await t.core.purge()
    expect(await t.query('select * from idempotency')).toEqual([])
  })

  it('stands for one request only', async () => {
    await createOnce({ key: 'key-other-body', name: `once ${++names}` })
    await expect(createOnce({ key: 'key-other-body', name: 'another' })).rejects.toThrow(
      code('idempotency_mismatch'),
    )
    expect(await t.query("select id from token where name = 'another'")).toEqual([])
  })

  it('of one token says nothing to another token, not even of the same user', async () => {
    const [mine, theirs] = [await t.issue(undefined), await t.issue(undefined)]
    const request = { same: 'request' }
    const one = await createOnce({
      key: 'key-shared',
      caller: await t.callerOf(mine.secret),
      request,
    })
    const other = await createOnce({
      key: 'key-shared',
      caller: await t.callerOf(theirs.secret),
      request,
    })
    expect(other.replayed).toBe(false)
    expect(other.value.secret).not.toBe(one.value.secret)
  })

  it('of work that failed may be used again', async () => {
    const taken = (await createOnce({ key: undefined })).value.id
    const { name = '' } = await t.core.read.token(t.admin, taken)
    await expect(createOnce({ key: 'key-failed', name })).rejects.toThrow(code('name_taken'))
    await t.write((w) => w.revokeToken({ caller: t.admin, id: taken, reason: '' }))
    expect((await createOnce({ key: 'key-failed', name })).replayed).toBe(false)
  })

  it.each(['', 'short', 'with space', 'ümlautümlaut', 'x'.repeat(256), 'key\n12345'])(
    'is not "%s"',
    async (key) => {
      await expect(createOnce({ key })).rejects.toThrow(code('invalid_input'))
    },
  )

  it('whose stored answer somebody altered opens nothing', async () => {
    const name = `once ${++names}`
    await createOnce({ key: 'key-altered', name })
    await t.tamper(`update idempotency set sealed = 'AAAA' || substr(sealed, 5)`)
    await expect(createOnce({ key: 'key-altered', name })).rejects.toThrow(
      code('idempotency_mismatch'),
    )
  })
})

describe('a stolen database', () => {
  it('keeps answers to be repeated where not even the server’s own keys open them', async () => {
    await createOnce({ key: 'key-of-the-client' })
    const ours = t.core.keyring.derived('idempotency')
    for (const row of await t.query('select * from idempotency')) {
      const known = [row.scope, row.key_digest, row.request_digest].map(String)
      for (const salt of ['', ...known, `${row.scope}\n`, `${row.scope}\n${row.key_digest}`]) {
        const keys = [ours, deriveKey(ours, 'answer', salt)]
        for (const key of keys) {
          expect(unseal(String(row.sealed), { key, context: String(row.key_digest) })).toBe(
            undefined,
          )
        }
      }
    }
  })

  it('holds no secret, no password and no key, in any form one could use', async () => {
    const user = await t.makeUser({ username: `user ${++names}` })
    const secrets = [t.adminSecret]
    for (const format of ['mintmark', 'hex', 'uuid'] as const) {
      const { token, secret } = await t.issue(user, { format })
      const next = await t.write((w) =>
        w.rotateToken({ caller: t.admin, wish: { id: token.id, overlapSeconds: 0 }, via: 'api' }),
      )
      secrets.push(secret.reveal(), next.secret.reveal())
      const session = await t.core.openSessionFromToken({
        caller: await t.callerOf(next.secret),
        via: 'xms',
        format: format === 'uuid' ? 'mintmark' : format,
      })
      secrets.push(session.secret.reveal())
    }
    secrets.push((await createOnce({ key: 'key-of-the-thief' })).value.secret)
    const password = await t.core.resetPassword({ caller: t.admin, id: user.id })
    secrets.push(password.reveal())
    await t.core.flushUsage()

    const bytes = await t.database.loot()
    // What is looked for can be found: the ids of the same tokens are there.
    expect(bytes.includes(user.id)).toBe(true)
    const lower = Buffer.from(bytes.toString('latin1').toLowerCase(), 'latin1')
    for (const secret of secrets) {
      const raw = Buffer.from(secret)
      const forms = [
        secret,
        secret.slice(-20),
        secret.slice(0, 28).slice(-20),
        raw.toString('base64').replace(/=+$/, '').slice(0, -1),
        raw.toString('base64url').slice(0, -1),
        raw.toString('hex'),
        secret.replaceAll('-', ''),
      ]
      for (const form of forms) expect(bytes.includes(form), form).toBe(false)
      expect(lower.includes(secret.toLowerCase())).toBe(false)
      expect(lower.includes(raw.toString('hex'))).toBe(false)
      if (/^[0-9a-f-]+$/.test(secret)) {
        expect(bytes.includes(Buffer.from(secret.replaceAll('-', ''), 'hex'))).toBe(false)
      }
    }
    for (const text of ['PRIVATE KEY', '"d":"', 'key-of-the-thief']) {
      expect(bytes.includes(text), text).toBe(false)
    }
  })

  it('takes no forged digest: not the plain hash of a secret that the thief has made', async () => {
    const { token, secret } = await t.issue(undefined)
    const forged = 'mm'.padEnd(40, 'abcdefghijklmnop')
    for (const encoding of ['base64url', 'hex'] as const) {
      const digest = createHash('sha256').update(forged).digest(encoding)
      await t.tamper(`update token set digest = '${digest}' where id = '${token.id}'`)
      t.core.verifier.clear()
      expect(await t.state(forged)).toBe('unknown')
      expect(await t.state(secret)).toBe('unknown')
    }
  })

  it('opens with its own master key only, and is left as it is', async () => {
    const path = await openTestCore()
    const { token } = await path.issue(undefined)
    await path.store.close()
    const before = await path.database.loot()
    for (const wrong of [randomBytes(32).toString('base64url'), 'x'.repeat(32)]) {
      const store = await openStore(path.database.config, path.clock)
      const options = {
        store,
        clock: path.clock,
        random: randomBytes,
        masterKey: new Secret(wrong),
      }
      await expect(createCore(options)).rejects.toThrow(code('not_configured'))
      await store.close()
    }
    expect((await path.database.loot()).equals(before)).toBe(true)
    expect((await path.query('select id from token')).map(({ id }) => id)).toContain(token.id)
  })

  it('without its keys is not given new ones', async () => {
    const path = await openTestCore()
    const { store, clock, database } = path
    await store.close()
    const keys = (await path.query('select purpose from key')).map(({ purpose }) => String(purpose))
    expect(keys.sort()).toEqual([
      'jwt-es256',
      'oauth-es256',
      'oauth-rs256',
      'pepper',
      'root',
      's7-jwt',
    ])
    for (const purpose of keys) {
      await path.tamper(`create table if not exists kept as select * from key;
        delete from key where purpose = '${purpose}'`)
      const reopened = await openStore(database.config, clock)
      const options = { store: reopened, clock, random: randomBytes, masterKey: new Secret('any') }
      await expect(createCore(options)).rejects.toThrow(code('not_configured'))
      await reopened.close()
      await path.tamper('delete from key; insert into key select * from kept')
    }
    await path.tamper('delete from key')
    const reopened = await openStore(database.config, clock)
    const options = { store: reopened, clock, random: randomBytes, masterKey: new Secret('any') }
    await expect(createCore(options)).rejects.toThrow(code('not_configured'))
    await reopened.close()
  })

  it('whose keys were swapped for one another does not open', async () => {
    const path = await openTestCore()
    await path.tamper(`update key set sealed = (select sealed from key where purpose = 'pepper')
      where purpose = 'root'`)
    expect(await outcomes([path.reopen()])).toEqual(['not_configured'])
  })
})
