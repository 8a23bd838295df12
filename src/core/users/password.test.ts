import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { checkNewPassword, passwordHasher } from './password.ts'

/** A quarter of a millisecond per hash instead of fifty; for what does not hang on the strength. */
const weak = () => passwordHasher(randomBytes, { memoryKib: 64, cores: 4 })

describe('hashes', () => {
  it('are Argon2id with at least 19 MiB, two passes and one lane', async () => {
    const [, memory, passes, lanes, salt = '', tag = ''] =
      /^\$argon2id\$v=19\$m=(\d+),t=(\d+),p=(\d+)\$([^$=]+)\$([^$=]+)$/.exec(
        await passwordHasher(randomBytes).hash('correct horse battery staple'),
      ) ?? []
    expect(Number(memory)).toBeGreaterThanOrEqual(19 * 1024)
    expect(Number(passes)).toBeGreaterThanOrEqual(2)
    expect(Number(lanes)).toBeGreaterThanOrEqual(1)
    expect(Buffer.from(salt, 'base64').length).toBeGreaterThanOrEqual(16)
    expect(Buffer.from(tag, 'base64').length).toBeGreaterThanOrEqual(32)
  })

  it('of one password differ between two users', async () => {
    const hasher = weak()
    const [one, two] = await Promise.all([hasher.hash('same'), hasher.hash('same')])
    expect(one).not.toBe(two)
    expect(await hasher.matches('same', one)).toBe(true)
    expect(await hasher.matches('same', two)).toBe(true)
  })

  it('of 64 and of 200 characters cut nothing off', async () => {
    const hasher = weak()
    for (const length of [64, 72, 200]) {
      const password = 'p'.repeat(length - 1)
      const hash = await hasher.hash(`${password}a`)
      expect(await hasher.matches(`${password}a`, hash)).toBe(true)
      expect(await hasher.matches(`${password}b`, hash)).toBe(false)
      expect(await hasher.matches(password, hash)).toBe(false)
    }
  })

  it('tell NUL from the end, and take one accent in both of its spellings', async () => {
    const hasher = weak()
    const hash = await hasher.hash('caf\u00e9\0secret')
    expect(await hasher.matches('cafe\u0301\0secret', hash)).toBe(true)
    expect(await hasher.matches('caf\u00e9', hash)).toBe(false)
    expect(await hasher.matches('caf\u00e9\0', hash)).toBe(false)
  })

  it('that are not hashes match nothing', async () => {
    const hasher = weak()
    const good = await hasher.hash('password')
    const bad = ['', 'password', '$2b$10$abc', good.replace('argon2id', 'argon2i'), `${good}$`]
    for (const hash of bad) expect(await hasher.matches('password', hash), hash).toBe(false)
  })

  it('made with less than today’s strength are outdated', async () => {
    const today = passwordHasher(randomBytes, { memoryKib: 128 })
    expect(today.isOutdated(await weak().hash('p'))).toBe(true)
    expect(today.isOutdated(await today.hash('p'))).toBe(false)
    expect(weak().isOutdated(await today.hash('p'))).toBe(false)
    expect(today.isOutdated('nonsense')).toBe(true)
    expect(await today.matches('p', await weak().hash('p'))).toBe(true)
  })
})

