import { describe, expect, it } from 'vitest'
import { bob, cookiesOf, page, portal, setCookies, signInBench } from './s7-sign-in-bench.ts'

const { bench, s7 } = signInBench()

describe('sign-in by browser with a return address', () => {
  it.each([
    ['a page below a prefix', `${portal}start?x=1#top`],
    ['the prefix itself', portal],
    ['an exact page', page],
  ])('leads to %s and keeps the refresh token in the cookie session', async (_, redirection) => {
    const done = await bench.signIn(`/login?redirection=${encodeURIComponent(redirection)}`)
    expect([done.status, done.text]).toEqual([302, ''])
    expect(done.headers.location).toBe(redirection)
    const session = setCookies(done).find((line) => line.startsWith('mintmark-s7-session='))
    expect(session).toMatch(/; Max-Age=86400; Path=\/; HttpOnly; SameSite=Lax$/)

    const cookie = cookiesOf(done)
    const answer = await s7('POST', '/refresh', { token: 'None', headers: { cookie } })
    expect(answer.status).toBe(200)
    expect((await s7('GET', '/userInfo', { token: answer.body.token })).body.userId).toBe(
      'alice@example.com',
    )
  })

  it('opens nothing but /refresh with the cookie session', async () => {
    const done = await bench.signIn(`/login?redirection=${encodeURIComponent(portal)}`)
    const headers = { cookie: cookiesOf(done) }
    expect((await s7('GET', '/userInfo', { token: null, headers })).status).toBe(401)
    expect((await s7('GET', '/userInfo', { token: 'None', headers })).status).toBe(401)
    expect((await s7('POST', '/refresh', { token: null, headers })).status).toBe(401)
  })

  it('refuses a cookie session beside another refresh token', async () => {
    const done = await bench.signIn(`/login?redirection=${encodeURIComponent(portal)}`)
    bench.upstream.person = bob()
    const other = (await bench.signIn()).body.refreshToken.token
    const headers = { cookie: cookiesOf(done) }
    expect((await s7('POST', '/refresh', { token: other, headers })).status).toBe(401)
    expect((await s7('POST', '/refresh', { token: other })).status).toBe(200)
  })

  it('refuses the cookie session once it is over or its user is gone', async () => {
    const sign = () => bench.signIn(`/login?redirection=${encodeURIComponent(portal)}`)
    const old = { cookie: cookiesOf(await sign()) }
    const now = { cookie: cookiesOf(await sign()) }
    expect((await s7('POST', '/refresh', { token: 'None', headers: old })).status).toBe(401)
    expect((await s7('POST', '/refresh', { token: 'None', headers: now })).status).toBe(200)
    await s7('DELETE', '/admin/users/alice%40example.com')
    expect((await s7('POST', '/refresh', { token: 'None', headers: now })).status).toBe(401)
    const late = { cookie: cookiesOf(await sign()) }
    bench.server.clock.advance(86_400_000)
    expect((await s7('POST', '/refresh', { token: 'None', headers: late })).status).toBe(401)
  })

  it.each([
    'https://evil.example/app/',
    '//evil.example',
    '/\\evil.example',
    'https:evil.example',
    'https:\\\\evil.example/app/',
    '/%09/evil.example',
    '/%2f%2fevil.example',
    'javascript:alert(1)//https://portal.example/app/',
    'data:text/html,x',
    'https://portal.example@evil.example/app/',
    'https://portal.example:secret@portal.example/app/',
    'https://portal.example.evil.example/app/',
    'https://evil-portal.example/app/',
    'http://portal.example/app/',
    'https://portal.example:8443/app/',
    'https://portal.example/other/',
    'https://portal.example/app/../other',
    'https://portal.example/app/%2e%2e/other',
    'https://portal.example/app',
    'https://portal.example/exact?tab=2',
    'https://portal.example/exact',
    'https://portal.example/exact?tab=1&x=2',
    'https://portal.example/app/\r\nset-cookie: x=1',
    ' https://portal.example/app/',
    'https://portal.example\t/app/',
    'https://pörtal.example/app/',
    '/app/',
    '',
    'undefined',
  ])('does not lead to %j', async (redirection) => {
    const path = `/login?redirection=${encodeURIComponent(redirection)}`
    const answer = await s7('GET', path, { token: null })
    expect(answer.status).toBe(400)
    expect(setCookies(answer)).toEqual([])
  })

  it('refuses two return addresses', async () => {
    const one = `redirection=${encodeURIComponent(portal)}`
    const answer = await s7('GET', `/login?${one}&redirection=https://evil.example`, {
      token: null,
    })
    expect(answer.status).toBe(400)
  })
})
