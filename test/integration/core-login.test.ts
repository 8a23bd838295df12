import { createHash } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Secret } from '../../src/core/secret.ts'
import type { LoginWish } from '../../src/core/users/login.ts'
import {
  ADMIN_PASSWORD,
  DAY_MS,
  HOUR_MS,
  MINUTE_MS,
  ORIGIN,
  openTestCore,
  outcomes,
  SECOND_MS,
  type TestCore,
} from '../support/core.ts'

const code = (value: string) => expect.objectContaining({ code: value })
const WRONG = 'lamps under the bridge'
const CHOSEN = 'boats beside a lighthouse'

let t: TestCore
let names = 0
beforeAll(async () => {
  t = await openTestCore()
})
afterAll(() => t.close())

const login = (name: LoginWish['name'], password: string | Secret, newPassword?: string) =>
  t.core.login({
    name,
    password: typeof password === 'string' ? password : password.reveal(),
    origin: ORIGIN,
    via: 'api',
    ...(newPassword === undefined ? {} : { newPassword }),
  })

const makeUser = () => {
  const username = `user ${++names}`
  return t.makeUser({ username, email: `user-${names}@example.com` })
}

/** A user who has never had a password, with a one-time one. */
async function withOneTimePassword() {
  const user = await makeUser()
  return { user, password: await t.core.resetPassword({ caller: t.admin, id: user.id }) }
}

/** A user with a password of their own. Two hashes of work. */
async function withPassword() {
  const { user, password } = await withOneTimePassword()
  const session = await login(user.username, password, CHOSEN)
  return { user, session }
}

const policy = (edit: object) => t.write((w) => w.updatePolicy({ caller: t.admin, edit }))
const failures = async () =>
  (await t.trail()).filter(({ action }) => action.startsWith('login.')).map(({ action }) => action)

describe('a login', () => {
  it('opens a session that stands for the person', async () => {
    const { secret, token, user } = await login('root', ADMIN_PASSWORD)
    expect(token).toMatchObject({ kind: 'session', limits: { roles: null }, ownerId: user.id })
    expect(user.lastLoginAtMs).toBe(t.clock.now())
    expect((await t.callerOf(secret)).principal.rights.admin).toBe(true)
  })

  it('goes by username or email, in any spelling that is the same name', async () => {
    const { user } = await withPassword()
    const n = names
    for (const name of [`USER ${n}`, ` user ${n} `, `ｕｓｅｒ ${n}`, `User-${n}@EXAMPLE.com`]) {
      expect((await login(name, CHOSEN)).user.id, name).toBe(user.id)
    }
  })

  it('fails alike for nobody, a wrong password, no password and a disabled user', async () => {
    const { user } = await withPassword()
    const { username } = await makeUser()
    await t.write((w) => w.updateUser({ caller: t.admin, id: user.id, edit: { active: false } }))
    const answers = []
    for (const [name, password] of [
      ['nobody at all', CHOSEN],
      ['root', WRONG],
      ['root', ''],
      [username, CHOSEN],
      [user.username, CHOSEN],
      ['', ''],
    ] as const) {
      answers.push(await login(name, password).catch(({ code, message }) => ({ code, message })))
    }
    expect(new Set(answers.map((answer) => JSON.stringify(answer))).size).toBe(1)
    expect(answers[0]).toMatchObject({ code: 'login_failed' })
  })
})