describe('the cost', () => {
  it('is the same for nobody as for a wrong password', async () => {
    const hasher = passwordHasher(randomBytes)
    const hash = await hasher.hash('p')
    const seconds = async (stored: string | undefined) => {
      const start = process.hrtime.bigint()
      for (let i = 0; i < 3; i++) expect(await hasher.matches('x', stored)).toBe(false)
      return Number(process.hrtime.bigint() - start) / 1e9
    }
    await seconds(hash)
    const [known, unknown] = [await seconds(hash), await seconds(undefined)]
    expect(unknown).toBeGreaterThan(known / 3)
    expect(known).toBeGreaterThan(unknown / 3)
  })

  it('is bounded: so many at once, so many in line, the rest are sent away', async () => {
    const hasher = weak()
    const results = await Promise.allSettled(
      Array.from({ length: 200 }, () => hasher.matches('x', undefined)),
    )
    const refused = results.filter((result) => result.status === 'rejected')
    expect(results.length - refused.length).toBe(66)
    for (const { reason } of refused) {
      expect(reason).toMatchObject({ code: 'too_many_requests', retryAfterSeconds: 2 })
    }
    // Whoever comes later is served again: no place in the line was lost.
    const later = Array.from({ length: 66 }, () => hasher.matches('x', undefined))
    expect(await Promise.all(later)).toHaveLength(66)
  })

  it('is one hash at a time on two cores', async () => {
    const hasher = passwordHasher(randomBytes, { memoryKib: 64, cores: 2 })
    const results = await Promise.allSettled(
      Array.from({ length: 100 }, () => hasher.matches('x', undefined)),
    )
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(65)
  })

  it('gives places to no more than there is room for', () => {
    const hasher = weak()
    const places = Array.from({ length: 64 }, () => hasher.place())
    expect(() => hasher.place()).toThrow(/Too many logins/)
    // Whoever leaves twice has left once.
    places[0]?.leave()
    places[0]?.leave()
    expect(hasher.place()).toBeDefined()
    expect(() => hasher.place()).toThrow(/Too many logins/)
  })

  it('frees a place where its password is looked at', async () => {
    const hasher = weak()
    const places = Array.from({ length: 64 }, () => hasher.place())
    expect(await hasher.matches('x', undefined, places[0])).toBe(false)
    expect(hasher.place()).toBeDefined()
  })

  it('refuses at once whom patience would fail', async () => {
    let nowMs = 0
    // Each look at the clock is 110 ms later: so long each hash seems to take.
    const clock = { now: () => (nowMs += 110) }
    const hasher = passwordHasher(randomBytes, { memoryKib: 64, cores: 2, clock })
    for (let i = 0; i < 40; i++) await hasher.matches('x', undefined)
    const places = Array.from({ length: 7 }, () => hasher.place())
    expect(() => hasher.place()).toThrow(/Too many logins/)
    for (const place of places) place.leave()
    expect(hasher.place()).toBeDefined()
  })

  it('counts what a login has waited elsewhere', async () => {
    let waitedMs = 0
    const hasher = passwordHasher(randomBytes, {
      memoryKib: 64,
      cores: 4,
      waitedMs: () => waitedMs,
    })
    const [first, second] = [hasher.matches('x', undefined), hasher.matches('x', undefined)]
    waitedMs = 700
    await expect(hasher.matches('x', undefined)).rejects.toMatchObject({
      code: 'too_many_requests',
    })
    await Promise.all([first, second])
    // With nobody before it, it is served nevertheless.
    expect(await hasher.matches('x', undefined)).toBe(false)
  })

  it('keeps the line when a hash fails', async () => {
    let healthy = false
    const hasher = passwordHasher(
      (bytes) => {
        if (!healthy) throw new Error('no entropy')
        return randomBytes(bytes)
      },
      { memoryKib: 64 },
    )
    const failures = await Promise.allSettled(Array.from({ length: 10 }, () => hasher.hash('p')))
    expect(failures.every(({ status }) => status === 'rejected')).toBe(true)
    healthy = true
    expect(await Promise.all(Array.from({ length: 10 }, () => hasher.hash('p')))).toHaveLength(10)
  })
})

describe('a new password', () => {
  const user = { username: 'ursula.lopez' }

  it.each([
    'correct horse battery staple',
    'kites over the harbour',
    'Zwölf Boxkämpfer jagen',
    'k7#Qm2!xW9$pR4z',
    '我们在海边放风筝看日落和星星吗',
    'aaakite harbour lamp',
  ])('may be "%s"', (password) => {
    expect(() => checkNewPassword(password, user)).not.toThrow()
  })

  it.each([
    ['14 characters', 'kites over har'],
    ['14 emoji, though they are 28 units', '😀'.repeat(14)],
    ['257 characters', 'kites over the harbour '.repeat(12)],
    ['the username and little else', 'ursula.lopez-12'],
    ['the username in other letters', 'URSULA.LOPEZursula.lopez1'],
    ['the username in full width', 'ｕｒｓｕｌａ.ｌｏｐｅｚ１２３'],
    ['one character', 'aaaaaaaaaaaaaaaaaaaa'],
    ['a repeated word', 'kitekitekitekite'],
    ['a repeated pair', 'ababababababababab'],
    ['a run of letters', 'abcdefghijklmnopq'],
    ['a run backwards', 'zyxwvutsrqponmlk'],
    ['a run of digits', '123456789012345'],
    ['a row of the keyboard', 'qwertyuiopasdfghjkl'],
    ['a well-known one with digits', 'password1234567'],
    ['two well-known ones', 'letmeiniloveyou!'],
    ['a well-known one in capitals', 'PASSWORDPASSWORD'],
    ['our own name', 'mintmarkmintmark1'],
    ['spaces', ' '.repeat(20)],
  ])('may not be %s', (_, password) => {
    expect(() => checkNewPassword(password, user)).toThrow(
      expect.objectContaining({ code: 'invalid_input' }),
    )
  })

  it('is measured in linear time', () => {
    const start = process.hrtime.bigint()
    for (const password of ['a'.repeat(256), 'ab'.repeat(128), `${'abcdef'.repeat(42)}x`]) {
      for (let i = 0; i < 100; i++) {
        try {
          checkNewPassword(password, user)
        } catch {}
      }
    }
    expect(Number(process.hrtime.bigint() - start) / 1e6).toBeLessThan(1000)
  })
})
