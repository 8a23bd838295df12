import { createHmac, randomBytes } from 'node:crypto'
import { inspect } from 'node:util'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  digestOf,
  formatOf,
  makeSecret,
  mayBeChosen,
  mayBeSecret,
  pepper,
  previewOf,
  SECRET_PATTERN,
  Secret,
  secretFault,
  secretKeys,
} from './secret.ts'

const BASE62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const ours = () => makeSecret('mintmark', 'api', randomBytes)
/** Every other character that could stand at a place. */
const others = (character: string) => [...`${BASE62}_-. =`].filter((each) => each !== character)

describe('the spelling of each kind', () => {
  it.each(['api', 'service', 'session', 'oauth_refresh'])('of a %s token', (kind) => {
    const secret = makeSecret('mintmark', kind, randomBytes)
    expect(secret).toMatch(new RegExp(`^mm_${kind}_[0-9A-Za-z]{49}$`))
    expect(formatOf(secret)).toBe('mintmark')
  })

  it('of 32 hex digits and of a UUIDv4, as their clients know them', () => {
    const hex = makeSecret('hex', 'api', randomBytes)
    const uuid = makeSecret('uuid', 'service', randomBytes)
    expect(hex).toMatch(/^[0-9a-f]{32}$/)
    expect(formatOf(hex)).toBe('hex')
    expect(uuid).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    expect(formatOf(uuid)).toBe('uuid')
  })

  it('keeps leading zeros, so that every secret has the same length', () => {
    const zeros = makeSecret('mintmark', 'api', (bytes) => Buffer.alloc(bytes))
    const ones = makeSecret('mintmark', 'api', (bytes) => Buffer.alloc(bytes, 0xff))
    expect(zeros.slice(7, 50)).toBe('0'.repeat(43))
    expect(ones).toHaveLength(zeros.length)
    expect([formatOf(zeros), formatOf(ones)]).toEqual(['mintmark', 'mintmark'])
  })
})

describe('what is wrong with a secret', () => {
  it('is its checksum when one character was changed, else its form, and only then anything', () => {
    const secret = ours()
    const last = secret.endsWith('0') ? '1' : '0'
    expect(secretFault(secret)).toBeUndefined()
    expect(secretFault(secret.slice(0, -1) + last)).toBe('checksum')
    for (const text of ['', 'mm_api_x', `${secret}0`, ` ${secret}`, secret.slice(0, -1)]) {
      expect(secretFault(text), text).toBe('format')
    }
  })
})

describe('the checksum', () => {
  it('catches any one wrong character at any place', () => {
    const secret = ours()
    for (let i = 0; i < secret.length; i++) {
      for (const wrong of others(secret.charAt(i))) {
        const flipped = secret.slice(0, i) + wrong + secret.slice(i + 1)
        expect(formatOf(flipped), flipped).not.toBe('mintmark')
      }
    }
  })

  it('catches two neighbours that changed places', () => {
    const secret = ours()
    for (let i = 0; i + 1 < secret.length; i++) {
      const swapped =
        secret.slice(0, i) + secret.charAt(i + 1) + secret.charAt(i) + secret.slice(i + 2)
      if (swapped !== secret) expect(formatOf(swapped), swapped).not.toBe('mintmark')
    }
  })
})