describe('guessing', () => {
  it('in parallel gets ten looks at the password and no more', async () => {
    const { user } = await withPassword()
    const before = (await failures()).length
    const ended: string[] = []
    const looks = () => ended.filter((end) => end === 'login_failed').length
    const tryAll = async () => {
      const tries = Array.from({ length: 60 }, () => login(user.username, WRONG))
      ended.push(...(await outcomes(tries)))
    }
    // On a busy machine some of sixty wait for too long, and are sent away without a look.
    for (let round = 0; round < 20 && looks() < 10; round++) await tryAll()
    await tryAll()
    expect(looks()).toBe(10)
    expect(ended.filter((end) => end === 'too_many_requests')).toHaveLength(ended.length - 10)
    expect((await failures()).slice(before).sort()).toEqual([
      ...Array.from({ length: 9 }, () => 'login.failed'),
      'login.locked',
    ])
  })

  it('locks the account for the right password too, says for how long, and outlasts a restart', async () => {
    const { user } = await withPassword()
    for (let i = 0; i < 10; i++) {
      await expect(login(user.username, WRONG)).rejects.toThrow(code('login_failed'))
    }
    t.clock.advance(5 * MINUTE_MS)
    await expect(login(user.username, CHOSEN)).rejects.toThrow(
      expect.objectContaining({ code: 'too_many_requests', retryAfterSeconds: 600 }),
    )
    await t.reopen()
    await expect(login(user.username, CHOSEN)).rejects.toThrow(code('too_many_requests'))
    t.clock.advance(10 * MINUTE_MS)
    await login(user.username, CHOSEN)
  })

  it('counts every spelling, the email and the serial in one bucket', async () => {
    const { user } = await withPassword()
    const n = names
    const spellings = [
      `user ${n}`,
      `USER ${n}`,
      ` user ${n}`,
      `user ${n} `,
      `ｕｓｅｒ ${n}`,
      `user\u00a0${n}`,
      `user-${n}@example.com`,
      `USER-${n}@EXAMPLE.COM`,
      { serial: user.serial },
      { serial: user.serial },
    ]
    for (const name of spellings) {
      await expect(login(name, WRONG)).rejects.toThrow(code('login_failed'))
    }
    for (const name of spellings) {
      await expect(login(name, CHOSEN)).rejects.toThrow(code('too_many_requests'))
    }
  })

  it('at names that nobody has is bounded in the same way', async () => {
    const name = `nobody ${++names}`
    const ended = []
    for (let i = 0; i < 12; i++) ended.push(...(await outcomes([login(name, WRONG)])))
    expect(ended.slice(0, 10)).toEqual(Array.from({ length: 10 }, () => 'login_failed'))
    expect(ended.slice(10)).toEqual(['too_many_requests', 'too_many_requests'])
  })

  it('keeps no name that was typed where a password may have been meant', async () => {
    const typed = 'my secret passphrase 1'
    await outcomes([login(typed, 'x')])
    const rows = JSON.stringify([
      await t.query('select * from lockout'),
      await t.query('select * from audit'),
    ])
    const digest = createHash('sha256').update(typed)
    expect(rows).not.toContain(typed)
    expect(rows).not.toContain(digest.copy().digest('base64url'))
    expect(rows).not.toContain(digest.digest('hex'))
  })

  it('is forgotten by a right password, so that nobody is locked out by small slips', async () => {
    const { user } = await withPassword()
    for (let round = 0; round < 2; round++) {
      for (let i = 0; i < 9; i++) await outcomes([login(user.username, WRONG)])
      await login(user.username, CHOSEN)
    }
  })

  it('begins anew after a lock', async () => {
    const { user } = await withPassword()
    await policy({ lockoutAttempts: 2 })
    for (let round = 0; round < 3; round++) {
      expect(await outcomes([login(user.username, WRONG)])).toEqual(['login_failed'])
      expect(await outcomes([login(user.username, WRONG)])).toEqual(['login_failed'])
      expect(await outcomes([login(user.username, CHOSEN)])).toEqual(['too_many_requests'])
      t.clock.advance(15 * MINUTE_MS)
    }
    await policy({ lockoutAttempts: 10 })
  })

  it('with attempts that a crash left undecided gets one more look a minute, not a new round', async () => {
    const { user } = await withPassword()
    await t.tamper(
      `insert into lockout (account, failures, at_ms) values ('${user.id}', 10, ${t.clock.now()})`,
    )
    expect(await outcomes([login(user.username, WRONG)])).toEqual(['too_many_requests'])
    t.clock.advance(MINUTE_MS)
    expect(await outcomes([login(user.username, WRONG)])).toEqual(['login_failed'])
    expect(await outcomes([login(user.username, CHOSEN)])).toEqual(['too_many_requests'])
  })

  it('through a stolen session is bounded by the same bucket', async () => {
    const { user, session } = await withPassword()
    await policy({ lockoutAttempts: 3 })
    const caller = await t.callerOf(session.secret)
    const guess = (current: string) => t.core.changePassword({ caller, current, next: WRONG })
    for (let i = 0; i < 3; i++) await expect(guess(WRONG)).rejects.toThrow(code('login_failed'))
    await expect(guess(CHOSEN)).rejects.toThrow(code('too_many_requests'))
    await expect(login(user.username, CHOSEN)).rejects.toThrow(code('too_many_requests'))
    await policy({ lockoutAttempts: 10 })
  })

  it('is ended by an admin who resets the password', async () => {
    const { user } = await withPassword()
    await policy({ lockoutAttempts: 1 })
    expect(await outcomes([login(user.username, WRONG)])).toEqual(['login_failed'])
    const password = await t.core.resetPassword({ caller: t.admin, id: user.id })
    // Being told to choose a new password is no wrong guess, even where one is all you have.
    await expect(login(user.username, password)).rejects.toThrow(code('password_change_required'))
    await login(user.username, password, CHOSEN)
    await policy({ lockoutAttempts: 10 })
  })

  it('more than the queue holds is sent away, and does not lock', async () => {
    await policy({ lockoutEnabled: false })
    const ended = await outcomes(
      Array.from({ length: 80 }, (_, i) => login(`nobody ${++names} ${i}`, WRONG)),
    )
    await policy({ lockoutEnabled: true })
    expect(new Set(ended)).toEqual(new Set(['login_failed', 'too_many_requests']))
    await login('root', ADMIN_PASSWORD)
  })
})

