import { createPublicKey } from 'node:crypto'
import { calculateJwkThumbprint } from 'jose'
import { expect, it } from 'vitest'
import { makeSigningKey, signingKey, thumbprint } from './signing-key.ts'

it('a thumbprint is that of the example in RFC 7638, section 3.1', () => {
  const key = {
    kty: 'RSA',
    n: '0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw',
    e: 'AQAB',
  }
  expect(thumbprint(createPublicKey({ key, format: 'jwk' }))).toBe(
    'NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs',
  )
})

it.each([
  ['RS256', { asymmetricKeyType: 'rsa', asymmetricKeyDetails: { modulusLength: 2048 } }],
  ['ES256', { asymmetricKeyType: 'ec', asymmetricKeyDetails: { namedCurve: 'prime256v1' } }],
] as const)('a %s key is of its type, and has its thumbprint as its id', async (alg, details) => {
  const { id, pem } = await makeSigningKey(alg)
  const { publicKey } = signingKey(id, alg, Buffer.from(pem))
  expect(publicKey).toMatchObject(details)
  expect(id).toBe(await calculateJwkThumbprint(publicKey.export({ format: 'jwk' }) as object))
})
