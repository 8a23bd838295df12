import { createHmac, generateKeyPairSync } from 'node:crypto'
import { decodeJwt, decodeProtectedHeader, importSPKI, jwtVerify, SignJWT } from 'jose'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { startServer, type TestServer } from '../support/server.ts'
import { emptyOut, makeServiceToken, type ServiceToken, s7Client } from './s7-client.ts'

let server: TestServer
let service: ServiceToken
const s7 = s7Client(() => server)

beforeAll(async () => {
  server = await startServer()
})
beforeEach(async () => {
  await s7('POST', '/admin/groups', { body: { groupId: 'g1', description: 'd' } })
  service = await makeServiceToken(s7, {
    tokenName: 'svc',
    groups: [{ groupId: 'g1', mode: 'WRITE' }],
  })
})
afterEach(() => emptyOut(s7))
afterAll(() => server.close())

const refresh = (token: string) => s7('POST', '/refresh', { token })
const userInfo = (token: string) => s7('GET', '/userInfo', { token })

describe('POST /refresh', () => {
  it('makes an access token that the resource servers of this API accept', async () => {
    const answer = await refresh(service.secret)
    expect(answer.status).toBe(200)
    expect(Object.keys(answer.body).sort()).toEqual(['expiresAt', 'token'])
    // As their wrapper does: the PEM is fetched once, without a credential.
    const pem = (await s7('GET', '/publicKey', { token: null })).body.publicKey
    expect(pem).toMatch(/^-----BEGIN PUBLIC KEY-----\n/)
    const { payload, protectedHeader } = await jwtVerify(
      answer.body.token,
      await importSPKI(pem, 'RS256'),
      { algorithms: ['RS256'], currentDate: new Date(server.clock.now()) },
    )
    expect(protectedHeader).toMatchObject({ alg: 'RS256', typ: 'JWT' })
    expect(Object.keys(payload).sort()).toEqual(['exp', 'sub', 'user_info'])
    expect(payload.exp).toBe(server.clock.now() / 1000 + 600)
    expect(answer.body.expiresAt).toBe(new Date(Number(payload.exp) * 1000).toISOString())
    expect(payload.user_info).toBeTypeOf('string')
    expect(JSON.parse(String(payload.user_info))).toEqual({
      userId: payload.sub,
      globalRole: 'USER',
      groups: [{ groupId: 'g1', description: 'd', mode: 'WRITE' }],
    })
  })

  it('does not rotate: the same refresh token serves again and is not told again', async () => {
    for (const _ of [1, 2, 3]) {
      const answer = await refresh(service.secret)
      expect(answer.status).toBe(200)
      expect(answer.text).not.toContain(service.secret)
    }
  })

  it('reflects the rights of that moment', async () => {
    const { userId } = (await userInfo(service.jwt)).body
    await s7('PUT', `/admin/users/${encodeURIComponent(userId)}`, { body: { groups: [] } })
    const { token } = (await refresh(service.secret)).body
    const info = JSON.parse(String(decodeJwt(token).user_info))
    expect(info).toEqual({ userId, globalRole: 'USER', groups: [] })
  })

  it('never outlives the refresh token', async () => {
    const end = server.clock.now() + 61_500
    const { secret } = await makeServiceToken(s7, {
      tokenName: 'short',
      expirationDateTime: new Date(end).toISOString(),
    })
    const { token, expiresAt } = (await refresh(secret)).body
    expect(decodeJwt(token).exp).toBe(Math.floor(end / 1000))
    expect(Date.parse(expiresAt)).toBeLessThanOrEqual(end)
  })

  it('stays small enough for a header whatever the groups are called', async () => {
    const groups = Array.from({ length: 60 }, (_, i) => ({
      groupId: `group-${i}`,
      description: 'ü'.repeat(200),
    }))
    await s7('POST', '/admin/users', { body: { userId: 'u', groups } })
    const wish = groups.map(({ groupId }) => ({ groupId, mode: 'READ' }))
    const { jwt } = await makeServiceToken(s7, { tokenName: 'many', groups: wish })
    expect(jwt.length).toBeLessThan(8192)
    const answer = await userInfo(jwt)
    expect(answer.status).toBe(200)
    expect(JSON.parse(String(decodeJwt(jwt).user_info)).groups).toEqual(wish)
  })

  it.each([
    ['nothing', null, {}],
    ['an access token', () => service.jwt, {}],
    ['an api token', () => server.adminToken, {}],
    ['an unknown UUID', 'f454d283-ca87-4a8a-bdbb-df212eca5353', {}],
    ['the tokenId', () => service.tokenId, {}],
    ['another spelling of the secret', () => service.secret.toUpperCase(), {}],
    ['the secret without dashes', () => service.secret.replaceAll('-', ''), {}],
    ['the secret as a URN', () => `urn:uuid:${service.secret}`, {}],
    ['the secret in braces', () => `{${service.secret}}`, {}],
    ['a truncated secret', () => service.secret.slice(0, -1), {}],
    ['None without a cookie', 'None', {}],
    ['None with a cookie of somebody else', 'None', { cookie: 'mintmark-s7-session=abc.def' }],
    ['Basic', null, { authorization: 'Basic YWxpY2U6YWxpY2U=' }],
    ['two credentials', null, { authorization: 'Bearer a, Bearer b' }],
  ])('answers 401 for %s', async (_, given, headers) => {
    const token = typeof given === 'function' ? given() : given
    const answer = await s7('POST', '/refresh', { token, headers })
    expect(answer.status).toBe(401)
    expect(answer.body.code).toBe(401)
  })

  it('answers 401 for a login of another door', async () => {
    const login = await server.call('POST', '/api/v1/login', {
      token: null,
      body: { username: 'admin', password: server.adminPassword },
    })
    expect(login.status).toBe(200)
    expect((await refresh(login.body.secret)).status).toBe(401)
  })

  it('works below the alias v2 too', async () => {
    const v2 = s7Client(() => server, '/api/auth/v2')
    const answer = await v2('POST', '/refresh', { token: service.secret })
    expect(answer.status).toBe(200)
    expect((await v2('GET', '/userInfo', { token: answer.body.token })).status).toBe(200)
  })

  it('is not limited per address, because many services may share one', async () => {
    const limited = await startServer({ MINTMARK_LOGIN_RATE_LIMIT: '2' })
    try {
      const call = s7Client(() => limited)
      const statuses: number[] = []
      for (const _ of [1, 2, 3]) statuses.push((await call('POST', '/refresh')).status)
      expect(statuses).toEqual([401, 401, 401])
    } finally {
      await limited.close()
    }
  })
})