describe('the exact value or nothing', () => {
  it('refuses every shorter piece', () => {
    const secret = ours()
    for (let length = 0; length < secret.length; length++) {
      expect(formatOf(secret.slice(0, length)), `${length}`).not.toBe('mintmark')
      expect(formatOf(secret.slice(-length || secret.length + 1)), `-${length}`).not.toBe(
        'mintmark',
      )
    }
  })

  it('refuses other spellings of the same', () => {
    const secret = ours()
    const wide = secret.replace(/[!-~]/g, (c) => String.fromCharCode(c.charCodeAt(0) + 0xfee0))
    const spellings = [
      secret.toUpperCase(),
      secret.toLowerCase(),
      ` ${secret}`,
      `${secret} `,
      `\t${secret}`,
      `${secret}\n`,
      `${secret}\0`,
      `${secret}%20`,
      `${secret}=`,
      `${secret}==`,
      `${secret}\u200b`,
      `\ufeff${secret}`,
      `${secret.slice(0, 20)}\u200d${secret.slice(20)}`,
      wide,
      secret.slice(0, -1) + wide.slice(-1),
      secret + secret,
      `Bearer ${secret}`,
    ]
    for (const spelling of spellings) {
      expect(formatOf(spelling), JSON.stringify(spelling)).not.toBe('mintmark')
    }
  })

  it('knows hex and UUID only in lower case and in full', () => {
    const hex = 'abcdef0123456789abcdef0123456789'
    const uuid = '0c8f3c1e-5a51-4f0b-8c1d-3f4b6c7d8e9f'
    for (const text of [hex.toUpperCase(), `${hex}0`, hex.slice(1), ` ${hex}`]) {
      expect(formatOf(text)).not.toBe('hex')
    }
    const version7 = uuid.replace('-4', '-7')
    for (const text of [uuid.toUpperCase(), `{${uuid}}`, uuid.replaceAll('-', ''), version7]) {
      expect(formatOf(text)).not.toBe('uuid')
    }
  })
})

describe('randomness', () => {
  /** The 0.999 quantile of χ² with 61 degrees of freedom, and with room for 49 places at once. */
  const CRITICAL = 120

  it('gives 20,000 secrets without a repeat, every character of them as likely as the next', () => {
    const count = 20_000
    const bodies = Array.from({ length: count }, () => ours().slice(7, 50))
    expect(new Set(bodies).size).toBe(count)
    for (let place = 0; place < 43; place++) {
      const seen = new Map<string, number>()
      for (const body of bodies) {
        const character = body.charAt(place)
        seen.set(character, (seen.get(character) ?? 0) + 1)
      }
      let chiSquare = 0
      for (const [value, character] of [...BASE62].entries()) {
        const expected = count * likelihood(place, value)
        if (expected === 0) expect(seen.get(character)).toBeUndefined()
        else chiSquare += ((seen.get(character) ?? 0) - expected) ** 2 / expected
      }
      expect(chiSquare, `place ${place}`).toBeLessThan(CRITICAL)
    }
  })

  /** 256 bits do not quite fill 43 characters, so the first one stops short of `z`. */
  function likelihood(place: number, value: number): number {
    if (place > 0) return 1 / 62
    const unit = 62n ** 42n
    const from = BigInt(value) * unit
    const to = from + unit
    const all = 2n ** 256n
    if (from >= all) return 0
    return Number((to < all ? to : all) - from) / Number(all)
  }

  it('uses 32 random bytes for ours, 16 for the others', () => {
    const asked: number[] = []
    const random = (bytes: number) => {
      asked.push(bytes)
      return randomBytes(bytes)
    }
    makeSecret('mintmark', 'api', random)
    makeSecret('hex', 'api', random)
    makeSecret('uuid', 'service', random)
    expect(asked).toEqual([32, 16, 16])
  })
})

describe('mayBeChosen', () => {
  it.each([
    ['base64', randomBytes(32).toString('base64')],
    ['base64url', randomBytes(32).toString('base64url')],
    ['hex of 64 digits', '0123456789abcdef'.repeat(4)],
    ['hex of 32 digits', '0123456789abcdef'.repeat(2)],
    ['a UUID', '0c8f3c1e-5a51-4f0b-8c1d-3f4b6c7d8e9f'],
    ['256 characters', 'abcdefghijklmnop'.repeat(16)],
  ])('takes %s', (_, text) => {
    expect(mayBeChosen(text)).toBe(true)
  })

  it.each([
    ['31 characters', 'abcdefghijklmnopqrstuvwxyz01234'],
    ['257 characters', `${'abcdefghijklmnop'.repeat(16)}q`],
    ['seven different characters', 'abcdefg'.repeat(6)],
    ['a space', 'abcdefghijklmnop qrstuvwxyz0123456789'],
    ['an umlaut', 'äbcdefghijklmnopqrstuvwxyz0123456789'],
    ['our own prefix, so that no leak scanner is misled', `mm_api_${'abcdefghijklmn'.repeat(4)}`],
    ['nothing', ''],
  ])('refuses %s', (_, text) => {
    expect(mayBeChosen(text)).toBe(false)
  })
})

