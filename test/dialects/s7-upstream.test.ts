import { generateKeyPairSync } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { startServer } from '../support/server.ts'
import { S7, s7Client } from './s7-client.ts'
import { setCookies, signInBench } from './s7-sign-in-bench.ts'

const { bench, s7 } = signInBench()

describe('a provider in trouble', () => {
  it('is answered with 502 and found again when it is back', async () => {
    const other = await startServer(bench.settings())
    try {
      const call = s7Client(() => other)
      bench.upstream.intercept = (_, response) => {
        response.writeHead(503).end()
        return true
      }
      expect((await call('GET', '/login', { token: null })).status).toBe(502)
      bench.upstream.intercept = undefined
      expect((await call('GET', '/login', { token: null })).status).toBe(200)
    } finally {
      await other.close()
    }
  })

  it('is answered with 502 when it fails in the middle of a sign-in', async () => {
    const walked = await bench.walk()
    bench.upstream.intercept = ({ url }, response) => {
      if (url !== '/token') return false
      response.writeHead(500, { 'content-type': 'text/html' }).end('<p>Oops')
      return true
    }
    const answer = await bench.come(walked)
    expect([answer.status, answer.body.code]).toEqual([502, 502])
  })

  it('is not believed when its key did not sign what it says', async () => {
    const { keys } = JSON.parse(await (await fetch(`${bench.upstream.issuer}/jwks`)).text())
    const other = generateKeyPairSync('rsa', { modulusLength: 2048 })
    const forged = { ...keys[0], ...other.publicKey.export({ format: 'jwk' }) }
    const fresh = await startServer(bench.settings())
    try {
      const call = s7Client(() => fresh)
      const walked = await bench.walk('/login', call)
      bench.upstream.intercept = ({ url }, response) => {
        if (url !== '/jwks') return false
        response.writeHead(200, { 'content-type': 'application/json' })
        response.end(JSON.stringify({ keys: [forged] }))
        return true
      }
      const answer = await bench.come(walked, call)
      expect([answer.status, answer.body.code]).toEqual([401, 401])
    } finally {
      await fresh.close()
    }
  })

  it('that nobody listens for is answered with 502', async () => {
    const other = await startServer({
      ...bench.settings(),
      MINTMARK_UPSTREAM_ISSUER: 'http://127.0.0.1:9',
    })
    try {
      const answer = await s7Client(() => other)('GET', '/login', { token: null })
      expect([answer.status, answer.body.code]).toEqual([502, 502])
    } finally {
      await other.close()
    }
  })
})

describe('the settings', () => {
  it('are named by every sign-in operation when they are missing', async () => {
    const bare = await startServer()
    try {
      const call = s7Client(() => bare)
      const body = { code: 'c', codeVerifier: 'v', nonce: 'n', redirectUri: 'r' }
      const answers = [
        await call('POST', '/login', { token: null, body }),
        await call('GET', '/login', { token: null }),
        await call('GET', '/login?redirection=https://evil.example', { token: null }),
        await call('GET', '/loginGoogle', { token: null }),
        await call('GET', '/authGoogle?state=s&code=c&scope=openid+email', { token: null }),
        await call('GET', '/authSso?state=s&code=c', { token: null }),
      ]
      for (const { status, body } of answers) {
        expect(status).toBe(501)
        expect(body.message).toContain('MINTMARK_UPSTREAM_ISSUER')
        expect(body.message).toContain('MINTMARK_UPSTREAM_CLIENT_ID')
      }
    } finally {
      await bare.close()
    }
  })

  it('refuse plain http to a provider on another machine', async () => {
    const other = await startServer({
      ...bench.settings(),
      MINTMARK_UPSTREAM_ISSUER: 'http://idp.example',
    })
    try {
      const answer = await s7Client(() => other)('GET', '/login', { token: null })
      expect(answer.status).toBe(501)
      expect(answer.body.message).toContain('https')
    } finally {
      await other.close()
    }
  })

  it('make the cookies Secure and bound to the host behind https', async () => {
    const secure = await startServer({
      ...bench.settings(),
      MINTMARK_PUBLIC_URL: 'https://auth.example',
    })
    try {
      const begun = await s7Client(() => secure)('GET', '/login', { token: null })
      expect(setCookies(begun)[0]).toMatch(
        /^__Host-mintmark-s7-sign-in=[^;]+; Max-Age=600; Path=\/; HttpOnly; Secure; SameSite=Lax$/,
      )
      const { searchParams } = new URL(begun.body.url)
      expect(searchParams.get('redirect_uri')).toBe(`https://auth.example${S7}/authSso`)
    } finally {
      await secure.close()
    }
  })

  it('are never taken from the Host header', async () => {
    const headers = { host: 'evil.example', 'x-forwarded-host': 'evil.example' }
    const { text } = await s7('GET', '/login', { token: null, headers })
    expect(text).not.toContain('evil.example')
  })

  it('limit each door per address', async () => {
    const limited = await startServer({ ...bench.settings(), MINTMARK_LOGIN_RATE_LIMIT: '1' })
    try {
      const call = s7Client(() => limited)
      for (const path of ['/login', '/loginGoogle', '/authSso', '/authGoogle']) {
        await call('GET', path, { token: null })
        const refused = await call('GET', path, { token: null })
        expect([refused.status, refused.body.code], path).toEqual([429, 429])
      }
      await call('POST', '/login', { token: null, body: {} })
      expect((await call('POST', '/login', { token: null, body: {} })).status).toBe(429)
    } finally {
      await limited.close()
    }
  })
})