describe('GET /userInfo', () => {
  it('tells what any accepted credential allows', async () => {
    expect((await userInfo(service.jwt)).body).toMatchObject({
      globalRole: 'USER',
      groups: [{ groupId: 'g1', description: 'd', mode: 'WRITE' }],
    })
    const { body } = await userInfo(server.adminToken)
    expect(body).toEqual({ userId: 'admin', globalRole: 'ADMIN', groups: [] })
  })

  it('shows a READ_ONLY credential of an admin as no admin', async () => {
    const reader = await server.makeUser({
      username: 'bob',
      globalRole: 'ADMIN',
      accessLevel: 'READ_ONLY',
    })
    await s7('PUT', '/admin/users/bob', { body: { groups: [{ groupId: 'g1', mode: 'ADMIN' }] } })
    expect((await userInfo(reader.token)).body).toEqual({
      userId: 'bob',
      globalRole: 'USER',
      groups: [{ groupId: 'g1', description: 'd', mode: 'READ' }],
    })
  })

  it('answers 401 without a credential', async () => {
    expect((await s7('GET', '/userInfo', { token: null })).status).toBe(401)
  })
})

describe('an access token', () => {
  it('dies with its owner being disabled, and so does the refresh token', async () => {
    const { userId } = (await userInfo(service.jwt)).body
    const path = `/api/v1/users?username=${encodeURIComponent(userId)}`
    const { id } = (await server.call('GET', path)).body.items[0]
    const set = (active: boolean) =>
      server.call('PATCH', `/api/v1/users/${id}`, { body: { active } })
    expect((await set(false)).status).toBe(200)
    expect((await userInfo(service.jwt)).status).toBe(401)
    expect((await refresh(service.secret)).status).toBe(401)
    expect((await set(true)).status).toBe(200)
    expect((await userInfo(service.jwt)).status).toBe(200)
  })

  it('dies after ten minutes', async () => {
    server.clock.advance(599_000)
    expect((await userInfo(service.jwt)).status).toBe(200)
    server.clock.advance(1000)
    expect((await userInfo(service.jwt)).status).toBe(401)
  })

  it('survives a restart, as long as its token does', async () => {
    await server.restart()
    expect((await userInfo(service.jwt)).status).toBe(200)
    await s7('DELETE', `/admin/refreshTokens/${service.tokenId}`)
    await server.restart()
    expect((await userInfo(service.jwt)).status).toBe(401)
  })
})

