import { createHash, randomBytes } from 'node:crypto'
import * as client from 'openid-client'
import { vi } from 'vitest'
import { type Browser, openBrowser, type Page } from './browser.ts'
import { freePort } from './free-port.ts'
import { startServer, type TestServer } from './server.ts'

export const REDIRECT_URI = 'https://app.example.com/callback'
export const PASSWORD = 'lanterns over the quay'

export interface OauthServer {
  server: TestServer
  issuer: string
  /** Registers a client; what is not said is as for any web application. */
  register(wish?: Record<string, unknown>): Promise<RegisteredClient>
  /** A user with a password that needs no replacing. */
  makePerson(username: string, wish?: Record<string, unknown>): Promise<{ id: string }>
  browser(): Browser
  /** Moves the time for the server and the engine in it. */
  advance(ms: number): void
  close(): Promise<void>
}

export interface RegisteredClient {
  id: string
  clientId: string
  secret: string | undefined
  /** As openid-client knows it, from discovery. */
  config: client.Configuration
}

/** A whole server on a port of loopback, because clients and the engine speak real HTTP. */
export async function startOauth(env: Record<string, string> = {}): Promise<OauthServer> {
  const port = await freePort()
  const issuer = `http://127.0.0.1:${port}`
  // The engine reads the machine's clock, so a test that moves time moves that one.
  const clock = {
    now: () => Date.now(),
    advance: (ms: number) => {
      if (!vi.isFakeTimers()) vi.useFakeTimers({ toFake: ['Date'], now: Date.now() })
      vi.setSystemTime(Date.now() + ms)
    },
  }
  const server = await startServer(
    { MINTMARK_PORT: String(port), MINTMARK_PUBLIC_URL: issuer, ...env },
    { clock },
  )
  await server.app.server.listen({ host: '127.0.0.1', port })

  return {
    server,
    issuer,
    async register(wish = {}) {
      const made = await server.call('POST', '/api/v1/clients', {
        body: {
          name: 'App',
          redirectUris: [REDIRECT_URI],
          grants: ['authorization_code', 'refresh_token'],
          ...wish,
        },
      })
      if (made.status !== 201) throw new Error(`No client: ${made.text}`)
      const { id, clientId, secret } = made.body
      if (secret) server.remember(secret)
      const config = await discover(issuer, { clientId, secret: secret ?? undefined })
      return { id, clientId, secret: secret ?? undefined, config }
    },
    async makePerson(username, wish = {}) {
      const user = await server.call('POST', '/api/v1/users', {
        body: { username, email: `${username}@example.com`, ...wish },
      })
      if (user.status !== 201) throw new Error(`No user: ${user.text}`)
      const reset = await server.call('POST', `/api/v1/users/${user.body.id}/one-time-password`)
      if (reset.status >= 300) throw new Error(`No password: ${reset.text}`)
      const oneTime = reset.body.oneTimePassword
      server.remember(oneTime)
      const login = await server.call('POST', '/api/v1/login', {
        token: null,
        body: { username, password: oneTime, newPassword: PASSWORD },
      })
      if (login.status >= 300) throw new Error(`No login: ${login.text}`)
      return { id: user.body.id }
    },
    browser: () => openBrowser(issuer),
    advance: (ms) => clock.advance(ms),
    async close() {
      vi.useRealTimers()
      await server.close()
    },
  }
}

async function discover(
  issuer: string,
  { clientId, secret }: { clientId: string; secret: string | undefined },
): Promise<client.Configuration> {
  return client.discovery(
    new URL(issuer),
    clientId,
    undefined,
    secret === undefined ? client.None() : client.ClientSecretBasic(secret),
    { execute: [client.allowInsecureRequests] },
  )
}

/** An authorization request under way. */
export interface Request {
  url: URL
  verifier: string
  state: string
  nonce: string
}

