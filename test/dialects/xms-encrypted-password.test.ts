import { constants, createPublicKey, publicEncrypt } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startServer, type TestServer } from '../support/server.ts'
import { checked, givePassword } from './checked.ts'
import { anonymously } from './xms-client.ts'

let server: TestServer
const xms = checked(() => server, 'xms')
const login = (auth: unknown) => xms('POST', '/v1/auth/tokens:login', anonymously({ auth }))

let password: string

beforeAll(async () => {
  server = await startServer()
  const alice = await server.makeUser({ username: 'alice' })
  password = await givePassword(server, alice.id)
})
afterAll(() => server.close())

describe('an encrypted password', () => {
  const askKey = async () => (await xms('POST', '/v1/auth/rsa-keys', anonymously())).body.rsa_key

  const paddings = {
    'OAEP with SHA-1': { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha1' },
    'OAEP with SHA-256': { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' },
    'PKCS#1 v1.5': { padding: constants.RSA_PKCS1_PADDING },
  }

  function encrypted(pem: string, text: string, padding: object = paddings['PKCS#1 v1.5']): string {
    return publicEncrypt({ key: pem, ...padding }, Buffer.from(text)).toString('base64')
  }

  it('is encrypted under one key for everybody, for a while, also after a restart', async () => {
    const key = await askKey()
    expect(createPublicKey(key.public_key).asymmetricKeyDetails?.modulusLength).toBe(2048)
    expect(key.public_key).toMatch(/^-----BEGIN PUBLIC KEY-----\n/)
    expect(Date.parse(key.expiration)).toBeGreaterThan(server.clock.now())
    const many = await Promise.all([1, 2, 3].map(askKey))
    expect(new Set(many.map(({ id }) => id))).toEqual(new Set([key.id]))
    await server.restart()
    const answer = await login({
      name: 'alice',
      encrypted_password: encrypted(key.public_key, password),
      rsa_key_id: key.id,
    })
    expect(answer.status).toBe(201)
    server.remember(answer.body.token.uuid)
  })

  it('is handed out another key later, while the earlier one still opens', async () => {
    const [early] = await Promise.all([askKey(), askKey()])
    server.clock.advance(6 * 60_000)
    const late = await askKey()
    expect(late.id).not.toBe(early.id)
    for (const key of [early, late]) {
      const encrypted_password = encrypted(key.public_key, password)
      const answer = await login({ name: 'alice', encrypted_password, rsa_key_id: key.id })
      expect(answer.status).toBe(201)
      server.remember(answer.body.token.uuid)
    }
  })

  it.each(Object.entries(paddings))('may be padded as %s', async (_, padding) => {
    const key = await askKey()
    const encrypted_password = encrypted(key.public_key, password, padding)
    const answer = await login({ name: 'alice', encrypted_password, rsa_key_id: key.id })
    expect(answer.status).toBe(201)
    server.remember(answer.body.token.uuid)
  })

  it('is just a wrong password when it cannot be read, for whatever reason', async () => {
    const key = await askKey()
    const good = encrypted(key.public_key, password)
    const wrong = await login({ name: 'nobody', password: 'wrong' })
    const forms = [
      { encrypted_password: encrypted(key.public_key, 'wrong'), rsa_key_id: key.id },
      { encrypted_password: good, rsa_key_id: 'another' },
      { encrypted_password: 'AAAA', rsa_key_id: key.id },
      { encrypted_password: '%%%', rsa_key_id: key.id },
      { encrypted_password: Buffer.alloc(256, 1).toString('base64'), rsa_key_id: key.id },
      { encrypted_password: `${good.slice(0, -8)}AAAAAAA=`, rsa_key_id: key.id },
      { encrypted_password: 'A'.repeat(20_000), rsa_key_id: key.id },
    ]
    for (const form of forms) {
      const answer = await login({ name: 'alice', ...form })
      expect(answer).toMatchObject({ status: 401, body: wrong.body })
      const unknown = await login({ name: 'somebody', ...form })
      expect(unknown).toMatchObject({ status: 401, body: wrong.body })
    }
    server.clock.advance(15 * 60_000)
    const late = await login({ name: 'alice', encrypted_password: good, rsa_key_id: key.id })
    expect(late).toMatchObject({ status: 401, body: wrong.body })
  })
})
