import { decodeJwt } from 'jose'
import { describe, expect, it } from 'vitest'
import { S7, s7Client } from './s7-client.ts'
import { alice, bob, publicUrl, setCookies, signInBench } from './s7-sign-in-bench.ts'

const { bench, s7 } = signInBench()

describe('sign-in by browser, newer revision', () => {
  it('answers the address of the provider, then the tokens', async () => {
    const begun = await s7('GET', '/login', { token: null })
    expect(begun.status).toBe(200)
    const url = new URL(begun.body.url)
    expect(url.origin).toBe(bench.upstream.issuer)
    expect(Object.fromEntries(url.searchParams)).toMatchObject({
      client_id: bench.upstream.clientId,
      code_challenge_method: 'S256',
      redirect_uri: `${publicUrl}${S7}/authSso`,
      response_type: 'code',
      scope: 'openid email profile',
    })
    const done = await bench.signIn()
    expect(done.status).toBe(200)
    const { refreshToken, accessToken } = done.body
    expect(JSON.parse(String(decodeJwt(accessToken.token).user_info))).toEqual({
      userId: 'alice@example.com',
      globalRole: 'USER',
      groups: [],
    })
    const endsAt = new Date(bench.server.clock.now() + 86_400_000).toISOString()
    expect(refreshToken.expiresAt).toBe(endsAt)
    expect((await s7('POST', '/refresh', { token: refreshToken.token })).status).toBe(200)
  })

  it('keeps the sign-in in a cookie that nobody can read', async () => {
    const begun = await s7('GET', '/login', { token: null })
    const [cookie = ''] = setCookies(begun)
    expect(cookie).toMatch(/; Max-Age=600; Path=\/; HttpOnly; SameSite=Lax$/)
    const url = new URL(begun.body.url)
    for (const name of ['state', 'nonce', 'code_challenge']) {
      expect(cookie).not.toContain(url.searchParams.get(name))
    }
  })

  it('shows the sign-in among the refresh tokens, without a name, and can revoke it', async () => {
    const { refreshToken, accessToken } = (await bench.signIn()).body
    const { refreshTokenInfo } = (await s7('GET', '/admin/refreshTokens')).body
    expect(refreshTokenInfo).toEqual([
      { tokenId: expect.any(String), expirationDateTime: refreshToken.expiresAt, groups: [] },
    ])
    await s7('DELETE', `/admin/refreshTokens/${refreshTokenInfo[0].tokenId}`)
    expect((await s7('POST', '/refresh', { token: refreshToken.token })).status).toBe(401)
    expect((await s7('GET', '/userInfo', { token: accessToken.token })).status).toBe(401)
  })

  it('gives a user whom an admin prepared the rights prepared', async () => {
    const groups = [{ groupId: 'g1', mode: 'WRITE' }]
    await s7('POST', '/admin/users', {
      body: { userId: 'alice@example.com', globalRole: 'ADMIN', groups },
    })
    const { accessToken } = (await bench.signIn()).body
    expect((await s7('GET', '/userInfo', { token: accessToken.token })).body).toEqual({
      userId: 'alice@example.com',
      globalRole: 'ADMIN',
      groups,
    })
    expect((await s7('GET', '/admin/users', { token: accessToken.token })).status).toBe(200)
  })

  it('ends the earlier sign-in of the same user, and nobody else’s', async () => {
    bench.upstream.person = bob()
    const other = (await bench.signIn()).body
    bench.upstream.person = alice()
    const first = (await bench.signIn()).body
    const second = (await bench.signIn()).body
    expect((await s7('POST', '/refresh', { token: first.refreshToken.token })).status).toBe(401)
    expect((await s7('GET', '/userInfo', { token: first.accessToken.token })).status).toBe(401)
    for (const { refreshToken } of [second, other]) {
      expect((await s7('POST', '/refresh', { token: refreshToken.token })).status).toBe(200)
    }
  })

  it('works below the alias v2 too', async () => {
    const v2 = s7Client(() => bench.server, '/api/auth/v2')
    expect((await bench.come(await bench.walk('/login', v2), v2)).status).toBe(200)
  })
})

describe('sign-in by browser, older revision', () => {
  it('redirects to the provider and answers the tokens at /authGoogle', async () => {
    const begun = await s7('GET', '/loginGoogle', { token: null })
    expect([begun.status, begun.text]).toEqual([302, ''])
    expect(String(begun.headers.location)).toMatch(bench.upstream.issuer)
    const done = await bench.signIn('/loginGoogle')
    expect(done.status).toBe(200)
    expect(Object.keys(done.body)).toEqual(['refreshToken', 'accessToken'])
    expect(setCookies(done).some((line) => line.startsWith('mintmark-s7-session'))).toBe(false)
  })
})
