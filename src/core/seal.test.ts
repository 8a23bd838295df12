import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { deriveKey, seal, unseal } from './seal.ts'

const key = Buffer.alloc(32, 1)

describe('seal', () => {
  it('gives back what was sealed, whatever it is', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.string(), (bytes, context) => {
        const plain = Buffer.from(bytes)
        const sealed = seal(plain, { key, context, random: randomBytes })
        expect(unseal(sealed, { key, context })).toEqual(plain)
      }),
    )
  })

  it('never seals alike', () => {
    const once = () => seal('same', { key, context: 'c', random: randomBytes })
    expect(once()).not.toBe(once())
  })

  it('opens with that key and that context only', () => {
    const sealed = seal('plain', { key, context: 'c', random: randomBytes })
    expect(unseal(sealed, { key: Buffer.alloc(32, 2), context: 'c' })).toBeUndefined()
    expect(unseal(sealed, { key, context: 'd' })).toBeUndefined()
    expect(unseal(sealed, { key, context: '' })).toBeUndefined()
  })

  it('refuses any altered or missing byte, and garbage', () => {
    const sealed = Buffer.from(
      seal('plain', { key, context: 'c', random: randomBytes }),
      'base64url',
    )
    for (let i = 0; i < sealed.length; i++) {
      const altered = Buffer.from(sealed)
      altered.writeUInt8(sealed.readUInt8(i) ^ 1, i)
      expect(unseal(altered.toString('base64url'), { key, context: 'c' })).toBeUndefined()
      const shorter = sealed.subarray(0, i).toString('base64url')
      expect(unseal(shorter, { key, context: 'c' })).toBeUndefined()
    }
    for (const garbage of ['', 'x', 'ä', '!'.repeat(100)]) {
      expect(unseal(garbage, { key, context: 'c' })).toBeUndefined()
    }
  })
})

describe('deriveKey', () => {
  it('gives each purpose and salt a key of its own', () => {
    const keys = [
      deriveKey(key, 'audit'),
      deriveKey(key, 'cursor'),
      deriveKey(key, 'audit', 'salt'),
      deriveKey(Buffer.alloc(32, 2), 'audit'),
    ].map((each) => each.toString('hex'))
    expect(new Set(keys).size).toBe(4)
    expect(deriveKey(key, 'audit')).toEqual(deriveKey(key, 'audit'))
    expect(deriveKey(key, 'audit')).toHaveLength(32)
  })
})