describe('a one-time password', () => {
  it('must be replaced at its first use, and is good for that once', async () => {
    const { user, password } = await withOneTimePassword()
    await expect(login(user.username, password)).rejects.toThrow(code('password_change_required'))
    await expect(login(user.username, password, 'too short')).rejects.toThrow(code('invalid_input'))
    await expect(login(user.username, password, password.reveal())).rejects.toThrow(
      code('invalid_input'),
    )
    await login(user.username, password, CHOSEN)
    await expect(login(user.username, password, WRONG)).rejects.toThrow(code('login_failed'))
    await expect(login(user.username, CHOSEN, WRONG)).rejects.toThrow(code('invalid_input'))
    await login(user.username, CHOSEN)
  })

  it('used many times at once is used once', async () => {
    const { user, password } = await withOneTimePassword()
    const ended = await outcomes(
      Array.from({ length: 6 }, (_, i) => login(user.username, password, `${CHOSEN} ${i}`)),
    )
    expect(ended.filter((end) => end === 'ok')).toHaveLength(1)
    expect(await t.query(`select id from token where owner_id = '${user.id}'`)).toHaveLength(1)
  })

  it('is over after a day', async () => {
    const { user, password } = await withOneTimePassword()
    t.clock.advance(DAY_MS)
    await expect(login(user.username, password, CHOSEN)).rejects.toThrow(code('login_failed'))
  })

  it('ends every login of its user', async () => {
    const { user, session } = await withPassword()
    await t.core.resetPassword({ caller: t.admin, id: user.id })
    expect(await t.state(session.secret)).toBe('revoked')
  })

  it('given while a login with the old password is under way keeps that login out', async () => {
    const { user } = await withPassword()
    const [old] = await Promise.allSettled([
      login(user.username, CHOSEN),
      t.core.resetPassword({ caller: t.admin, id: user.id }),
    ])
    if (old.status === 'fulfilled') expect(await t.state(old.value.secret)).toBe('revoked')
    else expect(old.reason).toMatchObject({ code: 'login_failed' })
  })

  it.each([
    ['demoted', { globalRole: 'USER' }, 'forbidden'],
    ['disabled', { active: false }, 'unauthenticated'],
  ] as const)('is not given by whoever was %s while it was made', async (_, edit, refusal) => {
    const { user } = await withPassword()
    const deputy = await t.makeUser({ username: `deputy ${++names}`, globalRole: 'ADMIN' })
    const caller = await t.callerOf((await t.issue(deputy)).secret)
    const reset = t.core.resetPassword({ caller, id: user.id })
    await t.write((w) => w.updateUser({ caller: t.admin, id: deputy.id, edit }))
    await expect(reset).rejects.toThrow(code(refusal))
    await login(user.username, CHOSEN)
  })

  it('comes in readable groups and never twice', async () => {
    const made = new Set<string>()
    for (let i = 0; i < 3; i++) made.add((await withOneTimePassword()).password.reveal())
    expect(made.size).toBe(3)
    for (const password of made)
      expect(password).toMatch(/^([b-df-hjkmnp-tv-xz2-9]{5}-){4}[^-]{5}$/)
  })
})

