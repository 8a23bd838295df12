import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest'
import { type Answer, startServer, type TestServer } from '../support/server.ts'
import { type Person, startUpstream, type UpstreamProvider } from '../support/upstream-provider.ts'
import type { Call } from './checked.ts'
import { emptyOut, S7, s7Client } from './s7-client.ts'

export const publicUrl = 'http://127.0.0.1:8080'
/** Redirect URI of an application that gets its codes itself. */
export const clientApp = 'https://client.example/callback'
export const portal = 'https://portal.example/app/'
export const page = 'https://portal.example/exact?tab=1'

/** A browser on its way back to us, with the cookies that we gave it. */
export interface Walk {
  callback: URL
  cookie: string
}

export interface SignInBench {
  upstream: UpstreamProvider
  server: TestServer
  /** Settings of a server behind this provider. */
  settings(): Record<string, string>
  /** A whole sign-in by browser, up to our callback, which is not called yet. */
  walk(path?: string, call?: Call): Promise<Walk>
  come(walked: Walk, call?: Call): Promise<Answer>
  signIn(path?: string): Promise<Answer>
}

export const alice = (): Person => ({
  sub: 'alice-1',
  claims: { email: 'alice@example.com', email_verified: true, name: 'Alice' },
})
export const bob = (claims: Record<string, unknown> = {}): Person => ({
  sub: 'bob-1',
  claims: { email: 'bob@example.com', email_verified: true, ...claims },
})

/** A server and a real provider behind it for the tests of a file; each starts with nobody known. */
export function signInBench(): { bench: SignInBench; s7: Call } {
  let upstream: UpstreamProvider
  let server: TestServer
  const s7 = s7Client(() => server)

  beforeAll(async () => {
    const own = ['authSso', 'authGoogle'].map((name) => `${publicUrl}${S7}/${name}`)
    upstream = await startUpstream([...own, clientApp])
    server = await startServer(bench.settings())
    server.remember(upstream.clientSecret)
  })
  beforeEach(() => {
    upstream.person = alice()
  })
  afterEach(async () => {
    upstream.intercept = undefined
    await emptyOut(s7)
  })
  afterAll(async () => {
    await server.close()
    await upstream.close()
  })

  const bench: SignInBench = {
    get upstream() {
      return upstream
    },
    get server() {
      return server
    },
    settings: () => ({
      MINTMARK_PUBLIC_URL: publicUrl,
      MINTMARK_UPSTREAM_ISSUER: upstream.issuer,
      MINTMARK_UPSTREAM_CLIENT_ID: upstream.clientId,
      MINTMARK_UPSTREAM_CLIENT_SECRET: upstream.clientSecret,
      MINTMARK_UPSTREAM_RETURN_URLS: `${portal},${page}`,
      MINTMARK_UPSTREAM_REDIRECT_URIS: clientApp,
    }),
    async walk(path = '/login', call = s7) {
      const begun = await call('GET', path, { token: null })
      const callback = await upstream.visit(begun.body?.url ?? begun.headers.location)
      const code = callback.searchParams.get('code')
      if (code !== null) server.remember(code)
      return { callback, cookie: cookiesOf(begun) }
    },
    come({ callback, cookie }, call = s7) {
      const path = callback.pathname.slice(S7.length) + callback.search
      return call('GET', path, { token: null, headers: { cookie } })
    },
    signIn: async (path) => bench.come(await bench.walk(path)),
  }
  return { bench, s7 }
}

/** The cookies that an answer sets, as the browser sends them back. */
export function cookiesOf(answer: Answer): string {
  return setCookies(answer)
    .map((line) => line.split(';')[0])
    .filter((pair) => !pair?.endsWith('='))
    .join('; ')
}

export function setCookies(answer: Answer): string[] {
  const header = answer.headers['set-cookie']
  return header === undefined ? [] : [header].flat().map(String)
}