describe('what is shown and kept', () => {
  it('prints [secret] however it is printed', () => {
    const secret = new Secret('hunter2')
    expect(String(secret)).toBe('[secret]')
    expect(`${secret}`).toBe('[secret]')
    expect(JSON.stringify({ secret })).toBe('{"secret":"[secret]"}')
    expect(inspect({ secret })).toBe('{ secret: [secret] }')
    expect(inspect(secret, { showHidden: true, depth: 9 })).not.toContain('hunter2')
    expect(JSON.stringify({ ...secret })).toBe('{}')
    expect(secret.reveal()).toBe('hunter2')
  })

  it('previews the prefix and the last four', () => {
    const secret = ours()
    expect(previewOf(secret, 'mintmark')).toBe(`mm_api_…${secret.slice(-4)}`)
    expect(previewOf('0123456789abcdef0123456789abcdef', 'hex')).toBe('…cdef')
  })

  it('finds ours in text', () => {
    const [one, two] = [ours(), makeSecret('mintmark', 'oauth_refresh', randomBytes)]
    expect(`a "${one}", (${two})`.match(SECRET_PATTERN)).toEqual([one, two])
    expect('mm_api_tooshort'.match(SECRET_PATTERN)).toBeNull()
  })

  it('digests under the server key alone', () => {
    const [a, b] = [pepper('a', Buffer.alloc(32, 1)), pepper('b', Buffer.alloc(32, 2))]
    const secret = ours()
    expect(digestOf(secret, a)).toBe(digestOf(secret, a))
    expect(digestOf(secret, a)).not.toBe(digestOf(secret, b))
    expect(digestOf(secret, a)).toMatch(/^[\w-]{43}$/)
  })

  it('digests with HMAC-SHA-256, whatever the text and its length', () => {
    const text = fc.oneof(fc.string({ unit: 'binary', maxLength: 700 }), fc.string())
    const key = fc.uint8Array({ minLength: 1, maxLength: 64 })
    fc.assert(
      fc.property(text, key, (text, key) => {
        const bytes = Buffer.from(key)
        const expected = createHmac('sha256', bytes).update(text).digest('base64url')
        expect(digestOf(text, pepper('p', bytes))).toBe(expected)
      }),
    )
  })

  it('never takes a secret for none', () => {
    const kinds = fc.constantFrom('api', 'service', 'session', 'oauth_refresh')
    const texts = fc.oneof(
      kinds.map((kind) => makeSecret('mintmark', kind, randomBytes)),
      fc.string().map((text) => `mm_${text}`),
      fc.string({ minLength: 30, maxLength: 300 }),
      fc.constantFrom(
        makeSecret('hex', 'api', randomBytes),
        makeSecret('uuid', 'api', randomBytes),
      ),
    )
    fc.assert(
      fc.property(texts, (text) => {
        if (formatOf(text) !== undefined) expect(mayBeSecret(text)).toBe(true)
      }),
    )
    expect(mayBeSecret(`${ours()}x`)).toBe(false)
  })

  it('keys a cache by every character, and differently in each process', () => {
    const [one, other] = [secretKeys(randomBytes), secretKeys(randomBytes)]
    const texts = fc.tuple(fc.string({ maxLength: 400 }), fc.string({ maxLength: 400 }))
    fc.assert(
      fc.property(texts, ([a, b]) => {
        expect(one(a) === one(b)).toBe(a === b)
        expect(one(a)).not.toBe(other(a))
      }),
    )
  })

  it('never shows the server key', () => {
    const key = randomBytes(32)
    const shown = inspect(pepper('p', key), { depth: 10, showHidden: true })
    for (const encoding of ['hex', 'base64', 'base64url'] as const) {
      expect(shown).not.toContain(key.toString(encoding).slice(0, 8))
    }
  })
})