describe('changing one’s password', () => {
  it('takes a session and the present password, and ends the other logins', async () => {
    const { user, session } = await withPassword()
    const other = await login(user.username, CHOSEN)
    const caller = await t.callerOf(session.secret)
    await expect(
      t.core.changePassword({ caller, current: WRONG, next: 'kites in the harbour' }),
    ).rejects.toThrow(code('login_failed'))
    await expect(
      t.core.changePassword({ caller, current: CHOSEN, next: 'password1234567' }),
    ).rejects.toThrow(code('invalid_input'))
    await t.core.changePassword({ caller, current: CHOSEN, next: WRONG })
    expect(await t.state(session.secret)).toBe('active')
    expect(await t.state(other.secret)).toBe('revoked')
    await expect(login(user.username, CHOSEN)).rejects.toThrow(code('login_failed'))
    await login(user.username, WRONG)
  })

  it('is nothing that an API token may do, whatever it carries', async () => {
    await expect(
      t.core.changePassword({ caller: t.admin, current: ADMIN_PASSWORD, next: CHOSEN }),
    ).rejects.toThrow(code('forbidden'))
  })

  it('does nothing any more once the session or its user was ended on the way', async () => {
    const { user, session } = await withPassword()
    const change = async () => {
      const caller = await t.callerOf(session.secret)
      return t.core.changePassword({ caller, current: CHOSEN, next: WRONG })
    }
    const changing = change()
    await t.write((w) => w.updateUser({ caller: t.admin, id: user.id, edit: { active: false } }))
    await expect(changing).rejects.toThrow(code('unauthenticated'))
    await t.write((w) => w.updateUser({ caller: t.admin, id: user.id, edit: { active: true } }))
    await expect(login(user.username, WRONG)).rejects.toThrow(code('login_failed'))
    await login(user.username, CHOSEN)
  })

  it('is demanded when it is older than the policy allows', async () => {
    const { user } = await withPassword()
    await policy({ passwordTtlSeconds: 3600 })
    await login(user.username, CHOSEN)
    t.clock.advance(HOUR_MS + 1)
    await expect(login(user.username, CHOSEN)).rejects.toThrow(code('password_change_required'))
    await login(user.username, CHOSEN, WRONG)
    await policy({ passwordTtlSeconds: null })
  })
})

