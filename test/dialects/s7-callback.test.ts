import { decodeJwt } from 'jose'
import { describe, expect, it } from 'vitest'
import { startServer } from '../support/server.ts'
import { s7Client } from './s7-client.ts'
import { alice, bob, setCookies, signInBench, type Walk } from './s7-sign-in-bench.ts'

const { bench, s7 } = signInBench()

describe('a callback', () => {
  type Spoil = (walked: Walk) => Walk | Promise<Walk>
  const asked =
    (change: (query: URLSearchParams) => void): Spoil =>
    ({ callback, cookie }) => {
      change(callback.searchParams)
      return { callback, cookie }
    }

  it.each<[string, Spoil]>([
    ['no cookie', ({ callback }) => ({ callback, cookie: '' })],
    ['a cookie not ours', ({ callback }) => ({ callback, cookie: 'mintmark-s7-sign-in=AAAA' })],
    [
      'the cookie of another sign-in',
      async ({ callback }) => ({ callback, cookie: (await bench.walk()).cookie }),
    ],
    ['another state', asked((query) => query.set('state', 'x'))],
    ['no state', asked((query) => query.delete('state'))],
    ['no code', asked((query) => query.delete('code'))],
    ['an unknown code', asked((query) => query.set('code', 'x'))],
    ['another issuer', asked((query) => query.set('iss', 'https://evil.example'))],
    ['no issuer', asked((query) => query.delete('iss'))],
    [
      'the path of the other revision',
      ({ callback, cookie }) => ({
        callback: new URL(`authGoogle${callback.search}`, callback),
        cookie,
      }),
    ],
    [
      'a cookie that is too old',
      (walked) => {
        bench.server.clock.advance(600_000)
        return walked
      },
    ],
  ])('with %s is refused and opens nothing', async (_, spoil) => {
    const answer = await bench.come(await spoil(await bench.walk()))
    expect(answer.status).toBe(401)
    expect(answer.body.code).toBe(401)
    expect((await s7('GET', '/admin/refreshTokens')).body).toEqual({ refreshTokenInfo: [] })
  })

  it('serves once', async () => {
    const walked = await bench.walk()
    const done = await bench.come(walked)
    expect(done.status).toBe(200)
    expect(setCookies(done)[0]).toMatch(/^mintmark-s7-sign-in=; /)
    expect((await bench.come(walked)).status).toBe(401)
  })

  it('with a repeated parameter is refused', async () => {
    const walked = await bench.walk()
    walked.callback.searchParams.append('state', 'x')
    expect((await bench.come(walked)).status).toBe(400)
  })

  it('that brings a refusal of the person is refused', async () => {
    bench.upstream.person = { ...alice(), refuses: true }
    const walked = await bench.walk()
    expect(walked.callback.searchParams.get('error')).toBe('access_denied')
    expect((await bench.come(walked)).status).toBe(401)
  })

  it.each<[string, Record<string, unknown>]>([
    ['no email', { email_verified: true }],
    ['an email that is not verified', { email: 'alice@example.com', email_verified: false }],
    ['an email that nobody says is verified', { email: 'alice@example.com' }],
    ['a text for "verified"', { email: 'alice@example.com', email_verified: 'true' }],
    ['an email that is no text', { email: ['alice@example.com'], email_verified: true }],
  ])('for a person with %s is refused', async (_, claims) => {
    bench.upstream.person = { sub: 'alice-1', claims }
    expect((await bench.signIn()).status).toBe(401)
    expect((await s7('GET', '/admin/users')).body.users).toHaveLength(1)
  })

  it.each([
    ['who has a password here', 'admin'],
    ['who signs in as somebody else there', 'alice@example.com'],
  ])('does not take over a user %s', async (_, email) => {
    expect((await bench.signIn()).status).toBe(200)
    bench.upstream.person = bob({ email })
    expect((await bench.signIn()).status).toBe(401)
  })

  it('does not take over a service account', async () => {
    const made = await s7('POST', '/admin/refreshTokens', { body: { tokenName: 'svc' } })
    const { user_info: info } = decodeJwt(made.body.accessToken.token)
    const email = JSON.parse(String(info)).userId
    bench.upstream.person = bob({ email })
    expect((await bench.signIn()).status).toBe(401)
  })

  it('names the user by the claim that the operator chose', async () => {
    const bySubject = await startServer({
      ...bench.settings(),
      MINTMARK_UPSTREAM_USERNAME_CLAIM: 'sub',
    })
    try {
      bench.upstream.person = { sub: 'alice-1', claims: {} }
      const call = s7Client(() => bySubject)
      const done = await bench.come(await bench.walk('/login', call), call)
      expect(decodeJwt(done.body.accessToken.token).sub).toBe('alice-1')
    } finally {
      await bySubject.close()
    }
  })

  it('for a disabled user is refused', async () => {
    await bench.signIn()
    const path = '/api/v1/users?username=alice%40example.com'
    const { id } = (await bench.server.call('GET', path)).body.items[0]
    await bench.server.call('PATCH', `/api/v1/users/${id}`, { body: { active: false } })
    expect((await bench.signIn()).status).toBe(401)
  })
})
