import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { formatOf, makeSecret } from '../../src/core/secret.ts'
import { secretKind } from './secret-format.ts'

const kinds = fc.stringMatching(/^[a-z]{1,20}(_[a-z]{1,20})?$/)
const bytes = fc.uint8Array({ minLength: 32, maxLength: 32 })
const secrets = fc.tuple(kinds, bytes).map(([kind, random]) => ({
  kind,
  text: makeSecret('mintmark', kind, () => Buffer.from(random)),
}))

describe('secretKind', () => {
  it('knows every secret that the server makes', () => {
    fc.assert(fc.property(secrets, ({ kind, text }) => secretKind(text) === kind))
  })

  it('agrees with the server about secrets that were tampered with', () => {
    const place = fc.nat({ max: 91 })
    const character = fc.oneof(fc.constantFrom(...'abzAZ09_-. \n'), fc.string({ maxLength: 2 }))
    fc.assert(
      fc.property(secrets, place, character, ({ text }, at, put) => {
        const wrong = text.slice(0, at) + put + text.slice(at + 1)
        expect(secretKind(wrong) !== undefined, wrong).toBe(formatOf(wrong) === 'mintmark')
      }),
    )
  })

  it('agrees with the server about any text of the right shape', () => {
    const shaped = fc.stringMatching(/^mm_[a-z_]{1,12}_[0-9A-Za-z]{48,50}$/)
    fc.assert(
      fc.property(fc.oneof(shaped, fc.string()), (text) => {
        expect(secretKind(text) !== undefined, text).toBe(formatOf(text) === 'mintmark')
      }),
    )
  })

  it('does not know the formats of others', () => {
    for (const format of ['hex', 'uuid'] as const) {
      expect(secretKind(makeSecret(format, 'api', randomBytes))).toBeUndefined()
    }
  })
})