describe('a session', () => {
  it('ends after its idle time, counted from its last use, whether that is stored or not', async () => {
    const idle = t.core.policy().sessionIdleSeconds * SECOND_MS
    const { secret } = await login('root', ADMIN_PASSWORD)
    for (let i = 0; i < 6; i++) {
      t.clock.advance(idle - 1)
      expect(await t.state(secret), `use ${i}`).toBe('active')
      // As the server does every few seconds; and now and then the cache is emptied.
      if (i % 2 === 0) await t.core.flushUsage()
      if (i % 3 === 0) t.core.verifier.clear()
    }
    t.clock.advance(idle)
    expect(await t.state(secret)).toBe('idle')
    t.core.verifier.clear()
    expect(await t.state(secret)).toBe('idle')
  })

  it('is kept from idling by uses only, not by refused ones', async () => {
    const idle = t.core.policy().sessionIdleSeconds * SECOND_MS
    const { secret } = await login('root', ADMIN_PASSWORD)
    t.clock.advance(idle - 1)
    expect(await t.state(secret, { kinds: ['api'] })).toBe('wrong_kind')
    t.clock.advance(1)
    expect(await t.state(secret)).toBe('idle')
  })

  it('ends after its absolute time, however busy it is', async () => {
    const { sessionTtlSeconds, sessionIdleSeconds } = t.core.policy()
    const { secret, token } = await login('root', ADMIN_PASSWORD)
    const endMs = t.clock.now() + sessionTtlSeconds * SECOND_MS
    expect(token.expiresAtMs).toBe(endMs)
    while (t.clock.now() + sessionIdleSeconds * SECOND_MS <= endMs) {
      t.clock.advance(sessionIdleSeconds * SECOND_MS - 1)
      expect(await t.state(secret)).toBe('active')
    }
    t.clock.advance(endMs - t.clock.now() - 1)
    expect(await t.state(secret)).toBe('active')
    t.clock.advance(1)
    expect(await t.state(secret)).toBe('expired')
  })

  it('ends for good when its user is disabled', async () => {
    const { user, session } = await withPassword()
    const edit = (active: boolean) =>
      t.write((w) => w.updateUser({ caller: t.admin, id: user.id, edit: { active } }))
    await edit(false)
    await edit(true)
    expect(await t.state(session.secret)).toBe('revoked')
  })

  it('mints what lives longer than itself, for it stands for the person', async () => {
    const { secret } = await login('root', ADMIN_PASSWORD)
    const caller = await t.callerOf(secret)
    const { token } = await t.write((w) =>
      w.issueToken({
        caller,
        via: 'api',
        wish: {
          kind: 'api',
          name: 'from a login',
          expires: 'never',
          limits: {
            accessLevel: 'FULL_ACCESS',
            roles: null,
            groups: null,
            scopes: null,
            allowedIps: null,
          },
        },
      }),
    )
    expect(token.expiresAtMs).toBeUndefined()
  })
})

describe('signing in through an upstream provider', () => {
  const identity = (username: string, subject = username) => ({
    issuer: 'https://id.example',
    subject,
    username,
    displayName: undefined,
  })
  const signIn = (username: string, subject?: string) =>
    t.core.signInFromUpstream({ identity: identity(username, subject), origin: ORIGIN })

  it('makes a user without rights, and knows them again whatever they are called then', async () => {
    const first = await signIn('new@example.com', 's1')
    expect(first.user.globalRole).toBe('USER')
    const second = await signIn('renamed@example.com', 's1')
    expect(second.user.id).toBe(first.user.id)
    expect(await t.state(first.secret)).toBe('revoked')
    expect(await t.state(second.secret)).toBe('active')
  })

  it('never takes over a user who has another way in', async () => {
    await expect(signIn('root')).rejects.toThrow(code('login_failed'))
    await signIn('taken@example.com', 's2')
    await expect(signIn('TAKEN@example.com', 's3')).rejects.toThrow(code('login_failed'))
  })

  it('is refused to the disabled, and forgotten with the deleted', async () => {
    const { user } = await signIn('gone@example.com', 's4')
    const { id } = user
    await t.write((w) => w.updateUser({ caller: t.admin, id, edit: { active: false } }))
    await expect(signIn('gone@example.com', 's4')).rejects.toThrow(code('login_failed'))
    await t.write((w) => w.deleteUser({ caller: t.admin, id }))
    expect((await signIn('gone@example.com', 's4')).user.id).not.toBe(id)
  })
})

describe('break-glass', () => {
  it('makes an admin of a user again, audited, with a one-time password', async () => {
    const { user } = await withPassword()
    await t.write((w) => w.updateUser({ caller: t.admin, id: user.id, edit: { active: false } }))
    const { oneTimePassword } = await t.core.breakGlass(user.username.toUpperCase())
    const session = await login(user.username, oneTimePassword ?? '', CHOSEN)
    expect((await t.callerOf(session.secret)).principal.rights.admin).toBe(true)
    const record = (await t.trail()).findLast(({ after }) => after?.breakGlass === true)
    expect(record).toMatchObject({ action: 'user.updated', subjectId: user.id, via: 'system' })
    await expect(t.core.breakGlass('nobody')).rejects.toThrow(code('not_found'))
  })
})

it('no password and no hash of one is ever in the trail', async () => {
  const trail = JSON.stringify(await t.trail())
  for (const text of [ADMIN_PASSWORD, CHOSEN, WRONG, '$argon2id']) expect(trail).not.toContain(text)
})