/** Begins as openid-client does; `parameters` come on top, undefined ones are left out. */
export async function begin(
  config: client.Configuration,
  parameters: Record<string, string | undefined> = {},
): Promise<Request> {
  const verifier = client.randomPKCECodeVerifier()
  const state = client.randomState()
  const nonce = client.randomNonce()
  const all = {
    redirect_uri: REDIRECT_URI,
    scope: 'openid profile email',
    code_challenge: await client.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    state,
    nonce,
    ...parameters,
  }
  const said = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined))
  return {
    url: client.buildAuthorizationUrl(config, said as Record<string, string>),
    verifier,
    state,
    nonce,
  }
}

/** What a client asks with that wants a lasting grant, without a library; `verifier` goes with the code. */
export function lastingRequest(clientId: string): { query: URLSearchParams; verifier: string } {
  const verifier = randomBytes(32).toString('base64url')
  const query = new URLSearchParams({
    client_id: clientId,
    redirect_uri: REDIRECT_URI,
    response_type: 'code',
    scope: 'openid offline_access',
    prompt: 'consent',
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
  })
  return { query, verifier }
}

/** Signs in and allows, wherever the browser is asked to; ends outside of the server. */
export async function goThrough(
  browser: Browser,
  page: Page,
  { username = 'alice', password = PASSWORD }: { username?: string; password?: string } = {},
): Promise<Page> {
  let at = page
  for (let step = 0; step < 4 && at.status !== 0; step++) {
    if (at.text.includes('name="password"')) {
      at = await browser.submit(at, { username, password })
    } else if (at.text.includes('name="decision"')) {
      at = await browser.submit(at, { decision: 'allow' })
    } else break
  }
  return at
}

/** The whole way from the client's link to its tokens. */
export async function signIn(
  oauth: OauthServer,
  registered: RegisteredClient,
  {
    browser = oauth.browser(),
    parameters = {},
    username = 'alice',
  }: {
    browser?: Browser
    parameters?: Record<string, string | undefined>
    username?: string
  } = {},
): Promise<client.TokenEndpointResponse & client.TokenEndpointResponseHelpers> {
  const request = await begin(registered.config, parameters)
  const end = await goThrough(browser, await browser.open(request.url), { username })
  return redeem(oauth, registered, { request, callback: end.url })
}

/** Exchanges the code in a callback for tokens. */
export async function redeem(
  oauth: OauthServer,
  { config }: RegisteredClient,
  { request, callback }: { request: Request; callback: URL },
) {
  const tokens = await client.authorizationCodeGrant(config, callback, {
    pkceCodeVerifier: request.verifier,
    expectedState: request.state,
    ...(request.url.searchParams.get('scope')?.includes('openid')
      ? { expectedNonce: request.nonce }
      : {}),
  })
  for (const secret of [tokens.access_token, tokens.refresh_token]) {
    if (secret !== undefined) oauth.server.remember(secret)
  }
  return tokens
}

/** What the token endpoint answers to a form, without a client library. */
export async function post(
  oauth: OauthServer,
  path: string,
  fields: Record<string, string>,
  { clientId, secret }: { clientId?: string; secret?: string | undefined } = {},
  headers: Record<string, string> = {},
): Promise<{ status: number; body: Record<string, unknown>; headers: Headers }> {
  const basic =
    clientId === undefined || secret === undefined
      ? {}
      : { authorization: `Basic ${Buffer.from(`${clientId}:${secret}`).toString('base64')}` }
  const named: Record<string, string> =
    clientId !== undefined && secret === undefined ? { client_id: clientId } : {}
  const response = await fetch(`${oauth.issuer}${path}`, {
    method: 'POST',
    headers: { ...basic, ...headers },
    body: new URLSearchParams({ ...named, ...fields }),
  })
  const text = await response.text()
  return {
    status: response.status,
    body: text === '' ? {} : (JSON.parse(text) as Record<string, unknown>),
    headers: response.headers,
  }
}
