import { generateKeyPairSync, type JsonWebKey } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { checkJwks } from './jwks.ts'

const refused = expect.objectContaining({ code: 'invalid_input' })
const publicOf = ({ publicKey }: { publicKey: { export(o: { format: 'jwk' }): JsonWebKey } }) =>
  publicKey.export({ format: 'jwk' }) as Record<string, unknown>

const rsa = (modulusLength: number, publicExponent = 65_537) =>
  generateKeyPairSync('rsa', { modulusLength, publicExponent })
const ec = (namedCurve: string) => generateKeyPairSync('ec', { namedCurve })
const rsaPair = rsa(2048)
const ecPair = ec('P-256')
const okpPair = generateKeyPairSync('ed25519')

describe('checkJwks', () => {
  it.each([
    ['RSA of 2048 bits', publicOf(rsaPair)],
    ['P-256', publicOf(ecPair)],
    ['P-384', publicOf(ec('P-384'))],
    ['P-521', publicOf(ec('P-521'))],
    ['Ed25519', publicOf(okpPair)],
    ['a named key', { ...publicOf(rsaPair), kid: 'one', use: 'sig', alg: 'PS256' }],
    ['a key for verifying', { ...publicOf(ecPair), key_ops: ['verify'] }],
  ])('takes %s', (_, key) => {
    expect(checkJwks({ keys: [key] })).toEqual({ keys: [key] })
  })

  it('keeps nothing that means nothing to us', () => {
    const key = publicOf(ecPair)
    const given = { ...key, ext: true, x5u: 'https://keys.example.com/', note: 'mine' }
    expect(checkJwks({ keys: [given] })).toEqual({ keys: [key] })
  })

  it.each<[string, unknown]>([
    ['a private RSA key', rsaPair.privateKey.export({ format: 'jwk' })],
    ['a private EC key', ecPair.privateKey.export({ format: 'jwk' })],
    ['a private Ed25519 key', okpPair.privateKey.export({ format: 'jwk' })],
    ['a symmetric key', { kty: 'oct', k: 'AAAA' }],
    ['a symmetric key without its value', { kty: 'oct' }],
    ...['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'].map((member): [string, unknown] => [
      `a key with ${member}`,
      { ...publicOf(rsaPair), [member]: 'AQAB' },
    ]),
  ])('refuses %s, and says that it is known now', (_, key) => {
    expect(() => checkJwks({ keys: [key as Record<string, unknown>] })).toThrow(
      expect.objectContaining({ code: 'invalid_input', message: expect.stringContaining('known') }),
    )
  })

  it.each([
    ['an empty object', {}],
    ['a small RSA key', publicOf(rsa(1024))],
    ['an RSA key that signs everything', { ...publicOf(rsaPair), e: 'AQ' }],
    ['an RSA key with the exponent 3', publicOf(rsa(2048, 3))],
    ['an RSA key of zeros', { kty: 'RSA', n: 'A'.repeat(342), e: 'AQAB' }],
    ['an endless RSA key', { kty: 'RSA', n: '_'.repeat(4000), e: 'AQAB' }],
    ['secp256k1', publicOf(ec('secp256k1'))],
    ['a point beside the curve', { ...publicOf(ecPair), y: publicOf(ecPair).x }],
    ['half a point', { kty: 'EC', crv: 'P-256', x: publicOf(ecPair).x }],
    ['X25519', publicOf(generateKeyPairSync('x25519'))],
    ['Ed448', publicOf(generateKeyPairSync('ed448'))],
    ['an unknown type', { kty: 'constructor' }],
    ['a type that is no text', { kty: ['RSA'], n: 'AQAB', e: 'AQAB' }],
    ['an encryption key', { ...publicOf(rsaPair), use: 'enc' }],
    ['a signing key', { ...publicOf(rsaPair), key_ops: ['sign'] }],
    ['another algorithm', { ...publicOf(rsaPair), alg: 'ES256' }],
    ['the algorithm none', { ...publicOf(ecPair), alg: 'none' }],
    ['a symmetric algorithm', { ...publicOf(rsaPair), alg: 'HS256' }],
    ['a kid that is no text', { ...publicOf(ecPair), kid: 1 }],
    ['an endless kid', { ...publicOf(ecPair), kid: 'k'.repeat(256) }],
  ])('refuses %s', (_, key) => {
    expect(() => checkJwks({ keys: [key as Record<string, unknown>] })).toThrow(refused)
  })

  it('refuses no keys, too many, and two of one name', () => {
    const key = publicOf(ecPair)
    const named = { ...key, kid: 'one' }
    for (const keys of [[], Array.from({ length: 11 }, () => key), [named, named]]) {
      expect(() => checkJwks({ keys })).toThrow(refused)
    }
  })
})
