import { decodeJwt, decodeProtectedHeader, importSPKI, jwtVerify, SignJWT } from 'jose'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { HOUR_MS } from '../support/core.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { makeServiceToken, s7Client } from './s7-client.ts'

let server: TestServer
const s7 = s7Client(() => server)

beforeAll(async () => {
  server = await startServer()
})
afterAll(() => server.close())

const userInfo = async (token: string) => (await s7('GET', '/userInfo', { token })).status

async function rotate(purpose: string): Promise<void> {
  const { status } = await server.call('POST', '/api/v1/keys/rotate', { body: { purpose } })
  expect(status).toBe(200)
}

it('an access token signed before a rotation lives to its end, and new ones have the new key', async () => {
  const service = await makeServiceToken(s7, { tokenName: 'svc' })
  await rotate('s7')
  await rotate('pepper')
  expect(await userInfo(service.jwt)).toBe(200)
  await server.restart()
  expect(await userInfo(service.jwt)).toBe(200)

  const { token } = (await s7('POST', '/refresh', { token: service.secret })).body
  expect(decodeProtectedHeader(token).kid).not.toBe(decodeProtectedHeader(service.jwt).kid)
  const pem = (await s7('GET', '/publicKey', { token: null })).body.publicKey
  const currentDate = new Date(server.clock.now())
  await jwtVerify(token, await importSPKI(pem, 'RS256'), { currentDate })
  expect(await userInfo(token)).toBe(200)

  server.clock.advance(600_000)
  expect(await userInfo(service.jwt)).toBe(401)
})

it('the old key verifies for an hour, purged or not', async () => {
  const service = await makeServiceToken(s7, { tokenName: 'long' })
  const [key] = server.app.core.keyring.s7Keys()
  if (key === undefined) throw new Error('no key')
  // Signed by our own key, but not by our own code, which signs for ten minutes.
  const exp = Math.floor((server.clock.now() + 2 * HOUR_MS) / 1000)
  const jwt = await new SignJWT({ ...decodeJwt(service.jwt), exp })
    .setProtectedHeader({ ...decodeProtectedHeader(service.jwt), alg: 'RS256' })
    .sign(key.privateKey)
  await rotate('s7')
  server.clock.advance(HOUR_MS - 1)
  await server.app.core.purge()
  expect(await userInfo(jwt)).toBe(200)
  server.clock.advance(1)
  expect(await userInfo(jwt)).toBe(401)
  await server.app.core.purge()
  expect(await userInfo(jwt)).toBe(401)
  const { body } = await server.call('GET', '/api/v1/keys')
  const states = body.items
    .filter(({ purpose }: { purpose: string }) => purpose === 's7')
    .map(({ state }: { state: string }) => state)
  expect(states).toEqual(['current'])
})