describe('a forged access token', () => {
  const json = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const parts = () => {
    const [header = '', payload = '', signature = ''] = service.jwt.split('.')
    return { header, payload, signature }
  }
  const claims = (): Record<string, unknown> => ({ ...decodeJwt(service.jwt) })
  const head = () => ({ ...decodeProtectedHeader(service.jwt), alg: 'RS256' })
  /** Signed by our own key, but not by our own code. */
  const signedByUs = (header: object, payload: Record<string, unknown>) => {
    const [key] = server.app.core.keyring.s7Keys()
    if (key === undefined) throw new Error('no key')
    return new SignJWT(payload).setProtectedHeader({ ...head(), ...header }).sign(key.privateKey)
  }
  const hmac = (secret: string | Buffer) => {
    const body = `${json({ ...head(), alg: 'HS256' })}.${parts().payload}`
    return `${body}.${createHmac('sha256', secret).update(body).digest('base64url')}`
  }
  const pem = () =>
    server.app.core.keyring.s7Keys()[0]?.publicKey.export({ type: 'spki', format: 'pem' })
  const der = () =>
    server.app.core.keyring.s7Keys()[0]?.publicKey.export({ type: 'spki', format: 'der' })

  const forgeries: Record<string, () => string | Promise<string>> = {
    'alg none': () => `${json({ ...head(), alg: 'none' })}.${parts().payload}.`,
    'alg nOnE with a signature': () =>
      `${json({ ...head(), alg: 'nOnE' })}.${parts().payload}.${parts().signature}`,
    'HS256 under the public PEM': () => hmac(pem() ?? ''),
    'HS256 under the public PEM without its last newline': () => hmac(String(pem()).trimEnd()),
    'HS256 under the public DER': () => hmac(der() ?? ''),
    'another key': () => new SignJWT(claims()).setProtectedHeader(head()).sign(rsa.privateKey),
    'an unknown kid': () => signedByUs({ kid: 'other' }, claims()),
    'a kid that is a path': () => signedByUs({ kid: '../../../dev/null' }, claims()),
    'no kid': () => signedByUs({ kid: undefined }, claims()),
    'a key of its own in the header': () =>
      new SignJWT(claims())
        .setProtectedHeader({ ...head(), jwk: rsa.publicKey.export({ format: 'jwk' }) })
        .sign(rsa.privateKey),
    'an unknown critical header': () => {
      const body = `${json({ ...head(), crit: ['x'], x: 1 })}.${parts().payload}`
      return `${body}.${parts().signature}`
    },
    'no exp': () => signedByUs({}, { ...claims(), exp: undefined }),
    'an exp in the past': () => signedByUs({}, { ...claims(), exp: 1 }),
    'an nbf in the future': () => signedByUs({}, { ...claims(), nbf: 99_999_999_999 }),
    'no sub': () => signedByUs({}, { ...claims(), sub: undefined }),
    'no user_info': () => signedByUs({}, { ...claims(), user_info: undefined }),
    'no tid': () => signedByUs({ tid: undefined }, claims()),
    'the tid of no token': () =>
      signedByUs({ tid: '01890a5d-ac96-774b-bcce-b302099a8057' }, claims()),
    'a tampered tid': () =>
      `${json({ ...head(), tid: '01890a5d-ac96-774b-bcce-b302099a8057' })}.${parts().payload}.${parts().signature}`,
    'a tampered payload': () =>
      `${parts().header}.${json({ ...claims(), exp: 99_999_999_999 })}.${parts().signature}`,
    'a signature of another token': async () => {
      const other = (await refresh(service.secret)).body.token
      return `${parts().header}.${json({ ...claims(), sub: 'admin' })}.${other.split('.')[2]}`
    },
    'four parts': () => `${service.jwt}.x`,
    'no signature': () => `${parts().header}.${parts().payload}.`,
    'a suffix': () => `${service.jwt}x`,
    'a huge payload': () => `${parts().header}.${'A'.repeat(9000)}.${parts().signature}`,
  }

  it.each(Object.keys(forgeries))('is refused: %s', async (name) => {
    const forged = await forgeries[name]?.()
    const answer = await s7('GET', '/userInfo', { token: forged ?? '' })
    expect(answer.status).toBe(401)
    expect(answer.body).toEqual({ code: 401, message: 'The credential is not valid.' })
    expect((await s7('GET', '/admin/users', { token: forged ?? '' })).status).toBe(401)
  })

  it('is told from a real one by exactly that', async () => {
    expect((await userInfo(await signedByUs({}, claims()))).status).toBe(200)
  })
})
