import { describe, expect, it } from 'vitest'
import { S7 } from './s7-client.ts'
import { clientApp, publicUrl, signInBench } from './s7-sign-in-bench.ts'

const { bench, s7 } = signInBench()

describe('POST /login', () => {
  const credentials = { codeVerifier: 'v'.repeat(43), nonce: 'n-1', redirectUri: clientApp }

  /** What the client application does by itself before it calls. */
  async function codeFor({ nonce = credentials.nonce } = {}): Promise<string> {
    const url = new URL('/auth', bench.upstream.issuer)
    const digest = await crypto.subtle.digest(
      'SHA-256',
      new TextEncoder().encode(credentials.codeVerifier),
    )
    url.search = new URLSearchParams({
      client_id: bench.upstream.clientId,
      response_type: 'code',
      redirect_uri: clientApp,
      scope: 'openid email',
      nonce,
      state: 's-1',
      code_challenge: Buffer.from(digest).toString('base64url'),
      code_challenge_method: 'S256',
    }).toString()
    const code = (await bench.upstream.visit(url.href)).searchParams.get('code') ?? ''
    bench.server.remember(code)
    return code
  }

  const post = (body: object) => s7('POST', '/login', { token: null, body })

  it('exchanges the code for the tokens', async () => {
    const done = await post({ ...credentials, code: await codeFor() })
    expect(done.status).toBe(200)
    const { refreshToken, accessToken } = done.body
    expect((await s7('GET', '/userInfo', { token: accessToken.token })).body.userId).toBe(
      'alice@example.com',
    )
    expect((await s7('POST', '/refresh', { token: refreshToken.token })).status).toBe(200)
  })

  it('is one user with the sign-in by browser', async () => {
    await bench.signIn('/loginGoogle')
    await post({ ...credentials, code: await codeFor() })
    expect((await s7('GET', '/admin/users')).body.users).toHaveLength(2)
  })

  it.each<[string, object, number]>([
    ['another verifier', { codeVerifier: 'w'.repeat(43) }, 401],
    ['another nonce', { nonce: 'n-2' }, 401],
    ['an unknown code', { code: 'x' }, 401],
    ['our own callback instead of theirs', { redirectUri: `${publicUrl}${S7}/authSso` }, 401],
    ['a redirectUri that nobody allowed', { redirectUri: 'https://evil.example/' }, 400],
    ['a redirectUri that only begins well', { redirectUri: `${clientApp}/x` }, 400],
    ['no code', { code: undefined }, 400],
    ['no verifier', { codeVerifier: undefined }, 400],
    ['no nonce', { nonce: undefined }, 400],
    ['an empty nonce', { nonce: '' }, 400],
    ['no redirectUri', { redirectUri: undefined }, 400],
    ['a member that we do not know', { username: 'admin' }, 400],
  ])('refuses %s', async (_, change, status) => {
    const answer = await post({ ...credentials, code: await codeFor(), ...change })
    expect(answer.status).toBe(status)
    expect((await s7('GET', '/admin/refreshTokens')).body).toEqual({ refreshTokenInfo: [] })
  })

  it('refuses a code that was used', async () => {
    const body = { ...credentials, code: await codeFor() }
    expect((await post(body)).status).toBe(200)
    expect((await post(body)).status).toBe(401)
  })

  it('refuses the request of the reference client when its code is not real', async () => {
    const answer = await s7('POST', '/login', {
      token: null,
      rawBody: '{"code": "c", "codeVerifier": "v", "nonce": "n", "redirectUri": "r"}',
    })
    expect(answer.status).toBe(400)
  })
})
